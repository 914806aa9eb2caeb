#!/usr/bin/env bash
# How well a tracker keeps to what it follows, by motmetrics: tracks whose names are long whole numbers (a stamp of nanoseconds, a hash, a cell).
#
# Guess: scores do not depend on how objects and tracks are named; a name that cannot be held is refused, as text is; IDF1 is at most 1.
# Seen with motmetrics 1.4.0 (PyPI; Python 3.11, x86-64), two objects over ten frames, each followed by its own track without a miss:
#   names 1, 2 and 11, 12                       MOTA 1, IDF1 1, two objects
#   the same, and 2^53                          MOTA 1, IDF1 0.5, two objects
#   the same, and 2^60; stamps of nanoseconds   MOTA 1, IDF1 1.5, IDP 1.5, one object, of which one is mostly tracked
#   two tracks change over half way, 2^60       num_switches 2, IDF1 1.5 instead of 0.5
#   the matches, as mot_events shows them       all one object and one track, as floats
# Names are written as float64 between `update` and `compute`, so that neighbours are one; what is counted in `update` goes by the names themselves.
# Nothing is said. So: number objects and tracks from 0 before (numpy.unique with return_inverse).
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (330 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'motmetrics==1.4.0' 'pandas==3.0.6' 'numpy==2.3.5' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import motmetrics
import numpy as np

SCORES = ["mota", "idf1", "idp", "num_unique_objects", "mostly_tracked", "num_switches"]
NONE = np.nan


def followed(base, swapped=False):
    recorded = motmetrics.MOTAccumulator(auto_id=True)
    for frame in range(10):
        tracks = [base + 11, base + 12]
        if swapped and frame >= 5:
            tracks.reverse()
        recorded.update([base + 1, base + 2], tracks, [[0.1, NONE], [NONE, 0.1]])
    return recorded


def scores(base, swapped=False):
    found = motmetrics.metrics.create().compute(followed(base, swapped), metrics=SCORES).iloc[0]
    return [round(float(found[name]), 2) for name in SCORES]


def names(base):
    matches = followed(base).mot_events
    return len(set(matches["OId"])), len(set(matches["HId"])), str(matches["OId"].dtype)


def refused(what):
    try:
        what()
    except (TypeError, ValueError):
        return True
    return False


def of_text():
    recorded = motmetrics.MOTAccumulator(auto_id=True)
    recorded.update(["left", "right"], [1, 2], [[0.1, NONE], [NONE, 0.1]])
    return recorded.mot_events


SEEN = [
    ("1, 2", scores(0), [1.0, 1.0, 1.0, 2.0, 2.0, 0.0]),
    ("and 2^53", scores(2**53), [1.0, 0.5, 1.0, 2.0, 2.0, 0.0]),
    ("and 2^60", scores(2**60), [1.0, 1.5, 1.5, 1.0, 1.0, 0.0]),
    ("stamps", scores(1700000000123456789), [1.0, 1.5, 1.5, 1.0, 1.0, 0.0]),
    ("swapped half way, 1, 2", scores(0, swapped=True)[1::4], [0.5, 2.0]),
    ("and 2^60", scores(2**60, swapped=True)[1::4], [1.5, 2.0]),
    ("objects, tracks, 1, 2", names(0), (2, 2, "float64")),
    ("and 2^60", names(2**60), (1, 1, "float64")),
    ("text is refused", refused(of_text), True),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
