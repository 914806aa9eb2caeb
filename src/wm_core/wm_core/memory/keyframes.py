"""Which states of a stream a memory keeps: one rule and its numbers, for the node, training and evaluation.

A stream falls into sessions, and within a session states are kept at a spacing. What followed a kept state is the
matter of ``wm_core.memory.successors``; both together run in ``wm_core.memory.recorder``.

Shape suffixes: T = states of the dense stream, N = kept states.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from wm_core.memory.query import Place
from wm_core.memory.record import Quaternion
from wm_core.se2 import Pose2, wrap_angle
from wm_core.se3 import quaternion_of, rotation_angle

SPACING_DISTANCE_M = 0.1
SPACING_ANGLE_RAD = math.radians(10.0)
SPACING_TIME_S = 1.0
SESSION_GAP_S = 30.0
EXCLUDE_RECENT_S = 20.0
REVISIT_RADIUS_M = 1.0
REVISIT_YAW_RAD = math.radians(30.0)

# "Every 0.1 m" must not depend on the last bit of a coordinate or of a stamp.
_SLACK = 1e-9
_SLACK_NS = 1000


@dataclass(frozen=True)
class Spacing:
    """A state is kept once the robot moved or turned by this much, or this much time passed, since the last kept one.

    Attributes:
        distance_m: Planar distance [m].
        angle_rad: Turn [rad]; where the robot tilts, of the whole rotation.
        time_s: Time [s].
    """

    distance_m: float = SPACING_DISTANCE_M
    angle_rad: float = SPACING_ANGLE_RAD
    time_s: float = SPACING_TIME_S

    def is_due(
        self,
        last: tuple[int, Pose2 | Place] | None,
        stamp_ns: int,
        pose: Pose2 | Place,
        rotations: tuple[Quaternion | None, Quaternion | None] = (None, None),
    ) -> bool:
        """Return whether a state is to be kept after the last kept (stamp, pose) of its session; None: the first.

        Args:
            last: The last one that was kept.
            stamp_ns: Of the state [ns].
            pose: Of the state.
            rotations: Whole rotations of the last one and of the state; None: the yaw says it all.
        """
        if last is None:
            return True
        last_ns, last_pose = last
        return (
            math.hypot(pose.x - last_pose.x, pose.y - last_pose.y) >= self.distance_m - _SLACK
            or _turn(last_pose.yaw, pose.yaw, rotations) >= self.angle_rad - _SLACK
            or stamp_ns - last_ns >= round(self.time_s * 1e9) - _SLACK_NS
        )


def _turn(last_yaw: float, yaw: float, rotations: tuple[Quaternion | None, Quaternion | None]) -> float:
    """Return by what angle a rotation differs from the last one [rad]."""
    last, now = rotations
    if last is None and now is None:
        return abs(wrap_angle(yaw - last_yaw))
    last_4, now_4 = np.array(last or quaternion_of(last_yaw)), np.array(now or quaternion_of(yaw))
    return float(rotation_angle(last_4, now_4))


class Arrival(Enum):
    """How a state stands to the one before it in the stream."""

    STARTS = "starts a session"
    CONTINUES = "continues the session"
    REPEATS = "has the stamp of the one before"


class Keyframes:
    """Cuts a stream into sessions and says which of its states are due, one state at a time.

    A stamp that goes back, or lies more than ``session_gap_s`` ahead, starts a session; the first state of a session
    that has a pose is kept. A second state at the same stamp is none of the stream.

    Args:
        spacing: When a state is kept; default: ``Spacing()``.
        session_gap_s: A silence longer than this starts a session [s].
    """

    def __init__(self, spacing: Spacing | None = None, session_gap_s: float = SESSION_GAP_S) -> None:
        self._spacing = spacing or Spacing()
        self._gap_ns = round(session_gap_s * 1e9)
        self.restart()

    def set_spacing(self, spacing: Spacing) -> None:
        """Keep states at another spacing from now on."""
        self._spacing = spacing

    def restart(self) -> None:
        """Let the next state start a session, whatever its stamp."""
        self._last_ns: int | None = None
        self._last_kept: tuple[int, Pose2 | Place] | None = None
        self._last_rotation: Quaternion | None = None

    def arrive(self, stamp_ns: int) -> Arrival:
        """Take the stamp of the next state of the stream, with or without a pose."""
        last_ns = self._last_ns
        if last_ns == stamp_ns:
            return Arrival.REPEATS
        continues = last_ns is not None and 0 < stamp_ns - last_ns <= self._gap_ns
        if not continues:
            self.restart()
        self._last_ns = stamp_ns
        return Arrival.CONTINUES if continues else Arrival.STARTS

    def is_due(self, stamp_ns: int, pose: Pose2 | Place, orientation: Quaternion | None = None) -> bool:
        """Return whether the state that arrived last is to be kept; ``orientation`` None: the yaw says it all."""
        return self._spacing.is_due(self._last_kept, stamp_ns, pose, (self._last_rotation, orientation))

    def keep(self, stamp_ns: int, pose: Pose2 | Place, orientation: Quaternion | None = None) -> None:
        """Count the state that arrived last as kept."""
        self._last_kept, self._last_rotation = (stamp_ns, pose), orientation


def select_states(stamp_T: np.ndarray, pose_T4: np.ndarray, spacing: Spacing | None = None) -> np.ndarray:
    """Return the indices of the states of one stream that a memory keeps, int64 [N].

    Args:
        stamp_T: Stamps, int64 nanoseconds, in the order of arrival.
        pose_T4: (x, y, z, yaw); rows that are not finite have no pose and are never kept.
        spacing: Default: ``Spacing()``.
    """
    keyframes = Keyframes(spacing)
    kept: list[int] = []
    for index, (stamp_ns, row) in enumerate(zip(stamp_T.tolist(), pose_T4.tolist())):
        if keyframes.arrive(stamp_ns) is Arrival.REPEATS or not all(map(math.isfinite, row)):
            continue
        pose = Pose2(*row)
        if keyframes.is_due(stamp_ns, pose):
            keyframes.keep(stamp_ns, pose)
            kept.append(index)
    return np.array(kept, np.int64)
