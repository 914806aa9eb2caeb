#!/usr/bin/env bash
# Pictures and grids moved by a part of a pixel in OpenCV 4 and in OpenCV 5.
#
# Guess: `INTER_LINEAR` on float32 is the linear interpolation at the place asked for, to float32's precision.
# Seen with opencv-python-headless 4.14.0.94 and 5.0.0.93 (PyPI; Python 3.11, x86-64), a float32 ramp of 100 per pixel:
#   moved by 0.01 0.02 0.10 0.30 of a pixel    4.14: by 0, 3.125, 9.375, 31.25, the nearest 1/32 of a pixel; 5.0: by 1, 2, 10, 30
#   warpAffine, warpPerspective, remap         the same in all three
#   a place that is NaN in remap's maps        4.14: the border's value; 5.0: NaN
#
# So a cost, a depth or a flow that is read with `remap` is a staircase in OpenCV 4 (differences over a small step see
# nothing or a jump), and features of rectified pictures differ between the two. Where that counts, interpolate in NumPy.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (150 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'opencv-python-headless==4.14.0.94' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import json
import subprocess
import sys

PROBE = """
import json
import cv2
import numpy as np

WIDTH, ROWS = 64, 8
ramp = np.tile(np.arange(WIDTH, dtype=np.float32) * 100, (ROWS, 1))
x, y = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(ROWS, dtype=np.float32))
found = {"warpAffine": [], "warpPerspective": [], "remap": []}
for part in (0.01, 0.02, 0.1, 0.25, 0.3):
    move = np.array([[1, 0, -part], [0, 1, 0], [0, 0, 1]])
    moved = {"warpAffine": cv2.warpAffine(ramp, move[:2], (WIDTH, ROWS)),
             "warpPerspective": cv2.warpPerspective(ramp, move, (WIDTH, ROWS)),
             "remap": cv2.remap(ramp, x + np.float32(part), y, cv2.INTER_LINEAR)}
    for name, picture in moved.items():
        found[name].append(round(float(picture[4, 10]) - 1000, 3))
x[4, 10] = np.nan
found["nan"] = str(float(cv2.remap(ramp, x, y, cv2.INTER_LINEAR, borderValue=-1)[4, 10]))
print(json.dumps(found))
"""


def probe():
    return json.loads(subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, text=True).stdout)


def at(version):
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--only-binary", ":all:"]
    subprocess.run([*pip, f"opencv-python-headless=={version}"], check=True)
    return probe()


FOUR, FIVE = probe(), at("5.0.0.93")
STEPS, EXACT = [0.0, 3.125, 9.375, 25.0, 31.25], [1.0, 2.0, 10.0, 25.0, 30.0]
SEEN = [(f"4.14.0.94: {name}", FOUR[name], STEPS) for name in ("warpAffine", "warpPerspective", "remap")]
SEEN += [(f"5.0.0.93: {name}", FIVE[name], EXACT) for name in ("warpAffine", "warpPerspective", "remap")]
SEEN += [("4.14.0.94: remap from NaN", FOUR["nan"], "-1.0"), ("5.0.0.93: remap from NaN", FIVE["nan"], "nan")]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:52}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
