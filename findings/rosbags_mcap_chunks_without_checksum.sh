#!/usr/bin/env bash
# Can damage within a chunk of an mcap file be told, whoever wrote the file?
#
# Guess: every writer fills the chunk's checksum, so a reader that compares it finds each damaged chunk.
# Seen (Python 3.11):
#   rosbags 0.11.9   writes 0 as checksum of every chunk, which says "none"; also where it compresses chunks with zstd
#   mcap 1.6.0       writes the CRC-32 of the uncompressed chunk, by default
# So a reader cannot rely on checksums: in a file of the first kind a picture whose bytes changed is read as it is,
# since zstd stores what does not compress in raw blocks, and rosbags' frames carry no checksum of their own either.
#
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (110 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH AMENT_PREFIX_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check rosbags==0.11.9 mcap==1.6.0 numpy==2.4.6

cat >"$scratch/probe.py" <<'PYTHON'
import struct
import sys
from pathlib import Path

from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode
from rosbags.typesys import Stores, get_typestore

SCRATCH = Path(sys.argv[1])


def chunks(file):
    """Checksum, and for zstd whether the frame has one of its own, of each chunk."""
    content, at, found = file.read_bytes(), 8, []
    while at < len(content) - 8:
        opcode, length = struct.unpack_from("<BQ", content, at)
        if opcode == 6:
            checksum, name_bytes = struct.unpack_from("<II", content, at + 33)
            body = at + 49 + name_bytes
            frame = content[body : body + 5] if name_bytes == 4 else b""
            found.append((checksum, bool(frame and frame[4] & 4)))
        at += 9 + length
    return found


def by_rosbags(name, packed):
    store = get_typestore(Stores.ROS2_JAZZY)
    writer = Writer(SCRATCH / name, version=9, storage_plugin=StoragePlugin.MCAP)
    if packed:
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        to = writer.add_connection("/text", "std_msgs/msg/String", typestore=store)
        message = store.types["std_msgs/msg/String"]("x" * 1000)
        writer.write(to, 1, store.serialize_cdr(message, "std_msgs/msg/String"))
    return chunks(SCRATCH / name / f"{name}.mcap")


def by_mcap():
    with (SCRATCH / "plain.mcap").open("wb") as file:
        writer = McapWriter(file)
        writer.start("ros2")
        schema = writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data\n")
        channel = writer.register_channel("/text", "cdr", schema)
        writer.add_message(channel, 1, b"\0\1\0\0\1\0\0\0\0", 1)
        writer.finish()
    return chunks(SCRATCH / "plain.mcap")


seen = {"rosbags": by_rosbags("plain", False), "rosbags, zstd": by_rosbags("packed", True), "mcap": by_mcap()}
for name, found in seen.items():
    print(f"{name:14} (checksum, zstd's own): {found}")
without = all(entry == (0, False) for name in ("rosbags", "rosbags, zstd") for entry in seen[name])
sys.exit(0 if without and all(checksum for checksum, _ in seen["mcap"]) else 1)
PYTHON
"$scratch/venv/bin/python" "$scratch/probe.py" "$scratch"
