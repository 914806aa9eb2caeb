"""``bag_recorder``: record what the running graph is fed with, beside it: camera, pose and actions.

Unlike ``ros2 bag record`` it needs no rosbag2, takes of each input what is on offer (raw or compressed pictures, a pose
of any type or tf), waits for the camera, and counts what it wrote. Messages stay as they came. It stands back behind
the graph (niceness 10): on a machine that is too busy it is the recording that has holes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, Final

import rclpy
from rclpy.exceptions import NameValidationException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.rosbag2 import Writer, WriterError

from bag_player.node import positive
from bag_player.senders import ACTIONS, CAMERA, POSE
from bag_player.type_text import store_with
from wm_core.bags import BagError
from wm_core.errors import CoreError
from wm_core.standing_back import stand_back
from wm_ros import ConfigurationError
from wm_ros.camera import IMAGE_TYPES
from wm_ros.command_line import split_ros_args, stop_on_signal
from wm_ros.inputs import message_class
from wm_ros.one_stream import OneStream
from wm_ros.programs import is_of_a_name, ros_for_a_while
from wm_ros.silence import why_silent

_NICENESS = 10
_LOOK_EVERY_S = 0.25
# Who publishes poses is given so many looks before tf is recorded in their place.
_LOOKS_BEFORE_TF = 8
_SAY_EVERY_S = 10.0
# Recording ends before the disk is full [bytes].
_LEAST_FREE = 512 * 1024**2
_FORMAT: Final = 8


@dataclass(frozen=True)
class Inputs:
    """The topics of the graph's inputs, as the launch files name them."""

    camera: str = CAMERA.lstrip("/")
    pose: str = POSE.lstrip("/")
    actions: str = ACTIONS.lstrip("/")


class BagRecorder(Node):
    """Writes what comes on the inputs' topics to a rosbag2 folder, from the first frame on.

    Args:
        folder: New folder.
        inputs: Topics, remapped as any other.
        **node_options: Passed to ``rclpy.node.Node``.

    Attributes:
        counts: {topic: messages written}.
        refused: {topic: why it is not recorded}.
        problem: Why no more is recorded; empty where nothing is wrong.

    Raises:
        BagError: The folder is there already, or cannot be made.
        ConfigurationError: ROS takes no topic of a name.
    """

    def __init__(self, folder: Path, inputs: Inputs, **node_options: Any) -> None:
        super().__init__("bag_recorder", **node_options)
        self._folder = folder
        self._camera, self._pose, self._actions = map(self._resolved, (inputs.camera, inputs.pose, inputs.actions))
        try:
            self._writer = Writer(folder, version=_FORMAT)
            folder.parent.mkdir(parents=True, exist_ok=True)
            self._writer.open()
        except (WriterError, OSError) as error:
            self.destroy_node()
            raise BagError(f"nothing can be recorded to {folder}: {error}") from error
        self.counts: Counter[str] = Counter()
        self.refused: dict[str, str] = {}
        self.problem, self._looks, self._began_s = "", 0, 0.0
        self._connections: dict[str, Any] = {}
        self._picture_topic = ""
        self._look()
        self.create_timer(_LOOK_EVERY_S, self._look)

    @property
    def frame_count(self) -> int:
        """Frames of the camera that were written."""
        return self.counts[self._picture_topic]

    @property
    def recorded_s(self) -> float:
        """Time since the first frame [s]."""
        return monotonic() - self._began_s if self.frame_count else 0.0

    def why_silent(self) -> str:
        """Return in words why no frame comes and what would help."""
        return why_silent(self, (self._camera, f"{self._camera}/compressed"), IMAGE_TYPES, "images")

    def close(self) -> None:
        """Complete the recording; what keeps it from that is in ``problem``."""
        try:
            self._writer.close()
        except (OSError, sqlite3.Error) as error:
            self.problem = f"{self._folder} cannot be completed: {error}"

    def _look(self) -> None:
        """Listen to what is on offer by now; what was found once stays."""
        self._looks += 1
        if not self._picture_topic:
            found = [t for t in (self._camera, f"{self._camera}/compressed") if self._listen(t, depth=4)]
            self._picture_topic = found[0] if found else ""
        self._listen("".join(self._camera.rpartition("/")[:2]) + "camera_info", depth=4)
        self._listen(self._actions, depth=100)
        if not self._listen(self._pose, depth=100) and self._looks > _LOOKS_BEFORE_TF:
            self._listen(self.resolve_topic_name("/tf"), depth=200)
            self._listen(self.resolve_topic_name("/tf_static"), depth=200, is_latched=True)
        self._watch_disk()

    def _resolved(self, topic: str) -> str:
        try:
            return self.resolve_topic_name(topic)
        except (RuntimeError, NameValidationException) as error:
            if not is_of_a_name(error):
                raise
            self.destroy_node()
            raise ConfigurationError(f"{topic!r} is no topic: {error}") from error

    def _watch_disk(self) -> None:
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            self.problem = f"the recording {self._folder} is gone: {error}"
            return
        if free < _LEAST_FREE:
            self.problem = f"less than {_LEAST_FREE // 1024**2} MiB are left on the disk of {self._folder}"

    def _listen(self, topic: str, depth: int, is_latched: bool = False) -> bool:
        """Return whether a topic is recorded, after opening it if somebody publishes it now."""
        if topic in self._connections or topic in self.refused:
            return topic in self._connections
        kinds = sorted({info.topic_type for info in self.get_publishers_info_by_topic(topic)})
        if not kinds:
            return False
        try:
            self._open(topic, kinds[0], depth, is_latched)
        except (BagError, ConfigurationError) as error:
            self.refused[topic] = str(error)
            self.get_logger().error(f"not recorded: {error}")
            return False
        return True

    def _open(self, topic: str, kind: str, depth: int, is_latched: bool) -> None:
        kept, store = message_class(kind, f"recording {topic}"), store_with(kind)
        durability = DurabilityPolicy.TRANSIENT_LOCAL if is_latched else DurabilityPolicy.VOLATILE
        reliability = ReliabilityPolicy.RELIABLE if is_latched else ReliabilityPolicy.BEST_EFFORT
        profile = QoSProfile(depth=depth, reliability=reliability, durability=durability)
        self._connections[topic] = self._writer.add_connection(topic, kind, typestore=store)
        # A recording holds what was there; that it is of two is said.
        is_shared = topic in (self.resolve_topic_name("/tf"), self.resolve_topic_name("/tf_static"))
        hear = partial(self._on_message, topic)
        take = hear if is_shared else OneStream(self, topic, hears_all=True).of(hear)
        self.create_subscription(kept, topic, take, profile, raw=True)
        self.get_logger().info(f"recording {topic} ({kind})")

    def _on_message(self, topic: str, data: bytes) -> None:
        if self.problem:
            return
        if topic == self._picture_topic and not self.frame_count:
            self._began_s = monotonic()
        try:
            self._writer.write(self._connections[topic], self.get_clock().now().nanoseconds, data)
        except (OSError, sqlite3.Error) as error:
            self.problem = f"{self._folder} cannot be written: {error}"
            return
        self.counts[topic] += 1


