#!/usr/bin/env bash
# Pictures prepared for a model on a small robot with MNN.cv, which has OpenCV's names: smoothed, made smaller, saved.
#
# Guess: a function of OpenCV's name gives OpenCV's pixels to a unit or two, as cvtColor and a linear resize do.
# Seen with mnn 3.6.1, opencv-python-headless 4.14.0.94 beside it (PyPI; Python 3.11, x86-64), one pixel of (90, 180, 45) on black:
#   blur 3 x 3 of one channel                   as OpenCV's: 9 pixels of 10
#   blur 3 x 3 of three channels                the 1st and the 3rd channel are 0; the 2nd has 15 pixels, 5 to 35, that are the sums of all three
#                                               colours (OpenCV: 9 pixels of 10, 20 and 5)
#   GaussianBlur, boxFilter, dilate, filter2D   likewise
#   resize to half, INTER_NEAREST               takes the pixel at 1, 1 (OpenCV 0, 0)
#   INTER_CUBIC, INTER_AREA, INTER_LANCZOS4     the same pixels as INTER_NEAREST; linear right
#   imencode(".png", ...)                       a JPEG, up to tens off: it begins with FF D8
# Nothing is raised. So: smooth channel by channel, make smaller with INTER_LINEAR only, and write files with another library.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (250 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'mnn==3.6.1' 'opencv-python-headless==4.14.0.94' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import cv2
import MNN.cv as other
import MNN.numpy as numbers
import numpy as np

SPOT = np.zeros((9, 9, 3), np.uint8)
SPOT[4, 4] = 90, 180, 45
NOISE = np.random.default_rng(0).integers(0, 256, (12, 16, 3)).astype(np.uint8)
SHIFT = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 0]], np.float32)


def given(picture):
    return numbers.array(picture.tolist(), dtype=numbers.uint8)


def read(variable):
    return np.array(variable.read())


def spots(picture):
    """How many pixels of each channel are not black, and the greatest one."""
    return [(int(np.count_nonzero(channel)), int(channel.max())) for channel in np.moveaxis(np.atleast_3d(picture), 2, 0)]


def half(how):
    return read(other.resize(given(NOISE), (8, 6), interpolation=how))


colours, grey, square = given(SPOT), given(SPOT[..., :1]), other.getStructuringElement(0, (3, 3))
nearest, encoded = half(other.INTER_NEAREST), other.imencode(".png", given(NOISE))[1]
encoded = bytes(np.asarray(encoded.read() if hasattr(encoded, "read") else encoded, np.uint8))
decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR).astype(int)
dilated = cv2.dilate(SPOT, np.ones((3, 3), np.uint8))
SEEN = [
    ("blur, one channel", spots(read(other.blur(grey, (3, 3)))), [(9, 10)]),
    ("blur, OpenCV", spots(cv2.blur(SPOT, (3, 3))), [(9, 10), (9, 20), (9, 5)]),
    ("blur", spots(read(other.blur(colours, (3, 3)))), [(0, 0), (15, 35), (0, 0)]),
    ("boxFilter", spots(read(other.boxFilter(colours, -1, (3, 3)))), [(0, 0), (15, 35), (0, 0)]),
    ("GaussianBlur, empty channels", [one[0] == 0 for one in spots(read(other.GaussianBlur(colours, (3, 3), 1.0)))], [True, False, True]),
    ("dilate", spots(read(other.dilate(colours, square))), [(0, 0), (15, 180), (0, 0)]),
    ("dilate, OpenCV", spots(dilated), [(9, 90), (9, 180), (9, 45)]),
    ("filter2D", spots(read(other.filter2D(colours, -1, numbers.array(SHIFT)))), [(0, 0), (3, 180), (0, 0)]),
    ("half, nearest, first pixel is 1, 1", bool(np.array_equal(nearest[0, 0], NOISE[1, 1])), True),
    ("cubic, area, Lanczos are nearest", [bool(np.array_equal(half(how), nearest)) for how in (2, 3, 4)], [True] * 3),
    ("linear, off by at most 1", bool(np.abs(half(1).astype(int) - cv2.resize(NOISE, (8, 6))).max() <= 1), True),
    (".png begins with", encoded[:2].hex(), "ffd8"),
    (".png, off by more than 10", bool(np.abs(decoded - NOISE).max() > 10), True),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
