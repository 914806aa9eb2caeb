"""A drive that came to a stand in a bend: how the bend is driven again."""

import math
from dataclasses import replace

import numpy as np
import pytest

from policy_runner.drives import Drives
from policy_runner.policies import Memories

S = 1_000_000_000
STEP_M, RESPONSE_S = 0.1, 0.2


def bend(speed, curve):
    return speed * curve


def stood(curve, bend_m=3.0, most_rad_s=0.0):
    """3 m straight on at 1 m/s, a stand of 3 s, and then a bend of a curvature [1/m]; 3 m of it, and straight on.

    Somewhere before, it steered by ``most_rad_s``.
    """
    way_m = STEP_M * np.arange(round((6.0 + bend_m) / STEP_M))
    yaw = np.clip(way_m - 3.0, 0.0, bend_m) * curve
    middle = 0.5 * (yaw[1:] + yaw[:-1])
    x, y = (np.concatenate([[0.0], np.cumsum(STEP_M * part)]) for part in (np.cos(middle), np.sin(middle)))
    pose = np.column_stack([x, y, yaw])
    action = np.tile([1.0, 0.0], (len(pose), 1))
    action[np.abs(way_m - 3.0) < 0.4] = 0.0
    action[5, 1] = most_rad_s
    # While it stands a memory is kept every second.
    row = np.sort(np.concatenate([np.arange(len(pose)), np.full(3, 30)]))
    stamp = np.round((way_m[row] + np.clip(np.arange(len(row)) - 30, 0, 3)) * S).astype(np.int64)
    return Memories(stamp, np.zeros(len(row), int), pose[row], action[row]), way_m[row]


def mended(memories, way_m):
    """Returns where along the way each leg begins [m], and its command."""
    drives = Drives(memories, bend, RESPONSE_S)
    start_m = np.interp(drives.stamp_L / S, memories.stamp_N / S, way_m)
    return start_m + 0.5 * STEP_M, drives.action_LA, drives.length_L / drives.time_L


def test_the_bend_is_commanded_as_long_before_it_as_a_command_takes():
    """Straight on and then 0.5 rad/s from 3 m on: at 1 m/s commanded from 2.8 m on."""
    at_m, action, _ = mended(*stood(0.5, most_rad_s=1.0))
    near = np.abs(at_m - 3.0) < 0.6
    assert action[near, 0] == pytest.approx(1.0, abs=0.02)
    assert np.interp(0.25, action[near, 1], at_m[near]) == pytest.approx(2.8, abs=0.06)
    assert np.median(action[(at_m > 3.0) & (at_m < 3.6), 1]) == pytest.approx(0.5, abs=0.03)


def test_a_bend_that_is_sharper_than_the_drive_ever_steered_is_driven_slowly():
    """0.4 m round 0.25 m: at 1 m/s that were 4 rad/s, where 1 rad/s is the most that it was told elsewhere."""
    at_m, action, speed = mended(*stood(4.0, bend_m=0.4, most_rad_s=1.0))
    assert np.abs(action[:, 1]).max() <= 1.0 + 1e-6
    sharp = (at_m > 2.9) & (at_m < 3.4)
    assert speed[sharp].max() < 0.5
    assert action[sharp, 0] == pytest.approx(speed[sharp], rel=0.1)
    assert speed[at_m < 2.0] == pytest.approx(1.0)
    assert math.isfinite(action.sum())


def test_what_was_commanded_while_it_sped_up_is_not_commanded_where_it_is_to_be_as_slow():
    """1 m/s was commanded at 0.5 m/s a metre before the stand: a bend mended for 0.5 m/s was driven at 1 m/s."""
    memories, way_m = stood(0.5, most_rad_s=1.0)
    late_s = np.interp(way_m, [1.9, 2.1], [0.0, 0.2])
    memories = replace(memories, stamp_N=memories.stamp_N + np.round(late_s * S).astype(np.int64))
    at_m, action, speed = mended(memories, way_m)
    near = np.abs(at_m - 3.0) < 0.6
    assert speed[near].min() == pytest.approx(0.5, abs=0.02)
    assert action[near, 0] == pytest.approx(speed[near], rel=0.05)


def test_without_a_meaning_of_the_command_it_goes_on_as_around():
    memories, _ = stood(0.5)
    assert Drives(memories).action_LA[:, 0] == pytest.approx(1.0)
