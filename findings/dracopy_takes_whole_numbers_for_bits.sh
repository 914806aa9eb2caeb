#!/usr/bin/env bash
# Point clouds compressed with Draco from Python (DracoPy): clouds of whole numbers, and one point that is far away.
#
# Guess: a cloud whose coordinates are whole numbers (voxels, millimetres, a list that somebody typed) comes back as these numbers, or is
# refused, as colours that are not bytes are; a point is off by a step of the grid at most, a small part of the cloud.
# Seen with DracoPy 2.2.0 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), the points 0 0 0, 1 2 3 and 100 200 50 in millimetres:
#   float16, float32, float64                  within 0.013
#   a list of whole numbers, int16, int32,     1 is 1065353216, 2 is 1073741824: the bits of the float, as a number
#   int64, uint8, uint16, uint32
#   the same points with faces (a mesh)        right
#   1000 points in 10 m, one of them at 1e10   the others are wherever the first corner is: 10 m off (the steps are parts of the whole extent)
#   float64 in UTM, 20 bits for each number    northing off by 44 mm: it went through float32 first
#
# The docstring asks for "points/vertices (float)"; nothing is raised or logged. So: `points.astype(np.float32)` less an origin of one's own,
# and leave out what is far before.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (90 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'dracopy==2.2.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import DracoPy
import numpy as np

CLOUD = np.array([[0, 0, 0], [1, 2, 3], [100, 200, 50]])
BITS = np.array([1.0, 2.0, 3.0], np.float32).view(np.int32).tolist()
UTM = np.array([[465123.123, 5247000.456, 400.0], [465124.123, 5247001.456, 401.0]])


def back(points, *more, **how):
    return np.asarray(DracoPy.decode(DracoPy.encode(points, *more, preserve_order=True, **how)).points)


def worst(points, **how):
    return float(np.abs(back(points, **how).astype(float) - points).max())


def second_point(points):
    return back(points)[1].astype(int).tolist()


far = np.random.default_rng(0).uniform(0.0, 10.0, (1000, 3))
near = worst(far) < 0.001
far[3] = 1e10
others = np.delete(np.abs(back(far) - far), 3, axis=0)
SEEN = [
    ("float16, float32, float64 within 0.013", all(worst(CLOUD.astype(one)) < 0.013 for one in ("f2", "f4", "f8")), True),
    ("a list of whole numbers: 1 2 3 is", second_point(CLOUD.tolist()), BITS),
    ("whole numbers of these types, the same", [one for one in ("i2", "i4", "i8", "u1", "u2", "u4") if second_point(CLOUD.astype(one)) == BITS], ["i2", "i4", "i8", "u1", "u2", "u4"]),
    ("int32 with a face", back(CLOUD.astype(np.int32), np.array([[0, 1, 2]], np.uint32))[1].astype(int).tolist(), [1, 2, 3]),
    ("1000 points in 10 m, within a millimetre", near, True),
    ("with one at 1e10: metres off", round(float(others.max())), 10),
    ("UTM with 20 bits: metres off", round(worst(UTM, quantization_bits=20), 3), 0.044),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
