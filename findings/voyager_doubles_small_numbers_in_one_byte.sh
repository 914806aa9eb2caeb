#!/usr/bin/env bash
# Embeddings kept in one byte per number with Voyager (StorageDataType.E4M3), and distances asked of an index with the inner product.
#
# Guess: a number becomes the nearest one that E4M3 has, which keeps order and is right to a sixteenth down to 2^-6 = 0.0156, to 0.001 below;
# `get_distance` of two vectors depends on these two vectors, and is what `query` says.
# Seen with voyager 2.2.3 (PyPI; Python 3.11, x86-64):
#   0.007, 0.0156, 0.02 in E4M3                 0.0068, 0.0156, 0.0195: near enough
#   0.0075, 0.0085, 0.0095, 0.0105              0.0156: twice too much
#   0.008, 0.009, 0.01, 0.011                   0.0068: a quarter to a third too small; so 0.0075 is greater than 0.011
#   300 unit vectors of 768 numbers             a sixth of the numbers lies there, 34 percent off on average; 2 percent the greater ones
#   InnerProduct: get_distance, index empty     2.468, which is 1 - a.b
#   the same once 200 vectors are stored        -9.532; between a vector and itself -18.779 instead of -2.779
#   query of the same vector                    right
# From 0.0068 to 0.0156 there is no number, where E4M3 has four (0.0078 to 0.0137). The inner product is taken with the number that the index
# appends to a vector, made of the longest vector so far. Nothing is said. So: scale embeddings up before E4M3 (by 16 and more), and 1 - a @ b by
# NumPy; with more than one thread, keep the ids that `add_items` returns: those that it chooses are now and then not the numbers of the rows.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (110 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'voyager==2.2.3' 'numpy==2.3.5'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from voyager import Index, Space, StorageDataType


def stored(number):
    index = Index(Space.Euclidean, 4, storage_data_type=StorageDataType.E4M3)
    index.add_item(np.full(4, number, "f4"))
    return round(float(index.get_vector(0)[0]), 4)


def embeddings():
    """Share of the numbers between 0.0073 and 0.0156, and how far these and the greater ones are off, in percent."""
    vectors = np.random.default_rng(0).normal(size=(300, 768))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("f4")
    index = Index(Space.Euclidean, 768, storage_data_type=StorageDataType.E4M3)
    index.add_items(vectors, num_threads=1)
    kept = np.array([index.get_vector(number) for number in range(300)])
    off, size = np.abs(kept / vectors - 1), np.abs(vectors)
    small = (size > 0.0073) & (size < 0.0156)
    return round(100 * float(small.mean())), round(100 * float(off[small].mean())), round(100 * float(off[size > 0.016].mean()))


VECTORS = np.random.default_rng(0).normal(size=(200, 8)).astype("f4")
EMPTY, FULL = Index(Space.InnerProduct, 8), Index(Space.InnerProduct, 8)
FULL.add_items(VECTORS)


def between(index, one, other):
    return round(float(index.get_distance(VECTORS[one], VECTORS[other])), 3)


def right(one, other):
    return round(float(1 - VECTORS[one] @ VECTORS[other]), 3)


def queried():
    found, distances = FULL.query(VECTORS[0], k=10)
    return bool(np.allclose(distances, 1 - VECTORS[found.astype(int)] @ VECTORS[0], atol=1e-4))


SEEN = [
    ("0.007, 0.0156, 0.02", [stored(number) for number in (0.007, 0.0156, 0.02)], [0.0068, 0.0156, 0.0195]),
    ("0.0075, 0.0085, 0.0095, 0.0105", [stored(number) for number in (0.0075, 0.0085, 0.0095, 0.0105)], [0.0156] * 4),
    ("0.008, 0.009, 0.01, 0.011", [stored(number) for number in (0.008, 0.009, 0.01, 0.011)], [0.0068] * 4),
    ("-0.0075, -0.011", [stored(-0.0075), stored(-0.011)], [-0.0156, -0.0068]),
    ("embeddings [percent]", embeddings(), (17, 34, 2)),
    ("get_distance, empty", between(EMPTY, 0, 1), 2.468),
    ("1 - a.b", right(0, 1), 2.468),
    ("200 vectors stored", between(FULL, 0, 1), -9.532),
    ("of one and itself, 1 - a.a", [between(FULL, 4, 4), right(4, 4)], [-18.779, -2.779]),
    ("query is right", queried(), True),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
