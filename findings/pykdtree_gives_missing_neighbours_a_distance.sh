#!/usr/bin/env bash
# Nearest points of a cloud with pykdtree, a faster stand-in for SciPy's cKDTree: places of an answer that nothing fills.
#
# Guess: as in SciPy, a neighbour that is missing is infinitely far and has the number of points as its index.
# Seen with pykdtree 1.4.3, judged by scipy 1.17.1 (PyPI; Python 3.11, x86-64), two points, asked for three:
#   k=3 of two points, float64               third distance 1.3e154 (the root of the greatest number), which is finite; index 4294967295
#   the same, float32                        1.8e19
#   distance_upper_bound=0.5                 infinity, as in SciPy
#   SciPy, k=3 of two points                 infinity; index 2
#   mask with a single point left, k=2       the same second distance and index
#   a query with NaN                         every distance 1.3e154, every index 4294967295; SciPy raises
#   a point with NaN in the data             never found, the others rightly; a query of another float type is refused
#
# So `isfinite` lets missing neighbours through, and their mean is 1e153. Compare indices with the number of points, or give a bound that is finite.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (190 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pykdtree==1.4.3' 'numpy==2.4.6' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from pykdtree.kdtree import KDTree
from scipy.spatial import cKDTree

POINTS, ASKED = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), np.array([[0.1, 0.0, 0.0]])


def answer(tree, asked=ASKED, k=3, **how):
    distances, indices = tree.query(asked, k=k, **how)
    return [f"{one:.2g}" for one in distances[0]], indices[0].tolist()


def refused(what):
    try:
        what()
    except (TypeError, ValueError):
        return True
    return False


TREE, UNKNOWN = KDTree(POINTS), np.array([[np.nan, 0.0, 0.0]])
SEEN = [
    ("k=3, float64", answer(TREE), (["0.1", "0.9", "1.3e+154"], [0, 1, 2**32 - 1])),
    ("k=3, float32", answer(KDTree(POINTS.astype("f4")), ASKED.astype("f4")), (["0.1", "0.9", "1.8e+19"], [0, 1, 2**32 - 1])),
    ("k=3, a bound of 0.5", answer(TREE, distance_upper_bound=0.5), (["0.1", "inf", "inf"], [0, 2, 2])),
    ("SciPy, k=3", answer(cKDTree(POINTS)), (["0.1", "0.9", "inf"], [0, 1, 2])),
    ("one point left by a mask, k=2", answer(TREE, k=2, mask=np.array([True, False])), (["0.9", "1.3e+154"], [1, 2**32 - 1])),
    ("NaN", answer(TREE, UNKNOWN, k=2), (["1.3e+154"] * 2, [2**32 - 1] * 2)),
    ("SciPy refuses NaN", refused(lambda: cKDTree(POINTS).query(UNKNOWN)), True),
    ("NaN in the data: the others", answer(KDTree(np.concatenate([POINTS, UNKNOWN])), k=2), (["0.1", "0.9"], [0, 1])),
    ("another float refused", refused(lambda: KDTree(POINTS.astype("f4")).query(ASKED)), True),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:42}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
