"""rosbag2 recordings (sqlite3 or mcap) to episodes, without a ROS installation.

Shape suffixes: T = frames, S = image side, H, W = camera image sides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.typesys import Stores, get_typestore

from wm_core.errors import FrameError, MessageError
from wm_core.images import picture_from_msg, prepare_image
from wm_core.timeline import Pacer
from world_model.data.episodes import Episode
from world_model.data.stream import ActionEvent, PoseEvent, align
from world_model.errors import DataError


@dataclass(frozen=True, kw_only=True)
class BagOptions:
    """How a recording is read.

    Attributes:
        image_topic: sensor_msgs/Image or CompressedImage.
        pose_topic: geometry_msgs/PoseStamped.
        action_topic: std_msgs/Float32MultiArray, timed by when it was recorded.
        rate_hz: Most frames per second.
        image_size: Side of the stored image [px].
        action_dim: Expected action size; ``None`` takes the first message's.
    """

    image_topic: str = "/camera/image_raw"
    pose_topic: str = "/pose"
    action_topic: str = "/actions"
    rate_hz: float = 20.0
    image_size: int = 64
    action_dim: int | None = None


@dataclass
class _Events:
    """What a recording holds, as it is read."""

    images: list[np.ndarray]
    stamps: list[int]
    arrivals: list[int]
    poses: list[PoseEvent]
    actions: list[ActionEvent]
    skipped: dict[str, int]


def read_bag(
    path: Path,
    options: BagOptions | None = None,
    *,
    name: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Episode:
    """Return one recording as an episode, aligned as the live node aligns it.

    Args:
        path: rosbag2 folder.
        options: Topics, rate and sizes.
        name: Name of the episode; default: the folder's.
        progress: Called with (messages read, messages in all).

    Raises:
        DataError: Not a rosbag2 recording, no images on the topic, or no two frames in order.
    """
    options = options or BagOptions()
    events = _Events([], [], [], [], [], {})
    try:
        # Bags that carry no message definitions are read with Jazzy's, which every later distribution shares here.
        with AnyReader([Path(path)], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
            _read(reader, options, events, progress)
    except (AnyReaderError, OSError) as error:
        raise DataError(f"{path} is not a readable rosbag2 recording: {error}") from error
    if len(events.stamps) < 2:
        raise DataError(f"{path} has {len(events.stamps)} usable images on {options.image_topic}, expected at least 2")
    action_dim = options.action_dim or (len(events.actions[0].values) if events.actions else 1)
    stamp_T, keep = _ascending(np.array(events.stamps, np.int64))
    aligned = align(stamp_T, np.array(events.arrivals, np.int64)[keep], events.poses, events.actions, action_dim)
    name = name or Path(path).name
    return Episode(name, name, np.stack(events.images)[keep], stamp_T, aligned.pose_T4, aligned.action_TA)


def _read(reader: AnyReader, options: BagOptions, events: _Events, progress: Callable[[int, int], None]) -> None:
    topics = {options.image_topic, options.pose_topic, options.action_topic}
    connections = [c for c in reader.connections if c.topic in topics]
    if options.image_topic not in {c.topic for c in connections}:
        found = ", ".join(sorted({c.topic for c in reader.connections})) or "none"
        raise DataError(f"no topic {options.image_topic} in the recording; topics: {found}")
    total, pacer = sum(c.msgcount for c in connections), Pacer(options.rate_hz)
    for done, (connection, arrival_ns, raw) in enumerate(reader.messages(connections), start=1):
        msg: Any = reader.deserialize(raw, connection.msgtype)
        if connection.topic == options.image_topic:
            _take_image(msg, arrival_ns, options, pacer, events)
        elif connection.topic == options.pose_topic:
            p, q = msg.pose.position, msg.pose.orientation
            events.poses.append(PoseEvent(arrival_ns, _stamp(msg), (p.x, p.y, p.z), (q.x, q.y, q.z, q.w)))
        else:
            events.actions.append(ActionEvent(arrival_ns, np.asarray(msg.data, np.float32)))
        if done % 200 == 0 or done == total:
            progress(done, total)


def _take_image(msg: Any, arrival_ns: int, options: BagOptions, pacer: Pacer, events: _Events) -> None:
    stamp_ns = _stamp(msg)
    if not pacer.is_due(stamp_ns):
        return
    try:
        image = prepare_image(picture_from_msg(msg), options.image_size)
    except (FrameError, MessageError) as error:
        events.skipped[str(error)] = events.skipped.get(str(error), 0) + 1
        return
    events.images.append(image)
    events.stamps.append(stamp_ns)
    events.arrivals.append(arrival_ns)


def _stamp(msg: Any) -> int:
    return int(msg.header.stamp.sec) * 1_000_000_000 + int(msg.header.stamp.nanosec)


def _ascending(stamp_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the stamps that are later than all before, and which they are."""
    before_N = np.concatenate([[np.iinfo(np.int64).min], np.maximum.accumulate(stamp_N)[:-1]])
    keep = np.flatnonzero(stamp_N > before_N)
    return stamp_N[keep], keep
