"""What a memory looks like: few shapes change when little does, and what is drawn adds up to what is held."""

from __future__ import annotations

import h3.api.numpy_int as h3
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatial_memory import CellGrid, LocalMap, MemoryRecord, Place
from spatial_memory.drawing.picture import (
    MOST_CELLS,
    MOST_MEMORIES,
    TRAIL_MEMORIES,
    Picture,
    Retrieval,
    coarsened,
    parents_of,
)
from wm_core.drawing import Board, Shape
from wm_core.memory.overview import Overview, overview_of

GRID = CellGrid(LocalMap(), 15)
NOTHING = Retrieval()


def drive(count: int, spacing_m: float = 0.1, session: str = "a", first_id: int = 1) -> list[MemoryRecord]:
    """Returns memories along a straight line, half a second apart."""
    return [
        MemoryRecord(
            stamp_ns=at * 500_000_000, latent_D=np.zeros(2, np.float32), x=spacing_m * at, y=0.0, z=0.0, yaw=0.0,
            session=session, encoder_id="e", id=first_id + at, surprise=0.1, h3_cell=GRID.cell_of(spacing_m * at, 0.0),
        )
        for at in range(count)
    ]  # fmt: skip


def overview_now(records: list[MemoryRecord]) -> Overview:
    return overview_of(records, "map", MOST_MEMORIES, TRAIL_MEMORIES)


def grouped(shapes: list[Shape], group: str) -> list[Shape]:
    return [shape for shape in shapes if shape.group == group]


def area(triangle_N3: np.ndarray) -> float:
    one, other = triangle_N3[1::3] - triangle_N3[::3], triangle_N3[2::3] - triangle_N3[::3]
    return float(np.abs(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]).sum() / 2)


def test_a_cell_is_filled_but_for_its_rim():
    records = drive(1)
    (cell,) = grouped(Picture(GRID.outline).shapes(overview_now(records), NOTHING), "cells")
    corner_62 = GRID.outline(records[0].h3_cell)
    x_6, y_6 = corner_62[:, 0], corner_62[:, 1]
    whole = abs(float(x_6 @ np.roll(y_6, -1) - y_6 @ np.roll(x_6, -1))) / 2
    assert len(cell.point_N3) == 12
    assert area(cell.point_N3) == pytest.approx(0.92**2 * whole)


@given(st.integers(0, 10**6), st.integers(0, 14))
@settings(max_examples=50, deadline=None)
def test_parents_are_those_of_h3(seed, resolution):
    rng = np.random.default_rng(seed)
    cells = [h3.latlng_to_cell(*place, 15) for place in rng.uniform(-80, 80, (5, 2)).tolist()]
    expected = [h3.cell_to_parent(cell, resolution) for cell in cells]
    assert parents_of(np.array(cells, np.uint64), resolution).tolist() == expected


def test_a_memory_that_comes_changes_little():
    picture, board = Picture(GRID.outline), Board()
    first, _ = board.replace(picture.shapes(overview_now(drive(1200)), NOTHING))
    changed, gone = board.replace(picture.shapes(overview_now(drive(1201)), NOTHING))
    assert {group for group, _ in gone} <= {"cells"}  # a tile's part of one colour may run out
    assert len(first) > 15
    assert {shape.group for shape in changed} == {"cells", "memories", "trail"}
    assert len(changed) <= 5  # a tile at most twice, the last memories, the two ends of the trail
    assert board.replace(picture.shapes(overview_now(drive(1201)), NOTHING)) == ([], [])


def test_beyond_a_limit_cells_say_it_all():
    overview = overview_now(drive(MOST_MEMORIES + 1))
    shapes = Picture(GRID.outline).shapes(overview, NOTHING)
    assert not grouped(shapes, "memories")
    assert not [shape for shape in shapes if shape.kind == "points"]
    assert sum(len(shape.point_N3) for shape in grouped(shapes, "trail")) == 2 * (TRAIL_MEMORIES - 1)
    assert sum(len(shape.point_N3) for shape in grouped(shapes, "cells")) == 12 * len(overview.cell_C)


