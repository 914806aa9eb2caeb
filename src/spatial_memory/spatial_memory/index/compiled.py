"""The compiled search: bounds from one-byte codes first, exact comparison of what they leave open afterwards.

Source: bounds from one-byte codes after the VA-file.

Shape suffix: S = slots.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from spatial_memory.index.cell_index import Backend, CellIndex, Search
from spatial_memory.index.portable import PORTABLE, PortableSearch
from spatial_memory.index.scanner import Scanner
from spatial_memory.index.sq8 import SQ8Codes
from wm_core.memory.filters import Limits, is_filtered
from wm_core.memory.frames import LevelGrid
from wm_core.memory.kernels import load
from wm_core.memory.query import Place, Query
from wm_core.memory.ranking import Shortlist

_MOST_AT_ONCE = 64
_FEWEST = 4
_ORIGIN = Place(0.0, 0.0)
_BY_SCANNER = frozenset({"radius"})


class CompiledSearch:
    """Answers in a few calls of compiled code, neighbours one after the other; by NumPy what that cannot compare.

    Args:
        index: With codes of its latents.
        library: As ``wm_core.memory.kernels.load`` returned it.
    """

    def __init__(self, index: CellIndex, library: ctypes.CDLL) -> None:
        self.index = index
        self._portable = PortableSearch(index)
        self._scanner = Scanner(library, index.columns, index.directory)
        self._is_metric = index.grid.map.name == "local"

    def shortlists(self, queries: Sequence[Query], limits: Sequence[Limits]) -> list[Shortlist]:
        """Return the shortlist of each query; see ``Search``."""
        if not self._is_metric:
            return self._portable.shortlists(queries, limits, self._anywhere)
        if len(queries) < _FEWEST:
            return self._part(queries, limits)
        # Place by place: neighbours find each other's data cached.
        places = [query.place or _ORIGIN for query in queries]
        cells = [self.index.grid.cell_of(place.x, place.y) for place in places]
        order = sorted(range(len(queries)), key=cells.__getitem__)
        found: dict[int, Shortlist] = {}
        for start in range(0, len(order), _MOST_AT_ONCE):
            part = order[start : start + _MOST_AT_ONCE]
            found.update(zip(part, self._part([queries[at] for at in part], [limits[at] for at in part])))
        return [found[at] for at in range(len(queries))]

    def _part(self, queries: Sequence[Query], limits: Sequence[Limits]) -> list[Shortlist]:
        discs = [at for at, query in enumerate(queries) if _is_plain_disc(query) and not self._compares_tilt(query)]
        found: dict[int, Shortlist] = {}
        if discs:
            found.update(zip(discs, self._around([queries[at] for at in discs], [limits[at] for at in discs])))
        return [
            found[at] if at in found else self._anywhere(query, limit)
            for at, (query, limit) in enumerate(zip(queries, limits))
        ]

    def _around(self, queries: Sequence[Query], limits: Sequence[Limits]) -> list[Shortlist]:
        """Return the shortlists of queries for what lies within a radius, in a metric map, not ranked by cosine."""
        scanner = self._scanner
        scanner.ask(queries)
        discs = [self._disc(query) for query in queries]
        around = {disc: self.index.directory.cells_around(*disc) for disc in set(discs)}
        cells = [around[disc] for disc in discs]
        narrowed = [at for at, query in enumerate(queries) if is_filtered(query, limits[at], _BY_SCANNER)]
        if not (scanner.look_around(cells) if narrowed else scanner.search(cells)):
            half = len(queries) // 2
            return self._around(queries[:half], limits[:half]) + self._around(queries[half:], limits[half:])
        if narrowed:
            for at in narrowed:
                part = slice(int(scanner.page_end_G[at - 1]) if at else 0, int(scanner.page_end_G[at]))
                scanner.found_G[at] = self.index.narrow(
                    queries[at], limits[at], scanner.page_P[part], scanner.bits_P[part], _BY_SCANNER
                )
            scanner.find_nearest()
        ends, counts = scanner.slot_end_G[: len(queries)].tolist(), scanner.found_G[: len(queries)].tolist()
        slot_S = scanner.slot_S[: ends[-1]].copy()
        return [Shortlist(slot_S[start:end], count) for start, end, count in zip([0, *ends[:-1]], ends, counts)]

    def _disc(self, query: Query) -> tuple[int, float]:
        """Return the cell of a query's place, and its radius [m]."""
        assert query.place is not None
        return self.index.grid.cell_of(query.place.x, query.place.y), query.radius_m

    def _compares_tilt(self, query: Query) -> bool:
        """Return whether whole rotations are ranked by: compiled code knows yaws."""
        if query.rank == "latent" or query.yaw_weight_m == 0:
            return False
        return query.orientation is not None or self.index.has_rotations

    def _anywhere(self, query: Query, limits: Limits) -> Shortlist:
        """Return the shortlist of any one query."""
        if _is_cosine(query) or self._compares_tilt(query) or not (self._is_metric or query.rank == "latent"):
            return self._portable.shortlist(query, limits)
        page_P, bits_P, count = self.index.passing(query, limits)
        if count == 0:
            return Shortlist(np.empty(0, np.int64), 0)
        self._scanner.ask([query])
        self._scanner.look_at(page_P, bits_P, count)
        self._scanner.find_nearest()
        return Shortlist(self._scanner.slot_S[: self._scanner.slot_end_G[0]].copy(), count)


def _is_cosine(query: Query) -> bool:
    return query.metric == "cosine" and query.rank != "pose"


def _is_plain_disc(query: Query) -> bool:
    return query.radius_m > 0 and query.ring_count == 0 and not _is_cosine(query)


def _make(dim: int, action_dim: int, grid: LevelGrid, page_count: int, successor_size: int) -> Search:
    library = load()
    if library is None:
        return PORTABLE.make(dim, action_dim, grid, page_count, successor_size)
    codes = SQ8Codes(dim)
    return CompiledSearch(
        CellIndex(dim, action_dim, grid, page_count, successor_size=successor_size, copy=codes), library
    )


EMBEDDED = Backend("embedded", _make)
"""The default: compiled, or portable where the package was built without a compiler."""
