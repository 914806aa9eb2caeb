"""Cells hold what lies near, everywhere on the globe; places that lie nowhere are refused."""

from __future__ import annotations

import math
from itertools import pairwise

import h3.api.numpy_int as h3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatial_memory import CellGrid, LocalMap, PlaceError, Wgs84Map, resolution_for

PENTAGONS = [h3.cell_to_latlng(cell) for cell in h3.get_pentagons(9)]
# Middles between neighbouring corners of the icosahedron lie on its edges, where cells are cut and distorted.
EDGES = [h3.cell_to_latlng(h3.latlng_to_cell((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, 9)) for a, b in pairwise(PENTAGONS)]
PLACES = [*PENTAGONS, *EDGES, (4.53, 137.977), (51.0, 13.7), (-80.0, 30.0), (0.0, 180.0)]


@pytest.mark.parametrize("lat_lng", PLACES)
@pytest.mark.parametrize("resolution", [8, 11, 15])
def test_a_disc_names_every_cell_it_touches(lat_lng, resolution):
    rng = np.random.default_rng(resolution)
    grid = CellGrid(Wgs84Map(), resolution)
    edge_m = h3.average_hexagon_edge_length(resolution, "m")
    for radius_m in np.array([0.5, 1.0, 3.0, 9.0, 40.0, 200.0]) * edge_m:
        # The centre lies anywhere within a few cells of the place, points anywhere in the disc, many on its rim.
        centre = _moved(lat_lng, rng.uniform(0, 3 * edge_m), rng.uniform(0, 2 * math.pi))
        cell = grid.cell_of(centre[1], centre[0])
        found = grid.disc(cell, radius_m, most=10**6)
        if found is None:
            continue
        level, cells = found
        reach = radius_m * np.where(rng.random(300) < 0.5, 0.9999, np.sqrt(rng.random(300)))
        points = [_moved(centre, r, angle) for r, angle in zip(reach, rng.uniform(0, 2 * math.pi, 300))]
        inside = [grid.cell_of(lng, lat) for lat, lng in points]
        if level:
            inside = [h3.cell_to_parent(each, grid.levels[level]) for each in inside]
        assert set(inside) <= set(cells.tolist())


def _moved(lat_lng: tuple[float, float], distance_m: float, bearing: float) -> tuple[float, float]:
    """Return the place at a distance along a great circle."""
    lat, lng = map(math.radians, lat_lng)
    arc = distance_m / 6371007.180918475
    to_lat = math.asin(math.sin(lat) * math.cos(arc) + math.cos(lat) * math.sin(arc) * math.cos(bearing))
    to_lng = lng + math.atan2(
        math.sin(bearing) * math.sin(arc) * math.cos(lat), math.cos(arc) - math.sin(lat) * math.sin(to_lat)
    )
    return math.degrees(to_lat), (math.degrees(to_lng) + 180.0) % 360.0 - 180.0


@pytest.mark.parametrize(("x", "y"), [(0.0, 90.01), (0.0, 91.0), (180.1, 0.0), (math.nan, 0.0), (0.0, math.inf)])
def test_impossible_coordinates_are_refused(x, y):
    grid = CellGrid(Wgs84Map(), 9)
    with pytest.raises(PlaceError):
        grid.cell_of(x, y)
    with pytest.raises(PlaceError):
        grid.cells_of(np.array([0.0, x]), np.array([0.0, y]))


@pytest.mark.parametrize(("x", "y"), [(1e7, 0.0), (0.0, -1.1e7), (math.nan, 0.0), (math.inf, 0.0)])
def test_places_off_a_local_map_are_refused(x, y):
    with pytest.raises(PlaceError):
        CellGrid(LocalMap(), 12).cell_of(x, y)


def test_what_lies_beyond_the_extent_is_folded_into_it():
    grid = CellGrid(LocalMap(), 15)
    # Worked by hand, E = 100 km: 430 102 m is two folds of 200 km on, not turned; 100 003 m is one on, turned.
    assert grid.cell_of(430_102.0, 0.0) == grid.cell_of(30_102.0, 0.0)
    assert grid.cell_of(100_003.0, 5.0) == grid.cell_of(99_997.0, 5.0)
    assert grid.cell_of(-100_003.0, 5.0) == grid.cell_of(-99_997.0, 5.0)


@given(
    x=st.floats(-9.9e6, 9.9e6), y=st.floats(-9.9e6, 9.9e6), edge=st.booleans(), distance=st.floats(0.0, 30.0),
    bearing=st.floats(0.0, 2 * math.pi), datum=st.sampled_from([(4.53, 137.977), (84.0, 10.0)]),
)  # fmt: skip
def test_a_disc_misses_nothing_far_from_the_datum(x, y, edge, distance, bearing, datum):
    grid = CellGrid(LocalMap(*datum), 13)
    if edge:  # where the map is folded
        x = (2 * round(x / (2 * grid.map.extent_m)) + 1) * grid.map.extent_m
    near = x + distance * math.cos(bearing), y + distance * math.sin(bearing)
    index, cells = grid.disc(grid.cell_of(x, y), distance + 0.01, 10_000)
    assert grid.cell_of(*near, resolution=grid.levels[index]) in cells
    assert grid.cells_of(np.array([x]), np.array([y]))[0] == grid.cell_of(x, y)
    corner_C2 = grid.outline(grid.cell_of(x, y), (x, y))
    assert np.hypot(*(corner_C2 - (x, y)).T).max() < 20.0 or edge, "drawn where it is, cells of resolution 13 span 9 m"


@pytest.mark.parametrize("datum", [(91.0, 0.0), (86.0, 0.0), (0.0, 181.0), (math.nan, 0.0)])
def test_impossible_datums_are_refused(datum):
    with pytest.raises(PlaceError):
        LocalMap(*datum)


def test_impossible_resolutions_are_refused():
    with pytest.raises(PlaceError):
        CellGrid(LocalMap(), 16)


@pytest.mark.parametrize("datum", [(4.53, 137.977), (59.9, -179.9), (-33.0, 0.0), (84.0, 10.0)])
def test_a_local_map_comes_back_from_the_globe(datum):
    rng = np.random.default_rng(0)
    map_frame = LocalMap(*datum)
    x_N, y_N = rng.uniform(-5e3, 5e3, (2, 100))
    back_x, back_y = map_frame.from_latlng(*map_frame.to_latlng(x_N, y_N))
    np.testing.assert_allclose(back_x, x_N, atol=1e-6)
    np.testing.assert_allclose(back_y, y_N, atol=1e-6)
    lat, lng = map_frame.place_to_latlng(x_N[0], y_N[0])
    assert (lat, lng) == pytest.approx([float(each[0]) for each in map_frame.to_latlng(x_N, y_N)], abs=1e-12)


def test_a_local_map_is_metric_at_its_datum():
    map_frame = LocalMap(48.0, 11.0)
    here, east, north = (map_frame.place_to_latlng(*each) for each in ((0, 0), (100, 0), (0, 100)))
    assert h3.great_circle_distance(here, east, "m") == pytest.approx(100.0, rel=1e-5)
    assert h3.great_circle_distance(here, north, "m") == pytest.approx(100.0, rel=1e-5)


def test_the_default_datum_lies_far_from_every_pentagon():
    datum = (LocalMap().datum_lat, LocalMap().datum_lng)
    assert min(h3.great_circle_distance(datum, each) for each in PENTAGONS) > 4000.0


@pytest.mark.parametrize(("radius_m", "resolution"), [(0.5, 15), (2.0, 15), (5.0, 14), (40.0, 12), (1e9, 0)])
def test_resolution_follows_the_usual_radius(radius_m, resolution):
    assert resolution_for(radius_m) == resolution
