#!/usr/bin/env bash
# A camera's JPEG in Pillow, OpenCV and PyAV: training decodes with one, the robot with another.
#
# Guess: decoders differ by one or two of 255.
# Seen with pillow 13.0.0, opencv-python-headless 5.0.0.93, av 18.1.0 (PyPI; Python 3.11, x86-64), a red square on grey, quality 95:
#   4:2:0, Pillow and OpenCV            the same in every pixel
#   4:2:0, PyAV                         up to 59 of 255 away, along every edge of colour: each pair of pixels shares one colour, where the
#                                       others blend between neighbours
#   PyAV with ACCURATE_RND              still 44; BICUBIC, BILINEAR, LANCZOS, FULL_CHR_H_INT change nothing (59): they are for scaling
#   4:2:2                               34
#   4:4:4, grey, inside of a surface    at most 2
#
# Webcams and most drivers send 4:2:0 or 4:2:2. So: decode in training with what decodes on the robot, or send 4:4:4.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (230 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pillow==13.0.0' 'opencv-python-headless==5.0.0.93' 'av==18.1.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import io
import sys

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation
from PIL import Image

SCENE = np.full((64, 64, 3), 60, np.uint8)
SCENE[16:47, 16:47] = 220, 30, 30


def jpeg(sampling):
    file = io.BytesIO()
    Image.fromarray(SCENE).save(file, "jpeg", quality=95, subsampling=sampling)
    return file.getvalue()


def by_pillow(data):
    return np.asarray(Image.open(io.BytesIO(data))).astype(int)


def by_opencv(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)


def by_pyav(data, **how):
    with av.open(io.BytesIO(data), format="jpeg_pipe") as stream:
        return next(stream.decode(video=0)).to_ndarray(format="rgb24", **how).astype(int)


def apart(one, other):
    return int(np.abs(one - other).max())


HALF = jpeg("4:2:0")
SEEN = [
    ("Pillow and OpenCV", apart(by_pillow(HALF), by_opencv(HALF)), 0),
    ("Pillow and PyAV, 4:2:0", apart(by_pillow(HALF), by_pyav(HALF)), 59),
    ("the same, 4:2:2", apart(by_pillow(jpeg("4:2:2")), by_pyav(jpeg("4:2:2"))), 34),
    ("the same, 4:4:4", apart(by_pillow(jpeg("4:4:4")), by_pyav(jpeg("4:4:4"))) <= 2, True),
    ("inside of the square, 4:2:0", apart(by_pillow(HALF)[18:30, 18:30], by_pyav(HALF)[18:30, 18:30]) <= 2, True),
    ("ACCURATE_RND", apart(by_pillow(HALF), by_pyav(HALF, interpolation=Interpolation.ACCURATE_RND)), 44),
    ("BICUBIC, FULL_CHR_H_INT", [apart(by_pyav(HALF), by_pyav(HALF, interpolation=one)) for one in (Interpolation.BICUBIC, Interpolation.FULL_CHR_H_INT)], [0, 0]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:32}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
