#!/usr/bin/env bash
# Cosine distances of embeddings with SimSIMD (USearch's own), where one number of one vector is NaN, as a network gives after 0 / 0.
#
# Guess: NaN, as its `sqeuclidean` and `inner` and SciPy say.
# Seen with simsimd 6.5.16, scipy 1.17.1, numpy 2.4.6 (PyPI; Python 3.11, x86-64), ones of 64 numbers, one of them NaN:
#   cosine with ones, float64, float32       1.0: a right angle, a plausible stranger
#   cosine with itself, with another NaN     0.0: the same place
#   sqeuclidean, euclidean, inner            NaN
#   cdist by cosine                          as cosine: a frame with NaN is nearest to any other frame with NaN
#   scipy.spatial.distance.cosine            NaN
#   with and without the processor's wide instructions (disable_capability)    the same
# So in a loop closure or a search for duplicates, two broken frames are one place at distance 0, below each threshold. Its documentation names NaN
# only among what may be done some day. The whole vector counts as zeros, in float64 too. So: `np.isfinite(vectors).all(axis=1)` first.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (250 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'simsimd==6.5.16' 'scipy==1.17.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import simsimd
from scipy.spatial import distance

ONES = np.ones(64)
BROKEN = np.where(np.arange(64) == 3, np.nan, ONES)
ALSO_BROKEN = np.where(np.arange(64) == 40, np.nan, -np.arange(64.0))
KINDS = (np.float64, np.float32)


def said(ask, one, other):
    """The distance for each type, as text."""
    return [str(round(float(ask(one.astype(kind), other.astype(kind))), 6)) for kind in KINDS]


def among():
    """Distances of two broken frames and a sound one to each other."""
    frames = np.stack([BROKEN, ALSO_BROKEN, ONES]).astype(np.float32)
    return np.asarray(simsimd.cdist(frames, frames, "cosine")).round(4).tolist()


def cosines():
    pairs = ((BROKEN, ONES), (ONES, BROKEN), (BROKEN, BROKEN), (BROKEN, ALSO_BROKEN))
    return [said(simsimd.cosine, one, other) for one, other in pairs]


BY_COSINE = [["1.0", "1.0"], ["1.0", "1.0"], ["0.0", "0.0"], ["0.0", "0.0"]]
WIDE, DISTANCES = cosines(), among()
for name, there in simsimd.get_capabilities().items():
    if there and name != "serial":
        simsimd.disable_capability(name)
SEEN = [
    ("cosine", WIDE, BY_COSINE),
    ("without wide instructions", cosines(), BY_COSINE),
    ("cdist", DISTANCES, [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]),
    ("sqeuclidean", said(simsimd.sqeuclidean, BROKEN, ONES), ["nan", "nan"]),
    ("euclidean", said(simsimd.euclidean, BROKEN, ONES), ["nan", "nan"]),
    ("inner", said(simsimd.inner, BROKEN, ONES), ["nan", "nan"]),
    ("scipy's cosine", said(distance.cosine, BROKEN, ONES), ["nan", "nan"]),
    ("a vector of zeros", said(simsimd.cosine, ONES * 0, ONES), ["1.0", "1.0"]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
