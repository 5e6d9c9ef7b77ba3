"""The loss of PyTorch's own modules, at float64, with the weights of a file on a text.

loss.py model.safetensors tokenizer.json TEXT STREAMS STEPS [RATE MAX_NORM]: reads the text as bptt
validates on it. With a rate, one step of clipped SGD by that loss follows, and the second line has the
weights after it, as JSON.
"""

import json
import sys

try:
    import torch
    from safetensors.torch import load_file
except ImportError as missing:
    print(missing)
    sys.exit(77)

weights, tokenizer, text, streams, steps, *update = sys.argv[1:]
streams, steps = int(streams), int(steps)
weights = {name: tensor.double() for name, tensor in load_file(weights).items()}

vocab, emsize = weights["encoder.weight"].shape
nhid = weights["rnn.weight_hh_l0"].shape[0]
model = torch.nn.ModuleDict(
    {
        "encoder": torch.nn.Embedding(vocab, emsize),
        "rnn": torch.nn.RNN(emsize, nhid),
        "decoder": torch.nn.Linear(nhid, vocab),
    }
).double()
# Every tensor of the file has its place, and every parameter its tensor.
model.load_state_dict(weights, strict=True)

with open(tokenizer, encoding="utf-8") as file:
    ids = json.load(file)["model"]["vocab"]
with open(text, encoding="utf-8", newline="") as file:
    ids = torch.tensor([ids[character] for character in file.read()])

length = (len(ids) - 1) // streams
length -= length % steps
starts = torch.arange(streams) * ((len(ids) - 1) // streams)
at = starts[None, :] + torch.arange(length)[:, None]
with torch.set_grad_enabled(bool(update)):
    hidden, _ = model["rnn"](model["encoder"](ids[at]))
    logits = model["decoder"](hidden).reshape(-1, vocab)
    loss = torch.nn.functional.cross_entropy(logits, ids[at + 1].reshape(-1))
print(loss.item())
if update:
    rate, max_norm = map(float, update)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    torch.optim.SGD(model.parameters(), rate).step()
    state = model.state_dict().items()
    print(json.dumps({name: tensor.reshape(-1).tolist() for name, tensor in state}))
