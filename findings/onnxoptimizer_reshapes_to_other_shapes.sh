#!/usr/bin/env bash
# Exported models made smaller with onnxoptimizer, onnxslim and onnxsim: reshapes one after the other.
#
# Guess: the smaller model gives the same numbers in the same shape; ONNX's checker and shape inference would say otherwise.
# Seen with onnxoptimizer 0.4.2, onnxslim 0.1.98, onnxsim 0.8.1, onnxruntime 1.32.0 (PyPI; Python 3.11, x86-64), an input of 2 x 3 x 4:
#   Reshape to 6 x 4, then to [0, -1] ("first size as it is")    6 x 4. onnxoptimizer: 2 x 12; the two reshapes become one, and the 0 now
#                                                                means the first size of what came before both
#   Reshape to 3 x 2 x 4, then to [-1, 0]                        12 x 2. onnxoptimizer: 8 x 3
#   onnxsim, onnxslim                                            right
#   onnxslim, a threshold of `Constant value_float`              becomes a double: onnxruntime refuses the model
#   onnxoptimizer, Gemm after a Transpose without `perm`         RuntimeError
#
# That is how steps of a batch are flattened for a layer and flattened further; the checker accepts the result. So: run the model before and
# after, with more than one batch size.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (260 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'onnxoptimizer==0.4.2' 'onnxslim==0.1.98' 'onnxsim==0.8.1' 'onnxruntime==1.32.0' 'onnx==1.23.2' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import onnx
import onnx.parser
import onnxoptimizer
import onnxruntime
import onnxsim
import onnxslim

HEAD = '<ir_version: 9, opset_import: ["": 18]> probe '
EVENTS = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
AFTER = {
    "onnxoptimizer": onnxoptimizer.optimize,
    "onnxslim": onnxslim.slim,
    "onnxsim": lambda model: onnxsim.simplify(model)[0],
    "none": lambda model: model,
}


def made(text):
    model = onnx.parser.parse_model(HEAD + text)
    onnx.checker.check_model(model, full_check=True)
    return model


def answers(text, *values):
    """Shape of the answer, or what is raised, by each of the tools."""
    found = {}
    for name, tool in AFTER.items():
        try:
            model = tool(made(text))
            onnx.checker.check_model(model)
            session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
            found[name] = session.run(None, {one.name: value for one, value in zip(session.get_inputs(), values)})[0].shape
        except Exception as error:
            found[name] = type(error).__name__
    return tuple(found.values())


def twice(first, second):
    sizes = f"s = Constant<value_ints={first}>()\nt = Constant<value_ints={second}>()\n"
    return "(float[2, 3, 4] a) => (float[N, M] c) {" + sizes + "b = Reshape(a, s)\nc = Reshape(b, t)}"


THRESHOLD = "(float[2, 3, 4] a) => (float[2, 3, 4] c) {l = Constant<value_float=-1.0>()\nb = Relu(a)\nc = Clip(b, l)}"
TURNED = "(float[2, 4] a, float[4, 3] b) => (float[2, 3] c) {t = Transpose(b)\nc = Gemm<transB=1>(a, t)}"
weights = np.ones((2, 4), np.float32), np.ones((4, 3), np.float32)
SEEN = [
    ("6 x 4, then [0, -1]", answers(twice([6, 4], [0, -1]), EVENTS), ((2, 12), (6, 4), (6, 4), (6, 4))),
    ("3 x 2 x 4, then [-1, 0]", answers(twice([3, 2, 4], [-1, 0]), EVENTS), ((8, 3), (12, 2), (12, 2), (12, 2))),
    ("threshold", answers(THRESHOLD, EVENTS)[1], "Fail"),
    ("Gemm after Transpose", answers(TURNED, *weights)[0], "RuntimeError"),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:28}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
