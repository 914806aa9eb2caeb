"""What the robot's sensors say, one event after the other, in the order in which it becomes known."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass

import numpy as np

from wm_sim.driving import CONTROL_PERIOD_S
from wm_sim.simulation import Simulation
from wm_sim.tasks import Pose


@dataclass(frozen=True)
class FrameEvent:
    """A camera frame of ``stamp_s``, with the speeds measured then: forward [m/s], yaw rate [rad/s]."""

    due_s: float
    stamp_s: float
    image_HWC: np.ndarray
    depth_HW: np.ndarray | None
    motion_2: tuple[float, float]


@dataclass(frozen=True)
class PoseEvent:
    """A measured pose of time ``stamp_s``, known from ``due_s`` on."""

    due_s: float
    stamp_s: float
    pose: Pose


@dataclass(frozen=True)
class ActionEvent:
    """A command given at ``stamp_s``: forward speed [m/s], yaw rate [rad/s]."""

    due_s: float
    stamp_s: float
    action_2: tuple[float, float]


Event = FrameEvent | PoseEvent | ActionEvent


class Timeline:
    """Events of one simulation, endless. A frame is rendered when it is asked for, so ask before it is due.

    Args:
        simulation: Stepped by this alone from now on.
        rate_hz: Camera frames per second.
        pose_rate_hz: Poses per second.

    Raises:
        ValueError: A rate is not positive.
    """

    def __init__(self, simulation: Simulation, rate_hz: float, pose_rate_hz: float) -> None:
        if rate_hz <= 0 or pose_rate_hz <= 0:
            raise ValueError(f"rates are {rate_hz} Hz and {pose_rate_hz} Hz, expected more than 0 Hz")
        self._simulation = simulation
        # Of what happens at the same time the frame comes first: it takes longest to make.
        self._period_s = {"frame": 1.0 / rate_hz, "pose": 1.0 / pose_rate_hz, "action": CONTROL_PERIOD_S}
        self._count = dict.fromkeys(self._period_s, 0)
        self._late: list[tuple[float, int, PoseEvent]] = []
        self._order = itertools.count()

    @property
    def due_s(self) -> float:
        """When the next event is due, at the latest [s]."""
        return min(count * self._period_s[kind] for kind, count in self._count.items())

    def next(self) -> Event:
        """Return the event that is due next."""
        while True:
            kind = min(self._period_s, key=lambda name: round(self._count[name] * self._period_s[name], 9))
            time_s = self._count[kind] * self._period_s[kind]
            if self._late and self._late[0][0] <= time_s:
                return heapq.heappop(self._late)[2]
            self._count[kind] += 1
            if kind == "frame":
                image, depth = self._simulation.frame(time_s)
                return FrameEvent(time_s, time_s, image, depth, self._simulation.motion)
            if kind == "action":
                return ActionEvent(time_s, time_s, self._simulation.act(time_s))
            pose, arrival_s = self._simulation.measure_pose(time_s)
            heapq.heappush(self._late, (arrival_s, next(self._order), PoseEvent(arrival_s, time_s, pose)))

    def skip_frames(self, until_s: float) -> int:
        """Leave out the frames before ``until_s``; return how many that were."""
        skipped = 0
        while self._count["frame"] * self._period_s["frame"] < until_s:
            self._count["frame"] += 1
            skipped += 1
        return skipped
