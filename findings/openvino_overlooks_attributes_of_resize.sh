#!/usr/bin/env bash
# Models in ONNX in OpenVINO on a CPU: attributes of Resize, and comparisons with NaN.
#
# Guess: a model that `read_model` and `compile_model` take computes what ONNX says; an attribute that is not supported is refused, as
# coordinate_transformation_mode "half_pixel_symmetric" is.
# Seen with openvino 2026.4.1, judged by onnxruntime 1.32.0, models made with onnx 1.23.2 (PyPI; Python 3.11, x86-64), all in float32:
#   Resize, antialias=1, 0 1 4 9 16 25 by half    0.5 6.5 20.5, as without it (ONNX: 0.875 7 19.625)
#   Resize, keep_aspect_ratio_policy              3 x 6 into 4 x 7 "not larger" gives 4 x 7 and other values (ONNX: 3 x 6): letterboxing
#                                                 becomes stretching, boxes are then scaled back wrongly
#   Resize, cubic, exclude_outside=1              the weights beyond the edge stay
#   NaN >= 1, 1 >= NaN                            true and true (ONNX, IEEE 754: false)
#   Max of [1, NaN] and [NaN, 1]                  [NaN, 1]: it depends on the order (ONNX Runtime: both NaN)
#   NaN to bool                                   false (ONNX Runtime, NumPy: true)
# Nothing is raised or logged.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (420 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'openvino==2026.4.1' 'onnxruntime==1.32.0' 'onnx==1.23.2' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper

CORE, NAN = openvino.Core(), float("nan")
LINE = np.array([[[[0, 1, 4, 9, 16, 25]]]], np.float32)
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


def both(op, inputs, constants=(), kind=TensorProto.FLOAT, **how):
    values = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, a.shape) for i, a in enumerate(inputs)]
    fixed = [None if a is None else numpy_helper.from_array(a, f"c{i}") for i, a in enumerate(constants)]
    names = [v.name for v in values] + ["" if c is None else c.name for c in fixed]
    node = helper.make_node(op, names, ["y"], **how)
    output = helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph([node], "g", values, [output], [c for c in fixed if c is not None])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9).SerializeToString()
    feed = {f"x{i}": a for i, a in enumerate(inputs)}
    judge = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, feed)[0]
    return judge, CORE.compile_model(CORE.read_model(model), "CPU", EXACT)(feed)[0]


def numbers(op, inputs, constants=(), **how):
    return [np.round(y.astype(float).ravel(), 3).tolist() for y in both(op, inputs, constants, **how)]


def texts(op, *inputs, **how):
    return [[str(v) for v in y.tolist()] for y in both(op, [np.array(i, np.float32) for i in inputs], **how)]


def shapes(op, *args, **how):
    return [y.shape for y in both(op, *args, **how)]


half = (None, np.array([1, 1, 1, 0.5], np.float32))
four = (None, None, np.array([1, 1, 1, 4]))
into = (None, None, np.array([1, 1, 4, 7]))
cubic = numbers("Resize", [LINE], four, mode="cubic", exclude_outside=1)
plain = numbers("Resize", [LINE], four, mode="cubic")
aspect = shapes("Resize", [np.repeat(LINE, 3, 2)], into, mode="linear", keep_aspect_ratio_policy="not_larger")
at_least = texts("GreaterOrEqual", [NAN, 1], [1, NAN], kind=TensorProto.BOOL)
SEEN = [
    ("Resize by half: judge, OpenVINO", numbers("Resize", [LINE], half, mode="linear"), [[0.5, 6.5, 20.5]] * 2),
    ("with antialias=1", numbers("Resize", [LINE], half, mode="linear", antialias=1), [[0.875, 7.0, 19.625], [0.5, 6.5, 20.5]]),
    ("keep_aspect_ratio_policy", aspect, [(1, 1, 3, 6), (1, 1, 4, 7)]),
    ("exclude_outside changes something", [a != b for a, b in zip(cubic, plain, strict=True)], [True, False]),
    ("NaN >= 1, 1 >= NaN", at_least, [["False"] * 2, ["True"] * 2]),
    ("Max of [1, NaN], [NaN, 1]", texts("Max", [1, NAN], [NAN, 1]), [["nan", "nan"], ["nan", "1.0"]]),
    ("NaN to bool", texts("Cast", [NAN, 0], kind=TensorProto.BOOL, to=TensorProto.BOOL), [["True", "False"], ["False", "False"]]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:36}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
