#!/usr/bin/env bash
# Models in ONNX that work on stamps (int64 nanoseconds) in OpenVINO on a CPU.
#
# Guess: a model that says int64 computes in int64, as in ONNX Runtime, or is refused; the output says int64, too.
# Seen with openvino 2026.4.1, models made with onnx 1.23.2 (PyPI; Python 3.11, x86-64), stamps of November 2023:
#   a stamp handed through          1032178965 instead of 1700000000123456789: the lower 32 bits, as an int64 array
#   difference of 50 ms             right, as it is of anything below 2.1 s; 5 s become 0.705 s
#   is the later one greater        one 3 s later is not: the lower halves change sign every 2.1 s
#   equal                           two stamps 2^32 ns apart are
#   float64 seconds                 differences are 0: the stamps are rounded to 128 s, as float32
#   int32 sums and powers           through float32: 16777217 + 123456789 is 140234016
#   uint8 200 + 100, 3 - 5          255 and 0, where ONNX's (and ONNX Runtime's) are 44 and 254
#
# No error, no warning. So: subtract stamps before the model, and give it float32 seconds from a near origin.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (300 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'openvino==2026.4.1' 'onnx==1.23.2' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import openvino

START = 1_700_000_000_123_456_789


def computed(text, *values):
    """What OpenVINO's CPU device says of one ONNX operator."""
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": 18]> probe {text}')
    onnx.checker.check_model(model)
    Path("model.onnx").write_bytes(model.SerializeToString())
    compiled = openvino.Core().compile_model("model.onnx", "CPU")
    found = compiled(list(values))[0]
    return str(found.dtype), found.tolist()


def stamps(*after_ns):
    return np.array([START + one for one in after_ns], np.int64)


LONG, DOUBLE, BYTE, INT = (f"({kind}[1] a, {kind}[1] b) => " for kind in ("int64", "double", "uint8", "int32"))
seconds = stamps(50_000_000) / 1e9, stamps(0) / 1e9
whole = np.array([16777217], np.int32), np.array([123456789], np.int32)
SEEN = [
    ("handed through", computed("(int64[1] a) => (int64[1] c) {c = Identity(a)}", stamps(0)), ("int64", [1032178965])),
    ("50 ms", computed(LONG + "(int64[1] c) {c = Sub(a, b)}", stamps(50_000_000), stamps(0)), ("int64", [50_000_000])),
    ("5 s", computed(LONG + "(int64[1] c) {c = Sub(a, b)}", stamps(5_000_000_000), stamps(0)), ("int64", [705_032_704])),
    ("3 s later, greater", computed(LONG + "(bool[1] c) {c = Greater(a, b)}", stamps(3_000_000_000), stamps(0)), ("bool", [False])),
    ("2^32 ns later, equal", computed(LONG + "(bool[1] c) {c = Equal(a, b)}", stamps(2**32), stamps(0)), ("bool", [True])),
    ("float64, 50 ms", computed(DOUBLE + "(double[1] c) {c = Sub(a, b)}", *seconds), ("float64", [0.0])),
    ("int32 sum", computed("(int32[2] a) => (int32[1] c) {c = ReduceSum<keepdims=1>(a)}", np.concatenate(whole)), ("int32", [140234016])),
    ("uint8, 200 + 100", computed(BYTE + "(uint8[1] c) {c = Add(a, b)}", np.array([200], np.uint8), np.array([100], np.uint8)), ("uint8", [255])),
    ("uint8, 3 - 5", computed(BYTE + "(uint8[1] c) {c = Sub(a, b)}", np.array([3], np.uint8), np.array([5], np.uint8)), ("uint8", [0])),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:28}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
