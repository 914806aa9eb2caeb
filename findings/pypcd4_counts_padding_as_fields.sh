#!/usr/bin/env bash
# Laser scans from ROS (PointCloud2) to arrays with pypcd4.
#
# Guess: `PointCloud.from_msg(message).numpy()` has a column for each field of the message, in its order, and goes by `is_bigendian` and `row_step`.
# Seen with pypcd4 1.5.1, messages made with rosbags 0.11.9 (PyPI; Python 3.11, x86-64):
#   x, y, z, intensity at 0, 4, 8, 16 of 32 bytes    20 columns: every byte between them is one; column 3 is padding, 255 here;
#   (as PCL and many drivers lay points out)         intensity is column 7. `numpy(("x", ..., "intensity"))` is right
#   the same saved as a PCD file                     has the 16 made-up fields, too
#   is_bigendian                                     the numbers are not turned round: 0, 1, 2 are read as 0, 4.6e-41, 9e-44
#   two rows with 8 bytes of padding each            ValueError
#
# So: always name the fields, and turn big-endian data round before.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (130 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pypcd4==1.5.1' 'rosbags==0.11.9' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import io
import sys

import numpy as np
from pypcd4 import Encoding, PointCloud
from rosbags.typesys import Stores, get_typestore

types = get_typestore(Stores.ROS2_JAZZY).types
FLOAT32 = 7
PLACES = np.arange(12, dtype=np.float32).reshape(4, 3)


def message(data, offsets, point_step, rows=1, row_step=None, is_bigendian=False):
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](0, 0), "")
    fields = [types["sensor_msgs/msg/PointField"](name, at, FLOAT32, 1) for name, at in offsets.items()]
    return types["sensor_msgs/msg/PointCloud2"](
        header, rows, 4 // rows, fields, is_bigendian, point_step, row_step or 4 * point_step, np.frombuffer(data, np.uint8), True
    )


def as_in_pcl():
    intensity = np.arange(50, 54, dtype=np.float32)
    data = b"".join(p.tobytes() + b"\xff" * 4 + i.tobytes() + b"\xff" * 12 for p, i in zip(PLACES, intensity))
    return PointCloud.from_msg(message(data, {"x": 0, "y": 4, "z": 8, "intensity": 16}, 32))


def after_a_file(cloud):
    with io.BytesIO() as file:
        cloud.save(file, encoding=Encoding.BINARY)
        return len(PointCloud.from_fileobj(io.BytesIO(file.getvalue())).fields)


def read(data, **layout):
    try:
        return PointCloud.from_msg(message(data, {"x": 0, "y": 4, "z": 8}, 12, **layout)).numpy()[0].tolist()
    except ValueError:
        return "ValueError"


CLOUD, SWAPPED = as_in_pcl(), PLACES.astype(">f4")
NAMES = ("x", "y", "z", "intensity")
PADDED = b"".join(PLACES[row : row + 2].tobytes() + b"\xff" * 8 for row in (0, 2))
SEEN = [
    ("columns", CLOUD.numpy().shape[1], 20),
    ("second point's first four columns", CLOUD.numpy()[1, :4].tolist(), [3.0, 4.0, 5.0, 255.0]),
    ("where intensity is", CLOUD.fields.index("intensity"), 7),
    ("second point's x, y, z, intensity by name", CLOUD.numpy(NAMES)[1].tolist(), [3.0, 4.0, 5.0, 51.0]),
    ("fields after a file", after_a_file(CLOUD), 20),
    ("0, 1, 2 little-endian", read(PLACES.tobytes()), [0.0, 1.0, 2.0]),
    ("0, 1, 2 big-endian", read(SWAPPED.tobytes(), is_bigendian=True) == SWAPPED[0].view("<f4").tolist(), True),
    ("two rows with padding", read(PADDED, rows=2, row_step=32), "ValueError"),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:52}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
