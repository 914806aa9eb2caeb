"""Between an index's columns and the compiled search of ``wm_core.memory``.

What belongs to several queries stands side by side: that of query g ends in front of ``.._end_G[g]``.

Shape suffixes: G = queries, C = cells, P = pages, E = latent size D made even.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from spatial_memory.index.columns import PAGE, Columns
from spatial_memory.index.directory import CellDirectory
from wm_core.memory.kernels import View, address, ask_of
from wm_core.memory.query import MAX_K, Query

MOST_PAGES = 1 << 18
"""Most pages that several queries look at together."""


class Scanner:
    """Searches an index's columns where they lie. Not thread-safe: what it writes is used again.

    Args:
        library: As ``wm_core.memory.kernels.load`` returned it.
        columns: With codes of the latents.
        directory: Which cells they lie in.

    Attributes:
        bits_P: One bit per slot of each page that the queries look at, uint16.
        found_G: How many those are.
        page_P: The pages that the queries look at, one query's after the other.
        page_end_G: See above.
        slot_S: Slots that hold the k nearest.
        slot_end_G: See above.
    """

    def __init__(self, library: ctypes.CDLL, columns: Columns, directory: CellDirectory) -> None:
        self._library = library
        self._columns = columns
        self._directory = directory
        self._view = View()
        self._at = ctypes.addressof(self._view)
        self._seen: tuple[np.ndarray, ...] = ()
        self._heap = np.empty(MAX_K)
        self._view.heap = address(self._heap)
        self._make_room(2048)
        self._make_query_room(1)

    def _make_room(self, pages: int) -> None:
        self.page_P, self.bits_P = np.empty(pages, np.int64), np.empty(pages, np.uint16)
        self._border_P = np.empty(pages, np.int32)
        self.slot_S, self._lower_S = np.empty(PAGE * pages, np.int64), np.empty(PAGE * pages)
        view = self._view
        view.room = pages
        view.pages, view.bits, view.border = address(self.page_P), address(self.bits_P), address(self._border_P)
        view.slots, view.lowers = address(self.slot_S), address(self._lower_S)

    def _make_query_room(self, queries: int) -> None:
        self._ask_G8, self._wanted_GE = (
            np.empty((queries, 8)),
            np.zeros((queries, _even(self._columns.dim)), np.float32),
        )
        self._cell_end_G, self.page_end_G = np.empty(queries, np.int64), np.empty(queries, np.int64)
        self.found_G, self.slot_end_G = np.empty(queries, np.int64), np.empty(queries, np.int64)
        self._asked, self._wanted = address(self._ask_G8), address(self._wanted_GE)
        self._cell_end = address(self._cell_end_G)
        view = self._view
        view.page_end, view.found = address(self.page_end_G), address(self.found_G)
        view.slot_end = address(self.slot_end_G)

    def _look(self) -> None:
        """Note where everything lies, if that changed."""
        columns, directory, table = self._columns, self._directory, self._directory.table
        seen: tuple[np.ndarray, ...] = (
            table.cell_T,
            table.list_T,
            directory.box_L4,
            directory.first_L,
            directory.size_L,
            columns.whereabouts,
        )
        if len(self._seen) == len(seen) and all(map(_is, seen, self._seen)):
            return
        view = self._view
        for field, array in zip(("table_cell", "table_list", "list_box", "first", "size", "columns"), seen):
            setattr(view, field, address(array))
        view.table_places, view.table_shift, view.column_count = len(table.cell_T), table.shift, len(seen[-1])
        for name in ("next", "live", "box", "x", "y", "yaw", "code", "scale"):
            setattr(view, name, columns.addresses[name])
        view.dim = _even(columns.dim)
        self._seen = seen

    def ask(self, queries: Sequence[Query]) -> None:
        """Take queries, by latent (L2), by pose in a metric map, or by both."""
        self._look()
        self._count = len(queries)
        if self._count > len(self._ask_G8):
            self._make_query_room(self._count)
        for at, query in enumerate(queries):
            self._ask_G8[at] = ask_of(query)
            if query.rank != "pose":
                self._wanted_GE[at, : self._columns.dim] = query.latent_D

    def _take(self, cells: Sequence[np.ndarray]) -> np.ndarray:
        ends = 0
        for at, cell_C in enumerate(cells):
            ends += len(cell_C)
            self._cell_end_G[at] = ends
        return np.ascontiguousarray(cells[0] if len(cells) == 1 else np.concatenate(cells), np.uint64)

    def search(self, cells: Sequence[np.ndarray]) -> bool:
        """Find the nearest within each query's radius, in its cells; False: too much at once, ask for fewer."""
        cell_C = self._take(cells)
        arguments = (self._at, self._count, self._asked, address(cell_C), self._cell_end, self._wanted)
        while (size := self._library.wm_search(*arguments)) > self._view.room:
            if not self._has_room(size):
                return False
        return True

    def look_around(self, cells: Sequence[np.ndarray]) -> bool:
        """Find the pages and slots within each query's radius, in its cells; False: as above."""
        cell_C = self._take(cells)
        arguments = (self._at, self._count, self._asked, address(cell_C), self._cell_end)
        while (size := self._library.wm_pages(*arguments)) > self._view.room:
            if not self._has_room(size):
                return False
        self.look_within()
        return True

    def _has_room(self, pages: int) -> bool:
        """Make room for pages; not for any number where queries can be asked one by one."""
        if pages > MOST_PAGES and self._count > 1:
            return False
        self._make_room(pages)
        return True

    def look_within(self) -> None:
        """Find the slots within each query's radius, in the pages that were looked at."""
        self._library.wm_within(self._at, self._count, self._asked)

    def look_at(self, page_P: np.ndarray, bits_P: np.ndarray, found: int) -> None:
        """Take the pages and slots of a single query as they are given."""
        if len(page_P) > self._view.room:
            self._make_room(len(page_P))
        self.page_P[: len(page_P)], self.bits_P[: len(page_P)] = page_P, bits_P
        self.page_end_G[0], self.found_G[0] = len(page_P), found

    def find_nearest(self) -> None:
        """Find the nearest of the slots that were looked at."""
        self._library.wm_nearest(self._at, self._count, self._asked, self._wanted)


def _even(dim: int) -> int:
    """Return how many values a latent has in the codes."""
    return dim + dim % 2


def _is(one: object, other: object) -> bool:
    return one is other
