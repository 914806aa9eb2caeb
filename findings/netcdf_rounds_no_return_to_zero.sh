#!/usr/bin/env bash
# Laser scans and camera pictures in netCDF with netCDF4-python: its lossy roundings, and white pixels.
#
# Guess: rounding to significant digits changes finite values only: infinity ("nothing within range" in a LaserScan), minus infinity ("too
# near") and NaN stay; a picture of bytes without a fill value is read as it was written.
# Seen with netCDF4 1.7.5.1.post1, netCDF-C 4.10.1 (PyPI; Python 3.11, x86-64), float32, significant_digits=3:
#   quantize_mode BitGroom (the default)    infinity becomes NaN where its position in the array is odd, and stays where it is even
#   GranularBitRound                        infinity becomes -0.0, minus infinity 0.0: a free beam is an obstacle at the sensor
#   BitRound                                all three stay
#   least_significant_digit=3               all three stay
#   NaN, zero                               stay in all of them
#   bytes, a pixel of 255                   masked, as no fill value was asked for: the mean of 0 and 255 is 0. A fill of 255 is
#                                           netCDF's default for bytes, which its guide says is not to be looked for in byte data;
#                                           so it is for -127 in int8. fill_value=False when writing, or set_auto_mask(False)
# Nothing is raised or logged.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (90 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'netCDF4==1.7.5.1.post1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import netCDF4
import numpy as np

INF = float("inf")
BEAMS = np.array([2.5, INF, 2.5, -INF, INF, np.nan, 0.0, 1.2345678], np.float32)


def read_back(values, kind, **how):
    with netCDF4.Dataset("scan.nc", "w") as file:
        file.createDimension("beam", len(values))
        file.createVariable("range", kind, ("beam",), **how)[:] = values
    with netCDF4.Dataset("scan.nc") as file:
        return file["range"][:]


def beams(**how):
    return [str(round(float(x), 2)) for x in read_back(BEAMS, "f4", zlib=True, **how)]


def digits(mode):
    return beams(significant_digits=3, quantize_mode=mode)


bytes_read = read_back(np.array([0, 255], np.uint8), "u1")
unfilled = read_back(np.array([0, 255], np.uint8), "u1", fill_value=False)
SEEN = [
    ("as written", beams(), ["2.5", "inf", "2.5", "-inf", "inf", "nan", "0.0", "1.23"]),
    ("BitGroom", digits("BitGroom"), ["2.5", "nan", "2.5", "nan", "inf", "nan", "0.0", "1.23"]),
    ("GranularBitRound", digits("GranularBitRound"), ["2.5", "-0.0", "2.5", "0.0", "-0.0", "nan", "0.0", "1.23"]),
    ("BitRound", digits("BitRound"), ["2.5", "inf", "2.5", "-inf", "inf", "nan", "0.0", "1.25"]),
    ("least_significant_digit", beams(least_significant_digit=3), ["2.5", "inf", "2.5", "-inf", "inf", "nan", "0.0", "1.23"]),
    ("bytes 0, 255", bytes_read.tolist(), [0, None]),
    ("their mean", float(bytes_read.mean()), 0.0),
    ("fill_value=False", unfilled.tolist(), [0, 255]),
    ("int8 -127", read_back(np.array([-127, 0], np.int8), "i1").tolist(), [None, 0]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:26}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
