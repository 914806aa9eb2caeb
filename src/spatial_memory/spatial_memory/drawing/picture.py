"""Shapes of a memory, read from it: where it holds how much, the trail by error, and what was found last.

Shapes are cut so that a memory that comes changes few of them: cells by tile, memories and trail by id.

Shape suffixes: C = cells, N = memories, K = what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import h3.api.numpy_int as h3
import numpy as np

from wm_core.drawing import Color, Shape, ramp, ramp_color, star
from wm_core.memory.overview import Overview, Traces
from wm_core.memory.query import Place
from wm_core.memory.record import MemoryRecord

MOST_MEMORIES = 2000
"""Memories that are drawn each by itself; where there are more, their cells say where they are."""
MOST_CELLS = 4000
"""Cells drawn; where more hold something, coarser ones are."""
TRAIL_MEMORIES = 1000
"""The trail runs through so many memories, the newest."""

_SHRUNK = 0.92
_LARGEST_ERROR = 1.0
_BY_COUNT = 9
_AGES_S = (60.0, 600.0, 3600.0, 86_400.0, 604_800.0)
_TILE_LEVELS = 3
_PER_CHUNK, _PER_STRETCH = 250, 100
_LONGEST_GAP_S, _LONGEST_STEP_M = 5.0, 5.0
_MOST_FOUND = 64
_ASKED: Color = (0.95, 0.15, 0.75, 1.0)
_FOUND: Color = (1.0, 0.55, 0.10, 1.0)


@dataclass(frozen=True)
class Retrieval:
    """What was asked for last, and what was found: ``asked`` is None where no place was named."""

    asked: Place | None = None
    place_K3: np.ndarray | None = None


class Picture:
    """Draws a memory again and again; keeps the outlines of its cells.

    Args:
        outline: Returns the corners of an H3 cell in map coordinates [5 or 6, 2], near a place.
    """

    def __init__(self, outline: Callable[[int, tuple[float, float]], np.ndarray]) -> None:
        self._outline, self._near = outline, (0.0, 0.0)
        self._triangles: dict[int, np.ndarray] = {}
        self._tiles: dict[int, int] = {}
        self._drawn: tuple[Overview, str] | None = None
        self._cell_shapes: list[Shape] = []
        self._parts: dict[tuple[int, int, bytes], Shape] = {}

    def shapes(self, overview: Overview, found: Retrieval, coloring: str = "count") -> list[Shape]:
        """Return everything that is to be seen of a memory.

        Args:
            overview: The memory, with ``MOST_MEMORIES`` and ``TRAIL_MEMORIES``.
            found: The last retrieval.
            coloring: Whether cells are coloured by how much they hold or by how old the newest of it is.
        """
        return [
            *self._cells(overview, coloring),
            *_memories(overview.all),
            *_trail(overview.newest),
            *_retrieval(found),
        ]

    def _cells(self, overview: Overview, coloring: str) -> list[Shape]:
        if self._drawn is None or self._drawn[1] != coloring or not _has_same_cells(overview, self._drawn[0]):
            self._drawn, self._cell_shapes = (overview, coloring), self._cells_anew(overview, coloring)
        return self._cell_shapes

    def _cells_anew(self, overview: Overview, coloring: str) -> list[Shape]:
        cell_C, count_C, newest_C = coarsened(overview, MOST_CELLS)
        if len(overview.newest.place_N3):
            self._near = float(overview.newest.place_N3[-1, 0]), float(overview.newest.place_N3[-1, 1])
        if len(self._triangles) > 4 * MOST_CELLS or not len(cell_C):
            self._triangles.clear()
        if not len(cell_C):
            self._tiles.clear()
            return []
        if coloring == "age":
            age_C, steps = (overview.newest_ns - newest_C) / 1e9, len(_AGES_S)
            step_C = steps - np.searchsorted(_AGES_S, age_C)
        else:
            step_C, steps = np.minimum(np.log2(count_C).astype(np.int64), _BY_COUNT), _BY_COUNT
        tile_C = parents_of(cell_C, max(0, h3.get_resolution(int(cell_C[0])) - _TILE_LEVELS))
        order_C = np.lexsort((cell_C, step_C, tile_C))
        cell_C, step_C, tile_C = cell_C[order_C], step_C[order_C], tile_C[order_C]
        starts = np.flatnonzero(np.append(True, (np.diff(step_C) != 0) | (tile_C[1:] != tile_C[:-1])))
        kept, shapes = self._parts, []
        self._parts = {}
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(cell_C)]):
            number = self._tiles.setdefault(int(tile_C[start]), len(self._tiles))
            cells = cell_C[start:end]
            key, step = cells.tobytes(), int(step_C[start])
            shape = kept.get((number, step, key)) or self._part(16 * number + step, cells, step / steps)
            self._parts[number, step, key] = shape
            shapes.append(shape)
        return shapes

    def _part(self, number: int, cell_C: np.ndarray, share: float) -> Shape:
        """Return the cells of one colour of a tile."""
        corners_N3 = np.concatenate([self._triangles_of(cell) for cell in cell_C.tolist()])
        return Shape("cells", number, "triangles", corners_N3, ramp_color(share, 0.45))

    def _triangles_of(self, cell: int) -> np.ndarray:
        """Return the corners of triangles that fill a cell, but for a rim that sets it apart [N, 3]."""
        known = self._triangles.get(cell)
        if known is None:
            corner_62 = self._outline(cell, self._near)
            corner_62 = corner_62.mean(axis=0) + _SHRUNK * (corner_62 - corner_62.mean(axis=0))
            order = [at for last in range(2, len(corner_62)) for at in (0, last - 1, last)]
            known = self._triangles[cell] = np.column_stack((corner_62[order], np.zeros(len(order))))
        return known


def _has_same_cells(one: Overview, other: Overview) -> bool:
    return one.newest_ns == other.newest_ns and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("cell_C", "count_C", "newest_C")
    )


def coarsened(overview: Overview, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return cells, what each holds and its newest stamp, of the finest resolution at which they are few enough.

    Args:
        overview: With the memory's own cells.
        most: Cells.
    """
    cell_C, count_C, newest_C = overview.cell_C, overview.count_C, overview.newest_C
    while len(cell_C) > most:
        resolution = h3.get_resolution(int(cell_C[0])) - 1
        if resolution < 0:
            break
        cell_C, which_C = np.unique(parents_of(cell_C, resolution), return_inverse=True)
        count_C = np.bincount(which_C, weights=count_C).astype(np.int64)
        finer_C, newest_C = newest_C, np.full(len(cell_C), -(2**63), np.int64)
        np.maximum.at(newest_C, which_C, finer_C)
    return cell_C, count_C, newest_C


