#!/usr/bin/env bash
# Writing messages with rosbags from NumPy arrays whose type is not the field's.
#
# Guess: `serialize_cdr` converts the array, or refuses it, as it refuses a number that does not fit the field.
# Seen with rosbags 0.11.9 (PyPI; Python 3.11, x86-64):
#   np.array([1, 2, 3]) in float64[]       5e-324, 1e-323, 1.5e-323: the integers' bits, since they take 8 bytes, too
#   an int64 identity in float64[36]       a covariance that is almost 0
#   int32 in float32[], float32 in int32[] the same
#   big-endian float64                     the bytes are not turned round
#   float32 in float64[]                   refused, as other sizes are
#   ROS 1 messages                         the same
#
# So: give every array its type (`np.asarray(values, np.float64)`) where the message is made; nothing says so later.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (110 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'rosbags==0.11.9' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from rosbags.typesys import Stores, get_typestore

ROS2, ROS1 = get_typestore(Stores.ROS2_JAZZY), get_typestore(Stores.ROS1_NOETIC)


def read_back(kind, values, store=ROS2):
    name = f"std_msgs/msg/{kind}MultiArray"
    layout = store.types["std_msgs/msg/MultiArrayLayout"](dim=[], data_offset=0)
    message = store.types[name](layout=layout, data=values)
    try:
        if store is ROS1:
            return ROS1.deserialize_ros1(ROS1.serialize_ros1(message, name), name).data.tolist()
        return ROS2.deserialize_cdr(ROS2.serialize_cdr(message, name), name).data.tolist()
    except ValueError:
        return "refused"


def trace_of(covariance):
    """Trace of a covariance that is read back."""
    name, types = "geometry_msgs/msg/PoseWithCovariance", ROS2.types
    point = types["geometry_msgs/msg/Point"](0.0, 0.0, 0.0)
    pose = types["geometry_msgs/msg/Pose"](point, types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0))
    message = ROS2.deserialize_cdr(ROS2.serialize_cdr(types[name](pose, covariance.ravel()), name), name)
    return float(message.covariance.reshape(6, 6).trace())


def bits(values, kind):
    return np.array(values).view(kind).tolist()


WHOLE = np.array([1, 2, 3], np.int64)
SEEN = [
    ("float64 in float64[]", read_back("Float64", np.array([1.0, 2.0])), [1.0, 2.0]),
    ("int64 in float64[]", read_back("Float64", WHOLE), bits(WHOLE, np.float64)),
    ("int64 in float64[] of ROS 1", read_back("Float64", WHOLE, ROS1), bits(WHOLE, np.float64)),
    ("int32 in float32[]", read_back("Float32", WHOLE.astype(np.int32)), bits(WHOLE.astype(np.int32), np.float32)),
    ("float32 in int32[]", read_back("Int32", np.array([1, 2], np.float32)), [1065353216, 1073741824]),
    ("1.0, 2.0 as big-endian float64", read_back("Float64", np.array([1.0, 2.0], ">f8")), bits(np.array([1.0, 2.0], ">f8"), "<f8")),
    ("float32 in float64[]", read_back("Float64", np.array([1, 2], np.float32)), "refused"),
    ("trace of a covariance, float64", trace_of(np.eye(6)), 6.0),
    ("trace of a covariance, int64", trace_of(np.eye(6, dtype=np.int64)) < 1e-300, True),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:52}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
