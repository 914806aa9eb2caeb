#!/usr/bin/env bash
# A coloured laser scan written as E57 with pye57, from a LAS file's colours (16 bits each, as that format has them) or from floats between 0 and 1.
#
# Guess: what does not fit the file's 8 bits is scaled, kept in 16 (E57 has any limits), or refused.
# Seen with pye57 0.4.19, laspy 2.7.0 (PyPI; Python 3.11, x86-64), five points from black to white:
#   uint8                           comes back
#   LAS, 8 bits times 256           0, 0, 0, 0, 0: every point is black
#   LAS, 8 bits times 257           comes back, by luck: the lower byte is the upper one
#   LAS, true 16 bits: 0, 25600, 25700, 32767, 65535    0, 0, 100, 255, 255
#   floats 0, 0.2, 0.5, 0.9, 1      0, 0, 0, 0, 1: black
#   whole numbers of 64 bits        their lowest byte
#   the header's limits             0 and 255
# Neither writing nor reading says anything, and its documentation has no word of a range. So: `(colour / 65535 * 255).round().astype(np.uint8)` before.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (140 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pye57==0.4.19' 'laspy==2.7.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
from pathlib import Path

import laspy
import numpy as np
import pye57

PLACES = np.arange(5.0)
EIGHT = np.array([0, 64, 100, 200, 255])


def written(**columns):
    """What a scan with these columns is, read again."""
    Path("scan.e57").unlink(missing_ok=True)
    file = pye57.E57("scan.e57", mode="w")
    file.write_scan_raw({**{f"cartesian{axis}": PLACES for axis in "XYZ"}, **columns})
    file.close()
    return pye57.E57("scan.e57")


def colours(values):
    return written(colorRed=values, colorGreen=values, colorBlue=values).read_scan(0, colors=True, ignore_missing_fields=True)["colorRed"].tolist()


def by_las(values):
    """The same by way of a LAS file."""
    cloud = laspy.create(point_format=2, file_version="1.2")
    cloud.x = cloud.y = cloud.z = PLACES
    cloud.red = cloud.green = cloud.blue = np.asarray(values, np.uint16)
    cloud.write("cloud.las")
    return colours(np.array(laspy.read("cloud.las").red))


def limits():
    file = written(colorRed=EIGHT * 257, colorGreen=EIGHT, colorBlue=EIGHT)
    found = file.get_header(0).node["colorLimits"]
    return [found[name].value() for name in ("colorRedMinimum", "colorRedMaximum")]


SEEN = [
    ("uint8", colours(EIGHT.astype(np.uint8)), [0, 64, 100, 200, 255]),
    ("LAS, times 256", by_las(EIGHT * 256), [0, 0, 0, 0, 0]),
    ("times 257", by_las(EIGHT * 257), [0, 64, 100, 200, 255]),
    ("16 bits", by_las([0, 25600, 25700, 32767, 65535]), [0, 0, 100, 255, 255]),
    ("floats", colours(np.array([0, 0.2, 0.5, 0.9, 1])), [0, 0, 0, 0, 1]),
    ("int64", colours(EIGHT + 256), [0, 64, 100, 200, 255]),
    ("limits in the header", limits(), [0, 255]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
