"""A model that PyTorch initialised, as safetensors, and a tokenizer.json for it.

make_model.py FOLDER CHARACTERS: sorted characters, as the vocabulary.
"""

import json
import sys

try:
    import torch
    from safetensors.torch import save_file
except ImportError as missing:
    print(missing)
    sys.exit(77)

folder, characters = sys.argv[1:]
torch.manual_seed(7)
# Neither sizes nor biases are alike, so that none can stand for another.
model = torch.nn.ModuleDict(
    {
        "encoder": torch.nn.Embedding(len(characters), 6),
        "rnn": torch.nn.RNN(6, 10),
        "decoder": torch.nn.Linear(10, len(characters)),
    }
)
save_file(model.state_dict(), f"{folder}/torch.safetensors")
tokenizer = {
    "version": "1.0",
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {
        "type": "Split",
        "pattern": {"Regex": r"[\s\S]"},
        "behavior": "Isolated",
        "invert": False,
    },
    "post_processor": None,
    "decoder": {"type": "Fuse"},
    "model": {
        "type": "WordLevel",
        "vocab": {character: id for id, character in enumerate(characters)},
        "unk_token": "<unk>",
    },
}
with open(f"{folder}/torch-tokenizer.json", "w", encoding="utf-8") as file:
    json.dump(tokenizer, file)
