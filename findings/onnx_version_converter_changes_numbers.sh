#!/usr/bin/env bash
# Older ONNX models brought to a newer operator set with onnx.version_converter (and back, for an older runtime).
#
# Guess: the converted model computes the same, or `convert_version` raises, as its documentation says of what is not supported.
# Seen with onnx 1.23.2, run in onnxruntime 1.31.1 (PyPI; Python 3.11, x86-64):
#   Resize linear, 10 to 11 or later    what was read from the left edge of each pixel on is now read about its middle: 0 10 20 30 at
#                                       double size was 0 5 10 15 ..., is 0 2.5 7.5 12.5 ...; at half size 0 20, is 5 25. The new
#                                       attribute's default is taken, `asymmetric` would have kept the old meaning
#   Resize nearest                      the same numbers
#   Hardmax axis=1, 11 to 13            one 1 per row of the tensor made flat; now one 1 along that axis alone
#   Softmax, 11 to 13                   right: it is made flat and brought back
#   Softmax, LogSoftmax, 13 to 11       only the number of the operator set changes: softmax over all that follows the axis
#
# The checker accepts all of these, and shapes are as before. So: run both models on the same input after converting, and export anew where
# that is possible.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (150 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'onnx==1.23.2' 'onnxruntime==1.31.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, version_converter

ROW = np.array([0, 10, 20, 30], np.float32).reshape(1, 1, 1, 4)
CUBE = np.arange(8, dtype=np.float32).reshape(2, 2, 2)


def before_and_after(kind, values, version, to, scale=None, **attributes):
    """Output of a model of one operator before and after it is converted, made flat."""
    shape = list(values.shape) if scale is None else [1, 1, 1, int(4 * scale)]
    scales = [] if scale is None else [numpy_helper.from_array(np.array([1, 1, 1, scale], np.float32), "scales")]
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", *(each.name for each in scales)], ["y"], **attributes)], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, values.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)], scales,
    )
    old = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=7)
    found = []
    for model in (old, version_converter.convert_version(old, to)):
        onnx.checker.check_model(model, full_check=True)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        found.append(session.run(None, {"x": values})[0].ravel().round(3).tolist())
    return found


def is_kept(*model, **attributes):
    before, after = before_and_after(*model, **attributes)
    return before == after


DOUBLE = ([0, 5, 10, 15, 20, 25, 30, 30], [0, 2.5, 7.5, 12.5, 17.5, 22.5, 27.5, 30])
SEEN = [
    ("Resize linear by 2, 10 to 11", before_and_after("Resize", ROW, 10, 11, 2, mode="linear"), [*DOUBLE]),
    ("Resize linear by 2, 10 to 18", before_and_after("Resize", ROW, 10, 18, 2, mode="linear"), [*DOUBLE]),
    ("Resize linear by 1/2, 10 to 11", before_and_after("Resize", ROW, 10, 11, 0.5, mode="linear"), [[0, 20], [5, 25]]),
    ("Resize nearest by 2 is kept", is_kept("Resize", ROW, 10, 11, 2, mode="nearest"), True),
    ("Hardmax, 11 to 13: ones", [sum(each) for each in before_and_after("Hardmax", CUBE, 11, 13, axis=1)], [2, 4]),
    ("Softmax, 11 to 13, is kept", is_kept("Softmax", CUBE, 11, 13, axis=1), True),
    ("Softmax, 13 to 11: sums", [round(sum(each), 2) for each in before_and_after("Softmax", CUBE, 13, 11, axis=1)], [4, 2]),
    ("LogSoftmax, 13 to 11, is kept", is_kept("LogSoftmax", CUBE, 13, 11, axis=1), False),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:36}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
