#!/usr/bin/env bash
# Joint states from ROS 2's recordings (MCAP) with pybag: messages with an empty sequence, a bounded one, or an empty message in them.
#
# Guess: pybag reads from a message what rosbags and mcap-ros2-support read from the same bytes.
# Seen with pybag-sdk 0.13.0, rosbags 0.11.9, mcap 1.6.0, mcap-ros2-support 0.6.0 (PyPI; Python 3.11, x86-64), messages by rosbags:
#   JointState with velocities and efforts          as the others
#   JointState without velocities, with efforts     no efforts, whatever the number of joints; no word of it
#   JointState without efforts, or with neither     struct.error: the message is not read at all
#   int32[<=4], holding 10, 11, 12                  [3, 10, 11, 12]: its length is taken for its first element
#   an empty message before a float64 of 5.5        0.0
#
# After an empty sequence of 8-byte numbers it goes on to a multiple of 8, where nothing was left out when writing; a bounded sequence is taken
# for an array. What pybag writes, pybag and the others read alike. So: read recordings of joints with rosbags or mcap-ros2-support.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (150 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pybag-sdk==0.13.0' 'rosbags==0.11.9' 'mcap==1.6.0' 'mcap-ros2-support==0.6.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import struct
import sys

import numpy as np
from mcap.reader import make_reader
from mcap.writer import Writer
from mcap_ros2.decoder import DecoderFactory
from pybag.mcap_reader import McapFileReader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

store = get_typestore(Stores.ROS2_JAZZY)
store.register(get_types_from_msg("int32[<=4] ranges\n", "probe/msg/Bounded"))
store.register(get_types_from_msg("", "probe/msg/Nothing"))
store.register(get_types_from_msg("probe/Nothing goal\nfloat64 after\n", "probe/msg/Holder"))


def write(message):
    kind = message.__msgtype__
    text, _ = store.generate_msgdef(kind, ros_version=2)
    with open("probe.mcap", "wb") as file:
        writer = Writer(file)
        writer.start("ros2")
        channel = writer.register_channel("/probe", "cdr", writer.register_schema(kind, "ros2msg", text.encode()))
        writer.add_message(channel, 1, bytes(store.serialize_cdr(message, kind)), 1)
        writer.finish()


def by_pybag(message, name):
    write(message)
    try:
        with McapFileReader.from_file("probe.mcap") as file:
            return np.asarray(getattr(next(iter(file.messages("/probe"))).data, name)).tolist()
    except struct.error:
        return "struct.error"


def by_mcap_ros2(message, name):
    write(message)
    with open("probe.mcap", "rb") as file:
        decoded = next(make_reader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages())[3]
    return np.asarray(getattr(decoded, name)).tolist()


def joints(velocity, effort):
    stamp = store.types["builtin_interfaces/msg/Time"](1, 0)
    header = store.types["std_msgs/msg/Header"](stamp, "base")
    numbers = [np.array(one, float) for one in ([0.5, 1.5], velocity, effort)]
    return store.types["sensor_msgs/msg/JointState"](header, ["shoulder", "elbow"], *numbers)


FULL, BARE = joints([1.0, 2.0], [3.0, 4.0]), joints([], [3.0, 4.0])
BOUNDED = store.types["probe/msg/Bounded"](np.array([10, 11, 12], np.int32))
HOLDER = store.types["probe/msg/Holder"](store.types["probe/msg/Nothing"](), 5.5)
SEEN = [
    ("efforts, with velocities", by_pybag(FULL, "effort"), [3.0, 4.0]),
    ("efforts, without", by_pybag(BARE, "effort"), []),
    ("the same by mcap-ros2-support", by_mcap_ros2(BARE, "effort"), [3.0, 4.0]),
    ("positions, without efforts", by_pybag(joints([1.0, 2.0], []), "position"), "struct.error"),
    ("positions, with neither", by_pybag(joints([], []), "position"), "struct.error"),
    ("the same by mcap-ros2-support", by_mcap_ros2(joints([], []), "position"), [0.5, 1.5]),
    ("int32[<=4]", by_pybag(BOUNDED, "ranges"), [3, 10, 11, 12]),
    ("the same by mcap-ros2-support", by_mcap_ros2(BOUNDED, "ranges"), [10, 11, 12]),
    ("after an empty message", by_pybag(HOLDER, "after"), 0.0),
    ("the same by mcap-ros2-support", by_mcap_ros2(HOLDER, "after"), 5.5),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
