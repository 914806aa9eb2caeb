"""Goals are reached in their order, fences stop before them, and speeds are those of the poses."""

import math

import numpy as np
import pytest

from policy_runner.goals import Fence, Goal, Track

S = 1_000_000_000


def test_places_are_passed_in_order_and_the_last_is_faced():
    goal = Goal([np.array([1.0, 0.0, 0.0]), np.array([2.0, 0.0, math.pi / 2])], 0.2, 0.3)
    assert not goal.see(np.array([2.0, 0.0, math.pi / 2]))
    assert goal.number == 0
    assert not goal.see(np.array([0.9, 0.0, 1.0]))
    assert goal.number == 1
    assert not goal.see(np.array([2.0, 0.1, 0.0]))
    assert goal.distance_m == pytest.approx(0.1)
    assert goal.see(np.array([2.0, 0.1, math.pi / 2 - 2 * math.pi]))


def test_without_a_place_nothing_is_reached():
    goal = Goal([], 1.0, 1.0)
    assert not goal.see(np.zeros(3))
    assert math.isnan(goal.distance_m)


def test_a_fence_counts_the_way_to_a_stand():
    fence = Fence((3.0, -1.0, 0.0, 1.0), brake_m_s2=1.0)
    pose, ahead = np.array([2.0, 0.0, 0.0]), np.array([1.0, 0.0])
    assert fence.why_not(pose, np.zeros(2), 0.1) is None
    assert fence.why_not(pose, ahead, 0.4) is None
    # 0.6 m until it is known, 0.5 m of braking.
    assert "3.1" in fence.why_not(pose, ahead, 0.6)
    assert Fence((), 1.0).why_not(np.array([1e6, 0.0, 0.0]), ahead, 1.0) is None


def test_speed_is_that_of_the_last_moments():
    track = Track()
    assert np.isnan(track.velocity_2).all()
    for number in range(30):
        x = 0.0 if number < 10 else 0.05 * (number - 10)
        track.add(number * S // 20, np.array([x, 1.0, 0.0]))
    assert track.velocity_2 == pytest.approx([1.0, 0.0])
    track.add(0, np.array([5.0, 1.0, 0.0]))
    assert track.last[0] == 0
    assert np.isnan(track.velocity_2).all()
