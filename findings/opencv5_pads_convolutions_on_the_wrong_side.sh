#!/usr/bin/env bash
# ONNX models in the new engine of OpenCV 5's `cv2.dnn`.
#
# Guess: an operator that the importer takes computes what ONNX says, or is refused, as several are.
# Seen with opencv-python-headless 5.0.0.93, judged by onnx 1.23.2's reference and by onnxruntime 1.32.0 (PyPI; Python 3.11, x86-64):
#   Conv 3 x 3, step 2, auto_pad SAME_UPPER, 5 x 6     padded at the left where ONNX pads at the right (it is SAME_LOWER's answer); that is
#                                                      how models that come from TensorFlow are written
#   ConvTranspose SAME_UPPER, SAME_LOWER               9 x 11 instead of 10 x 12
#   ConvTranspose output_shape 10 x 12                 12 x 14
#   Resize linear, antialias=1                         as without antialias
#   ReduceLogSumExp of 100, 100                        infinity instead of 100.69
#   Max of 1 and NaN                                   depends on the order: NaN first is NaN, NaN second is left out
#
# No error, no warning. So: write pads out (`auto_pad` NOTSET) on export, and compare every model's output with onnxruntime's once.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (220 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'opencv-python-headless==5.0.0.93' 'onnx==1.23.2' 'onnxruntime==1.32.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import cv2
import numpy as np
import onnx
import onnx.parser
import onnxruntime

rng = np.random.default_rng(0)
PICTURE = rng.normal(size=(1, 2, 5, 6)).astype(np.float32)
WEIGHT = rng.normal(size=(3, 2, 3, 3)).astype(np.float32)
BACK = rng.normal(size=(2, 3, 3, 3)).astype(np.float32)
IN = "(float[1, 2, 5, 6] a, float[3, 2, 3, 3] b) => (float[N, C, H, W] c)"
OUT = "(float[1, 2, 5, 6] a, float[2, 3, 3, 3] b) => (float[N, C, H, W] c)"
PAIR = "(float[1] a, float[1] b) => (float[1] c)"


def computed(text, *values):
    """What OpenCV, and what ONNX Runtime makes of it."""
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": 18]> probe {text}')
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    right = session.run(None, {one.name: value for one, value in zip(session.get_inputs(), values)})[0]
    net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
    for one, value in zip(session.get_inputs(), values):
        net.setInput(value, one.name)
    return np.asarray(net.forward()), right


def alike(text, *values):
    found, right = computed(text, *values)
    return found.shape == right.shape and bool(np.allclose(found, right, atol=1e-4))


def shapes(text, *values):
    return tuple(one.shape[2:] for one in computed(text, *values))


def convolution(pad):
    return IN + "{c = Conv<auto_pad=\"%s\", strides=[2, 2]>(a, b)}" % pad


def upwards(how):
    return OUT + "{c = ConvTranspose<%s, strides=[2, 2]>(a, b)}" % how


def resized(antialias):
    sizes = "s = Constant<value_ints=[1, 2, 3, 3]>()"
    return "(float[1, 2, 5, 6] a) => (float[1, 2, 3, 3] c) {%s\nc = Resize<mode=\"linear\", antialias=%d>(a,,,s)}" % (sizes, antialias)


def one(*values):
    return [np.array([value], np.float32) for value in values]


TOTAL = "(float[1, 2] a) => (float[1, 1] c) {x = Constant<value_ints=[1]>()\nc = ReduceLogSumExp(a, x)}"
upper, lower = computed(convolution("SAME_UPPER"), PICTURE, WEIGHT), computed(convolution("SAME_LOWER"), PICTURE, WEIGHT)
SEEN = [
    ("Conv SAME_UPPER is right", bool(np.allclose(*upper, atol=1e-4)), False),
    ("it is SAME_LOWER's answer", bool(np.allclose(upper[0], lower[1], atol=1e-4)), True),
    ("Conv SAME_LOWER is right", bool(np.allclose(*lower, atol=1e-4)), True),
    ("ConvTranspose SAME_UPPER: size, right size", shapes(upwards('auto_pad="SAME_UPPER"'), PICTURE, BACK), ((9, 11), (10, 12))),
    ("ConvTranspose SAME_LOWER: size, right size", shapes(upwards('auto_pad="SAME_LOWER"'), PICTURE, BACK), ((9, 11), (10, 12))),
    ("output_shape: size, right size", shapes(upwards("output_shape=[10, 12]"), PICTURE, BACK), ((12, 14), (10, 12))),
    ("Resize linear is right", alike(resized(0), PICTURE), True),
    ("the same with antialias is right", alike(resized(1), PICTURE), False),
    ("it is the answer without", bool(np.allclose(computed(resized(1), PICTURE)[0], computed(resized(0), PICTURE)[1], atol=1e-4)), True),
    ("logarithm of the sum, right", [str(x.ravel()[0].round(2)) for x in computed(TOTAL, np.full((1, 2), 100, np.float32))], ["inf", "100.69"]),
    ("Max(NaN, 1), Max(1, NaN)", [str(computed(PAIR + "{c = Max(a, b)}", *one(*two))[0].item()) for two in ((np.nan, 1), (1, np.nan))], ["nan", "1.0"]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:46}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
