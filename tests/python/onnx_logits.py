"""What onnxruntime computes with an exported model.

onnx_logits.py FILE: reads {"tokens": [T][N], "state": [1][N][H]} from stdin, writes logits, the
final state and the metadata as JSON.
"""

import json
import sys

try:
    import numpy
    import onnx
    import onnxruntime
except ImportError as missing:
    print(missing)
    sys.exit(77)

onnx.checker.check_model(sys.argv[1], full_check=True)
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
asked = json.load(sys.stdin)
logits, state = session.run(
    ["logits", "final_state"],
    {
        "tokens": numpy.array(asked["tokens"], dtype=numpy.int64),
        "initial_state": numpy.array(asked["state"], dtype=numpy.float32),
    },
)
json.dump(
    {
        "shapes": [logits.shape, state.shape],
        "logits": logits.reshape(-1).tolist(),
        "state": state.reshape(-1).tolist(),
        "metadata": session.get_modelmeta().custom_metadata_map,
    },
    sys.stdout,
)
