"""A recording of the simulated robot, each message at the time at which a live one would have sent it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from wm_sim import DEFAULT_POSE_NOISE, Simulation
from wm_sim.timeline import Event, FrameEvent, PoseEvent, Timeline

START_NS = 1_700_000_000 * 10**9
IMAGE_HW = (120, 160)
CAMERA, POSE, ACTIONS = "/camera/image_raw", "/pose", "/actions"
_KINDS = {
    CAMERA: "sensor_msgs/msg/Image",
    POSE: "geometry_msgs/msg/PoseStamped",
    ACTIONS: "std_msgs/msg/Float32MultiArray",
}
_STORE = get_typestore(Stores.ROS2_JAZZY)
_TYPES: dict[str, Any] = dict(_STORE.types)


def record(
    path: Path,
    seconds: float,
    seed: int,
    *,
    pose_rate_hz: float = 20.0,
    latency_s: float | None = None,
    jitter_s: float | None = None,
) -> Path:
    """Write a recording and return its folder.

    Args:
        path: Folder to be; its parent exists, it does not.
        seconds: How long the robot drives.
        seed: Of the run and the building.
        pose_rate_hz: Poses per second.
        latency_s: How long after its stamp a pose is sent [s]; default: the simulator's.
        jitter_s: Standard deviation of that [s]; default: the simulator's.
    """
    noise = DEFAULT_POSE_NOISE
    noise = replace(noise, latency_s=noise.latency_s if latency_s is None else latency_s)
    noise = replace(noise, latency_jitter_s=noise.latency_jitter_s if jitter_s is None else jitter_s)
    timeline = Timeline(Simulation(seed, image_size=IMAGE_HW, pose_noise=noise), 20.0, pose_rate_hz)
    with Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        to = {topic: writer.add_connection(topic, kind, typestore=_STORE) for topic, kind in _KINDS.items()}
        while (event := timeline.next()).stamp_s < seconds:
            topic, message = _message(event)
            data = _STORE.serialize_cdr(message, _KINDS[topic])
            writer.write(to[topic], START_NS + round(event.due_s * 1e9), data)
    return path


def _message(event: Event) -> tuple[str, Any]:
    if isinstance(event, FrameEvent):
        height, width, _ = event.image_HWC.shape
        pixels = np.ascontiguousarray(event.image_HWC).reshape(-1)
        header = _header(event.stamp_s, "camera")
        return CAMERA, _TYPES[_KINDS[CAMERA]](header, height, width, "rgb8", 0, 3 * width, pixels)
    if isinstance(event, PoseEvent):
        x, y, yaw = event.pose
        point = _TYPES["geometry_msgs/msg/Point"](x, y, 0.0)
        turn = _TYPES["geometry_msgs/msg/Quaternion"](0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2))
        pose = _TYPES["geometry_msgs/msg/Pose"](point, turn)
        return POSE, _TYPES[_KINDS[POSE]](_header(event.stamp_s, "map"), pose)
    layout = _TYPES["std_msgs/msg/MultiArrayLayout"]([], 0)
    return ACTIONS, _TYPES[_KINDS[ACTIONS]](layout, np.array(event.action_2, np.float32))


def _header(stamp_s: float, frame_id: str) -> Any:
    ns = START_NS + round(stamp_s * 1e9)
    return _TYPES["std_msgs/msg/Header"](_TYPES["builtin_interfaces/msg/Time"](ns // 10**9, ns % 10**9), frame_id)
