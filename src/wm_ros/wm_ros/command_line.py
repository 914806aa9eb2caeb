"""Command lines that hold options of our own and ROS's."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from threading import Event


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


def stop_on_signal() -> Event:
    """Returns an event that SIGINT and SIGTERM set; ROS then stays up until the caller has finished its message.

    Initialise ROS with ``SignalHandlerOptions.NO`` beside it.
    """
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop
