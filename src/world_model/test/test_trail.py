"""The path that was driven before: against circles, forks and lines, whose ends are known."""

import itertools
import math

import numpy as np
import pytest

from wm_core.se2 import Pose2
from world_model.runtime.trail import Trail, TrailTrust

NS, RATE_HZ, HORIZON_S = 10**9, 20.0, 1.0


def pose(x, y, yaw):
    return Pose2(x, y, 0.0, yaw)


def line(begin, yaw, metres, speed=1.0):
    """Poses along a straight way, a frame each."""
    count = round(metres / speed * RATE_HZ)
    along = np.arange(count) * speed / RATE_HZ
    return [pose(begin[0] + s * math.cos(yaw), begin[1] + s * math.sin(yaw), yaw) for s in along]


def drive(trail, poses, start_s=0.0):
    for number, each in enumerate(poses):
        trail.add(round((start_s + number / RATE_HZ) * NS), each)
    return start_s + len(poses) / RATE_HZ


@pytest.fixture
def trail():
    return Trail(HORIZON_S, recent_s=20.0)


STRAIGHT_13 = np.array([[1.0, 0.0, 0.0]])


def test_a_circle_goes_on_as_a_circle_where_a_held_action_leads_straight_on(trail):
    radius_m, turns = 3.0, 2.2
    angles = np.arange(0.0, turns * math.tau, 1.0 / RATE_HZ / radius_m)
    circle = [pose(radius_m * math.sin(a), radius_m * (1.0 - math.cos(a)), math.remainder(a, math.tau)) for a in angles]
    now_s = drive(trail, circle)
    said_13 = trail.ahead(round(now_s * NS), circle[-1], STRAIGHT_13)
    turn = 1.0 / radius_m
    expected = [radius_m * math.sin(turn), radius_m * (1.0 - math.cos(turn)), turn]
    np.testing.assert_allclose(said_13[0], expected, atol=0.02)


def test_the_way_is_as_long_as_the_robot_is_fast_now(trail):
    drive(trail, [*line((0.0, 0.0), 0.0, 2.0), *line((2.0, 0.0), math.pi / 2, 2.0)])
    half_H3 = np.array([[0.5, 0.0, 0.0], [1.0, 0.0, 0.0]])
    said_H3 = trail.ahead(60 * NS, pose(1.5, 0.0, 0.0), half_H3)
    np.testing.assert_allclose(said_H3[:, :2], [[0.5, 0.0], [0.5, 0.5]], atol=0.08)
    assert said_H3[1, 2] == pytest.approx(math.pi / 2, abs=0.05)


@pytest.mark.parametrize(
    ("here", "moved_13", "now_s"),
    [
        (pose(0.5, 0.0, 0.0), STRAIGHT_13, 10.0),  # it is not old enough
        (pose(0.5, 0.0, math.pi), STRAIGHT_13, 60.0),  # the other way round
        (pose(0.5, 0.0, 0.0), -STRAIGHT_13, 60.0),  # backwards
        (pose(0.5, 2.0, 0.0), STRAIGHT_13, 60.0),  # beside it
        (pose(2.5, 0.0, 0.0), STRAIGHT_13, 60.0),  # where it ends
        (pose(0.5, 0.0, 0.0), 0.0 * STRAIGHT_13, 60.0),  # standing
    ],
)
def test_where_nothing_was_driven_so_nothing_is_said(trail, here, moved_13, now_s):
    drive(trail, line((0.0, 0.0), 0.0, 3.0))
    assert trail.ahead(60 * NS, pose(0.5, 0.0, 0.0), STRAIGHT_13) is not None
    assert trail.ahead(round(now_s * NS), here, moved_13) is None


def test_passes_that_part_are_weighed_by_how_near_they_are(trail):
    left = [*line((0.0, 0.2), 0.0, 2.0), *line((2.0, 0.2), math.pi / 2, 2.0)]
    right = [*line((0.0, -0.2), 0.0, 2.0), *line((2.0, -0.2), -math.pi / 2, 2.0)]
    now_s = drive(trail, left)
    trail.restart()
    drive(trail, right, now_s)
    sides = [trail.ahead(90 * NS, pose(1.5, y, 0.0), STRAIGHT_13)[0, 1] for y in (-0.2, 0.0, 0.2)]
    assert sides[0] < -0.3 < 0.3 < sides[2]
    assert sides[1] == pytest.approx(0.0, abs=0.05)


