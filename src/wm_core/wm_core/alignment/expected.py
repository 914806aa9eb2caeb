"""Poses at a time before they are measured, from what a model of the robot's motion expects.

Times are integer nanoseconds of the data's own clock; quaternions are x, y, z, w.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from wm_core.alignment.tracks import NOT_TOLD, ActionTrack, AlignedPose, PoseStatus, PoseTrack
from wm_core.se2 import Pose2
from wm_core.se3 import turned_about_z, yaw_of
from wm_core.timeline import NS_PER_S


class Motion(Protocol):
    """What a model of the robot's motion has to say to who wants to know a pose before it is measured."""

    def reset(self) -> None:
        """Forget what was observed."""

    def observe(self, stamp_ns: int, pose: Pose2, action_A: np.ndarray | None) -> None:
        """Take a measured pose and the action in force then."""

    def ahead(self, actions: Sequence[np.ndarray], span_s: float) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the displacement since the last pose observed and its standard error; None: nothing is known of it.

        Both are [3]: forward [m], left [m], turn [rad].

        Args:
            actions: Those in force one step after that pose, two, ...; the last one holds.
            span_s: Time since that pose [s].
        """


class ExpectedPoses:
    """Poses at a time as soon as they can be told: interpolated where measured ones surround it, else expected.

    One rule for the live node and for whoever replays a recording in its order of arrival: what is returned depends on
    what was inserted so far, and on nothing else.

    Args:
        poses: Measured poses.
        actions: Actions received.
        motion: Says where the robot went since the last measured pose; None: ``poses`` goes on as it moved.
        step_s: Time between the actions that ``motion`` is told [s].
    """

    def __init__(self, poses: PoseTrack, actions: ActionTrack, motion: Motion | None, step_s: float) -> None:
        self._poses, self._actions, self._motion = poses, actions, motion
        self._step_ns = round(step_s * NS_PER_S)
        self._observed_ns: int | None = None

    def clear(self) -> None:
        """Forgets all poses."""
        self._poses.clear()
        self._restart()

    def _restart(self) -> None:
        self._observed_ns = None
        if self._motion is not None:
            self._motion.reset()

    def insert(
        self, stamp_ns: int, position: np.ndarray, quaternion: np.ndarray, errors: tuple[float, float] = NOT_TOLD
    ) -> bool:
        """Adds a measured pose, as ``PoseTrack.insert`` does."""
        taken = self._poses.insert(stamp_ns, position, quaternion, errors)
        if taken and self._motion is not None and self._poses.newest_ns == stamp_ns:
            if self._observed_ns is not None and stamp_ns <= self._observed_ns:
                self._restart()
            x, y, z = (float(value) for value in position)
            self._motion.observe(stamp_ns, Pose2(x, y, z, yaw_of(quaternion)), self._actions.at(stamp_ns).values)
            self._observed_ns = stamp_ns
        return taken

    def at(self, stamp_ns: int) -> AlignedPose:
        """Returns the pose at a time."""
        pose = self._poses.at(stamp_ns)
        newest_ns = self._observed_ns
        if pose.status is not PoseStatus.EXTRAPOLATED or self._motion is None or newest_ns is None:
            return pose
        span_ns = stamp_ns - newest_ns
        if span_ns <= 0:
            return pose
        later = [self._actions.at(newest_ns + at_ns).values for at_ns in range(self._step_ns, span_ns, self._step_ns)]
        known = [action_A for action_A in later if action_A is not None]
        expected = self._motion.ahead(known, span_ns / NS_PER_S)
        return pose if expected is None else _moved(self._poses.at(newest_ns), *expected)


def _moved(newest: AlignedPose, moved_3: np.ndarray, std_3: np.ndarray) -> AlignedPose:
    """Returns the pose expected after a displacement from a measured one."""
    assert newest.position is not None
    assert newest.quaternion is not None
    x, y, z = newest.position.tolist()
    yaw = yaw_of(newest.quaternion)
    there = Pose2(x, y, z, yaw).moved(moved_3)
    turned = np.array(turned_about_z(newest.quaternion.tolist(), there.yaw - yaw))
    told = (float(max(std_3[0], std_3[1])), float(std_3[2]))
    sums = [math.hypot(model, 0.0 if math.isnan(own) else own) for model, own in zip(told, newest.errors)]
    errors = (sums[0] or math.nan, sums[1] or math.nan)
    return AlignedPose(PoseStatus.PREDICTED, np.array((there.x, there.y, z)), turned, errors)
