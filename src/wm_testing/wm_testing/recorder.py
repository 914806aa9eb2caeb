"""Recordings of any message type, written by definitions, without the types' packages."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

T0, STEP, COUNT = 1_700_000_000 * 10**9, 50_000_000, 60
CAMERA, IMAGE = "/camera/image_raw", "sensor_msgs/msg/Image"
"""Start [ns], time between frames [ns], frames; topic and type of the camera."""
ACKERMANN = """std_msgs/Header header
ackermann_msgs/AckermannDrive drive
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: ackermann_msgs/AckermannDrive
float32 steering_angle
float32 steering_angle_velocity
float32 speed
float32 acceleration
float32 jerk
"""
VIDEO = """builtin_interfaces/Time timestamp
string frame_id
uint8[] data
string format
"""
PACKET = """std_msgs/Header header
int32 width
int32 height
string encoding
uint64 pts
uint8 flags
bool is_bigendian
uint8[] data
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
"""


class Recorder:
    """Builds messages of any type and writes them as a recorder would.

    Args:
        path: Folder of the recording.
        **definitions: Types that none of the usual packages has: ``foxglove_msgs_CompressedVideo="..."``.
    """

    def __init__(self, path: Path, **definitions: str) -> None:
        self.store = get_typestore(Stores.ROS2_JAZZY)
        for name, text in definitions.items():
            package, _, kind = name.rpartition("_msgs_")
            types = get_types_from_msg(text, f"{package}_msgs/msg/{kind}")
            self.store.register({name: of for name, of in types.items() if name not in self.store.fielddefs})
        self.types: Any = self.store.types
        self.path, self.events = path, list[tuple[int, str, str, Any]]()

    def time(self, ns: int) -> Any:
        """Return a stamp."""
        return self.types["builtin_interfaces/msg/Time"](ns // 10**9, ns % 10**9)

    def header(self, ns: int, frame_id: str = "map") -> Any:
        """Return a header."""
        return self.types["std_msgs/msg/Header"](self.time(ns), frame_id)

    def say(self, topic: str, kind: str, ns: int, *fields: Any) -> None:
        """Keep a message with these fields, recorded at a time."""
        self.events.append((ns, topic, kind, self.types[kind](*fields)))

    def picture(self, ns: int, level: int, topic: str = CAMERA) -> None:
        """Keep an evenly grey picture."""
        self.say(topic, IMAGE, ns, self.header(ns, "camera"), 8, 8, "rgb8", 0, 24, np.full(192, level, np.uint8))

    def transform(self, parent: str, child: str, ns: int, x: float = 0.0, y: float = 0.0, yaw: float = 0.0) -> Any:
        """Return a TransformStamped."""
        shift = self.types["geometry_msgs/msg/Vector3"](x, y, 0.0)
        turn = self.types["geometry_msgs/msg/Quaternion"](0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2))
        values = self.types["geometry_msgs/msg/Transform"](shift, turn)
        return self.types["geometry_msgs/msg/TransformStamped"](self.header(ns, parent), child, values)

    def write(self) -> Path:
        """Write what was kept, in the order of time, and return the folder."""
        with Writer(self.path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            to: dict[str, Any] = {}
            for ns, topic, kind, message in sorted(self.events, key=lambda event: event[0]):
                to[topic] = to.get(topic) or writer.add_connection(topic, kind, typestore=self.store)
                writer.write(to[topic], ns, self.store.serialize_cdr(message, kind))
        return self.path
