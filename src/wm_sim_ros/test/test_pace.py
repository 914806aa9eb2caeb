"""The time of the robot: its own, told to others tick by tick, or the real one."""

from __future__ import annotations

import threading
from itertools import pairwise
from time import monotonic

import pytest

from wm_sim_ros.pace import TICK_S, Pace


def test_its_own_time_is_told_tick_by_tick_and_stands_at_what_is_waited_for():
    told: list[float] = []
    pace = Pace(20.0, told.append, threading.Event())
    pace.begin()
    begun_s = monotonic()
    assert pace.wait(1.012)
    assert monotonic() - begun_s >= 0.9 * 1.012 / 20.0 - 0.05
    assert told[-1] == pace.now_s == pytest.approx(1.012)
    steps = [after - before for before, after in pairwise(told[1:])]
    assert max(steps) <= TICK_S + 1e-9
    assert min(steps) > 0.0
    assert pace.wait(0.5)
    assert pace.now_s == pytest.approx(1.012)


def test_a_machine_that_is_too_slow_makes_time_slower():
    """A second in which nothing was done is not made up for."""
    pace = Pace(1.0, lambda _: None, threading.Event())
    pace.begin()
    pace._real_s -= 1.0
    begun_s = monotonic()
    assert pace.wait(0.3)
    assert monotonic() - begun_s >= 0.2


def test_real_time_goes_on_and_is_told_to_nobody():
    told: list[float] = []
    pace = Pace(0.0, told.append, threading.Event())
    pace.begin()
    assert pace.wait(0.05)
    assert pace.now_s >= 0.05
    assert not told


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_waiting_ends_where_it_is_told_to(scale):
    stop = threading.Event()
    stop.set()
    pace = Pace(scale, lambda _: None, stop)
    assert not pace.wait(60.0)
