"""How ``wm adapt --live`` starts the recorder: the entry point ``live`` in the group ``wm.recorders``; knows no ROS."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from wm_core.bags import BagError


def command(
    folder: Path, seconds: float | None = None, namespace: str = "", topics: Mapping[str, str] | None = None
) -> list[str]:
    """Return the command line of a process that records the running graph's inputs, until it is interrupted.

    Args:
        folder: New folder of the recording.
        seconds: From the first frame on; ``None``: until it is interrupted [s].
        namespace: Of the robot.
        topics: ``camera``, ``pose`` and ``actions``, where they are not the graph's own names.

    Raises:
        BagError: There is no ROS 2 here.
    """
    if find_spec("rclpy") is None:
        raise BagError("a running graph is recorded with ROS 2, and rclpy is not installed here; source its setup file")
    options = [f"--{name}={topic}" for name, topic in (topics or {}).items()]
    options += [] if seconds is None else [f"--seconds={seconds:g}"]
    for_ros = ["--ros-args", "-r", f"__ns:=/{namespace.strip('/')}"] if namespace.strip("/") else []
    return [sys.executable, "-m", "bag_player.recording", str(folder), "--follow-parent", *options, *for_ros]
