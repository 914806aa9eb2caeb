#!/usr/bin/env bash
# What a model should compute, by ONNX's own ReferenceEvaluator, with which runtimes and converters are judged: numbers that are far, norms, poolings.
#
# Guess: it does what ONNX's pages say of an operator: QuantizeLinear "saturates", a SAME pooling has ceil(input / stride) outputs.
# Seen with onnx 1.23.2, onnxruntime 1.32.0 beside it (PyPI; Python 3.11, x86-64):
#   QuantizeLinear to uint8, scale 1, zero 3, of -1000, 20, 1000      0, 23, 255 in both
#   of 3e9, 1e10, infinity                      0 0 0, the nearest; onnxruntime 255 255 255
#   to int8                                     -128 each; 127
#   of 10 km in steps of a thousandth of mm     0; 255 (1e7 mm, scale 0.001)
#   MaxPool 3, step 2, SAME_LOWER, of 0 to 6    2 4 6: three, without padding; onnxruntime 1 3 5 6
#   SAME_UPPER; AveragePool SAME_LOWER          as onnxruntime
#   LpNormalization, p=1, of 3 and -4           -3 and 4: divided by their sum, -1; onnxruntime 0.43 and -0.57
#   Softmax of operator set 11, axis=1, of      0.5 each, along that axis alone, as from set 13 on; onnxruntime 0.25: over all that follows
#   1 x 2 x 2 zeros
#   ConvTranspose of two groups                 ValueError
#   Unique of 3 1 NaN NaN 1, counts             2 1 2; onnxruntime 4 1, where NaN counts as 3 or 1 (its own fault)
# numpy warns of an invalid cast in some of these. So: judge by two, and by hand for what is far, infinite or NaN.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (210 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check --only-binary :all: \
    'onnx==1.23.2' 'onnxruntime==1.32.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import warnings

import numpy as np
import onnxruntime
from onnx import helper
from onnx.reference import ReferenceEvaluator

warnings.simplefilter("ignore")
FAR = np.array([3e9, 1e10, np.inf], np.float32)
NEAR = np.array([-1000, 20, 1000], np.float32)
LINE = np.arange(7, dtype=np.float32).reshape(1, 1, 7)


def model(operator, inputs, outputs, attributes, opset):
    names = [f"i{place}" for place in range(len(inputs))]
    results = [f"o{place}" for place in range(outputs)]
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(one.dtype), one.shape) for name, one in zip(names, inputs)
    ]
    node = helper.make_node(operator, names, results, **attributes)
    graph = helper.make_graph([node], "probe", values, [helper.make_empty_tensor_value_info(name) for name in results])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return made, dict(zip(names, inputs))


def both(operator, *inputs, outputs=1, opset=21, **attributes):
    """The last output by the reference and by ONNX Runtime."""
    made, feed = model(operator, inputs, outputs, attributes, opset)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    runs = [lambda: ReferenceEvaluator(made).run(None, feed), lambda: session.run(None, feed)]
    answers = []
    for run in runs:
        try:
            answers.append(np.round(run()[-1].ravel(), 3).tolist())
        except ValueError:
            answers.append("ValueError")
    return answers


def quantised(numbers, dtype, scale=1.0):
    return both("QuantizeLinear", numbers, np.array(scale, np.float32), np.array(3, dtype))


def pooled(operator, pad):
    return both(operator, LINE, kernel_shape=[3], strides=[2], auto_pad=pad)


def same(answers):
    return answers[0] == answers[1]


def nested(answers):
    return [np.round(np.array(one), 2).tolist() for one in answers]


groups = both("ConvTranspose", np.ones((1, 4, 3), np.float32), np.ones((4, 1, 3), np.float32), group=2)
SEEN = [
    ("uint8, near", quantised(NEAR, np.uint8), [[0, 23, 255]] * 2),
    ("uint8, far", quantised(FAR, np.uint8), [[0] * 3, [255] * 3]),
    ("int8, far", quantised(FAR, np.int8), [[-128] * 3, [127] * 3]),
    ("1e7, scale 0.001", quantised(np.array([1e7], np.float32), np.uint8, 0.001), [[0], [255]]),
    ("MaxPool, SAME_LOWER", pooled("MaxPool", "SAME_LOWER"), [[2.0, 4.0, 6.0], [1.0, 3.0, 5.0, 6.0]]),
    ("MaxPool upper, AveragePool lower", [same(pooled("MaxPool", "SAME_UPPER")), same(pooled("AveragePool", "SAME_LOWER"))], [True, True]),
    ("ConvTranspose, two groups", [groups[0], len(groups[1])], ["ValueError", 10]),
    (
        "LpNormalization, p=1, of 3, -4",
        nested(both("LpNormalization", np.array([3, -4], np.float32), p=1, axis=0)),
        [[-3.0, 4.0], [0.43, -0.57]],
    ),
    (
        "Softmax of set 11, axis=1, zeros",
        nested(both("Softmax", np.zeros((1, 2, 2), np.float32), axis=1, opset=11)),
        [[0.5] * 4, [0.25] * 4],
    ),
    ("Unique, counts", both("Unique", np.array([3, 1, np.nan, np.nan, 1], np.float32), outputs=4), [[2, 1, 2], [4, 1]]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:34}{found!s:52}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
