"""Floor plans: closed loops of corridors, walls around everything that is free."""

import numpy as np
import pytest

from wm_sim import WorldConfig, make_building
from wm_sim.building import CELL_M, path_distance_m

SEEDS = range(8)


@pytest.mark.parametrize("seed", SEEDS)
def test_ring_is_a_closed_loop_and_the_shortcut_halves_it(seed):
    building = make_building(seed)
    steps = np.roll(building.ring_E2, -1, axis=0) - building.ring_E2
    lengths = np.abs(steps).sum(axis=1)
    assert np.allclose(lengths, lengths[0])
    assert (np.abs(steps).min(axis=1) < 1e-9).all(), "corridors run along the axes"
    assert 30 <= lengths.sum() <= 40
    first, second = building.shortcut
    assert second - first == len(building.ring_E2) // 2
    assert np.isclose(np.abs(building.ring_E2[first] - building.ring_E2[second]).sum(), lengths[0])
    assert len(np.unique(building.ring_E2.round(6), axis=0)) == len(building.ring_E2)


@pytest.mark.parametrize("seed", SEEDS)
def test_corridors_are_free_and_the_rim_is_solid(seed):
    building = make_building(seed)
    for start, end in building.edges_E22:
        for share in np.linspace(0, 1, 50):
            x, y = start + share * (end - start)
            assert building.free_YX[int(y / CELL_M), int(x / CELL_M)]
    rim = np.concatenate([building.free_YX[[0, -1]].ravel(), building.free_YX[:, [0, -1]].ravel()])
    assert not rim.any()


def test_wall_length_is_the_number_of_free_cell_sides():
    building = make_building(3)
    free = building.free_YX.astype(int)
    sides = np.abs(np.diff(free, axis=0)).sum() + np.abs(np.diff(free, axis=1)).sum()
    length_m = np.abs(building.wall_end_S2 - building.wall_start_S2).sum()
    assert length_m == pytest.approx(sides * CELL_M)


def test_same_seed_same_building_other_seed_another():
    one, same, other = make_building(5), make_building(5), make_building(6)
    assert np.array_equal(one.free_YX, same.free_YX)
    assert one.free_YX.shape != other.free_YX.shape or not np.array_equal(one.free_YX, other.free_YX)


def test_config_decides_the_width_of_corridors():
    narrow = make_building(1, WorldConfig(corridor_m=1.2, room_count=0, niche_count=0))
    wide = make_building(1, WorldConfig(corridor_m=1.6, room_count=0, niche_count=0))
    assert narrow.free_YX.sum() < wide.free_YX.sum()
    assert narrow.zone_count == len(narrow.edges_E22)


def test_path_distance_by_hand():
    edges = np.array([[[0.0, 0.0], [4.0, 0.0]]])
    points = np.array([[2.0, 1.5], [7.0, 4.0], [-3.0, 0.0]])
    assert path_distance_m(edges, points)[:, 0] == pytest.approx([1.5, 5.0, 3.0])


def test_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed is -1"):
        make_building(-1)
