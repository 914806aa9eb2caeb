#!/usr/bin/env bash
# Smoothing a depth picture in which one pixel is missing (NaN, infinity or the greatest float32), with OpenCV and SciPy.
#
# Guess: with a window of 5 x 5, what one pixel holds reaches the 25 windows that have it in them and no other.
# Seen with opencv-python-headless 5.0.0.93 and scipy 1.17.1 (PyPI; Python 3.11, x86-64), 20 x 30 pixels of 2 m, row 5, column 10 missing:
#   cv2.blur 5 x 5, NaN or infinity      85 pixels are NaN: five columns, all the way down to the last row
#   cv2.blur 5 x 5, 3.4e38               five columns below it are 0.4 m: a wall where there is none; all finite
#   cv2.blur 7 x 7, NaN                  all that is below and right of it, 414 of 600 pixels
#   scipy.ndimage.uniform_filter, NaN    all that is below and right of it, 374
#   the same, 3.4e38                     170 wrong values, down to 0 m, in double precision too
#   cv2.GaussianBlur, cv2.bilateralFilter, a missing pixel of 1e9    25, 13 and 25 pixels, those near it
#
# Windows are summed up by adding what enters and taking away what leaves; NaN never leaves, and beside 3.4e38 two metres are lost. So: fill
# missing pixels first (and divide by the blurred mask), or take GaussianBlur.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (250 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'opencv-python-headless==5.0.0.93' 'scipy==1.17.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import warnings

import cv2
import numpy as np
from scipy import ndimage

warnings.simplefilter("ignore")
GREATEST = 3.4e38


def wrong(smooth, missing, kind=np.float32):
    """How many pixels are not 2 m any more, and the last row and column of them."""
    depth = np.full((20, 30), 2, kind)
    depth[5, 10] = missing
    rows, columns = np.nonzero(~(np.abs(smooth(depth) - 2.0) < 0.01))
    return len(rows), int(rows.max()), int(columns.max())


def below(smooth, missing):
    """What stands ten rows below the missing pixel [m]."""
    depth = np.full((20, 30), 2, np.float32)
    depth[5, 10] = missing
    return round(float(smooth(depth)[15, 10]), 2)


def blur(size):
    return lambda depth: cv2.blur(depth, (size, size))


def uniform(depth):
    return ndimage.uniform_filter(depth, 5)


def gaussian(depth):
    return cv2.GaussianBlur(depth, (5, 5), 1)


def bilateral(depth):
    return cv2.bilateralFilter(depth, 5, 0.1, 2)


SEEN = [
    ("blur 5 x 5, NaN: pixels, last row, column", wrong(blur(5), np.nan), (85, 19, 12)),
    ("blur 5 x 5, infinity", wrong(blur(5), np.inf), (85, 19, 12)),
    ("blur 5 x 5, 3.4e38", wrong(blur(5), GREATEST), (85, 19, 12)),
    ("ten rows below, 3.4e38 [m]", below(blur(5), GREATEST), 0.4),
    ("blur 7 x 7, NaN", wrong(blur(7), np.nan), (414, 19, 29)),
    ("uniform_filter 5, NaN", wrong(uniform, np.nan), (374, 19, 29)),
    ("uniform_filter 5, 3.4e38", wrong(uniform, GREATEST), (170, 19, 29)),
    ("the same, double precision", wrong(uniform, GREATEST, np.float64), (170, 19, 29)),
    ("GaussianBlur 5 x 5, NaN", wrong(gaussian, np.nan), (25, 7, 12)),
    ("bilateralFilter 5, NaN", wrong(bilateral, np.nan), (13, 7, 12)),
    ("blur 5 x 5, 1e9", wrong(blur(5), 1e9), (25, 7, 12)),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
