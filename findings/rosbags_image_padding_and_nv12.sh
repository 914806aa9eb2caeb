#!/usr/bin/env bash
# ROS images to arrays with rosbags-image: rows that are padded, and the planar colours of video drivers.
#
# Guess: `message_to_cvimage` goes by the message's `step`, or refuses what it does not read; an encoding that it lists converts.
# Seen with rosbags-image 0.10.4 (PyPI; Python 3.11, x86-64):
#   mono8, 2 rows of 3 in a step of 4    the padding is taken for pixels and the second row is shifted; no word of it
#   mono16, 2 rows of 1 in a step of 4   the padding is taken for the second row
#   nv12, nv21 of 4 x 4                  an assertion of OpenCV's: the message's height is the picture's, the plane's is 1.5 times it
#   big-endian values                    are turned round, as they should be
#
# So: cut each row at `width` times the pixel's size, and unfold planar encodings, before the library sees the message.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (200 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'rosbags-image[opencv-headless]==0.10.4' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from rosbags.image import message_to_cvimage
from rosbags.typesys import Stores, get_typestore

types = get_typestore(Stores.ROS2_HUMBLE).types
Image, Header, Time = (types[name] for name in ("sensor_msgs/msg/Image", "std_msgs/msg/Header", "builtin_interfaces/msg/Time"))


def read(height, width, encoding, step, data, is_bigendian=0, wanted=None):
    header = Header(stamp=Time(sec=0, nanosec=0), frame_id="")
    message = Image(header, height, width, encoding, is_bigendian, step, np.array(data, np.uint8))
    try:
        return message_to_cvimage(message, wanted).tolist()
    except Exception as error:
        return type(error).__name__


RED = [82] * 16
SEEN = [
    ("mono8 as it is", read(2, 3, "mono8", 3, [1, 2, 3, 4, 5, 6]), [[1, 2, 3], [4, 5, 6]]),
    ("mono8 in a step of 4", read(2, 3, "mono8", 4, [1, 2, 3, 0, 4, 5, 6, 0]), [[1, 2, 3], [0, 4, 5]]),
    ("mono16 in a step of 4", read(2, 1, "mono16", 4, [1, 0, 9, 9, 2, 0, 9, 9]), [[1], [9 * 257]]),
    ("mono16, big-endian", read(1, 2, "mono16", 4, [0, 1, 0, 2], 1), [[1, 2]]),
    ("nv12", read(4, 4, "nv12", 4, RED + [90, 240] * 4, wanted="bgr8"), "error"),
    ("nv21", read(4, 4, "nv21", 4, RED + [240, 90] * 4, wanted="bgr8"), "error"),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:30}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
