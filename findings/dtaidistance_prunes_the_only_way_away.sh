#!/usr/bin/env bash
# How alike two motions or signals are by dynamic time warping, with dtaidistance: `distance_fast`, which its pages recommend, beside `distance`.
#
# Guess: "same as distance, but with different defaults to choose the fast version": the same number, whatever the options.
# Seen with dtaidistance 2.5.1, judged by a table filled in by hand (PyPI; Python 3.11, x86-64):
#   (1, 1, 1) and (0, 0, 0)                     distance sqrt(3); distance_fast infinity
#   1000 walks of steps of 0.1, each beside     distance right; distance_fast infinity for a quarter of them
#   itself moved by 1
#   penalty=1, (0, 0, 1, 0, 0, 0), (0, 1, 0)    sqrt(3); infinity. 1000 pairs of noise: infinity for a sixth; penalty=2 for two thirds
#   psi=2, (1, 0, 2, 1) and (2, 1)              0; 1
#   distance_fast(use_pruning=False)            right, all of them; distance(use_pruning=True) wrong as well
#   distance_matrix_fast of the same            right
#   max_length_diff=1, 5 samples and 2          distance, distance_fast, warping_paths infinity; warping_paths_fast 2.4
# It cuts off what exceeds the Euclidean distance, which knows no penalty and is rounded to just below the way along the diagonal. Nothing is said; the
# nearest motion is never found. So: use_pruning=False wherever distance_fast is called.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (120 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'dtaidistance==2.5.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from dtaidistance import dtw


def by_hand(one, other, penalty=0.0):
    table = np.full((len(one) + 1, len(other) + 1), np.inf)
    table[0, 0] = 0
    for i, left in enumerate(one):
        for j, right in enumerate(other):
            aside = min(table[i, j + 1], table[i + 1, j]) + penalty**2
            table[i + 1, j + 1] = (left - right) ** 2 + min(table[i, j], aside)
    return table[-1, -1] ** 0.5


def ways(one, other, **how):
    one, other = np.array(one, float), np.array(other, float)
    found = dtw.distance(one, other, **how), dtw.distance_fast(one, other, **how), dtw.distance_fast(one, other, **how, use_pruning=False)
    return [round(float(distance), 3) for distance in found]


def wrong(pairs, distance, penalty=0.0, **how):
    """Percent of pairs whose distance is infinite, and of those that are otherwise wrong."""
    off = np.array([distance(*pair, penalty=penalty, **how) - by_hand(*pair, penalty) for pair in pairs])
    return round(100 * np.isinf(off).mean()), round(100 * (np.abs(off[np.isfinite(off)]) > 1e-9).mean())


def noise():
    return RANDOM.normal(size=RANDOM.integers(5, 40))


def walk():
    return np.cumsum(RANDOM.integers(-1, 2, RANDOM.integers(3, 30))) * 0.1


INF, RANDOM = float("inf"), np.random.default_rng(0)
LONG, SHORT = np.arange(5.0), np.array([1.0, 2.0])
PAIRS = [(noise(), noise()) for _ in range(300)]
WALKS = [(one, one + 1.0) for one in (walk() for _ in range(300))]
SEEN = [
    ("ones and zeros", ways([1, 1, 1], [0, 0, 0]), [1.732, INF, 1.732]),
    ("penalty", ways([0, 0, 1, 0, 0, 0], [0, 1, 0], penalty=1), [1.732, INF, 1.732]),
    ("psi", ways([1, 0, 2, 1], [2, 1], psi=2), [0.0, 1.0, 0.0]),
    ("walks: distance", wrong(WALKS, dtw.distance), (0, 0)),
    ("distance_fast, more than 10 percent", wrong(WALKS, dtw.distance_fast)[0] > 10, True),
    ("without pruning", wrong(WALKS, dtw.distance_fast, use_pruning=False), (0, 0)),
    ("noise, penalty=1: distance", wrong(PAIRS, dtw.distance, 1.0), (0, 0)),
    ("distance_fast, 10 to 30 percent", 10 < wrong(PAIRS, dtw.distance_fast, 1.0)[0] < 30, True),
    ("penalty=2, over half", wrong(PAIRS, dtw.distance_fast, 2.0)[0] > 50, True),
    ("max_length_diff", float(dtw.warping_paths(LONG, SHORT, max_length_diff=1)[0]), INF),
    ("warping_paths_fast", round(dtw.warping_paths_fast(LONG, SHORT, max_length_diff=1)[0], 3), 2.449),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
