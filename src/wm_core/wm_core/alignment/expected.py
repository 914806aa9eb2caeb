"""Poses at a time before they are measured, from what a model of the robot's motion expects.

Times are integer nanoseconds of the data's own clock; quaternions are x, y, z, w.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from wm_core.alignment.tracks import NOT_TOLD, ActionTrack, AlignedPose, PoseStatus, PoseTrack
from wm_core.se2 import Pose2
from wm_core.se3 import turned_about_z, yaw_of
from wm_core.timeline import NS_PER_S

# A squared error counts so much less with each that follows.
_KEEP = 0.95
# Before so many were judged the model is believed; the motion so far must be better by this share, and the model's
# error worth the trouble [m^2, of which a radian counts as 1 m].
_LEAST_JUDGED, _BETTER, _NO_TROUBLE = 5, 0.8, 1e-6
_MOST_OPEN = 200


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


class _Open(NamedTuple):
    """What was expected of a time that is not measured yet: by the model, and by the motion so far going on."""

    stamp_ns: int
    modelled: AlignedPose
    going_on: AlignedPose


class _Loss:
    """Squared errors of late, of position [m^2] and yaw [rad^2]."""

    def __init__(self) -> None:
        self._sums, self._weight = np.zeros(2), 0.0

    def add(self, told: AlignedPose, truth: AlignedPose) -> None:
        """Judge one expectation."""
        assert told.position is not None
        assert truth.position is not None
        assert told.quaternion is not None
        assert truth.quaternion is not None
        off = yaw_of(told.quaternion) - yaw_of(truth.quaternion)
        turn = math.atan2(math.sin(off), math.cos(off))
        missed_2 = np.array([float(np.sum(np.square((told.position - truth.position)[:2]))), turn * turn])
        self._sums, self._weight = _KEEP * self._sums + missed_2, _KEEP * self._weight + 1.0

    @property
    def means(self) -> tuple[float, float]:
        """Mean squares of position [m^2] and yaw [rad^2]."""
        position, yaw = (self._sums / self._weight).tolist()
        return position, yaw

    @property
    def total(self) -> float:
        """Mean square of both, a radian counting as 1 m."""
        return sum(self.means)


class ExpectedPoses:
    """Poses at a time as soon as they can be told: interpolated where measured ones surround it, else expected.

    One rule for the live node and for whoever replays a recording in its order of arrival: what is returned depends on
    what was inserted and asked so far, and on nothing else. A model of another robot may expect worse than that the
    motion goes on as it was: both are judged by the poses that were measured in the end, and the better one is told.

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
        self._open: deque[_Open] = deque(maxlen=_MOST_OPEN)
        self._modelled, self._going_on, self._judged = _Loss(), _Loss(), 0

    def clear(self) -> None:
        """Forgets all poses."""
        self._poses.clear()
        self._restart()

    def _restart(self) -> None:
        self._observed_ns = None
        self._open.clear()
        if self._motion is not None:
            self._motion.reset()

    def insert(
        self,
        stamp_ns: int,
        position: np.ndarray,
        quaternion: np.ndarray,
        errors: tuple[float, float] = NOT_TOLD,
        arrival_ns: int = 0,
    ) -> bool:
        """Adds a measured pose, as ``PoseTrack.insert`` does."""
        taken = self._poses.insert(stamp_ns, position, quaternion, errors, arrival_ns)
        if taken and self._motion is not None and self._poses.newest_ns == stamp_ns:
            if self._observed_ns is not None and stamp_ns <= self._observed_ns:
                self._restart()
            x, y, z = (float(value) for value in position)
            self._motion.observe(stamp_ns, Pose2(x, y, z, yaw_of(quaternion)), self._actions.at(stamp_ns).values)
            self._observed_ns = stamp_ns
            self._judge(stamp_ns)
        return taken

    def _judge(self, newest_ns: int) -> None:
        while self._open and self._open[0].stamp_ns <= newest_ns:
            stamp_ns, modelled, going_on = self._open.popleft()
            truth = self._poses.at(stamp_ns)
            if truth.status is PoseStatus.INTERPOLATED:
                self._modelled.add(modelled, truth)
                self._going_on.add(going_on, truth)
                self._judged += 1

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
        if expected is None:
            return pose
        modelled = _moved(self._poses.at(newest_ns), *expected)
        self._open.append(_Open(stamp_ns, modelled, pose))
        return modelled if self._believes_model() else self._as_it_went_on(pose)

    def _believes_model(self) -> bool:
        if self._judged < _LEAST_JUDGED or self._modelled.total < _NO_TROUBLE:
            return True
        return self._going_on.total > _BETTER * self._modelled.total

    def _as_it_went_on(self, pose: AlignedPose) -> AlignedPose:
        """Returns an extrapolated pose with the error that such poses had of late."""
        position, yaw = self._going_on.means
        told = (math.sqrt(position / 2.0), math.sqrt(yaw))
        return AlignedPose(PoseStatus.PREDICTED, pose.position, pose.quaternion, _joint(told, pose.errors))


def _moved(newest: AlignedPose, moved_3: np.ndarray, std_3: np.ndarray) -> AlignedPose:
    """Returns the pose expected after a displacement from a measured one."""
    assert newest.position is not None
    assert newest.quaternion is not None
    x, y, z = newest.position.tolist()
    yaw = yaw_of(newest.quaternion)
    there = Pose2(x, y, z, yaw).moved(moved_3)
    turned = np.array(turned_about_z(newest.quaternion.tolist(), there.yaw - yaw))
    told = (float(max(std_3[0], std_3[1])), float(std_3[2]))
    return AlignedPose(PoseStatus.PREDICTED, np.array((there.x, there.y, z)), turned, _joint(told, newest.errors))


def _joint(told: tuple[float, float], own: tuple[float, float]) -> tuple[float, float]:
    """Returns the errors of an expectation and of the pose that it begins at together; NaN: none is told."""
    sums = [math.hypot(model, 0.0 if math.isnan(each) else each) for model, each in zip(told, own)]
    return sums[0] or math.nan, sums[1] or math.nan
