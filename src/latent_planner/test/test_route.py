"""Ways over the graph of what was driven: worked out by hand, and against a plain search over all pairs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_planner.ground_settings import GroundSettings
from latent_planner.remembered import inside
from latent_planner.route import RouteGraph, densified

KNOWN = GroundSettings(gap_m=1.0, half_width_m=0.25, unknown_cost=10.0)


def run(*points):
    return np.array([[x, y, 0.0] for x, y in points], float)


# East, north and back west: a U whose ends lie 2 m apart, with a wall between them for all that is known.
U = run(*[(x, 0.0) for x in range(6)], (5.0, 1.0), *[(x, 2.0) for x in range(5, -1, -1)])


def way(pose_N3, start, *goals, session_N=None, **given):
    session_N = np.zeros(len(pose_N3), int) if session_N is None else session_N
    return RouteGraph(pose_N3, session_N, KNOWN).way(np.array(start, float), np.array(goals, float), **given)


def test_a_way_follows_what_was_driven_and_not_the_straight_line():
    found = way(U, (0.0, 0.0), (0.0, 2.0))
    assert found.length_m == pytest.approx(12.0)
    assert found.unknown_m == 0.0
    assert [5.0, 1.0] in found.point_R2.tolist()


def test_where_it_may_leave_known_ground_it_pays_for_it():
    assert way(U, (0.0, 0.0), (0.0, 2.0), may_leave=True).length_m == pytest.approx(12.0)
    assert way(U[:1], (0.0, 0.0), (0.0, 2.0)) is None
    found = way(U[:1], (0.0, 0.0), (0.0, 2.0), may_leave=True)
    assert (found.length_m, found.unknown_m) == pytest.approx((2.0, 2.0))


def test_runs_are_joined_only_where_they_come_near_one_another():
    one, apart, near = run((0, 0), (1, 0)), run((2, 0), (3, 0)), run((1, 0.4), (2, 0.4), (3, 0.4))
    session_N = np.array([0, 0, 1, 1])
    assert way(np.concatenate([one, apart]), (0, 0), (3, 0), session_N=session_N) is None
    session_N = np.array([0, 0, 1, 1, 1])
    assert way(np.concatenate([one, near]), (0, 0), (3, 0.4), session_N=session_N).length_m == pytest.approx(3.4)


def test_the_nearest_of_several_goals_is_chosen_by_the_way_to_it():
    found = way(U, (0.0, 0.0), (0.0, 2.0), (4.0, 0.0), (5.0, 2.0))
    assert (found.goal, found.length_m) == (1, pytest.approx(4.0))


@pytest.mark.parametrize("goal", [(0.0, 9.0), (-1.1, 0.0)])
def test_goals_far_from_all_that_is_known_are_not_reached(goal):
    assert way(U, (0.0, 0.0), goal) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_it_agrees_with_a_search_over_all_pairs(seed, may_leave):
    rng = np.random.default_rng(seed)
    pose_N3 = np.column_stack([np.cumsum(rng.uniform(-0.9, 0.9, (30, 2)), axis=0), np.zeros(30)])
    session_N = np.repeat([0, 1, 2], 10)
    start, goal = rng.uniform(-2, 2, 2), rng.uniform(-2, 2, 2)
    found = way(pose_N3, start, goal, session_N=session_N, may_leave=may_leave)
    cost = plain_cost(pose_N3, session_N, start, goal, may_leave)
    assert (found is None) == math.isinf(cost)
    if found is not None:
        paid = found.length_m - found.unknown_m + KNOWN.unknown_cost * found.unknown_m
        assert paid == pytest.approx(cost)


def plain_cost(pose_N3, session_N, start, goal, may_leave):
    """Returns the cost of the best way by Floyd and Warshall, between the same places."""
    cells = np.floor(pose_N3[:, :2] / 0.15).astype(int).tolist()
    first = [cells.index(cell) for cell in cells]
    place_N2 = pose_N3[first, :2]
    points = np.concatenate([place_N2, [start, goal]])
    count = len(points)
    cost = np.full((count, count), np.inf)
    beyond = KNOWN.unknown_cost if may_leave else np.inf
    for i in range(count):
        for j in range(count):
            far = math.dist(points[i], points[j])
            ends = (i >= count - 2) + (j >= count - 2)
            free = 2 * KNOWN.half_width_m if ends != 1 else KNOWN.gap_m
            followed = ends == 0 and abs(i - j) == 1 and session_N[i] == session_N[j]
            step = math.dist(pose_N3[i, :2], pose_N3[j, :2]) if followed else np.inf
            is_free = far <= free or step <= KNOWN.gap_m
            cost[i, j] = far if is_free or far == 0.0 else beyond * far if ends else np.inf
    for i, one in enumerate(first):
        cost[i, one] = cost[one, i] = 0.0
    for k in range(count):
        cost = np.minimum(cost, cost[:, k, None] + cost[k])
    return cost[-2, -1]


def test_a_way_is_drawn_densely():
    dense = densified(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.1]]))
    assert np.hypot(*np.diff(dense, axis=0).T).max() <= 0.25 + 1e-9
    assert dense[[0, -1]].tolist() == [[0.0, 0.0], [1.0, 0.1]]


def test_a_polygon_holds_what_lies_in_it():
    shape = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [1.0, 0.5], [0.0, 2.0]])
    places = np.array([[1.0, 0.2], [1.0, 1.5], [0.2, 1.0], [3.0, 0.2], [-0.1, 0.1]])
    assert inside(places, shape).tolist() == [True, False, True, False, False]
