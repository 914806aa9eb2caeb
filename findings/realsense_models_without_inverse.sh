#!/usr/bin/env bash
# From a pixel of a RealSense camera to a place and back with librealsense's own functions.
#
# Guess: `rs2_project_point_to_pixel` takes what `rs2_deproject_pixel_to_point` gave back to its pixel, for each distortion model that the
# type offers, or the model is refused.
# Seen with pyrealsense2 2.59.1 (PyPI; Python 3.11, x86-64), 640 x 480, f 380, one set of coefficients, pixel (20, 20) at 2 m:
#   none, brown_conrady, kannala_brandt4    back at the pixel
#   inverse_brown_conrady                   back, and the very same place as brown_conrady: it is not the inverse
#   modified_brown_conrady                  3.7 pixels off: it is undone by nothing at all (deprojects as `none` does), and only distorted
#   ftheta (first coefficient 0.92)         46 pixels off: the two functions do not belong together
#   a place one metre behind the camera     gets a pixel within the picture; at depth 0 it is infinite or NaN
#
# No error, no warning. So: look at `intrinsics.model`, try one corner there and back, and drop what lies behind before projecting.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (40 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pyrealsense2==2.59.1.11053' 'libusb-package==1.0.30.0'

cat >"$scratch/probe.py" <<'PYTHON'
import ctypes
import math
import sys
from pathlib import Path

import libusb_package

for library in Path(libusb_package.__file__).parent.glob("libusb-1.0.so*"):
    ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
import pyrealsense2

BROWN = [-0.05, 0.06, 0.001, -0.001, -0.02]


def camera(model, coefficients=BROWN):
    found = pyrealsense2.intrinsics()
    found.width, found.height, found.ppx, found.ppy = 640, 480, 320.0, 240.0
    found.fx = found.fy = 380.0
    found.model, found.coeffs = getattr(pyrealsense2.distortion, model), coefficients
    return found


def place(model, *more):
    return [round(one, 2) for one in pyrealsense2.rs2_deproject_pixel_to_point(camera(model, *more), [20.0, 20.0], 2.0)]


def off_by(model, *more):
    there = pyrealsense2.rs2_deproject_pixel_to_point(camera(model, *more), [20.0, 20.0], 2.0)
    back = pyrealsense2.rs2_project_point_to_pixel(camera(model, *more), there)
    return round(math.dist(back, [20.0, 20.0]), 1)


behind = pyrealsense2.rs2_project_point_to_pixel(camera("brown_conrady"), [0.1, 0.1, -1.0])
SEEN = [
    ("none", off_by("none"), 0.0),
    ("brown_conrady", off_by("brown_conrady"), 0.0),
    ("kannala_brandt4", off_by("kannala_brandt4"), 0.0),
    ("inverse_brown_conrady", off_by("inverse_brown_conrady"), 0.0),
    ("its place is brown_conrady's", place("inverse_brown_conrady") == place("brown_conrady"), True),
    ("modified_brown_conrady", off_by("modified_brown_conrady"), 3.7),
    ("its place is that without distortion", place("modified_brown_conrady") == place("none"), True),
    ("ftheta", off_by("ftheta", [0.92, 0.0, 0.0, 0.0, 0.0]), 46.2),
    ("behind the camera", [round(one) for one in behind], [282, 202]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:40}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
