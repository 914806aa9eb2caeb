#!/usr/bin/env bash
# Nearest neighbours with Vicinity, one front for several indexes: embeddings in one byte a number by Euclidean distance, and distances of its LSH index.
#
# Guess: a vector that is in the index is found by itself at distance 0, whatever its type; each backend says the distance that the metric has.
# Seen with vicinity 0.4.6, faiss-cpu 1.15.1, voyager 2.2.3 (PyPI; Python 3.11, x86-64), 500 vectors of 16 numbers as int8, uint8, float32:
#   basic (the default), "euclidean", int8    itself is the nearest for none of the 500
#   uint8                           for one; float32: for all
#   16 times 100, and 16 times -100, int8     both are 22.6 away from the first, which is itself one of them
#   query_threshold 20, int8        310 of 500, up to 227 away; truly itself only
#   "cosine", int8 and uint8        all find themselves
#   FAISS flat, voyager, int8       all find themselves
#   FAISS, index_type="lsh", "euclidean", float32   the distances said are 0 and 1, of vectors up to 21.5 away
#   query_threshold 9, lsh          100 "within 9", truly itself only; flat: itself
# Squares are taken in the type itself and wrap round; LSH says how many bits differ. model2vec, its sister, makes int8 embeddings. Its documentation
# has neither. So: `.astype(np.float32)` before; no LSH under a threshold.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (300 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'vicinity[faiss,voyager]==0.4.6' 'faiss-cpu==1.15.1' 'voyager==2.2.3' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import warnings

import numpy as np
from vicinity import Backend, Vicinity

warnings.simplefilter("ignore")
VECTORS = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32) * 3
ITEMS = [str(number) for number in range(500)]


def as_type(kind):
    if kind is np.float32:
        return VECTORS
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    return (VECTORS * 10 + (low + high + 1) // 2).clip(low, high).astype(kind)


def index(vectors, backend=Backend.BASIC, metric="euclidean", **how):
    return Vicinity.from_vectors_and_items(vectors, ITEMS[: len(vectors)], backend_type=backend, metric=metric, **how)


def find_themselves(kind, **how):
    vectors = as_type(kind)
    return sum(found[0][0] == item for found, item in zip(index(vectors, **how).query(vectors, k=1), ITEMS, strict=True))


def opposite():
    """What is said of two vectors 800 apart."""
    vectors = np.array([[100] * 16, [-100] * 16], np.int8)
    return sorted((item, round(float(far), 3)) for item, far in index(vectors).query(vectors[:1], k=2)[0])


def within(limit, vectors, **how):
    """How many are said to be within the limit of the first, how many are, and how far they are at most."""
    found = [int(item) for item, _ in index(vectors, **how).query_threshold(vectors[:1], threshold=limit)[0]]
    truly = np.linalg.norm(vectors.astype(float) - vectors[0].astype(float), axis=1)
    return len(found), int((truly < limit).sum()), round(float(truly[found].max()), 1)


def said_by_lsh():
    found = index(VECTORS, Backend.FAISS, index_type="lsh").query(VECTORS[:1], k=10)[0]
    return sorted({round(float(far), 4) for _, far in found})


LSH = {"backend": Backend.FAISS, "index_type": "lsh"}
SEEN = [
    ("euclidean, int8", find_themselves(np.int8), 0),
    ("uint8", find_themselves(np.uint8), 1),
    ("float32", find_themselves(np.float32), 500),
    ("cosine", [find_themselves(kind, metric="cosine") for kind in (np.int8, np.uint8)], [500, 500]),
    ("itself and the opposite", opposite(), [("0", 22.627), ("1", 22.627)]),
    ("voyager, FAISS, int8", [find_themselves(np.int8, backend=one) for one in (Backend.VOYAGER, Backend.FAISS)], [500, 500]),
    ("within 100, int8", within(100, as_type(np.int8)), (500, 3, 226.9)),
    ("within 20, int8", within(20, as_type(np.int8)), (310, 1, 226.9)),
    ("within 10, float32", within(10, VECTORS), (3, 3, 9.8)),
    ("lsh, distances said", said_by_lsh(), [0.0, 1.0]),
    ("within 9, lsh", within(9, VECTORS, **LSH), (100, 1, 21.5)),
    ("within 9, flat", within(9, VECTORS, backend=Backend.FAISS), (1, 1, 0.0)),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
