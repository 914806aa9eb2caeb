#!/usr/bin/env bash
# Event cameras' recordings with tonic: frames of counts, and voxel grids of signed events.
#
# Guess: a pixel's count is right, or stops at the largest number; `ToVoxelGrid` counts an event that got darker as -1 for each type in which tonic
# holds a polarity, the bool of its own structured arrays above all.
# Seen with tonic 1.7.0 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), all events in one pixel, as one that flickers:
#   ToFrame and ToImage, 32 767 events         32767
#   40 000 and 70 000                          -25536 and 4464: counted in int16, which wraps round
#   ToVoxelGrid, four darker, one brighter     p as int8: -3.5 in all, by the weights of their times, as it should be
#     p as bool, as make_structured_array      +3.5: what is written for darker, -1, is True there, so that brighter and darker
#     and DSEC's and DVSGesture's data have    are the same
# So: give p as int8 to ToVoxelGrid; choose windows in which no pixel has more than 32 767 events.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (540 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'tonic==1.7.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import tonic
from tonic import transforms

ONE_PIXEL = (1, 1, 2)


def events(brighter, kind=bool):
    count = len(brighter)
    rows = np.zeros(count, [("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", kind)])
    rows["t"], rows["p"] = np.arange(count), brighter
    return rows


def counted(count):
    flicker = events(np.zeros(count))
    frame = transforms.ToFrame(sensor_size=ONE_PIXEL, time_window=count)(flicker)
    return int(frame.ravel()[0]), int(transforms.ToImage(sensor_size=ONE_PIXEL)(flicker).ravel()[0])


def signed(kind):
    grid = transforms.ToVoxelGrid(sensor_size=ONE_PIXEL, n_time_bins=2)(events([0, 0, 0, 0, 1], kind))
    return round(float(grid.sum()), 6)


SEEN = [
    ("ToFrame, ToImage of 32 767 events", counted(32_767), (32_767, 32_767)),
    ("of 40 000", counted(40_000), (-25_536, -25_536)),
    ("of 70 000", counted(70_000), (4_464, 4_464)),
    ("ToVoxelGrid, p as int8", signed(np.int8), -3.5),
    ("p as int64", signed(np.int64), -3.5),
    ("p as bool", signed(bool), 3.5),
    ("p of make_structured_array", tonic.io.events_struct["p"], np.dtype(bool)),
    ("p of DSEC, DVSGesture", {tonic.datasets.DSEC.dtype["p"], tonic.datasets.DVSGesture.dtype["p"]}, {np.dtype(bool)}),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
