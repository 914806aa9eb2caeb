#!/usr/bin/env bash
# What comes before and after a model on a small robot, written with MNN.numpy, which has NumPy's names.
#
# Guess: a function of NumPy's name gives NumPy's numbers, or an error (as it raises NotImplementedError for what it lacks).
# Seen with mnn 3.6.1 and numpy 2.4.6 (PyPI; Python 3.11, x86-64):
#   argmin of the int32 rows -5 3 0 and 7 0 -2    2 and 1 (right: 0 and 2): the row's number nearest to 0; of float32 right
#   any(axis=1), all(axis=0) of them              one answer for all (right: True True, True False False)
#   trunc and fix of -2.6 -0.5 0.5 1.7            -3 -1 1 2, they round (right: -2 0 0 1); round takes halves away from 0
#   mod(x, 2) of the same                         -0.6 -0.5 0.5 1.7 (right: 1.4 1.5 0.5 1.7)
#   copysign(x, -1) of the same                   2.6 0.5 -0.5 -1.7: turns each sign over
#   singular values of 1 3 / 2 1 / 3 0.5          3.62 and 3.09 (right: 4.35 and 2.32); of a square matrix right
#   max of 1, NaN, 3                              3 (right: NaN)
#   stamps in nanoseconds, int64                  the lower 32 bits; float64 becomes float32
# So: do these in NumPy itself and hand MNN the float32 array.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (160 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'mnn==3.6.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import MNN.numpy as other
import numpy as np

ROWS = np.array([[-5, 3, 0], [7, 0, -2]], np.int32)
FLOATS = np.array([-2.6, -0.5, 0.5, 1.7], np.float32)
WIDE = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 0.5]], np.float32)
SQUARE = np.array([[0.0, -2.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 1.0]], np.float32)
GAP = np.array([1, np.nan, 3], np.float32)


def plain(found):
    found = found.read() if hasattr(found, "read") else found
    return np.round(np.asarray(found).astype(float), 2).tolist()


def both(function, array):
    """The function's answer from MNN.numpy and from NumPy."""
    return plain(function(other, other.array(array))), plain(function(np, array))


def kept(array):
    return other.array(array).read().tolist()


def singular_are_right(matrix):
    mine, right = both(lambda n, x: n.linalg.svd(x)[1], matrix)
    return len(mine) == len(right) and bool(np.allclose(mine, right, atol=0.02))


SEEN = [
    ("argmin, int32", both(lambda n, x: n.argmin(x, axis=1), ROWS), ([2, 1], [0, 2])),
    ("argmin, float32", both(lambda n, x: n.argmin(x, axis=1), ROWS.astype(np.float32)), ([0, 2], [0, 2])),
    ("any, axis=1", both(lambda n, x: n.any(x, axis=1), ROWS), (1, [1, 1])),
    ("all, axis=0", both(lambda n, x: n.all(x, axis=0), ROWS), (1, [1, 0, 0])),
    ("trunc", both(lambda n, x: n.trunc(x), FLOATS), ([-3, -1, 1, 2], [-2, 0, 0, 1])),
    ("fix", both(lambda n, x: n.fix(x), FLOATS), ([-3, -1, 1, 2], [-2, 0, 0, 1])),
    ("round", both(lambda n, x: n.round(x), FLOATS), ([-3, -1, 1, 2], [-3, 0, 0, 2])),
    ("mod 2", both(lambda n, x: n.mod(x, 2.0), FLOATS), ([-0.6, -0.5, 0.5, 1.7], [1.4, 1.5, 0.5, 1.7])),
    ("copysign -1", both(lambda n, x: n.copysign(x, -1.0), FLOATS), ([2.6, 0.5, -0.5, -1.7], [-2.6, -0.5, -0.5, -1.7])),
    ("singular values, 3 x 2, right?", singular_are_right(np.ascontiguousarray(WIDE.T)), False),
    ("singular values, 3 x 3, right?", singular_are_right(SQUARE), True),
    ("max beside NaN is 3 in MNN", both(lambda n, x: n.max(x), GAP)[0], 3),
    ("std, axis=1", both(lambda n, x: n.std(x, axis=1), WIDE), ([0.82, 1.08], [0.82, 1.08])),
    ("int64 stamps", kept(np.array([1700000000123456789, 10**10])), [1032178965, 1410065408]),
    ("float64", kept(np.array([16777217.0])), [16777216.0]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
