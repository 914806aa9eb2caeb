#!/usr/bin/env bash
# Writing ROS 2 messages to MCAP with mcap-ros2-support: what is not quite as the definition says.
#
# Guess: what does not fit the definition is refused, as a number that does not fit its type is.
# Seen with mcap-ros2-support 0.6.0 (PyPI; Python 3.11, x86-64), read back with its own reader:
#   uint8 of 300, float32 of 1e300          refused
#   float64[3] of two, of four numbers      filled up with 0, cut to three
#   float64[36] of thirty numbers           its last row is 0: a yaw that is known for certain
#   a field that is spelt wrong             left out; the right one is 0
#   uint8 of 1.7                            1
#   a string of None                        ""
#
# No error, no warning. So: check lengths and names against the definition oneself, or write with a typed message.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (40 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'mcap-ros2-support==0.6.0' 'mcap==1.6.0'

cat >"$scratch/probe.py" <<'PYTHON'
import io
import struct
import sys

from mcap_ros2.reader import read_ros2_messages
from mcap_ros2.writer import Writer

DEFINITION = "float64[3] place\nfloat64[36] covariance\nuint8 count\nfloat32 speed\nstring name"


def read_back(field, **message):
    with io.BytesIO() as file:
        writer = Writer(file)
        schema = writer.register_msgdef("robot/msg/Seen", DEFINITION)
        try:
            writer.write_message("/seen", schema, message, log_time=1, publish_time=1)
        except (struct.error, OverflowError):
            return "refused"
        writer.finish()
        (found,) = read_ros2_messages(io.BytesIO(file.getvalue()))
    return getattr(found.ros_msg, field)


IDENTITY = [float(row == column) for row in range(6) for column in range(6)]
SEEN = [
    ("count of 300", read_back("count", count=300), "refused"),
    ("speed of 1e300", read_back("speed", speed=1e300), "refused"),
    ("place of three numbers", list(read_back("place", place=[1.0, 2.0, 3.0])), [1.0, 2.0, 3.0]),
    ("place of two numbers", list(read_back("place", place=[1.0, 2.0])), [1.0, 2.0, 0.0]),
    ("place of four numbers", list(read_back("place", place=[1.0, 2.0, 3.0, 4.0])), [1.0, 2.0, 3.0]),
    ("covariance of 30: length, variance of yaw", [len(c := read_back("covariance", covariance=IDENTITY[:30])), c[35]], [36, 0.0]),
    ("sped=2.0: speed", read_back("speed", sped=2.0), 0.0),
    ("count of 1.7", read_back("count", count=1.7), 1),
    ("name of None", read_back("name", name=None), ""),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:52}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
