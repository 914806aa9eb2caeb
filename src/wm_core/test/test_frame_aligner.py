"""Waiting for pose and action, what follows later, and telling the time of what carries no stamp."""

from __future__ import annotations

import numpy as np

from wm_core.alignment import ActionStatus, ArrivalClock, FrameAligner, PoseStatus, Waits
from wm_core.timeline import NS_PER_S

IDENTITY = np.array([0.0, 0.0, 0.0, 1.0])
MS = 1_000_000


def aligner(pose_wait_s: float = 0.02, action_wait_s: float = 0.0) -> FrameAligner[str]:
    return FrameAligner(2, 0.05, None, Waits(pose_wait_s=pose_wait_s, action_wait_s=action_wait_s))


def test_nothing_is_waited_for_that_never_came():
    states = aligner()
    states.frame("frame", 10 * NS_PER_S, steady_ns=0)
    (state,) = states.ready(0)
    assert (state.pose.status, state.action.status) == (PoseStatus.ABSENT, ActionStatus.ABSENT)


def test_waits_for_the_pose_after_the_frame_and_interpolates():
    states = aligner()
    states.pose(10 * NS_PER_S, np.zeros(3), IDENTITY)
    states.frame("frame", 10 * NS_PER_S + 10 * MS, steady_ns=0)
    assert list(states.ready(5 * MS)) == []
    assert states.next_deadline_ns() == 20 * MS
    states.pose(10 * NS_PER_S + 20 * MS, np.array([1.0, 0.0, 0.0]), IDENTITY)
    (state,) = states.ready(6 * MS)
    assert state.pose.status == PoseStatus.INTERPOLATED
    np.testing.assert_allclose(state.pose.position, [0.5, 0.0, 0.0])
    assert states.next_deadline_ns() is None


def test_goes_on_without_at_the_deadline():
    states = aligner()
    states.pose(10 * NS_PER_S, np.zeros(3), IDENTITY)
    states.frame("frame", 10 * NS_PER_S + 10 * MS, steady_ns=0)
    (state,) = states.ready(20 * MS)
    assert state.pose.status == PoseStatus.EXTRAPOLATED


def test_waits_for_the_action_of_the_frame():
    states = aligner()
    states.action(10 * NS_PER_S, np.array([1.0, 0.0]))
    states.frame("frame", 10 * NS_PER_S + 50 * MS, steady_ns=0)
    assert list(states.ready(0)) == []
    states.action(10 * NS_PER_S + 51 * MS, np.array([2.0, 0.0]))
    (state,) = states.ready(MS)
    assert state.action.values[0] == 2.0


def test_order_is_kept():
    states = aligner()
    states.pose(10 * NS_PER_S, np.zeros(3), IDENTITY)
    states.frame("a", 10 * NS_PER_S + 10 * MS, steady_ns=0)
    states.frame("b", 10 * NS_PER_S + 60 * MS, steady_ns=50 * MS)
    assert [state.frame for state in states.ready(70 * MS)] == ["a", "b"]


def test_a_dead_pose_source_is_not_waited_for():
    states = aligner()
    states.pose(10 * NS_PER_S, np.zeros(3), IDENTITY)
    states.frame("frame", 15 * NS_PER_S, steady_ns=0)
    (state,) = states.ready(0)
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


def test_without_a_pose_wait_only_the_action_is_waited_for():
    states = aligner(0.0, 0.005)
    states.pose(10 * NS_PER_S, np.zeros(3), IDENTITY)
    states.action(10 * NS_PER_S, np.zeros(2))
    states.frame("frame", 10 * NS_PER_S + 50 * MS, steady_ns=0)
    assert list(states.ready(1 * MS)) == []
    states.action(10 * NS_PER_S + 51 * MS, np.ones(2))
    (state,) = states.ready(2 * MS)
    assert state.action.values.tolist() == [1.0, 1.0]
    states.frame("next", 10 * NS_PER_S + 100 * MS, steady_ns=50 * MS)
    assert list(states.ready(54 * MS)) == []
    (state,) = states.ready(55 * MS)
    assert state.action.values.tolist() == [1.0, 1.0]


def test_measured_poses_follow_once_two_poses_surround_the_frame():
    states = aligner(0.0)
    for at in (10, 60, 110):
        states.frame("frame", 10 * NS_PER_S + at * MS, steady_ns=0)
    assert len(list(states.ready(0))) == 3
    assert list(states.measured()) == []
    states.pose(10 * NS_PER_S + 20 * MS, np.zeros(3), IDENTITY)
    assert list(states.measured()) == []  # nothing lies before the first frame: its pose is only extrapolated
    states.pose(10 * NS_PER_S + 100 * MS, np.array([0.8, 0.0, 0.0]), IDENTITY)
    ((stamp_ns, pose),) = states.measured()
    assert stamp_ns == 10 * NS_PER_S + 60 * MS
    np.testing.assert_allclose(pose.position, [0.4, 0.0, 0.0])


def test_what_waits_when_time_jumps_goes_out_with_what_was_known_before():
    states = aligner()
    states.pose(10 * NS_PER_S, np.ones(3), IDENTITY)
    states.frame("old", 10 * NS_PER_S + 10 * MS, steady_ns=0)
    (old,) = states.restart()
    assert (old.frame, old.pose.status) == ("old", PoseStatus.EXTRAPOLATED)
    states.frame("new", 4 * NS_PER_S, steady_ns=0)
    (new,) = states.ready(0)
    assert (new.frame, new.pose.status) == ("new", PoseStatus.ABSENT)
    assert list(states.restart()) == []


def test_poses_of_two_frames_never_mix():
    states = aligner(0.0)
    states.pose(10 * NS_PER_S, np.zeros(3), IDENTITY, frame_id="map")
    states.frame("frame", 10 * NS_PER_S + 10 * MS, steady_ns=0)
    assert len(list(states.ready(0))) == 1
    states.pose(10 * NS_PER_S + 20 * MS, np.ones(3), IDENTITY, frame_id="odom")
    assert list(states.measured()) == []
    assert states.frame_id == "odom"


class Wrong:
    """A motion model of another robot: it expects so much more than is driven."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def reset(self):
        pass

    def observe(self, stamp_ns, pose, action_A):
        pass

    def ahead(self, actions, span_s):
        return np.array([self.factor * span_s, 0.0, 0.0]), np.full(3, 0.01)


def driven(motion) -> list[float]:
    """What is missed of each frame [m]: 1 m/s straight on, poses at 20 Hz that come 70 ms late."""
    states: FrameAligner[int] = FrameAligner(2, 0.05, motion, Waits(action_wait_s=0.0))
    missed = []
    for row in range(40):
        if row >= 2:
            states.pose((row - 2) * 50 * MS + NS_PER_S, np.array([(row - 2) * 0.05, 0.0, 0.0]), IDENTITY)
        states.frame(row, row * 50 * MS + NS_PER_S, steady_ns=0)
        for state in states.ready(0):
            if state.pose.status is PoseStatus.PREDICTED:
                missed.append(abs(state.pose.position[0] - row * 0.05))
                assert row < 6 or 0.0 < state.pose.errors[0] < 0.1 or missed[-1] < 1e-9
        list(states.measured())
    return missed


def test_a_model_that_expects_worse_than_going_on_as_it_was_is_left():
    right, wrong = driven(Wrong(1.0)), driven(Wrong(1.8))
    assert max(right) < 1e-9
    assert min(wrong[:5]) > 0.03
    assert max(wrong[12:]) < 1e-6
