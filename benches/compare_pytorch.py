"""Full training steps of bptt beside PyTorch, on the same machine, in turn.

    cargo build --release
    python benches/compare_pytorch.py                    # CPU, all cores
    python benches/compare_pytorch.py --device cuda --bptt-device gpu --large

PyTorch runs what its users write first: nn.Embedding, nn.RNN (tanh), nn.Linear, cross_entropy and
SGD, f32 without TF32, and time-major. Tokens per second are medians over rounds, memory is the peak
resident set of the process.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

# V, D, H, N, T
WORKLOADS = {
    "book": (418, 100, 100, 10, 5),
    "char": (65, 64, 256, 32, 64),
    "ptb": (10_000, 200, 200, 20, 35),
    "ptb-medium": (10_000, 650, 650, 20, 35),
}
LARGE = {
    "large": (32_768, 1024, 1024, 64, 128),
    "huge": (50_304, 2048, 2048, 128, 128),
}
SECONDS = 3.0


def pytorch(sizes, device):
    """Tokens per second of PyTorch's training step."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    v, d, h, n, t = sizes
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
    return statistics.median(rate for rate, _ in rates)


def run(command):
    """The last line of a command's output as JSON, and its peak memory in MiB."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return json.loads(output), usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bptt", default="target/release/bptt", help="the binary")
    parser.add_argument("--bptt-device", default="cpu")
    parser.add_argument("--device", default="cpu", help="PyTorch's: cpu or cuda")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="also the sizes for a large GPU")
    parser.add_argument("--pytorch-only", metavar="WORKLOAD", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    workloads = WORKLOADS | LARGE
    if arguments.pytorch_only:
        print(json.dumps(pytorch(workloads[arguments.pytorch_only], arguments.device)))
        return
    print("| workload | bptt tokens/s | PyTorch tokens/s | ratio | bptt MiB | PyTorch MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, (v, d, h, n, t) in workloads.items():
        if name in LARGE and not arguments.large:
            continue
        flags = ["vocab-size", "emsize", "nhid", "batch-size", "bptt"]
        sizes = [x for flag, size in zip(flags, (v, d, h, n, t)) for x in (f"--{flag}", str(size))]
        ours = [arguments.bptt, "bench", "--json", "--device", arguments.bptt_device, *sizes]
        theirs = [sys.executable, __file__, "--device", arguments.device, "--pytorch-only", name]
        rates, memory = ([], []), (0, 0)
        for _ in range(arguments.rounds):
            report, mib = run(ours)
            other, other_mib = run(theirs)
            rates[0].append(report["tokens_per_second"])
            rates[1].append(other)
            memory = (max(memory[0], mib), max(memory[1], other_mib))
        a, b = (statistics.median(r) for r in rates)
        print(f"| {name} | {a:,.0f} | {b:,.0f} | {a / b:.2f} | {memory[0]:.0f} | {memory[1]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
