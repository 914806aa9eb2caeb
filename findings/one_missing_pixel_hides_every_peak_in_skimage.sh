#!/usr/bin/env bash
# Peaks, corners and matches in a picture of heights, costs or depths with scikit-image, where one pixel in a corner is missing (NaN).
#
# Guess: what lies far from the missing pixel is found as before, or the picture is refused, as threshold_otsu and slic do.
# Seen with scikit-image 0.26.0 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), three hills of 60 x 80 pixels, the NaN 16 pixels and more from each:
#   peak_local_max, as by default and with       3 without the NaN, none with it: the threshold is taken from the least or the greatest value
#   threshold_rel
#   peak_local_max(threshold_abs=0.5)            3, 3
#   corner_peaks(corner_harris(...))             6, none
#   blob_doh                                     3, 4: a blob more, where there is no hill
#   the best of match_template                   1.0, NaN
#   blob_log, blob_dog, find_contours, corner_fast   as before
# Nothing is raised. So: fill what is missing first, or give threshold_abs.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (330 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'scikit-image==0.26.0' 'numpy==2.4.6' 'scipy==1.17.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import warnings

import numpy as np
from skimage import feature, filters, measure

warnings.filterwarnings("ignore")
HILLS = ((15, 20), (30, 60), (45, 25))
ROWS, COLUMNS = np.mgrid[0:60, 0:80]
WHOLE = sum(np.exp(-((ROWS - row) ** 2 + (COLUMNS - column) ** 2) / 18) for row, column in HILLS)
MISSING = WHOLE.copy()
MISSING[5, 75] = np.nan


def both(find):
    return [len(find(WHOLE)), len(find(MISSING))]


def refused(what):
    try:
        what(MISSING)
    except ValueError:
        return True
    return False


def corners(picture):
    return feature.corner_peaks(feature.corner_harris(picture), min_distance=3, threshold_rel=0.01)


best = [float(np.round(feature.match_template(picture, WHOLE[10:20, 15:25]).max(), 3)) for picture in (WHOLE, MISSING)]
SEEN = [
    ("peak_local_max", both(lambda p: feature.peak_local_max(p, min_distance=3)), [3, 0]),
    ("with threshold_rel", both(lambda p: feature.peak_local_max(p, min_distance=3, threshold_rel=0.2)), [3, 0]),
    ("with threshold_abs", both(lambda p: feature.peak_local_max(p, min_distance=3, threshold_abs=0.5)), [3, 3]),
    ("corner_peaks", both(corners), [6, 0]),
    ("blob_doh", both(lambda p: feature.blob_doh(p, max_sigma=6, threshold=0.001)), [3, 4]),
    ("blob_log", both(lambda p: feature.blob_log(p, max_sigma=6, threshold=0.1)), [3, 3]),
    ("blob_dog", both(lambda p: feature.blob_dog(p, max_sigma=6, threshold=0.1)), [3, 3]),
    ("find_contours", both(lambda p: measure.find_contours(p, 0.5)), [3, 3]),
    ("match_template, the best", str(best), "[1.0, nan]"),
    ("threshold_otsu refuses it", refused(filters.threshold_otsu), True),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
