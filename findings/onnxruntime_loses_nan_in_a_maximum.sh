#!/usr/bin/env bash
# A sensor value that is NaN, on its way through the maxima of a model in ONNX Runtime.
#
# Guess: NaN in gives NaN out, as in PyTorch, so that a check of the output (`isfinite`) finds what was wrong with the input.
# Seen with onnxruntime 1.31.1 (PyPI; Python 3.11, x86-64), a 6 x 6 map of ones with a NaN at row 3, column 3:
#   MaxPool 3 x 3, one step      1 of the 9 windows that hold it: only where it stands at the window's last place (PyTorch: 9)
#   MaxPool 2 x 2, one step      1 of 4, the same place
#   GlobalMaxPool                1.0, unless the NaN is the last of all
#   ReduceMax, ReduceMin         1.0, unless it is the first of all (PyTorch's amax and amin: NaN)
#   ArgMax                       0 (PyTorch's and NumPy's: the place of the NaN)
#   Max of two, Clip, Relu       NaN, as in PyTorch
#
# So the exported model answers with a plain number where the trained one says NaN. Check what goes in, not what comes out.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (150 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'onnxruntime==1.31.1' 'onnx==1.23.2' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SIZE, ROW = 6, 3


def run(kind, result=TensorProto.FLOAT, row=ROW, constants=(), **attributes):
    """Output of a model of one operator on a map of ones with a NaN."""
    names = [f"constant{i}" for i in range(len(constants))]
    graph = helper.make_graph(
        [helper.make_node(kind, ["map", *names], ["found"], **attributes)], "g",
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("found", result, None)],
        [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in zip(names, constants)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values = np.ones((1, 1, SIZE, SIZE), np.float32)
    values[0, 0, row, row] = np.nan
    return session.run(None, {"map": values})[0]


def places(found):
    return np.argwhere(np.isnan(found))[:, 2:].tolist()


ALL = dict(axes=[2, 3], keepdims=0)
SEEN = [
    ("windows of 3 x 3 with NaN", places(run("MaxPool", kernel_shape=[3, 3])), [[1, 1]]),
    ("windows of 2 x 2 with NaN", places(run("MaxPool", kernel_shape=[2, 2])), [[2, 2]]),
    ("GlobalMaxPool", run("GlobalMaxPool").ravel().tolist(), [1.0]),
    ("GlobalMaxPool, the last is NaN", str(run("GlobalMaxPool", row=SIZE - 1).ravel().tolist()), "[nan]"),
    ("ReduceMax", run("ReduceMax", **ALL).ravel().tolist(), [1.0]),
    ("ReduceMax, the first is NaN", str(run("ReduceMax", row=0, **ALL).ravel().tolist()), "[nan]"),
    ("ReduceMin", run("ReduceMin", **ALL).ravel().tolist(), [1.0]),
    ("ArgMax of the row", int(run("ArgMax", TensorProto.INT64, axis=3)[0, 0, ROW, 0]), 0),
    ("NumPy's argmax of the row", int(np.argmax([1, 1, 1, np.nan, 1, 1])), 3),
    ("NaN after Max with 0", int(np.isnan(run("Max", constants=[0.0])).sum()), 1),
    ("NaN after Clip", int(np.isnan(run("Clip", constants=[0.0, 6.0])).sum()), 1),
    ("NaN after Relu", int(np.isnan(run("Relu")).sum()), 1),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:52}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
