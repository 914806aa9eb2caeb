#!/usr/bin/env bash
# The ground's slope taken off a cloud of heights with Verde's `Trend`, in map coordinates (UTM) or degrees, with scikit-learn as pip now brings it.
#
# Guess: a plane is found as a plane wherever the map's origin is, to a micrometre; a fit that is not possible is refused.
# Seen with verde 1.9.0 and scikit-learn 1.9.1, judged by numpy.linalg.lstsq (PyPI; Python 3.11, x86-64), a slope of 58 m over 1 km by 1 km, no noise:
#   coordinates from 0 m, from 100 km           0.0000 m off
#   from 300 km; UTM (500 km, 5200 km)          29 m off, 28 m off: it is as good as no slope at all
#   degrees (47 north, 8 east)                  29 m off
#   Trend(4) of a smooth surface of 2 m         0.1 m off near the origin; 0.8 m off in UTM (0.2 m with scikit-learn 1.8.0)
#   numpy.linalg.lstsq on the same columns      0.0000 m off
#   scikit-learn 1.8.0 instead                  0.0000 m off, all planes
#   Spline, Cubic, Linear in UTM                as near the origin
# Since 1.9 LinearRegression drops directions below a millionth of the largest, and Verde hands it the bare powers of the coordinates. Nothing is said.
# So: subtract the mean of the coordinates before, or keep scikit-learn below 1.9.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (440 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'verde==1.9.0' 'scikit-learn==1.9.1' 'numpy==2.3.5' 'scipy==1.17.1' 'pandas==3.0.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import verde

PLACES = np.random.default_rng(0).uniform(0, 1000, (500, 2))
SLOPE = 100 + PLACES @ [0.01, 0.05]
HILLS = np.sin(PLACES[:, 0] / 300) * np.cos(PLACES[:, 1] / 400)


def moved(east, north):
    return PLACES[:, 0] + east, PLACES[:, 1] + north


def off(coordinates, heights=SLOPE, degree=1):
    fitted = verde.Trend(degree).fit(coordinates, heights).predict(coordinates)
    return float(np.abs(fitted - heights).max())


def off_by_numpy(east, north):
    columns = np.column_stack([np.ones(len(PLACES)), east, north])
    return float(np.abs(columns @ np.linalg.lstsq(columns, SLOPE)[0] - SLOPE).max())


def as_near_the_origin(method):
    near, far = np.array([500.0]), np.array([5200500.0])
    one = method.fit(moved(0, 0), HILLS).predict((near, near))
    other = method.fit(moved(500000, 5200000), HILLS).predict((near + 500000, far))
    return bool(np.abs(one - other) < 1e-6)


UTM = moved(500000, 5200000)
DEGREES = 8 + PLACES[:, 0] / 76000, 47 + PLACES[:, 1] / 111000
SEEN = [
    ("from 0", round(off(moved(0, 0)), 4), 0.0),
    ("from 100 km", round(off(moved(1e5, 1e5)), 4), 0.0),
    ("from 300 km", round(off(moved(3e5, 3e5))), 29),
    ("UTM", round(off(UTM)), 28),
    ("degrees", round(off(DEGREES)), 29),
    ("slope in all", round(float(np.ptp(SLOPE))), 58),
    ("numpy.linalg.lstsq, UTM", round(off_by_numpy(*UTM), 4), 0.0),
    ("Trend(4), from 0", round(off(moved(0, 0), HILLS, 4), 1), 0.1),
    ("UTM", round(off(UTM, HILLS, 4), 1), 0.8),
    ("Spline, Cubic, Linear", [as_near_the_origin(one()) for one in (verde.Spline, verde.Cubic, verde.Linear)], [True] * 3),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
