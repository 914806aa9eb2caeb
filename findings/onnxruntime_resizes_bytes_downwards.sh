#!/usr/bin/env bash
# Pictures and masks of whole numbers made larger or smaller inside a model: ONNX Runtime's Resize on a CPU.
#
# Guess: a linear Resize of uint8 gives what it gives of floats, rounded to the nearest, as ONNX's reference does, OpenCV and Pillow.
# Seen with onnxruntime 1.32.0, judged by onnx 1.23.2's reference (PyPI; Python 3.11, x86-64):
#   10 11 12 20 twice as large, as float     10 10.25 10.75 11.25 11.75 14 18 20
#   as uint8, int8, int32                    10 10 10 11 11 14 18 20: cut off, not rounded (reference: 10 10 11 11 12 14 18 20)
#   negative numbers                         cut off towards zero
#   noise of 32 x 32 bytes twice as large    darker by 0.46 of 255 on the whole; with antialias=1 brighter by 0.25
#   a mask of 0 and 1, 2 x 2 of 4 x 4 set    float, half or more: 16 of 64; uint8: 4 of 64. Its edge moves inwards by a pixel
# Nothing is said of it. Cast to float first and round after it, or use nearest for masks.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (170 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'onnxruntime==1.32.0' 'onnx==1.23.2' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

ROW = np.array([[[[10, 11, 12, 20]]]])
NOISE = np.random.default_rng(0).integers(0, 256, (1, 1, 32, 32)).astype(np.uint8)
MASK = np.zeros((1, 1, 4, 4), np.uint8)
MASK[..., 1:3, 1:3] = 1


def model(array, scales, **how):
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    node = helper.make_node("Resize", ["x", "", "s"], ["y"], **{"mode": "linear", **how})
    graph = helper.make_graph(
        [node],
        "resize",
        [helper.make_tensor_value_info("x", kind, None)],
        [helper.make_tensor_value_info("y", kind, None)],
        [helper.make_tensor("s", TensorProto.FLOAT, [4], scales)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def resized(array, scales=(1, 1, 2, 2), **how):
    session = onnxruntime.InferenceSession(
        model(array, scales, **how).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": array})[0]


def row(kind, sign=1):
    return resized((sign * ROW).astype(kind), (1, 1, 1, 2)).ravel().tolist()


def brighter(**how):
    return round(float(resized(NOISE, **how).mean() - resized(NOISE.astype(np.float32), **how).mean()), 1)


reference = ReferenceEvaluator(model(ROW.astype(np.uint8), (1, 1, 1, 2))).run(None, {"x": ROW.astype(np.uint8)})[0]
cut = [10, 10, 10, 11, 11, 14, 18, 20]
SEEN = [
    ("float32", row(np.float32), [10.0, 10.25, 10.75, 11.25, 11.75, 14.0, 18.0, 20.0]),
    ("ONNX's reference, uint8", reference.ravel().tolist(), [10, 10, 11, 11, 12, 14, 18, 20]),
    ("uint8", row(np.uint8), cut),
    ("int8", row(np.int8), cut),
    ("int32", row(np.int32), cut),
    ("int8, negative", row(np.int8, -1), [-x for x in cut]),
    ("noise, brighter by", brighter(), -0.5),
    ("with antialias", brighter(antialias=1), 0.2),
    ("mask as float, at least 0.5", int((resized(MASK.astype(np.float32)) >= 0.5).sum()), 16),
    ("mask as uint8", int(resized(MASK).sum()), 4),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:30}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
