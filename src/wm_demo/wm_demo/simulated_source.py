"""``simulated_source``: the simulated robot for a given time, with every message counted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from threading import Event
from time import monotonic

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter

from bag_player.node import CAMERA, positive
from bag_player.sent_log import SentLog
from wm_ros import ConfigurationError
from wm_ros.command_line import split_ros_args, stop_on_signal
from wm_ros.programs import ros_for_a_while
from wm_sim_ros.node import SimulatedRobot

_PROGRESS_EVERY_S = 0.5


def wait_for_listeners(count: int, timeout_s: float, stop: Event) -> bool:
    """Returns whether, in time, the camera's topic had so many subscribers.

    The robot itself would start with the first of them, and the others would miss its first frames.
    """
    scout = rclpy.create_node("simulated_source")
    deadline = monotonic() + timeout_s
    try:
        while scout.count_subscribers(CAMERA) < count:
            if monotonic() > deadline or stop.wait(0.05):
                return False
        return True
    finally:
        scout.destroy_node()


def drive(robot: SimulatedRobot, log: SentLog, seconds: float, stop: Event) -> None:
    """Spins the robot until it has driven its time or is stopped."""
    executor = SingleThreadedExecutor()
    executor.add_node(robot)
    begin = told = monotonic()
    while not robot.finished and not stop.is_set():
        executor.spin_once(timeout_sec=0.1)
        now = monotonic()
        if now - told > _PROGRESS_EVERY_S:
            told = now
            log.progress(min(1.0, (now - begin) / seconds))
    executor.remove_node(robot)
    executor.shutdown()


def _parse(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulated_source", description=__doc__.split(": ", 1)[1])
    parser.add_argument("--seconds", type=positive, default=60.0, help="how long to drive (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the run and the building (default 0)")
    parser.add_argument("--subscribers", type=int, default=1, help="subscribers of the camera to wait for (default 1)")
    parser.add_argument("--wait", type=float, default=30.0, help="seconds to wait for them (default 30)")
    parser.add_argument("--log-fd", type=int, help="file descriptor for JSON lines about what was sent")
    return parser.parse_args(args)


def main(args: Sequence[str] | None = None) -> int:
    """Drives until the time is over or a signal comes; returns 0, 2 for bad names, 3 when nobody listened in time."""
    own, for_ros = split_ros_args(sys.argv[1:] if args is None else args)
    options = _parse(own)
    log = SentLog(options.log_fd)

    def on_sent(topic: str, stamp_ns: int, steady_ns: int) -> None:
        if (name := f"/{topic}") == CAMERA:
            log.frame(name, stamp_ns, steady_ns)
        else:
            log.other(name)

    stop = stop_on_signal()
    try:
        with ros_for_a_while(for_ros):
            return _drive_once(options, log, on_sent, stop)
    except ConfigurationError as error:
        print(f"simulated_source: {error}", file=sys.stderr)  # noqa: T201
        return 2
    finally:
        log.close()


def _drive_once(
    options: argparse.Namespace, log: SentLog, on_sent: Callable[[str, int, int], None], stop: Event
) -> int:
    if not wait_for_listeners(options.subscribers, options.wait, stop):
        if stop.is_set():
            return 0
        print(f"nobody subscribed to {CAMERA} within {options.wait:.0f} s", file=sys.stderr)  # noqa: T201
        return 3
    time_to_drive = [
        Parameter("seed", value=options.seed),
        Parameter("duration_s", value=options.seconds),
        Parameter("wait_for_camera_subscriber", value=True),
    ]
    robot = SimulatedRobot(on_sent=on_sent, parameter_overrides=time_to_drive)
    try:
        drive(robot, log, options.seconds, stop)
    finally:
        robot.destroy_node()
    return 0
