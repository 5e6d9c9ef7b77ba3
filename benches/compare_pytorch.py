"""Full training steps of bptt beside PyTorch, on the same machine, in turn.

    cargo build --release
    python benches/compare_pytorch.py                   # CPU, all cores
    python benches/compare_pytorch.py --device cuda --workload large --workload huge
    cargo bench --bench tokens_per_second               # draws benches/tokens-per-second.svg

PyTorch runs what its users write first: nn.Embedding, nn.RNN (tanh), nn.Linear, cross_entropy and
SGD, f32 without TF32, and time-major. Tokens per second are medians over rounds. Memory is the peak
resident set of the process on the CPU; on a GPU it is what PyTorch's allocator reserved at most, and
what bptt planned: the tensors of both, not their drivers.

The table goes to standard output. The CSV keeps the rows of other machines, systems and workloads.
"""

import argparse
import csv
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

# The sizes are the library's (src/bench/workloads.rs).
WORKLOADS = ["book", "char", "ptb", "ptb-medium", "large", "huge"]
COLUMNS = ["date", "machine", "system", "workload", "tokens_per_second", "memory_mib"]
SECONDS = 3.0
MIB = 2**20


def pytorch(size, device):
    """What PyTorch's training step reaches: version, tokens per second, memory on a GPU."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    v, d, h = size["vocab"], size["embedding"], size["hidden"]
    n, t = size["batch"], size["time_steps"]
    embedding = nn.Embedding(v, d, device=device)
    rnn = nn.RNN(d, h, device=device)
    head = nn.Linear(h, v, device=device)
    parameters = [p for m in (embedding, rnn, head) for p in m.parameters()]
    sgd = torch.optim.SGD(parameters, lr=0.1)
    windows = [torch.randint(v, (t, n)) for _ in range(9)]
    state = torch.zeros(1, n, h, device=device)

    def step(i, state):
        inputs = windows[i % 8].to(device)
        targets = windows[i % 8 + 1].to(device)
        sgd.zero_grad(set_to_none=True)
        out, state = rnn(embedding(inputs), state)
        functional.cross_entropy(head(out).view(-1, v), targets.view(-1)).backward()
        sgd.step()
        return state.detach()

    def wait():
        if device == "cuda":
            torch.cuda.synchronize()

    for i in range(3):
        state = step(i, state)
    wait()
    rates = []
    while sum(n * t * b / r for r, b in rates) < SECONDS:
        begun = time.perf_counter()
        block = 1 if not rates else max(1, int(0.2 * rates[0][0] / (n * t)))
        for i in range(block):
            state = step(i, state)
        wait()
        rates.append((block * n * t / (time.perf_counter() - begun), block))
    cuda = device == "cuda"
    return {
        "system": f"PyTorch {torch.__version__.split('+')[0]}",
        "machine": torch.cuda.get_device_name() if cuda else cpu_name(),
        "tokens_per_second": statistics.median(rate for rate, _ in rates),
        "memory_mib": torch.cuda.max_memory_reserved() / MIB if cuda else None,
    }


def cpu_name():
    """"2 cores of AMD EPYC 9R14": what the processor calls itself."""
    model = "an unknown processor"
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{os.cpu_count()} cores of {model}"


def run(command):
    """A command's output as JSON, and its peak memory in MiB."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return json.loads(output), usage.ru_maxrss / 1024


def compare(name, arguments):
    """One workload in turn: a row each for bptt and PyTorch."""
    ours = [arguments.bptt, "bench", "--json", "--workload", name]
    ours += ["--device", arguments.bptt_device]
    rates, memory = ([], []), ([], [])
    for _ in range(arguments.rounds):
        report, mib = run(ours)
        size = json.dumps(report["size"])
        theirs = [sys.executable, __file__, "--device", arguments.device, "--pytorch-only", size]
        other, other_mib = run(theirs)
        rates[0].append(report["tokens_per_second"])
        rates[1].append(other["tokens_per_second"])
        if other["memory_mib"] is not None:
            mib, other_mib = sum(report["memory"]["bytes"].values()) / MIB, other["memory_mib"]
        memory[0].append(mib)
        memory[1].append(other_mib)
    machine = arguments.machine or other["machine"]
    return [
        {
            "date": datetime.date.today().isoformat(),
            "machine": machine.replace(",", " "),
            "system": system,
            "workload": name,
            "tokens_per_second": round(statistics.median(rates[i])),
            "memory_mib": round(max(memory[i])),
        }
        for i, system in enumerate(["bptt", other["system"]])
    ]


def write_csv(path, rows):
    """Adds rows to the file, in place of older ones of the same machine, system and workload."""

    def key(row):
        return [row["machine"], row["system"].split()[0], row["workload"]]

    new = [key(row) for row in rows]
    kept = []
    if path.exists():
        with path.open(newline="") as file:
            kept = [row for row in csv.DictReader(file) if key(row) not in new]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept + rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--bptt", default="target/release/bptt", help="the binary")
    parser.add_argument("--bptt-device", help="bptt's --device [default: cpu, or gpu for cuda]")
    parser.add_argument("--workload", action="append", choices=WORKLOADS, metavar="NAME",
                        help=f"of {', '.join(WORKLOADS)}; can be repeated [default: the first four]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--machine", help="what the CSV calls the machine [default: what it says]")
    csv_file = pathlib.Path(__file__).with_name("tokens-per-second.csv")
    parser.add_argument("--csv", type=pathlib.Path, default=csv_file, metavar="FILE")
    parser.add_argument("--pytorch-only", metavar="SIZES", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.pytorch_only:
        print(json.dumps(pytorch(json.loads(arguments.pytorch_only), arguments.device)))
        return
    arguments.bptt_device = arguments.bptt_device or {"cpu": "cpu", "cuda": "gpu"}[arguments.device]
    print("| workload | bptt tokens/s | PyTorch tokens/s | ratio | bptt MiB | PyTorch MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    rows = []
    for name in arguments.workload or WORKLOADS[:4]:
        pair = compare(name, arguments)
        rows += pair
        ours, theirs = (row["tokens_per_second"] for row in pair)
        memory = " | ".join(f"{row['memory_mib']:,}" for row in pair)
        print(f"| {name} | {ours:,} | {theirs:,} | {ours / theirs:.2f} | {memory} |", flush=True)
    write_csv(arguments.csv, rows)


if __name__ == "__main__":
    main()