def test_a_hundred_thousand_memories_are_few_coarse_cells_that_hold_them_all():
    rng = np.random.default_rng(0)
    place_N2 = rng.uniform(-150, 150, (100_000, 2))
    cell_N = GRID.cells_of(place_N2[:, 0], place_N2[:, 1])
    cell_C, count_C = np.unique(cell_N, return_counts=True)
    stamp_C = rng.integers(0, 10**12, len(cell_C))
    overview = Overview("map", 100_000, 10**12, cell_C, count_C, stamp_C)
    assert len(cell_C) > MOST_CELLS
    drawn_C, drawn_count_C, drawn_newest_C = coarsened(overview, MOST_CELLS)
    assert len(drawn_C) <= MOST_CELLS
    assert drawn_count_C.sum() == 100_000
    resolution = h3.get_resolution(int(drawn_C[0]))
    mine = [at for at, cell in enumerate(cell_C.tolist()) if h3.cell_to_parent(cell, resolution) == drawn_C[7]]
    assert (drawn_count_C[7], drawn_newest_C[7]) == (count_C[mine].sum(), stamp_C[mine].max())
    points = sum(len(shape.point_N3) for shape in Picture(GRID.outline).shapes(overview, NOTHING))
    assert points <= 12 * MOST_CELLS


def test_colours_say_how_much_or_how_old():
    few, many = drive(1), drive(1, first_id=10) * 300
    for at, record in enumerate(many):
        object.__setattr__(record, "id", 10 + at)
    far = [record for record in drive(600) if record.x > 50]
    picture = Picture(GRID.outline)

    def color(records: list[MemoryRecord], coloring: str) -> tuple[float, ...]:
        shapes = grouped(picture.shapes(overview_now([*records, *far[-1:]]), NOTHING, coloring), "cells")
        return next(shape.color for shape in shapes if shape.point_N3[:, 0].max() < 5)

    assert color(few, "count") != color(many, "count")
    assert color(few, "age") == color(many, "age")
    newest = [shape.color for shape in picture.shapes(overview_now([*few, *far[-1:]]), NOTHING, "age")
              if shape.group == "cells" and shape.point_N3[:, 0].max() > 5]  # fmt: skip
    assert newest[0] != color(few, "age")


def test_the_trail_breaks_between_sessions_and_over_gaps():
    one, two = drive(3), drive(3, session="b", first_id=50)
    (trail,) = grouped(Picture(GRID.outline).shapes(overview_now([*one, *two]), NOTHING), "trail")
    assert len(trail.point_N3) == 8
    apart = drive(3, spacing_m=10.0)
    assert not grouped(Picture(GRID.outline).shapes(overview_now(apart), NOTHING), "trail")


def test_lines_lead_from_what_was_asked_to_what_was_found():
    found = Retrieval(Place(1.0, 2.0, 3.0), np.array([[0.0, 0.0, 0.0], [4.0, 5.0, 6.0]]))
    ends, asked, lines = grouped(Picture(GRID.outline).shapes(Overview(), found), "retrieval")
    assert (ends.kind, asked.kind, lines.kind) == ("spheres", "spheres", "lines")
    assert lines.point_N3.tolist() == [[1, 2, 3], [0, 0, 0], [1, 2, 3], [4, 5, 6]]
    without = Picture(GRID.outline).shapes(Overview(), Retrieval(None, found.place_K3))
    assert [shape.kind for shape in without] == ["spheres"]


@given(st.lists(st.sets(st.tuples(st.integers(0, 4), st.integers(0, 2))), max_size=6))
@settings(max_examples=60, deadline=None)
def test_whoever_follows_the_changes_sees_what_is_shown(pictures):
    board, seen = Board(), {}
    for picture in pictures:
        wanted = {number: value for number, value in sorted(picture)}
        shapes = [
            Shape("g", number, "points", np.full((1, 3), value), (1, 1, 1, 1)) for number, value in wanted.items()
        ]
        changed, gone = board.replace(shapes)
        for key in gone:
            del seen[key]
        for shape in changed:
            assert not shape.is_as(seen.get(shape.key))
            seen[shape.key] = shape
        assert {key: shape.point_N3[0, 0] for key, shape in seen.items()} == {
            ("g", number): value for number, value in wanted.items()
        }


def test_two_shapes_of_one_name_or_an_unknown_kind_are_refused():
    shape = Shape("g", 0, "points", np.zeros((1, 3)), (1, 1, 1, 1))
    with pytest.raises(ValueError, match="each key once"):
        Board().replace([shape, shape])
    with pytest.raises(ValueError, match="blobs"):
        Board().replace([Shape("g", 1, "blobs", np.zeros((1, 3)), (1, 1, 1, 1))])
