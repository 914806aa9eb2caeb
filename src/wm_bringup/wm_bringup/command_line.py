"""Command lines that hold options of our own and ROS's."""

from __future__ import annotations

import signal
from collections.abc import Sequence


def split_ros_args(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns (own arguments, what ``rclpy.init`` takes): ROS's begin at ``--ros-args`` and end at ``--``.

    ``rclpy.utilities.remove_ros_args`` also takes away every word with ``:=`` in it, as ROS 2 once wrote remappings.
    """
    own: list[str] = []
    for_ros: list[str] = []
    inside = False
    for word in args:
        if word == "--ros-args":
            inside = True
        if inside:
            for_ros.append(word)
        else:
            own.append(word)
        if word == "--":
            inside = False
    return own, for_ros


def interruptible() -> None:
    """Lets Ctrl-C raise ``KeyboardInterrupt`` again; the scripts end at once while modules are being imported."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
