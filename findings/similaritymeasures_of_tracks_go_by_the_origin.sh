#!/usr/bin/env bash
# How much a driven track differs from the wanted one, by similaritymeasures: the same two tracks moved, turned, or exchanged.
#
# Guess: each of its measures is 0 for a track and itself, the same both ways round, and the same wherever the map has its origin.
# Seen with similaritymeasures 1.5.0 (PyPI; Python 3.11, x86-64), two tracks of 10 m that are 1 m apart, straight to the east or in a wave:
#   frechet_dist, dtw, both tracks              1 m and 50 m, moved, turned and exchanged
#   curve_length_measure of the waves           13.5; both moved by 2 m 2.7, by 100 m 0.07, to UTM 0.0000014
#   straight to the east at y = 0 and y = 1     infinity; exchanged 4.9; of one and itself NaN
#   pcm of straight tracks east or north        NaN, of one and itself as well
#   pcm of the waves                            12.24 wherever they are
# NaN and infinity come with a warning of NumPy's at most. So: frechet_dist or dtw, or the tracks moved and turned to the first one's start.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (310 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'similaritymeasures==1.5.0' 'numpy==2.4.6' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import warnings

import numpy as np
import similaritymeasures as measures

warnings.simplefilter("ignore")
ALONG = np.linspace(0, 10, 50)
STRAIGHT, WAVE = np.column_stack([ALONG, 0 * ALONG]), np.column_stack([ALONG, np.sin(ALONG)])
ASIDE, UTM = np.array([0.0, 1.0]), np.array([500000.0, 5200000.0])


def rounded(value):
    return round(float(value), 2) if np.isfinite(value) else str(float(value))


def by(measure, track, moved=0.0, other=None):
    return rounded(measure(track + moved, (track + ASIDE if other is None else other) + moved))


def dtw(one, other):
    return measures.dtw(one, other)[0]


SEEN = [
    ("Frechet, straight and wave, near, UTM", [by(measures.frechet_dist, track, moved) for track in (STRAIGHT, WAVE) for moved in (0, UTM)], [1.0] * 4),
    ("length, wave, moved by 0, 2, 100 m", [by(measures.curve_length_measure, WAVE, moved) for moved in (0, 2, 100)], [13.52, 2.69, 0.07]),
    ("in UTM", round(1e6 * float(measures.curve_length_measure(WAVE + UTM, WAVE + ASIDE + UTM)), 1), 1.4),
    ("length, straight", by(measures.curve_length_measure, STRAIGHT), "inf"),
    ("exchanged", by(measures.curve_length_measure, STRAIGHT + ASIDE, other=STRAIGHT), 4.9),
    ("with itself", by(measures.curve_length_measure, STRAIGHT, other=STRAIGHT), "nan"),
    ("pcm, east, north, with itself", [by(measures.pcm, STRAIGHT), by(measures.pcm, STRAIGHT[:, ::-1]), by(measures.pcm, STRAIGHT, other=STRAIGHT)], ["nan"] * 3),
    ("pcm, wave, near, UTM", [by(measures.pcm, WAVE, moved) for moved in (0, UTM)], [12.24, 12.24]),
    ("dtw, straight, near, UTM", [by(dtw, STRAIGHT, moved) for moved in (0, UTM)], [50.0, 50.0]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
