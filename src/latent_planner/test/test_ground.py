"""Known ground, and what the way to a goal costs on it and beside it."""

import numpy as np
import pytest
from latent_planner.ground import CELL_M, Ground
from latent_planner.ground_settings import GroundSettings

STRAIGHT = np.column_stack([np.arange(0.0, 6.01, 0.25), np.zeros(25), np.zeros(25)])
ONE_RUN = np.zeros(25, int)


def ground(**settings):
    return Ground(STRAIGHT, ONE_RUN, GroundSettings(**settings))


def cost(field, *places):
    return field.at(np.array(places, float)[None])[0]


def test_cost_along_the_track_is_metres():
    field = ground().field(np.array([6.0, 0.0]))
    assert cost(field, (0.0, 0.0), (3.0, 0.0), (5.0, 0.0)) == pytest.approx([6.0, 3.0, 1.0], abs=0.1)


def test_beside_the_track_and_beyond_what_is_known_it_is_dearer():
    field = ground(half_width_m=0.25, unknown_cost=10.0).field(np.array([6.0, 0.0]))
    on, beside, beyond = cost(field, (3.0, 0.0), (3.0, 0.2), (3.0, 0.75))
    assert on < beside < on + 0.4
    assert beyond == pytest.approx(on + 10.0 * 0.5, abs=0.8)


def test_ways_go_round_a_corner_and_not_through_it():
    corner = np.concatenate([STRAIGHT, np.column_stack([np.full(24, 6.0), np.arange(0.25, 6.01, 0.25), np.zeros(24)])])
    field = Ground(corner, np.zeros(49, int), GroundSettings()).field(np.array([6.0, 6.0]))
    assert cost(field, (0.0, 0.0))[0] == pytest.approx(12.0, abs=0.7)


@pytest.mark.parametrize(
    ("runs", "gap_m", "is_joined"), [((0, 0), 2.0, True), ((0, 1), 2.0, False), ((0, 0), 0.9, False)]
)
def test_only_what_was_driven_in_one_go_is_joined(runs, gap_m, is_joined):
    pose_N3 = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    known = Ground(pose_N3, np.array(runs), GroundSettings(gap_m=gap_m))
    row, column = (int(values[0]) for values in known.cells(np.array([[0.5, 0.0]])))
    assert bool(known.known_YX[row, column]) is is_joined


@pytest.mark.parametrize("goal", [(3.0, 2.0), (50.0, 0.0), (-20.0, 0.0)])
def test_a_goal_where_it_has_never_been_is_refused(goal):
    with pytest.raises(ValueError, match="never been"):
        ground(gap_m=1.0).field(np.array(goal))


def test_no_memories_are_no_ground():
    with pytest.raises(ValueError, match="no ground"):
        Ground(np.zeros((0, 3)), np.zeros(0, int), GroundSettings())


def test_ground_is_known_as_far_beside_the_track_as_stated():
    width_m = ground(half_width_m=0.25).known_YX.sum(axis=0).max() * CELL_M
    assert width_m == pytest.approx(0.5, abs=2 * CELL_M)


def test_cost_between_cells_is_linear_but_for_the_steps_of_the_interpolation():
    field = ground().field(np.array([6.0, 0.0]))
    cost_YX, origin_2 = field.cost_YX, np.array(field.ground.origin)
    cells_N2 = np.random.default_rng(0).uniform(0.0, np.array(cost_YX.shape)[::-1] - 1.01, (500, 2))
    column_N, row_N = cells_N2.astype(int).T
    right_N, up_N = (cells_N2 - np.floor(cells_N2)).T
    corner_4N = np.array([cost_YX[row_N + up, column_N + right] for up in (0, 1) for right in (0, 1)], float)
    wanted_N = (1 - up_N) * ((1 - right_N) * corner_4N[0] + right_N * corner_4N[1])
    wanted_N += up_N * ((1 - right_N) * corner_4N[2] + right_N * corner_4N[3])
    found_N = field.at((origin_2 + (cells_N2 + 0.5) * CELL_M)[None])[0]
    # OpenCV 4 rounds to 1/32 of a cell in each direction, OpenCV 5 does not.
    assert (np.abs(found_N - wanted_N) <= 2 * np.ptp(corner_4N, axis=0) / 64 + 1e-3).all()
