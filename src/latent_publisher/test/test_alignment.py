"""Waiting for pose and action, and telling the time of what carries no stamp."""

from __future__ import annotations

import numpy as np

from latent_publisher.alignment import ArrivalClock, MeasuredLater, NearestInTime, StateAligner
from wm_core.alignment import ActionStatus, ActionTrack, ExpectedPoses, PoseStatus, PoseTrack
from wm_core.timeline import NS_PER_S

IDENTITY = np.array([0.0, 0.0, 0.0, 1.0])
MS = 1_000_000


def aligner(wait_s: float = 0.02) -> tuple[StateAligner[str], PoseTrack, ActionTrack]:
    poses, actions = PoseTrack(), ActionTrack(2)
    expected = ExpectedPoses(poses, actions, None, 0.05)
    return StateAligner(poses, actions, expected, wait_s, 0.0, 0.025), poses, actions


def test_nothing_is_waited_for_that_never_came():
    states, _, _ = aligner()
    states.push("frame", 10 * NS_PER_S, steady_ns=0)
    (state,) = states.pop_ready(0)
    assert (state.pose.status, state.action.status) == (PoseStatus.ABSENT, ActionStatus.ABSENT)


def test_waits_for_the_pose_after_the_frame_and_interpolates():
    states, poses, _ = aligner()
    poses.insert(10 * NS_PER_S, np.zeros(3), IDENTITY)
    states.push("frame", 10 * NS_PER_S + 10 * MS, steady_ns=0)
    assert list(states.pop_ready(5 * MS)) == []
    assert states.next_deadline_ns() == 20 * MS
    poses.insert(10 * NS_PER_S + 20 * MS, np.array([1.0, 0.0, 0.0]), IDENTITY)
    (state,) = states.pop_ready(6 * MS)
    assert state.pose.status == PoseStatus.INTERPOLATED
    np.testing.assert_allclose(state.pose.position, [0.5, 0.0, 0.0])
    assert states.next_deadline_ns() is None


def test_goes_on_without_at_the_deadline():
    states, poses, _ = aligner()
    poses.insert(10 * NS_PER_S, np.zeros(3), IDENTITY)
    states.push("frame", 10 * NS_PER_S + 10 * MS, steady_ns=0)
    (state,) = states.pop_ready(20 * MS)
    assert state.pose.status == PoseStatus.EXTRAPOLATED


def test_waits_for_the_action_of_the_frame():
    states, _, actions = aligner()
    actions.insert(10 * NS_PER_S, np.array([1.0, 0.0]))
    states.push("frame", 10 * NS_PER_S + 50 * MS, steady_ns=0)
    assert list(states.pop_ready(0)) == []
    actions.insert(10 * NS_PER_S + 51 * MS, np.array([2.0, 0.0]))
    (state,) = states.pop_ready(MS)
    assert state.action.values[0] == 2.0


def test_order_is_kept():
    states, poses, _ = aligner()
    poses.insert(10 * NS_PER_S, np.zeros(3), IDENTITY)
    states.push("a", 10 * NS_PER_S + 10 * MS, steady_ns=0)
    states.push("b", 10 * NS_PER_S + 60 * MS, steady_ns=50 * MS)
    assert [state.frame for state in states.pop_ready(70 * MS)] == ["a", "b"]


def test_a_dead_pose_source_is_not_waited_for():
    states, poses, _ = aligner()
    poses.insert(10 * NS_PER_S, np.zeros(3), IDENTITY)
    states.push("frame", 15 * NS_PER_S, steady_ns=0)
    (state,) = states.pop_ready(0)
    assert state.pose.status == PoseStatus.TOO_OLD


def test_arrivals_are_on_the_nodes_clock_when_frames_are():
    clock = ArrivalClock()
    assert clock.arrival_ns(steady_ns=5, now_ns=77) == 77
    clock.frame(stamp_ns=100 * NS_PER_S, steady_ns=0, now_ns=100 * NS_PER_S + 30 * MS)
    assert not clock.clocks_differ
    assert clock.arrival_ns(steady_ns=10 * MS, now_ns=123) == 123


def test_arrivals_follow_the_frames_when_those_have_another_clock():
    clock = ArrivalClock()
    clock.frame(stamp_ns=100 * NS_PER_S, steady_ns=7 * NS_PER_S, now_ns=1_800_000_000 * NS_PER_S)
    assert clock.clocks_differ
    assert clock.arrival_ns(steady_ns=7 * NS_PER_S + 20 * MS, now_ns=0) == 100 * NS_PER_S + 20 * MS


def test_nearest_in_time():
    depth = NearestInTime(0.1)
    assert depth.at(0) is None
    for ms in (0, 50, 100):
        depth.insert(ms * MS, np.array([ms]))
    assert depth.at(60 * MS)[0] == 50
    assert depth.at(201 * MS) is None


def test_without_a_pose_wait_only_the_action_is_waited_for():
    poses, actions = PoseTrack(), ActionTrack(2)
    states: StateAligner[str] = StateAligner(
        poses, actions, ExpectedPoses(poses, actions, None, 0.05), 0.0, 0.005, 0.025
    )
    poses.insert(10 * NS_PER_S, np.zeros(3), IDENTITY)
    actions.insert(10 * NS_PER_S, np.zeros(2))
    states.push("frame", 10 * NS_PER_S + 50 * MS, steady_ns=0)
    assert list(states.pop_ready(1 * MS)) == []
    actions.insert(10 * NS_PER_S + 51 * MS, np.ones(2))
    (state,) = states.pop_ready(2 * MS)
    assert state.action.values.tolist() == [1.0, 1.0]
    states.push("next", 10 * NS_PER_S + 100 * MS, steady_ns=50 * MS)
    assert list(states.pop_ready(54 * MS)) == []
    (state,) = states.pop_ready(55 * MS)
    assert state.action.values.tolist() == [1.0, 1.0]


def test_measured_poses_follow_once_two_poses_surround_the_frame():
    poses = PoseTrack()
    later = MeasuredLater(poses)
    for at in (10, 60, 110):
        later.push(10 * NS_PER_S + at * MS)
    assert list(later.pop_known()) == []
    poses.insert(10 * NS_PER_S + 20 * MS, np.zeros(3), IDENTITY)
    assert list(later.pop_known()) == []  # nothing lies before the first frame: its pose is only extrapolated
    poses.insert(10 * NS_PER_S + 100 * MS, np.array([0.8, 0.0, 0.0]), IDENTITY)
    ((stamp_ns, pose),) = later.pop_known()
    assert stamp_ns == 10 * NS_PER_S + 60 * MS
    np.testing.assert_allclose(pose.position, [0.4, 0.0, 0.0])
