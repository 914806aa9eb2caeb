"""What states tell of the robot, one after the other."""

from __future__ import annotations

import math

import numpy as np
import pytest

from policy_runner.estimate import Estimate
from policy_runner.goals import Fence
from policy_runner.policies import Frame
from policy_runner.situation import Seen, Situation

S = 1_000_000_000
STEP_NS = S // 20


def state(number, x=None, action_A=None):
    pose_3 = None if x is None else np.array([x, 0.0, 0.0])
    return Seen(Frame(number * STEP_NS, np.zeros(2), "it", pose_3, action_A), None, "map")


def made(corners=()):
    return Situation(Estimate(), Fence(corners, 1.0))


def driven(situation, count=10, speed=1.0, **how):
    """Lets a robot drive along x, a state every 0.05 s."""
    for number in range(count):
        situation.see(state(number, 0.05 * number * speed, np.array([speed, 0.0])), is_driven=True, **how)
    return situation


def test_nothing_is_known_before_a_state():
    situation = made((0.0, 0.0, 1.0, 1.0))
    assert situation.seen is None
    assert situation.frame_id == ""
    assert situation.at(0, []) is None
    assert situation.why_not(0) is None
    assert math.isnan(situation.speed_m_s)
    assert situation.taken_frames() == ()


def test_states_tell_where_it_is_how_fast_and_where_it_will_be():
    situation = driven(made())
    assert situation.frame_id == "map"
    assert situation.pose_3[0] == pytest.approx(0.45, abs=0.02)
    assert situation.speed_m_s == pytest.approx(1.0, abs=0.1)
    assert situation.at(9 * STEP_NS + S // 5, [])[0] == pytest.approx(0.65, abs=0.03)


def test_a_state_without_a_pose_tells_no_place_and_forgets_none():
    situation = driven(made())
    situation.see(state(10), is_driven=True)
    assert situation.pose_3 is None
    assert situation.at(11 * STEP_NS, []) is None
    assert situation.speed_m_s == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("is_driven", [True, False])
def test_what_a_state_says_of_commands_counts_where_somebody_else_drives(is_driven):
    situation = made()
    for number in range(10):
        situation.see(state(number, 0.0, np.array([1.0, 0.0])), is_driven=is_driven)
    assert bool(situation.at(9 * STEP_NS + S // 2, [])[0] > 0.1) is is_driven


def test_frames_are_handed_out_once_and_begin_anew_when_time_goes_back():
    situation = driven(made(), 3)
    assert [frame.stamp_ns for frame in situation.taken_frames()] == [0, STEP_NS, 2 * STEP_NS]
    assert situation.taken_frames() == ()
    situation.see(state(27), is_driven=True)
    assert situation.see(state(4), is_driven=True)
    assert [frame.stamp_ns for frame in situation.taken_frames()] == [4 * STEP_NS]


@pytest.mark.parametrize("late", [0, 1, 4])
def test_a_state_that_is_no_newer_than_the_last_tells_nothing(late):
    """Taken for a clock that was set back, each would begin the estimate anew, and who is fenced in stood still."""
    situation, twice = driven(made((-1.0, -1.0, 9.0, 9.0))), made((-1.0, -1.0, 9.0, 9.0))
    for number in range(10):
        seen = state(number, 0.05 * number, np.array([1.0, 0.0]))
        assert twice.see(seen, is_driven=True)
        if number >= late:
            assert not twice.see(state(number - late, 0.4, np.zeros(2)), is_driven=True)
    assert twice.pose_3 == pytest.approx(situation.pose_3)
    assert twice.speed_m_s == pytest.approx(situation.speed_m_s)
    assert len(twice.taken_frames()) == 10


def test_who_may_not_be_everywhere_does_not_go_on_without_a_place():
    for corners in ((), (-1.0, -1.0, 9.0, 9.0)):
        situation = made(corners)
        assert not situation.may_go_on
        driven(situation)
        assert situation.may_go_on
        situation.see(state(10), is_driven=True)
        assert situation.may_go_on is (not corners)


def test_it_is_told_before_it_leaves_where_it_may_be():
    """At 1 m/s it needs 0.5 m to stand, and what it knows grows old."""
    situation = driven(made((-1.0, -1.0, 1.0, 1.0)))
    assert situation.why_not(9 * STEP_NS) is None
    assert "keep_in" in situation.why_not(9 * STEP_NS + S // 5)