def record(recorder: BagRecorder, stop: Event, seconds: float | None, wait_s: float, follow_parent: bool) -> int:
    """Record until it is enough and complete the recording; returns 0, or 2 where that could not be.

    Args:
        recorder: Made already.
        stop: Ends it when set.
        seconds: From the first frame on; ``None``: until stopped [s].
        wait_s: Longest wait for the first frame [s].
        follow_parent: End with the process that started this one.
    """
    parent, begun_s, said_s = os.getppid(), monotonic(), 0.0
    while not stop.is_set() and not recorder.problem and (seconds is None or recorder.recorded_s < seconds):
        rclpy.spin_once(recorder, timeout_sec=0.1)
        if not recorder.frame_count and monotonic() - begun_s > wait_s:
            recorder.problem = f"no frame came within {wait_s:g} s: {recorder.why_silent()}"
        if recorder.recorded_s - said_s >= _SAY_EVERY_S:
            said_s += _SAY_EVERY_S
            recorder.get_logger().info(f"{said_s:.0f} s: {recorder.frame_count} frames")
        if follow_parent and os.getppid() != parent:
            break
    if not recorder.frame_count and not recorder.problem:
        recorder.problem = f"no frame came: {recorder.why_silent()}"
    recorder.close()
    said = ", ".join(f"{count} on {topic}" for topic, count in sorted(recorder.counts.items()))
    recorder.get_logger().info(f"recorded {recorder.recorded_s:.1f} s: {said or 'nothing'}")
    if recorder.problem:
        recorder.get_logger().error(recorder.problem)
    return 2 if recorder.problem else 0


def parse(args: Sequence[str]) -> argparse.Namespace:
    """Return what a command line asks for."""
    parser = argparse.ArgumentParser(prog="bag_recorder", description=(__doc__ or "").split("``: ", 1)[-1])
    parser.add_argument("folder", type=Path, help="new folder of the recording")
    usual = Inputs()
    parser.add_argument("--camera", default=usual.camera, help="camera topic; or its /compressed")
    parser.add_argument("--pose", default=usual.pose, help="pose topic; where nobody publishes it, tf is recorded")
    parser.add_argument("--actions", default=usual.actions, help="action topic")
    parser.add_argument("--seconds", type=positive, help="stop so long after the first frame (default: on Ctrl-C)")
    parser.add_argument("--wait", type=positive, default=30.0, help="longest wait for the first frame [s] (default 30)")
    parser.add_argument("--follow-parent", action="store_true", help="end with the process that started this one")
    return parser.parse_args(args)


def main(args: Sequence[str] | None = None) -> int:
    """Record; returns 0 when time is up or on Ctrl-C, 2 where nothing could be recorded."""
    own, for_ros = split_ros_args(sys.argv[1:] if args is None else args)
    options = parse(own)
    stop = stop_on_signal()
    stand_back(_NICENESS)
    try:
        with ros_for_a_while(for_ros):
            recorder = BagRecorder(options.folder, Inputs(options.camera, options.pose, options.actions))
            try:
                return record(recorder, stop, options.seconds, options.wait, options.follow_parent)
            finally:
                recorder.destroy_node()
    except (CoreError, ConfigurationError) as error:
        print(f"bag_recorder: {error}", file=sys.stderr)  # noqa: T201
        return 2


if __name__ == "__main__":
    sys.exit(main())
