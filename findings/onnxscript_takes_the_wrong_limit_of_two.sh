#!/usr/bin/env bash
# Limits in a policy's graph, one after the other (an action's range, a safety limit, a ReLU), simplified by onnxscript's optimizer, which PyTorch's
# exporter to ONNX applies to every model unless it is told `optimize=False`.
#
# Guess: the optimizer keeps a model's numbers.
# Seen with onnxscript 0.7.2, run by onnxruntime 1.32.0 without optimizations, onnxslim 0.1.98 beside it (PyPI; Python 3.11, x86-64), on -5 to 5:
#   Clip -1 to 2, then Clip 3 to 4             2 everywhere (right: 3): the first limit wins where the two have nothing in common
#   Clip up to 0.1, then Clip from 0.2 on      0.1 everywhere (right: 0.2)
#   Clip -3 to -0.5, then Relu                 -0.5 everywhere (right: 0): numbers below 0 after a ReLU
#   limits that overlap, Relu first, the       right
#   later limit below the earlier one
#   onnxslim                                   right, all of them
# Two limits are made one by the greatest lower and the least upper limit; where these cross, ONNX's Clip gives the upper one. Nothing is raised.
# So: run the model before and after over inputs that reach its limits, or export with optimize=False and simplify by another tool.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (400 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'onnxscript==0.7.2' 'onnx==1.23.2' 'onnxruntime==1.32.0' 'onnxslim==0.1.98' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import onnxslim
from onnx import TensorProto, helper, numpy_helper
from onnxscript import optimizer

warnings.filterwarnings("ignore")
SIGNALS = np.array([-5.0, -1.0, 0.25, 1.0, 5.0], np.float32)


def model(*steps):
    """A chain of operators: a name alone, or with a lower and an upper limit (None for an open side)."""
    nodes, limits = [], []
    for number, (name, *between) in enumerate(steps):
        names = ["" if value is None else f"limit{number}{side}" for side, value in enumerate(between)]
        limits += [numpy_helper.from_array(np.float32(value), key) for key, value in zip(names, between, strict=True) if key]
        nodes.append(helper.make_node(name, [f"x{number}", *names], [f"x{number + 1}"]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [5]) for name in ("x0", f"x{len(steps)}")]
    graph = helper.make_graph(nodes, "limits", ends[:1], ends[1:], limits)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def run(proto):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = session.run(None, {"x0": SIGNALS})[0].astype(float).round(2).tolist()
    return found[0] if len(set(found)) == 1 else found


def thrice(*steps):
    """The model's answer as it is, after onnxscript's optimizer and after onnxslim: a number alone where all are the same."""
    onnx.checker.check_model(model(*steps))
    return run(model(*steps)), run(optimizer.optimize(model(*steps))), run(onnxslim.slim(model(*steps)))


low, shared = ("Clip", -1, 2), [0.0, 0.0, 0.25, 1.0, 2.0]
SEEN = [
    ("-1 to 2, then 3 to 4", thrice(low, ("Clip", 3, 4)), (3.0, 2.0, 3.0)),
    ("to 0.1, then from 0.2", thrice(("Clip", None, 0.1), ("Clip", 0.2, None)), (0.2, 0.1, 0.2)),
    ("-3 to -0.5, then Relu", thrice(("Clip", -3, -0.5), ("Relu",)), (0.0, -0.5, 0.0)),
    ("-1 to 2, then -4 to -3", thrice(low, ("Clip", -4, -3)), (-3.0, -3.0, -3.0)),
    ("Relu, then -3 to -0.5", thrice(("Relu",), ("Clip", -3, -0.5)), (-0.5, -0.5, -0.5)),
    ("-1 to 2, then 0 to 4", thrice(low, ("Clip", 0, 4)), (shared, shared, shared)),
    ("-3 to 2, then Relu", thrice(("Clip", -3, 2), ("Relu",)), (shared, shared, shared)),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
