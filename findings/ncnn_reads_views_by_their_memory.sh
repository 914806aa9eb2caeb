#!/usr/bin/env bash
# A picture as NumPy array handed to a network in ncnn: arrays that are not laid out row by row, and arrays of whole numbers.
#
# Guess: `ncnn.Mat(array)` holds what the array holds, or refuses it; likewise `Mat.from_pixels`.
# Seen with ncnn 1.0.20261020 and numpy 2.4.6 (PyPI; Python 3.11, x86-64):
#   row by row, float32, float16                as given
#   picture.transpose(2, 0, 1), which networks  the shape asked for, the numbers in other places: colours as stripes
#   ask for; a transposed matrix
#   every second column                         the columns between are in it, half of the rest is not
#   np.ascontiguousarray of these               as given
#   from_pixels of the upper left quarter       pixels of the right half as well, rows shifted
#   int32 1, 2, 3                               1.4e-45, 2.8e-45, 4.2e-45: their bits as float32
#   uint8 200                                   -56: read back as int8
# Nothing is raised, and clone() keeps it so. So: np.ascontiguousarray(array, dtype=np.float32) before each Mat, .copy() before from_pixels.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (250 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'ncnn==1.0.20261020' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import ncnn
import numpy as np

PICTURE = np.arange(60, dtype=np.float32).reshape(4, 5, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 16, 3)).astype(np.uint8)


def back(array):
    """What a Mat holds of the array: as given, or the same shape with other numbers."""
    found = np.array(ncnn.Mat(array).clone())
    if found.shape != array.shape:
        return "another shape"
    return "as given" if np.array_equal(found, array) else "other numbers"


def pixels(picture):
    rows, columns = picture.shape[:2]
    found = np.array(ncnn.Mat.from_pixels(picture, ncnn.Mat.PixelType.PIXEL_RGB, columns, rows))
    return "as given" if np.array_equal(found, picture.transpose(2, 0, 1)) else "other numbers"


def numbers(array):
    return [float(f"{one:.2g}") for one in np.array(ncnn.Mat(array)).ravel()]


first = PICTURE.transpose(2, 0, 1)
SEEN = [
    ("row by row, float32, float16", [back(PICTURE), back(PICTURE.astype(np.float16))], ["as given"] * 2),
    ("channels first", back(first), "other numbers"),
    ("a copy of it", back(np.ascontiguousarray(first)), "as given"),
    ("a transposed matrix", back(PICTURE[0].T), "other numbers"),
    ("every second column", back(PICTURE[0, :, ::2]), "other numbers"),
    ("from_pixels", pixels(PIXELS), "as given"),
    ("from_pixels, upper left quarter", pixels(PIXELS[:6, :8]), "other numbers"),
    ("from_pixels, a copy of it", pixels(PIXELS[:6, :8].copy()), "as given"),
    ("int32 1 2 3", numbers(np.array([1, 2, 3], np.int32)), [1.4e-45, 2.8e-45, 4.2e-45]),
    ("uint8 200 5", numbers(np.array([200, 5], np.uint8)), [-56.0, 5.0]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
