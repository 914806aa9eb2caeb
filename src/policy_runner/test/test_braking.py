"""Braking along the path of a chunk: a robot that stops stays where its way bends, not where it went straight on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from policy_runner.braking import Braking
from policy_runner.chunks import Chunk, ChunkBuffer, Combining
from policy_runner.execution import Execution, ExecutionSettings
from policy_runner.outcomes import Mode
from policy_runner.params import PolicyRunnerParams
from wm_core.limits import Limiter

S, PERIOD_S, RESPONSE_S, STEP_S = 1_000_000_000, 0.02, 0.2, 0.05


def path_of(rates, speed=1.0):
    """Returns a chunk that is driven at a speed and some yaw rates, where it leads to, from where it began."""
    yaw = np.concatenate([[0.0], np.cumsum(np.array(rates) * STEP_S)])[:-1]
    middle = yaw + 0.5 * np.array(rates) * STEP_S
    steps = speed * STEP_S * np.column_stack([np.cos(middle), np.sin(middle)])
    place = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])[:-1]
    # Each command is given before the place that it is for.
    early = np.roll(rates, -round(RESPONSE_S / STEP_S))
    return Chunk(S, STEP_S, np.column_stack([np.full(len(rates), speed), early]), np.column_stack([place, yaw]))


def bend_ahead(after_s):
    """Returns a straight of some seconds, and a bend of half a metre's radius after it."""
    return path_of([0.0] * round(after_s / STEP_S) + [2.0] * 40)


def test_it_turns_where_the_path_does_however_slowly():
    braking, turned_rad = Braking(bend_ahead(0.5), S, 0.0, PERIOD_S), []
    for _ in range(150):
        turned_rad.append(braking.yaw_rate(0.5) * PERIOD_S)
    before, after = np.array(turned_rad[:40]), np.array(turned_rad[65:])
    assert np.abs(before).max() == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(after, 0.5 / 0.5 * PERIOD_S, rtol=0.02)


def test_what_is_under_way_is_reckoned_with():
    late, early = (Braking(bend_ahead(0.5), S, response_s, PERIOD_S) for response_s in (0.0, RESPONSE_S))
    for _ in range(round(RESPONSE_S / PERIOD_S)):
        late.yaw_rate(1.0)
    assert [late.yaw_rate(1.0) for _ in range(20)] == pytest.approx([early.yaw_rate(1.0) for _ in range(20)], abs=0.05)


def test_beyond_the_path_and_at_a_stand_it_says_nothing():
    braking = Braking(path_of([1.0] * 10), S, RESPONSE_S, PERIOD_S)
    assert [braking.yaw_rate(1.0) for _ in range(60)][-1] is None
    assert Braking(path_of([0.0] * 10, 0.0), S, RESPONSE_S, PERIOD_S).yaw_rate(1.0) is None


def stopped_before_a_bend(after_s):
    """Returns where a robot comes to stand whose inputs end as it begins a chunk, beside its path [m], turned [rad]."""
    settings = ExecutionSettings(stale_s=0.5, hold_s=0.1, response_s=RESPONSE_S)
    limiter = Limiter(PolicyRunnerParams().limits, PERIOD_S)
    execution = Execution(settings, ChunkBuffer(Combining("prefix", seam_s=0.0)), limiter, np.zeros(2))
    chunk, pose, twist, given = bend_ahead(after_s), np.zeros(3), np.array([1.0, 0.0]), []
    limiter.start(np.array([1.0, 0.0]))
    execution.see(S, pose)
    execution.offer(chunk, 0.1, S)
    for number in range(100):
        step = execution.step(S + round(number * PERIOD_S * S))
        given.append(step.command_A)
        # Nothing for a part of the response, then with a lag.
        wanted = given[max(number - 4, 0)]
        twist = twist + (1.0 - math.exp(-PERIOD_S / 0.12)) * (wanted - twist)
        middle = pose[2] + 0.5 * twist[1] * PERIOD_S
        pose = pose + PERIOD_S * np.array([twist[0] * math.cos(middle), twist[0] * math.sin(middle), twist[1]])
    assert step.mode is Mode.STOPPING
    assert np.abs(twist).max() < 1e-2
    path_H3 = chunk.path_H3
    nearest = int(np.hypot(*(path_H3[:, :2] - pose[:2]).T).argmin())
    return math.dist(path_H3[nearest, :2], pose[:2]), abs(path_H3[nearest, 2] - pose[2])


@pytest.mark.parametrize("after_s", [0.3, 0.7, 0.9])
def test_a_robot_whose_inputs_end_stands_on_its_way_though_that_bends(after_s):
    """Braking as it went when they ended, it stood 0.08 m beside its way, or faced 0.3 rad off it."""
    beside_m, turned_rad = stopped_before_a_bend(after_s)
    assert beside_m < 0.06
    assert turned_rad < 0.25