def parents_of(cell_C: np.ndarray, resolution: int) -> np.ndarray:
    """Return the cells of a coarser resolution that H3 counts cells to, uint64.

    An index holds its resolution in bits 52 to 55, and below a digit of 3 bits for each, 7 where it is finer than that.
    """
    finer = np.uint64((1 << 3 * (15 - resolution)) - 1)
    cleared_C = cell_C & ~np.uint64(0xF << 52)
    result: np.ndarray = cleared_C | np.uint64(resolution << 52) | finer
    return result


def _by_error(surprise_N: np.ndarray) -> np.ndarray:
    return ramp(surprise_N / _LARGEST_ERROR)


def _chunks(id_N: np.ndarray, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield a number and the rows of each chunk: ids that lie together always fall into the same."""
    chunk_N = id_N // size
    for chunk in np.unique(chunk_N).tolist():
        # Markers have 32 bits for a number; ids that a peer chose may be of any size.
        yield chunk % 2**31, np.flatnonzero(chunk_N == chunk)


def _memories(held: Traces) -> Iterator[Shape]:
    for number, rows_N in _unique(_chunks(held.id_N, _PER_CHUNK)):
        colors_N4 = _by_error(held.surprise_N[rows_N])
        yield Shape("memories", number, "points", held.place_N3[rows_N], (1.0, 1.0, 1.0, 1.0), 0.06, colors_N4)


def _unique(chunks: Iterator[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield chunks with numbers of their own, also where ids are so far apart that two share one."""
    taken: set[int] = set()
    for number, rows_N in chunks:
        while number in taken:
            number = (number + 1) % 2**31
        taken.add(number)
        yield number, rows_N


def _trail(newest: Traces) -> Iterator[Shape]:
    """Yield the way through the newest memories, each stretch in the colour of the error at its end."""
    if len(newest) < 2:
        return
    step_N3 = np.diff(newest.place_N3, axis=0)
    follows_N = (
        (np.diff(newest.session_N) == 0)
        & (np.abs(np.diff(newest.stamp_N)) <= _LONGEST_GAP_S * 1e9)
        & (np.linalg.norm(step_N3, axis=1) <= _LONGEST_STEP_M)
    )
    ends_N = np.flatnonzero(follows_N) + 1
    for number, rows_N in _unique(_chunks(newest.id_N[ends_N], _PER_STRETCH)):
        end_N = ends_N[rows_N]
        point_N3 = np.stack((newest.place_N3[end_N - 1], newest.place_N3[end_N]), axis=1).reshape(-1, 3)
        color_N4 = np.repeat(_by_error(newest.surprise_N[end_N]), 2, axis=0)
        yield Shape("trail", number, "lines", point_N3, (1.0, 1.0, 1.0, 1.0), 0.05, color_N4)


def _retrieval(found: Retrieval) -> list[Shape]:
    if found.place_K3 is None:
        return []
    asked = found.asked
    center_3 = None if asked is None else np.array((asked.x, asked.y, asked.z))
    return star("retrieval", found.place_K3[:_MOST_FOUND], center_3, _FOUND, _ASKED)


def retrieval_of(asked: Place | None, records: Sequence[MemoryRecord]) -> Retrieval:
    """Return a retrieval from the records that were found."""
    return Retrieval(asked, np.array([(each.x, each.y, each.z) for each in records]).reshape(-1, 3))
