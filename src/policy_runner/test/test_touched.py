"""Where a robot was held: how far it keeps away from there, on which parts of its way, and that it has an end."""

from __future__ import annotations

import math

import numpy as np
import pytest

from policy_runner.drift import Known
from policy_runner.nearest_drive import NearestDrive
from policy_runner.policies import Memories, Observation
from policy_runner.touched import Touched, TouchedSettings

S = 1_000_000_000


def at(x, y=0.0, yaw=0.0):
    return np.array([x, y, yaw])


def test_it_keeps_away_to_the_side_on_which_it_came_free_and_only_around_there():
    touched = Touched(settings=TouchedSettings(step_m=0.06)).noted(at(2.0), -1.0)
    assert touched.left_m(at(2.0)) == touched.left_m(at(1.7)) == pytest.approx(-0.06)
    assert -0.06 < touched.left_m(at(1.2)) < 0.0
    assert touched.left_m(at(0.5)) == touched.left_m(at(3.5)) == 0.0
    assert touched.left_m(at(2.0, yaw=math.pi)) == 0.0
    assert Touched().left_m(at(2.0)) == 0.0


def test_held_there_again_it_keeps_farther_away_up_to_a_limit_and_the_other_side_takes_back():
    touched = Touched(settings=TouchedSettings(step_m=0.06, most_m=0.1)).noted(at(2.0), 1.0)
    again = touched.noted(at(2.2), 1.0)
    assert again.left_m(at(2.0)) == pytest.approx(0.1)
    assert again.noted(at(2.0), 1.0).left_m(at(2.0)) == pytest.approx(0.1)
    assert touched.noted(at(2.1), -1.0).left_m(at(2.0)) == pytest.approx(0.0)
    assert len(again.touches) == 1
    assert touched.left_m(at(2.0)) == pytest.approx(0.06)


def test_places_beside_one_another_add_up_to_no_more_than_the_limit():
    touched = Touched().noted(at(2.0), 1.0).noted(at(2.6), 1.0).noted(at(1.4), 1.0)
    assert touched.left_m(at(2.0)) == pytest.approx(touched.settings.most_m)


def test_of_very_many_the_newest_are_kept():
    touched = Touched()
    for number in range(200):
        touched = touched.noted(at(2.0 * number), 1.0)
    assert len(touched.touches) <= 64
    assert touched.left_m(at(398.0)) > 0.0
    assert touched.left_m(at(0.0)) == 0.0


def straight():
    times_s = 0.1 * np.arange(100)
    pose_N3 = np.column_stack([times_s, np.zeros(100), np.zeros(100)])
    return Memories(np.round(times_s * S).astype(np.int64), np.zeros(100, int), pose_N3, np.tile([1.0, 0.0], (100, 1)))


def asked(policy, stamp_s, pose_3, speed=1.0):
    one = np.array([[1.0, 0.0]])
    return policy.act(Observation(round(stamp_s * S), np.zeros(1), pose_3, speed, None, one, straight()))


def test_a_robot_that_came_free_passes_there_on_that_side_the_next_time():
    """Held 0.1 m to the left of its way it turns to the right; come free, it keeps to the right of where it was."""
    known = Known()
    policy = NearestDrive(2, known=known)
    for tenth in range(12):
        asked(policy, 0.1 * tenth, at(3.0, 0.1), 0.0)
    asked(policy, 1.2, at(3.12, 0.08))
    assert len(known.touched.touches) == 1
    assert known.touched.left_m(at(3.0)) < 0.0
    # Another policy, made anew, on its way before that place: it steers to the right of it.
    turns = asked(NearestDrive(2, known=known), 20.0, at(2.6, 0.0)).action_HA[1:4, 1]
    assert (turns < 0.0).all()
    assert (asked(NearestDrive(2), 20.0, at(2.6, 0.0)).action_HA[1:4, 1] == 0.0).all()