def test_the_further_a_robot_is_off_its_old_path_the_less_it_is_expected_to_follow_it(trail):
    """The path turned to the left after 2 m; who comes by beside it, or turned away from it, may have left it."""
    drive(trail, [*line((0.0, 0.0), 0.0, 2.0), *line((2.0, 0.0), math.pi / 2, 3.0)])
    here = [pose(1.5, -0.1 * step, 0.0) for step in range(6)]
    lefts = [trail.ahead(60 * NS, each, STRAIGHT_13)[0, 1] for each in here]
    assert all(nearer > 1.2 * further for nearer, further in itertools.pairwise(lefts[1:]))
    assert lefts[0] > 0.4 > 0.05 > lefts[-1] > 0.0
    turned = trail.ahead(60 * NS, pose(1.5, 0.0, -0.4), STRAIGHT_13)[0, 1]
    assert turned < 0.5 * lefts[0]


def test_a_localisation_that_jumps_is_no_motion(trail):
    """A loop closure puts the robot 1.5 m to the left; nobody who comes by again is expected to go there."""
    drive(trail, [*line((0.0, 0.0), 0.0, 2.0), *line((2.0, 1.5), 0.0, 3.0)])
    assert trail.ahead(60 * NS, pose(1.5, 0.0, 0.0), STRAIGHT_13) is None
    np.testing.assert_allclose(trail.ahead(60 * NS, pose(2.5, 1.5, 0.0), STRAIGHT_13), STRAIGHT_13, atol=0.02)


@pytest.mark.parametrize("speed", [0.05, 1.0, 30.0])
def test_the_first_metres_of_a_slow_and_of_a_fast_robot_are_kept(trail, speed):
    drive(trail, line((0.0, 0.0), 0.0, 5.0 * speed, speed))
    ahead_13 = speed * STRAIGHT_13
    np.testing.assert_allclose(trail.ahead(60 * NS, pose(2.0 * speed, 0.0, 0.0), ahead_13), ahead_13, atol=0.05 * speed)


def test_a_path_that_was_cut_off_does_not_go_on_elsewhere(trail):
    now_s = drive(trail, line((0.0, 0.0), 0.0, 1.0))
    trail.restart()
    drive(trail, line((50.0, 0.0), 0.0, 3.0), now_s)
    assert trail.ahead(60 * NS, pose(0.5, 0.0, 0.0), STRAIGHT_13) is None


def test_a_full_trail_forgets_its_beginning():
    trail = Trail(HORIZON_S, recent_s=20.0, points=100)
    drive(trail, line((0.0, 0.0), 0.0, 20.0))
    assert 50 < len(trail) <= 100
    assert trail.ahead(90 * NS, pose(1.0, 0.0, 0.0), STRAIGHT_13) is None
    assert trail.ahead(90 * NS, pose(18.0, 0.0, 0.0), STRAIGHT_13) is not None


def test_a_robot_that_stands_adds_nothing(trail):
    drive(trail, [pose(1.0, 1.0, 0.3)] * 500)
    assert len(trail) == 1


def follow(trust, ahead_left_m, true_left_m, seconds):
    """A robot that drives ahead by 1 m/s and is told 1 s ahead; its true way lies to the left, each second as given."""
    for number in range(round(seconds * RATE_HZ)):
        now_ns = round(number / RATE_HZ * NS)
        true_m = true_left_m(max(number / RATE_HZ - 1.0, 0.0))
        # Seen from where it was a second ago it is 1 m ahead and so far aside.
        trust.observe(now_ns, pose(number / RATE_HZ, true_m, 0.0))
        trust.follow(now_ns, pose(number / RATE_HZ, 0.0, 0.0), STRAIGHT_13, np.array([[1.0, ahead_left_m, 0.0]]))
    return trust.share_H3[0]


@pytest.mark.parametrize(("true_left_m", "share"), [(0.2, 1.0), (0.05, 0.25), (0.0, 0.0), (-0.2, 0.0)])
def test_a_trail_is_followed_as_far_as_it_came_true(true_left_m, share):
    trust = TrailTrust([HORIZON_S], 1.0 / RATE_HZ)
    assert trust.share_H3.tolist() == [[0.5, 0.5, 0.5]]
    assert follow(trust, 0.2, lambda _: true_left_m, 30.0)[1] == pytest.approx(share, abs=0.06)


def test_a_localisation_that_jumps_once_does_not_change_what_is_followed():
    trust = TrailTrust([HORIZON_S], 1.0 / RATE_HZ)
    steady = follow(trust, 0.2, lambda _: 0.1, 30.0)[1]
    jumped = follow(TrailTrust([HORIZON_S], 1.0 / RATE_HZ), 0.2, lambda s: 50.0 if 20.0 <= s < 20.2 else 0.1, 30.0)[1]
    assert jumped == pytest.approx(steady, abs=0.1)
