#!/usr/bin/env bash
# USearch with one-byte codes, and its answers where there are fewer than k.
#
# Guess: `dtype="i8"` with `metric="l2sq"` ranks by Euclidean distance on coarser values, some percent of neighbours lost; places
# of an answer that nothing fills have a key that no vector can have.
# Seen with usearch 2.26.6 (PyPI; Python 3.11, x86-64), 1000 vectors of 32 normal values and lengths that differ, exact search:
#   share of true nearest neighbours     f32 1.00, bf16 0.99, i8 about a third: each vector is first brought to length 127, so
#                                        that it is the angle that ranks, whatever the metric says (of the nearest by angle: 0.94)
#   what `get` gives back                the scaled codes, as whole numbers: the length is gone
#   a batch that asks for 10 of 5        key 0, distance NaN, in places 6 to 10 (0 is a valid key); `counts` says 5;
#                                        a single query gives a shorter answer instead
#
# So: one-byte codes only for normalised vectors, or bring a length of one's own; cut each row of a batch by `counts`.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (40 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'usearch==2.26.6' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from usearch.index import Index

ROWS = 1000
random = np.random.default_rng(0)
vectors = (random.normal(size=(ROWS, 32)) * random.uniform(0.2, 2, (ROWS, 1))).astype(np.float32)


def nearest(of):
    """Row of the nearest other one, for each."""
    squares = ((of[:, None] - of[None]) ** 2).sum(-1)
    np.fill_diagonal(squares, np.inf)
    return squares.argmin(1)


def found(dtype):
    index = Index(ndim=32, metric="l2sq", dtype=dtype)
    index.add(np.arange(ROWS), vectors)
    keys = np.asarray(index.search(vectors, 2, exact=True).keys)
    return np.where(keys[:, 0] == np.arange(ROWS), keys[:, 1], keys[:, 0]), index


def share(dtype, truth):
    return float(np.mean(found(dtype)[0] == truth))


by_distance = nearest(vectors)
by_angle = nearest(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
codes = np.asarray(found("i8")[1].get(0), np.float32)
few = Index(ndim=32, metric="l2sq")
few.add(np.arange(5) + 100, vectors[:5])
batch, single = few.search(vectors[:2], 10), few.search(vectors[0], 10)

SEEN = [
    ("f32 finds the nearest by distance", share("f32", by_distance) == 1, True),
    ("bf16 finds the nearest by distance", share("bf16", by_distance) > 0.95, True),
    ("i8 finds the nearest by distance", share("i8", by_distance) > 0.5, False),
    ("i8 finds the nearest by angle", share("i8", by_angle) > 0.9, True),
    ("length of a stored i8 vector", bool(abs(np.linalg.norm(codes) - 127) < 4), True),
    ("keys of a batch of 10 from 5", sorted(np.asarray(batch.keys)[0].tolist()), [0] * 5 + [100, 101, 102, 103, 104]),
    ("their distances that are NaN", int(np.isnan(np.asarray(batch.distances)[0]).sum()), 5),
    ("answers to a single query", len(single), 5),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:40}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
