"""Which cells hold something, where, and which of them a query may touch.

Shape suffix: L = lists (one per cell).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from spatial_memory.geometry.celltable import CellTable
from wm_core.memory.errors import PlaceError
from wm_core.memory.frames import LevelGrid
from wm_core.memory.query import Place, Query

_EMPTY_BOX = (math.inf, math.inf, -math.inf, -math.inf)
# Bounds are compared after rounding; this much more than the radius never drops a cell that lies just on it.
_SLACK = 1.0 + 1e-9


class CellDirectory:
    """Numbers the cells that hold something and finds those near a place.

    Cells stand in a dictionary per H3 level, so that a wide search looks up few coarse cells instead of many fine ones,
    and each keeps the bounds of what it holds, so that the cells a search only grazes are left out.

    Args:
        grid: Cuts the map into cells.

    Attributes:
        size_L: Records per list.
        cell_L: H3 cell of each list, uint64.
        newest_L: Newest stamp in each list [ns].
        box_L4: Bounds of each list's records or more: min x, min y, max x, max y.
        first_L: First page of each list, -1 where it has none.
        pages: Pages of each list, in order.
        table: The list of each cell.
    """

    def __init__(self, grid: LevelGrid) -> None:
        self.grid = grid
        self.size_L = np.zeros(256, np.int64)
        self.cell_L = np.zeros(256, np.uint64)
        self.newest_L = np.zeros(256, np.int64)
        self.pages: list[list[int]] = []
        self._page_arrays: list[np.ndarray | None] = []
        self.box_L4 = np.tile(np.array(_EMPTY_BOX), (256, 1))
        self.first_L = np.full(256, -1, np.int32)
        self.table = CellTable()
        self._children: list[dict[int, list[int]]] = [{} for _ in grid.levels[1:]]
        self._unused: list[int] = []
        self._stale: list[int] = []

    @property
    def cell_count(self) -> int:
        """Cells that hold something."""
        return len(self.table)

    @property
    def nbytes(self) -> int:
        """Bytes held, about."""
        return len(self.table) * 500 + self.table.nbytes

    def list_of(self, cell: int) -> int:
        """Return the list of a cell; a new cell gets one."""
        list_no = self.table.get(cell)
        return self._open(cell) if list_no is None else list_no

    def find(self, cell: int) -> int | None:
        """Return the list of a cell, or None where nothing lies."""
        return self.table.get(cell)

    def _open(self, cell: int) -> int:
        if self._unused:
            list_no = self._unused.pop()
        else:
            list_no = len(self.pages)
            self.pages.append([])
            self._page_arrays.append(None)
            if list_no >= len(self.size_L):
                self._grow(2 * len(self.size_L))
        self.cell_L[list_no] = cell
        self.box_L4[list_no] = _EMPTY_BOX
        self.table.put(cell, list_no)
        for level, parent in zip(self._children, self.grid.parents(cell)):
            level.setdefault(parent, []).append(list_no)
        return list_no

    def _grow(self, room: int) -> None:
        more = room - len(self.size_L)
        self.size_L = np.append(self.size_L, np.zeros(more, np.int64))
        self.cell_L = np.append(self.cell_L, np.zeros(more, np.uint64))
        self.newest_L = np.append(self.newest_L, np.zeros(more, np.int64))
        self.first_L = np.append(self.first_L, np.full(more, -1, np.int32))
        self.box_L4 = np.concatenate((self.box_L4, np.tile(np.array(_EMPTY_BOX), (more, 1))))

    def grew(self, list_no: int, x_N: np.ndarray, y_N: np.ndarray, newest: int) -> None:
        """Note that records were added to a list."""
        fresh = self.size_L[list_no] == 0
        self.newest_L[list_no] = newest if fresh else max(newest, self.newest_L[list_no])
        self.size_L[list_no] += len(x_N)
        box = self.box_L4[list_no]
        box[0] = min(box[0], x_N.min())
        box[1] = min(box[1], y_N.min())
        box[2] = max(box[2], x_N.max())
        box[3] = max(box[3], y_N.max())

    def shrank(self, list_no: int) -> None:
        """Note that a record was removed from a list; an empty one gives up its cell."""
        self.size_L[list_no] -= 1
        if self.size_L[list_no] > 0:
            return
        self.table.drop(int(self.cell_L[list_no]))
        self.box_L4[list_no] = _EMPTY_BOX
        self._stale.append(list_no)
        if len(self._stale) > max(1024, len(self.table)):
            self._sweep()

    def _sweep(self) -> None:
        """Strike emptied lists from the coarse levels, so that their numbers can serve new cells."""
        stale = set(self._stale)
        for level in self._children:
            for parent, lists in list(level.items()):
                level[parent] = [list_no for list_no in lists if list_no not in stale]
                if not level[parent]:
                    del level[parent]
        self._unused += self._stale
        self._stale = []

    def occupied(self) -> np.ndarray:
        """Return all lists that hold something, int64."""
        return np.flatnonzero(self.size_L)

    def repaged(self, list_no: int) -> None:
        """Note that a list has other pages than before."""
        self._page_arrays[list_no] = None
        self.first_L[list_no] = self.pages[list_no][0] if self.pages[list_no] else -1

    def pages_of(self, lists_L: np.ndarray) -> np.ndarray:
        """Return the pages of lists, in their order, int64."""
        arrays = self._page_arrays
        parts = []
        for list_no in lists_L.tolist():
            part = arrays[list_no]
            if part is None:
                part = arrays[list_no] = np.array(self.pages[list_no], np.int64)
            parts.append(part)
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def cells_around(self, cell: int, radius_m: float) -> np.ndarray:
        """Return cells that hold everything within a disc around any place in a cell, uint64, whether full or empty."""
        found = self.grid.disc(cell, radius_m, most=self._most_cells())
        if found is not None and found[0] == 0:
            return found[1]
        lists_L = self._in_disc(cell, radius_m)
        if lists_L is None:
            lists_L = self.occupied()
        # An emptied list still bears its cell's name, which a newer list may have by now.
        cell_C: np.ndarray = self.cell_L[lists_L[self.size_L[lists_L] > 0]]
        return cell_C

    def _most_cells(self) -> int:
        return max(64, 4 * len(self.table))

    def near(self, query: Query) -> np.ndarray | None:
        """Return the lists that the query's area may touch, int64; None: all of them.

        Raises:
            PlaceError: The query's place lies nowhere.
        """
        place, box = query.place, query.box
        lists_L = None
        if place is not None and query.ring_count > 0:
            lists_L = self._in_rings(self.grid.cell_of(place.x, place.y), query.ring_count)
        elif place is not None and query.radius_m > 0:
            lists_L = self._in_disc(self.grid.cell_of(place.x, place.y), query.radius_m)
        elif box is not None and self.grid.map.name == "local":
            lists_L = self._around_box(*box[:2], *box[3:5])
        bounded = box is not None or (place is not None and query.radius_m > 0)
        if lists_L is None and bounded:
            lists_L = self.occupied()
        if lists_L is None or len(lists_L) == 0:
            return lists_L
        box_L4 = self.box_L4[lists_L]
        if place is not None and query.radius_m > 0:
            keep_L = self.grid.map.box_distance2(box_L4, place.x, place.y) <= query.radius_m**2 * _SLACK
            lists_L, box_L4 = lists_L[keep_L], box_L4[keep_L]
        if box is not None:
            low, high = np.array(box[:2]), np.array(box[3:5])
            lists_L = lists_L[((box_L4[:, :2] <= high) & (box_L4[:, 2:] >= low)).all(axis=1)]
        return lists_L

    def near_all(self, discs: Sequence[tuple[Place, float]]) -> np.ndarray:
        """Return the lists that any of some discs (centre, radius [m]) may touch, int64; discs that lie together."""
        if self.grid.map.name == "local":
            x = (min(each.x for each, _ in discs) + max(each.x for each, _ in discs)) / 2.0
            y = (min(each.y for each, _ in discs) + max(each.y for each, _ in discs)) / 2.0
            radius_m = max(math.hypot(each.x - x, each.y - y) + radius_m for each, radius_m in discs)
            found = self.near(Query(place=Place(x, y), radius_m=radius_m * _SLACK))
        else:
            parts = [self.near(Query(place=each, radius_m=radius_m)) for each, radius_m in discs]
            found = np.unique(np.concatenate([part for part in parts if part is not None]))
        assert found is not None
        return found

    def _in_rings(self, cell: int, ring_count: int) -> np.ndarray:
        cells = self.grid.within_rings(cell, ring_count)
        if len(cells) > 4 * len(self.table):
            occupied_L = self.occupied()
            return occupied_L[np.isin(self.cell_L[occupied_L], cells.astype(np.uint64))]
        return self.table.lists_of(cells)

    def _in_disc(self, cell: int, radius_m: float) -> np.ndarray | None:
        found = self.grid.disc(cell, radius_m, self._most_cells())
        if found is None:
            return None
        level, cells = found
        if level == 0:
            return self.table.lists_of(cells)
        children = self._children[level - 1]
        parts = [children[cell] for cell in cells.tolist() if cell in children]
        return np.array(list(itertools.chain.from_iterable(parts)), np.int64)

    def _around_box(self, min_x: float, min_y: float, max_x: float, max_y: float) -> np.ndarray | None:
        radius_m = math.hypot(max_x - min_x, max_y - min_y) / 2.0
        if not math.isfinite(radius_m):
            return None
        try:
            cell = self.grid.cell_of((min_x + max_x) / 2.0, (min_y + max_y) / 2.0)
        except PlaceError:
            return None  # the box reaches over the edge of the map; bounds alone decide
        return self._in_disc(cell, radius_m)
