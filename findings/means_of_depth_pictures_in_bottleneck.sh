#!/usr/bin/env bash
# The mean depth of a picture, the spread of a wall's distances: float32 in Bottleneck (which pandas takes for `std`) and numexpr.
#
# Guess: a mean of float32 is right to some millionths, as NumPy's over all of a picture, or is computed in double precision.
# Seen with Bottleneck 1.6.0, numexpr 2.14.2, numpy 2.4.6 (PyPI; Python 3.11, x86-64), 480 x 640 pixels of 4.1 m:
#   bottleneck.nanmean, nansum / size           4.113: 13 mm off, more than the sensor; NumPy 4.100
#   numexpr's sum(picture) / size               4.113
#   ten million points                          4.006 in both
#   bottleneck.nanstd of 4.1 m everywhere       0.013 m where there is none (0.09 m of ten million); of 1 cm of noise 0.0125
#   nanmean(axis=0), picture as float64         right
#   nansum of int32, 480 x 640 of 30000 mm      626065408 (right: 9216000000): it wraps round, NumPy's does not
# Values are added up one after the other in the type that they have. Nothing is said. So: astype(np.float64) first, or NumPy.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (90 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'bottleneck==1.6.0' 'numexpr==2.14.2' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import bottleneck
import numexpr
import numpy as np

WALL = np.full((480, 640), 4.1, np.float32)
NOISY = (WALL + 0.01 * np.random.default_rng(0).normal(size=WALL.shape)).astype(np.float32)
MANY = np.full(10_000_000, 4.1, np.float32)
MILLIMETRES = np.full((480, 640), 30000, np.int32)


def by_numexpr(picture):
    return float(numexpr.evaluate("sum(picture)")) / picture.size


def rounded(*found):
    return [round(float(one), 3) for one in found]


SEEN = [
    ("picture: nanmean, nansum / size", rounded(bottleneck.nanmean(WALL), bottleneck.nansum(WALL) / WALL.size), [4.113, 4.113]),
    ("picture: numexpr, NumPy", rounded(by_numexpr(WALL), np.nanmean(WALL)), [4.113, 4.1]),
    ("ten million: nanmean, numexpr, NumPy", rounded(bottleneck.nanmean(MANY), by_numexpr(MANY), np.nanmean(MANY)), [4.006, 4.006, 4.1]),
    ("nanstd of 4.1 m", rounded(bottleneck.nanstd(WALL), bottleneck.nanstd(MANY), np.nanstd(WALL)), [0.013, 0.091, 0.0]),
    ("nanstd of 1 cm of noise, in mm", rounded(1000 * bottleneck.nanstd(NOISY), 1000 * np.nanstd(NOISY.astype(float))), [12.454, 10.014]),
    ("nanmean(axis=0), greatest", rounded(bottleneck.nanmean(WALL, axis=0).max()), [4.1]),
    ("as float64", rounded(bottleneck.nanmean(WALL.astype(float))), [4.1]),
    ("nansum of int32", int(bottleneck.nansum(MILLIMETRES)), 626065408),
    ("NumPy's", int(np.nansum(MILLIMETRES)), 9216000000),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
