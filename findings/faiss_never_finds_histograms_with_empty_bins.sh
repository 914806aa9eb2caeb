#!/usr/bin/env bash
# Places recognised by histograms (scan rings, bags of words) in Faiss: its distances for histograms, and numbers that codes do not hold.
#
# Guess: a histogram that lies in the index is found by itself at distance 0; what a code cannot hold is refused, or stays far from all.
# Seen with faiss-cpu 1.15.1, scipy 1.17.1 as a judge (PyPI; Python 3.11, x86-64), four histograms of four bins, three with an empty bin:
#   JensenShannon, full histogram, in SciPy 0 to itself       found; 0
#   JensenShannon, histograms with an empty bin               nothing is found for them, themselves included: 0 log 0 is NaN, and a
#                                                             NaN never gets into the answer (-1 in each place)
#   Canberra, a bin that is empty in both                     likewise: two that share an empty bin never meet; those that do not, do
#   BrayCurtis                                                right throughout
#   HNSW with either                                          the same
#   ScalarQuantizer QT_8bit, a row with NaN                   the NaN is the smallest value seen in training: found as a near neighbour
#   ScalarQuantizer QT_fp16, 70000                            infinity: the row is never found again, not by itself either
# Nothing is raised or logged. Add a little to each bin and normalise, or use another distance; look for NaN before adding to codes.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (190 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'faiss-cpu==1.15.1' 'scipy==1.17.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import faiss
import numpy as np
from scipy.spatial import distance

HISTOGRAMS = np.array([[0.5, 0.5, 0, 0], [0.5, 0.25, 0.25, 0], [0.25] * 4, [0, 0, 0.5, 0.5]], np.float32)


def found(index, rows=HISTOGRAMS):
    index.add(rows)
    return [[int(i) for i in ids if i >= 0] for ids in index.search(rows, len(rows))[1]]


def flat(metric):
    return found(faiss.IndexFlat(4, metric))


def coded(kind, rows):
    index = faiss.IndexScalarQuantizer(2, kind)
    index.train(np.array([[-3, -3], [3, 3]], np.float32))
    index.add(np.array(rows, np.float32))
    return index


with_nan = coded(faiss.ScalarQuantizer.QT_8bit, [[np.nan, 1], [2, 1]])
too_large = coded(faiss.ScalarQuantizer.QT_fp16, [[70000, 1], [60000, 1]])
judge = [round(float(distance.jensenshannon(h, h)), 6) for h in HISTOGRAMS]
canberra = [float(distance.canberra(h, h)) for h in HISTOGRAMS]
asked = np.array([[70000, 1]], np.float32)
SEEN = [
    ("SciPy, Jensen-Shannon, each to itself", judge, [0.0] * 4),
    ("SciPy, Canberra, each to itself", canberra, [0.0] * 4),
    ("JensenShannon: found, nearest first", flat(faiss.METRIC_JensenShannon), [[], [], [2], []]),
    ("Canberra", flat(faiss.METRIC_Canberra), [[2, 3], [2, 3], [2, 1, 3, 0], [2, 1, 0]]),
    ("BrayCurtis", flat(faiss.METRIC_BrayCurtis), [[0, 1, 2, 3], [1, 0, 2, 3], [2, 1, 0, 3], [3, 2, 1, 0]]),
    ("HNSW, JensenShannon", found(faiss.IndexHNSWFlat(4, 8, faiss.METRIC_JensenShannon)), [[], [], [2], []]),
    ("QT_8bit: NaN is then", round(float(with_nan.reconstruct(0)[0]), 1), -3.0),
    ("nearest to [-3, 1]", with_nan.search(np.array([[-3, 1]], np.float32), 1)[1].tolist(), [[0]]),
    ("QT_fp16: 70000 is then", float(too_large.reconstruct(0)[0]), float("inf")),
    ("the two nearest to it", too_large.search(asked, 2)[1].tolist(), [[1, -1]]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
