#!/usr/bin/env bash
# Depth pictures and coloured points logged to Rerun from NumPy arrays: arrays with their bytes the other way round, as of PGM and PNG files and of
# ROS images with is_bigendian, and colours as floats from 0 to 255.
#
# Guess: what is logged is what the array holds, or it is refused; floats are colours from 0 to 1, and what is above stops at full, or is refused.
# Seen with rerun-sdk 0.41.0 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), the content of the components that are sent:
#   DepthImage of uint16, either layout         0 1 2 as 0 1 2
#   DepthImage, Image, SegmentationImage of     0 256 512, and the type says uint16: 1 mm is 256 mm
#   big-endian uint16
#   DepthImage of big-endian float32            1.5 as 6.9e-41
#   Scalars, Points3D of big-endian floats      right
#   Tensor of the same                          left out, with a warning
#   colours [0.2, 0.4, 1.0]                     51 102 255
#   [200.0, 100.0, 0.0], [255.0, 0.0, 0.0]      56 156 0; 1 0 0: they are multiplied by 255 and wrap round
#   [1.5, 0.0, 0.0]                             126 0 0
# So: `array.astype(array.dtype.newbyteorder("="))`, and colours as uint8.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (790 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check --only-binary :all: \
    'rerun-sdk==0.41.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys
import warnings

import numpy as np
import rerun as rr

warnings.simplefilter("ignore")
DEPTH = np.arange(6, dtype=np.uint16).reshape(2, 3)


def pixels(picture, dtype=np.uint16):
    return np.frombuffer(bytes(picture.buffer.as_arrow_array().to_pylist()[0]), dtype).tolist()[:3]


def kind(picture):
    return picture.format.as_arrow_array().to_pylist()[0]["channel_datatype"]


def colour(*numbers):
    packed = rr.Points3D([[0.0, 0, 0]], colors=np.array([numbers])).colors.as_arrow_array().to_pylist()[0]
    return [packed >> shift & 255 for shift in (24, 16, 8)]


turned = DEPTH.astype(">u2")
far = np.array([[1.5, 2.0]], ">f4")
SEEN = [
    ("rows, columns in memory", [pixels(rr.DepthImage(one)) for one in (DEPTH, np.asfortranarray(DEPTH))], [[0, 1, 2]] * 2),
    ("big-endian: depth", pixels(rr.DepthImage(turned)), [0, 256, 512]),
    ("of the same type", kind(rr.DepthImage(turned)) == kind(rr.DepthImage(DEPTH)), True),
    ("picture, classes", [pixels(rr.Image(turned, color_model="L")), pixels(rr.SegmentationImage(turned))], [[0, 256, 512]] * 2),
    (
        "float32: right, below 1e-30",
        [pixels(rr.DepthImage(far), np.float32)[0] == 1.5, pixels(rr.DepthImage(far), np.float32)[0] < 1e-30],
        [False, True],
    ),
    ("scalars", rr.Scalars(far[0].astype(">f8")).scalars.as_arrow_array().to_pylist(), [1.5, 2.0]),
    ("points", rr.Points3D(np.array([[1, 2, 3]], ">f4")).positions.as_arrow_array().to_pylist(), [[1.0, 2.0, 3.0]]),
    ("colours up to 1", colour(0.2, 0.4, 1.0), [51, 102, 255]),
    ("colours up to 255", [colour(200.0, 100.0, 0.0), colour(255.0, 0.0, 0.0)], [[56, 156, 0], [1, 0, 0]]),
    ("colour above 1", colour(1.5, 0.0, 0.0), [126, 0, 0]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:30}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
