"""Poses told before they are measured: what is expected depends on what had arrived, and errs as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wm_core.alignment import ActionTrack, ExpectedPoses, PoseStatus, PoseTrack
from wm_core.se3 import quaternion_of, yaw_of
from world_model.runtime.motion_model import MotionModel
from world_model.runtime.pose_ahead import PoseAhead

STEP_S, SPEED = 0.05, 1.0
# Twist = (speed, 0, turn rate) = the two actions, at once and without delay.
MODEL = MotionModel(
    weights=[[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]],
    error_horizons_s=(0.05, 1.0),
    error_std=((0.004, 0.002, 0.003), (0.1, 0.1, 0.1)),
)


def turn_rate(at_s: float) -> float:
    return 0.8 * math.sin(2.0 * at_s)


def truth(at_s: float) -> tuple[float, float, float]:
    """Return the pose of a robot that follows its actions, each held for a control period, by fine steps."""
    x = y = yaw = 0.0
    for index in range(round(at_s / 0.001)):
        rate = turn_rate(math.floor(index * 0.001 / STEP_S + 1e-9) * STEP_S)
        x, y, yaw = x + 0.001 * SPEED * math.cos(yaw), y + 0.001 * SPEED * math.sin(yaw), yaw + 0.001 * rate
    return x, y, yaw


class Robot:
    """Poses at a rate that come late, and frames at 20 Hz that ask at once."""

    def __init__(self, rate_hz: float, late_s: float, motion: PoseAhead | None) -> None:
        self.poses, self.actions = PoseTrack(), ActionTrack(2)
        self.expected = ExpectedPoses(self.poses, self.actions, motion, STEP_S)
        self.rate_hz, self.late_s = rate_hz, late_s

    def drive(self, seconds: float) -> list[tuple[float, object]]:
        """Return, for each frame, its time and the pose that was told at once."""
        events = [(index * STEP_S, 0, index * STEP_S) for index in range(int(seconds / STEP_S))]
        events += [(at_s, 2, at_s) for at_s, *_ in events]
        count = int(seconds * self.rate_hz)
        events += [(index / self.rate_hz + self.late_s, 1, index / self.rate_hz) for index in range(count)]
        told = []
        for _, kind, at_s in sorted(events):
            at_ns = 10**9 + round(at_s * 1e9)
            if kind == 0:
                self.actions.insert(at_ns, np.array([SPEED, turn_rate(at_s)], np.float32))
            elif kind == 1:
                x, y, yaw = truth(at_s)
                self.expected.insert(at_ns, np.array([x, y, 0.0]), np.array(quaternion_of(yaw)))
            else:
                told.append((at_s, self.expected.at(at_ns)))
        return told


@pytest.mark.slow
@pytest.mark.parametrize("late_s", [0.0, 0.03, 0.1])
@pytest.mark.parametrize("rate_hz", [7.0, 50.0, 200.0])
def test_a_pose_is_told_at_once_and_is_near_the_truth(rate_hz, late_s):
    told = Robot(rate_hz, late_s, PoseAhead(MODEL, STEP_S, 2)).drive(4.0)
    statuses = {pose.status for _, pose in told[20:]}
    assert statuses <= {PoseStatus.PREDICTED, PoseStatus.INTERPOLATED}
    if late_s:
        assert statuses == {PoseStatus.PREDICTED}
    off_m, off_rad = [], []
    for at_s, pose in told[20:]:
        x, y, yaw = truth(at_s)
        off_m.append(math.hypot(pose.position[0] - x, pose.position[1] - y))
        off_rad.append(abs(yaw_of(pose.quaternion) - yaw))
    # The furthest that is looked ahead: a period of the poses and how late they come.
    span_s = 1.0 / rate_hz + late_s
    assert max(off_m) <= 0.005 + 0.03 * span_s
    assert max(off_rad) <= 0.005 + 0.2 * span_s
    expected_std = np.interp(span_s, (0.05, 1.0), (0.004, 0.1))
    largest = max((pose.errors[0] for _, pose in told[20:] if pose.status is PoseStatus.PREDICTED), default=0.0)
    assert largest <= expected_std + 1e-9


def test_the_model_is_nearer_than_going_on_as_before():
    def worst(motion) -> float:
        told = Robot(7.0, 0.05, motion).drive(4.0)[20:]
        return max(math.dist(pose.position[:2], truth(at_s)[:2]) for at_s, pose in told)

    assert worst(PoseAhead(MODEL, STEP_S, 2)) < 0.5 * worst(None)


def test_what_is_told_depends_on_what_had_arrived_and_nothing_else():
    first = Robot(20.0, 0.03, PoseAhead(MODEL, STEP_S, 2)).drive(3.0)
    again = Robot(20.0, 0.03, PoseAhead(MODEL, STEP_S, 2)).drive(3.0)
    for (_, mine), (_, theirs) in zip(first, again):
        assert mine.status == theirs.status
        if mine.position is not None:
            np.testing.assert_array_equal(mine.position, theirs.position)


def test_time_that_jumps_back_starts_anew():
    robot = Robot(20.0, 0.03, PoseAhead(MODEL, STEP_S, 2))
    robot.drive(2.0)
    robot.expected.insert(10**8, np.array([5.0, 0.0, 0.0]), np.array(quaternion_of(0.0)))
    pose = robot.expected.at(10**8 + 20_000_000)
    assert pose.position[0] == pytest.approx(5.0, abs=0.1)


def test_without_a_model_the_last_motion_goes_on():
    told = Robot(20.0, 0.03, None).drive(2.0)
    assert {pose.status for _, pose in told[5:]} == {PoseStatus.EXTRAPOLATED}
