"""The scale of a robot's world: worked out by hand for a kitchen, a building and a road."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wm_core.memory.keyframes import Spacing
from wm_core.memory.query import Place
from wm_core.memory.scale import MOVING_S, Scale, ScaleMeter


def drive(meter: ScaleMeter, side_m: float, speed_mps: float, seconds: float, *, tilts: bool = False) -> None:
    """Drive to and fro along x at a speed, at 20 Hz."""
    for step in range(round(seconds * 20)):
        phase = step * 0.05 * speed_mps % (2.0 * side_m)
        x = min(phase, 2.0 * side_m - phase)
        meter.observe(step * 50_000_000, Place(x, 0.0), tilts=tilts)


def test_until_the_robot_has_moved_its_scale_is_a_buildings():
    meter = ScaleMeter()
    drive(meter, 0.5, 0.1, MOVING_S - 1.0)
    for step in range(10_000):  # standing still tells nothing
        meter.observe(step * 50_000_000 + 10**12, Place(0.2, 0.0), tilts=False)
    assert meter.scale == Scale()
    assert (Scale().revisit_radius_m, Scale().retrieval_radius_m, Scale().spacing()) == (1.0, 2.0, Spacing())


@pytest.mark.parametrize(
    ("side_m", "speed_mps", "revisit_m", "spacing_m", "retrieval_m"),
    [
        (1.0, 0.1, 0.1, 0.01, 0.2),  # an arm in a kitchen: a tenth of its extent
        (20.0, 0.5, 1.0, 0.1, 2.0),  # a building
        (500.0, 10.0, 1.0, 0.5, 5.0),  # a road: no two states within a step of 0.05 s
        (500.0, 30.0, 3.0, 1.5, 15.0),
    ],
)
def test_a_moving_robot_has_its_own_scale(side_m, speed_mps, revisit_m, spacing_m, retrieval_m):
    meter = ScaleMeter()
    drive(meter, side_m, speed_mps, max(MOVING_S + 2.0, 1.2 * side_m / speed_mps), tilts=True)
    scale = meter.scale
    assert scale.tilts
    assert scale.extent_m == pytest.approx(side_m, rel=0.05)
    assert scale.speed_mps == pytest.approx(speed_mps, rel=0.05)
    found = scale.revisit_radius_m, scale.spacing_m, scale.retrieval_radius_m
    assert found == pytest.approx((revisit_m, spacing_m, retrieval_m), rel=0.05)


def test_what_earlier_runs_saw_counts_and_height_too():
    meter = ScaleMeter()
    meter.include(np.array([[0.0, 0.0, 0.0], [2.0, 1.0, 6.0]]))
    drive(meter, 1.0, 0.5, MOVING_S + 2.0)
    assert meter.scale.extent_m == pytest.approx(6.0)


def test_what_the_user_set_wins():
    assert Scale(1.0, 0.1).spacing(0.3, -1.0, 2.0) == Spacing(0.3, math.radians(10.0), 2.0)
    assert Scale(1.0, 0.1).spacing(0.0).distance_m == 0.0


def test_a_jump_or_a_clock_that_goes_back_is_no_speed():
    meter = ScaleMeter()
    drive(meter, 5.0, 0.5, MOVING_S + 2.0)
    meter.observe(0, Place(4.0, 0.0), tilts=False)
    meter.observe(10**12, Place(0.0, 0.0), tilts=False)
    assert meter.scale.speed_mps == pytest.approx(0.5, rel=0.01)


def test_a_scale_from_an_earlier_run_holds_until_this_one_has_its_own():
    known = Scale(3.0, 0.2, tilts=True)
    meter = ScaleMeter(known=known)
    drive(meter, 1.0, 0.5, 1.0)
    assert meter.scale == known
    drive(meter, 1.0, 0.5, MOVING_S + 2.0)
    assert meter.scale.extent_m == pytest.approx(1.0, rel=0.05)
    assert meter.scale.tilts
