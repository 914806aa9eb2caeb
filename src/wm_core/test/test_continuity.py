"""Poses that jump, against drives whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wm_core.alignment import FrameAligner, FrameEvent, Kind, PoseContinuity, PoseEvent, PoseStatus, Replay
from wm_core.se2 import Pose2, wrap_angle
from wm_core.se3 import quaternion_of, yaw_of

S = 1_000_000_000
T0 = 1_700_000_000 * S


def truth(second: float) -> Pose2:
    """Return where a robot is that drives an eight at about 1 m/s, four metres from its origin."""
    x, y = 4.0 + 3.0 * math.sin(second / 4.0), 2.0 + 2.0 * math.sin(second / 2.0)
    return Pose2(x, y, 0.5, math.atan2(math.cos(second / 2.0), 0.75 * math.cos(second / 4.0)))


def since(origin: Pose2, pose: Pose2) -> Pose2:
    """Return a pose as an odometry tells it that began at another."""
    forward, left = pose.x - origin.x, pose.y - origin.y
    cos, sin = math.cos(origin.yaw), math.sin(origin.yaw)
    return Pose2(
        cos * forward + sin * left, cos * left - sin * forward, pose.z - origin.z, wrap_angle(pose.yaw - origin.yaw)
    )


def told(pose: Pose2) -> tuple[np.ndarray, np.ndarray]:
    return np.array([pose.x, pose.y, pose.z]), np.array(quaternion_of(pose.yaw))


class Drive:
    """Poses of a drive through a continuity, and what came of them."""

    def __init__(self) -> None:
        self.continuity, self.errors, self.jumps = PoseContinuity(), list[float](), list[Kind]()
        self.left_out = 0

    def take(self, second: float, pose: Pose2, true: Pose2 | None = None) -> None:
        carried = self.continuity.take(T0 + round(second * S), *told(pose))
        if carried is None:
            self.left_out += 1
            return
        self.jumps += [carried.jump.kind] if carried.jump else []
        true = true or pose
        off = math.dist(carried.position, (true.x, true.y, true.z))
        self.errors.append(off + abs(wrap_angle(yaw_of(carried.quaternion) - true.yaw)))


@pytest.mark.parametrize("rate_hz", [5.0, 7.0, 20.0, 50.0, 200.0])
def test_an_odometry_that_begins_again_twice_is_carried_on(rate_hz):
    drive, origin = Drive(), Pose2(0.0, 0.0, 0.0, 0.0)
    for i in range(round(40 * rate_hz)):
        second = i / rate_hz
        for restart_s in (15.0, 30.0):
            if second >= restart_s > second - 1.0 / rate_hz:
                origin = truth(second)
        drive.take(second, since(origin, truth(second)), truth(second))
    assert drive.jumps == [Kind.RESTARTED, Kind.RESTARTED]
    assert drive.left_out == 2
    # What it moved on its way between the poses is foreseen, not known.
    assert max(drive.errors) < 0.35 / min(rate_hz / 5.0, 5.0)
    assert drive.continuity.is_carried


def test_a_driver_that_is_started_again_within_seconds_is_carried_on():
    drive, origin = Drive(), truth(20.0)
    for i in range(400):
        drive.take(i / 20, truth(i / 20))
    for i in range(520, 900):  # it stood for six seconds and goes on
        drive.take(i / 20, since(origin, truth(i / 20 - 6.0)), truth(i / 20 - 6.0))
    assert drive.jumps == [Kind.RESTARTED]
    assert max(drive.errors) < 0.1


def test_after_a_long_silence_nothing_is_carried_on():
    drive, origin = Drive(), truth(20.0)
    for i in range(400):
        drive.take(i / 20, truth(i / 20))
    for i in range(1400, 1500):
        drive.take(i / 20, since(origin, truth(i / 20 - 50.0)))
    assert drive.jumps == [Kind.RESTARTED_UNKNOWN]
    assert not drive.continuity.is_carried
    assert max(drive.errors) < 1e-9


@pytest.mark.parametrize("size_m", [0.05, 0.3, 0.9])
def test_small_corrections_are_taken_as_they_come(size_m):
    drive = Drive()
    for i in range(800):
        off = size_m * (i // 100 % 2)
        at = truth(i / 20)
        drive.take(i / 20, Pose2(at.x + off, at.y - off / 3, at.z, at.yaw))
    assert drive.jumps == []
    assert drive.left_out == 0
    assert max(drive.errors) < 1e-9


def test_a_correction_over_metres_is_told_and_taken_as_the_same_frame():
    drive = Drive()
    for i in range(400):
        at = truth(i / 20)
        drive.take(i / 20, at if i < 200 else Pose2(at.x + 7.0, at.y, at.z, at.yaw))
    assert drive.jumps == [Kind.CORRECTED]
    assert drive.left_out == 1
    assert max(drive.errors) < 1e-9


def test_a_robot_that_is_put_back_where_it_began_is_there():
    drive = Drive()
    for i in range(400):
        drive.take(i / 20, truth(i % 200 / 20))
    assert drive.jumps == [Kind.CORRECTED]
    assert max(drive.errors) < 1e-9


@pytest.mark.parametrize("wrong", [Pose2(0.0, 0.0, 0.0, 0.0), Pose2(90.0, -3.0, 0.0, 1.0), truth(0.0)])
def test_single_poses_that_are_wrong_are_left_out(wrong):
    drive = Drive()
    for i in range(400):
        drive.take(i / 20, wrong if i % 97 == 90 else truth(i / 20))
    assert drive.jumps == []
    assert drive.left_out == 4
    assert max(drive.errors) < 1e-9


def test_a_localisation_that_begins_at_the_origin_and_finds_itself_is_told_in_its_frame_again():
    drive, origin = Drive(), truth(10.0)
    for i in range(400):
        begins_anew = 200 <= i < 260
        drive.take(i / 20, since(origin, truth(i / 20)) if begins_anew else truth(i / 20), truth(i / 20))
    assert drive.jumps == [Kind.RESTARTED, Kind.RETURNED]
    assert max(drive.errors) < 0.1
    assert not drive.continuity.is_carried


def test_a_recording_that_loops_is_another_timeline():
    drive, origin = Drive(), truth(10.0)
    for i in range(400):
        drive.take(i / 20, truth(i / 20) if i < 200 else since(origin, truth(i / 20)), truth(i / 20))
    assert drive.continuity.is_carried
    for i in range(400):
        drive.take(i / 20, truth(i / 20))
    assert not drive.continuity.is_carried
    assert drive.jumps == [Kind.RESTARTED]


@given(
    st.sampled_from([0.5, 1.0, 2.0, 7.0, 20.0, 100.0]),
    st.lists(st.floats(-4.0, 4.0), min_size=4, max_size=12),
    st.floats(0.0, 12.0),
)
@settings(deadline=None)
def test_what_a_robot_can_drive_is_no_jump(rate_hz, gains, speed):
    """Any gain of speed up to 4 m/s^2, poses at any rate, from standing or driving fast."""
    drive, x, v, i = Drive(), 3.0, speed, 0
    for gain in gains:
        for _ in range(max(round(rate_hz), 2)):
            drive.take(i / rate_hz, Pose2(x, 1.0, 0.0, 0.3))
            v += gain / rate_hz
            x, i = x + v / rate_hz, i + 1
    assert drive.jumps == []
    assert drive.left_out == 0


def test_the_aligner_gives_frames_the_pose_that_is_carried_on_and_tells_of_the_jump():
    aligner: FrameAligner[int] = FrameAligner(2, 0.05, None)
    origin = truth(10.0)
    at_ns = [T0 + i * S // 20 for i in range(400)]
    said = [truth(i / 20) if i < 200 else since(origin, truth(i / 20)) for i in range(400)]
    poses = [PoseEvent(ns, ns, (p.x, p.y, p.z), tuple(quaternion_of(p.yaw)), "odom") for ns, p in zip(at_ns, said)]
    # One stamp that is wrong by years while poses are carried on changes nothing.
    poses.insert(300, PoseEvent(at_ns[300] - 1, at_ns[300] + 10**17, (1.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0), "odom"))
    poses.insert(310, PoseEvent(at_ns[309] - 1, 5 * S, (1.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0), "odom"))
    replay = Replay([FrameEvent(ns, ns) for ns in at_ns], poses, [], aligner)
    kept = {item.row: item.pose for item in replay if hasattr(item, "is_late")}
    assert [jump.kind for jump in replay.jumps] == [Kind.RESTARTED]
    assert "the odometry began again" in str(replay.jumps[0])
    assert replay.pose_faults == {"pose-ahead": 2}
    for row in range(2, 398):
        pose = kept[row]
        assert pose is not None
        assert pose.status is PoseStatus.INTERPOLATED
        assert math.dist(pose.position, (truth(row / 20).x, truth(row / 20).y, truth(row / 20).z)) < 0.12
