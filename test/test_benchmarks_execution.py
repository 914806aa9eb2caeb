"""What the benchmark of execution promises, on a part of it: a taught route driven again while inference fails."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.execution import LIMITS, broken_limits, drive, late
from benchmarks.execution_node import NodeRunner
from benchmarks.execution_runner import PERIOD_S, CoreRunner
from benchmarks.taught import CLOSED_M, OVERLAP_M, Lap, teach
from policy_runner.chunks import COMBINATIONS
from wm_sim import EXACT

pytestmark = pytest.mark.slow
LATENCY_S, JITTER = 0.3, 0.2


@pytest.fixture(scope="module")
def route():
    return teach(6, pose_noise=EXACT)


@pytest.mark.parametrize("how", COMBINATIONS)
def test_late_inference_starves_nothing_and_seams_are_small(how):
    found = late(how, 40.0, 1)
    assert found["starved"] == 0
    assert found["seam_of_range"] <= 0.02
    assert LATENCY_S <= found["latency_p95_s"] <= LATENCY_S * (1.0 + JITTER) + PERIOD_S


# The core's time is its own; the node's threads meet it a command earlier or later, so it is given some room.
@pytest.mark.parametrize(("make", "rounds", "most_m"), [(CoreRunner, 1.0, 0.3), (NodeRunner, 0.4, 0.45)])
def test_a_taught_route_is_driven_again_while_inference_is_late_killed_and_restarted(route, make, rounds, most_m):
    runner = make(route, LATENCY_S, JITTER, 0)
    try:
        made = drive(route, runner, rounds, exact=True, every_s=4.0, seed=6)
        assert made.way_m >= rounds * route.length_m
        assert max(made.off_m) <= most_m
        assert made.contacts == 0
        assert not any(broken_limits(np.array(made.command)).values())
        assert {"delayed", "killed"} <= made.faults.keys()
    finally:
        runner.close()


def test_a_lap_is_closed_where_it_came_by_its_beginning_and_went_on():
    """A square of 4 m a side: back after 16 m less what counts as there, and so much farther."""
    lap, way_m, place = Lap(16.0), 0.0, (0.0, 0.0)
    corners = [(4.0, 0.0), (4.0, 4.0), (0.0, 4.0), (0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0)]
    for corner in corners:
        while place != corner:
            place = tuple(here + 0.5 * ((goal > here) - (goal < here)) for here, goal in zip(place, corner))
            if lap.is_closed(place):
                assert way_m == pytest.approx(16.0 + OVERLAP_M, abs=CLOSED_M)
                return
            way_m += 0.5
    pytest.fail("never closed")


def test_who_never_comes_by_again_ends_all_the_same():
    lap = Lap(10.0)
    assert [lap.is_closed((float(at), 0.0)) for at in range(32)] == [False] * 31 + [True]


def test_broken_limits_are_counted():
    rise = 0.9 * LIMITS.rate[0] * PERIOD_S
    allowed = np.zeros((4, 2))
    assert not any(broken_limits(allowed).values())
    jumps = np.array([[0.0, 0.0], [rise, 0.0], [rise, 9.0]])
    found = broken_limits(jumps)
    assert found == {"range": 1, "acceleration": 1, "jerk": 3}
