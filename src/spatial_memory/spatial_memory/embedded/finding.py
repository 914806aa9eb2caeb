"""Reading a memory: queries, records by id, and what viewers and windows are told. Shape suffix: N = records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spatial_memory.embedded.answers import answer, complete, limits_of
from spatial_memory.embedded.overviews import overview_now
from spatial_memory.embedded.state import MemoryState
from spatial_memory.embedded.table import records_of
from spatial_memory.embedded.windowing import Held, window_update
from spatial_memory.index.looks import LookInParts
from spatial_memory.index.successors import held_times
from wm_core.memory.journal import WindowAsk, WindowUpdate
from wm_core.memory.overview import Overview
from wm_core.memory.query import Matches, Query, no_matches
from wm_core.memory.record import MemoryRecord

_CHUNK = 1_000
_MANY = 50_000
_TRIES = 3
_PATIENCE_S = 0.005


class Finding(MemoryState):
    """Answers queries, and tells what is held."""

    def query(self, query: Query) -> Matches:
        """Answer one query exactly.

        Raises:
            QueryError: It cannot be answered as asked.
        """
        return self.query_batch((query,))[0]

    def query_batch(self, queries: Sequence[Query]) -> list[Matches]:
        """Answer queries, each exactly.

        Raises:
            QueryError: The first one that cannot be answered as asked, by its place in the list.
        """
        with self._lock:
            held = 0 if self._index is None else len(self._index)
            limits = limits_of(queries, self._catalogue, self._grid, self._newest_ns if held else None)
            if self._search is None:
                return [no_matches()] * len(queries)
            return answer(self._search, self._catalogue, self._store, queries, limits)

    def query_look(self, query: Query) -> Matches:
        """Answer one query by its feature alone, over all places, exactly; other queries get their turn in between.

        Raises:
            QueryError: It cannot be answered as asked.
        """
        for _ in range(_TRIES):
            with self._lock:
                held = 0 if self._index is None else len(self._index)
                limit = limits_of([query], self._catalogue, self._grid, self._newest_ns if held else None)[0]
                index = self._index
                if index is None or limit is None:
                    return no_matches()
                look = LookInParts(index, query, limit)
            while not (look.is_done or look.is_torn):
                with self._lock:
                    look.go_on()
            with self._lock:
                if self._index is index and look.is_done and not look.is_torn:
                    return complete(index, self._catalogue, self._store, [query], [look.shortlist()])[0]
        return self.query(query)

    def get(self, ids: Sequence[int]) -> list[MemoryRecord]:
        """Return records by id, with their successors; those that are not held are left out."""
        with self._lock:
            if self._index is None:
                return []
            slots_N = np.array([self._index.slot_of(record_id) for record_id in ids], np.int64)
            rows = self._index.rows(slots_N[slots_N >= 0])
            successors = self._store.successors(rows.id_N.tolist(), self._index.dim)
            records = records_of(rows, range(len(rows)), self._catalogue, successors)
            return self._store.completed(records) if self._catalogue.feature_dim else records

    def held_ids(self) -> list[int]:
        """Return the ids of all records, ascending."""
        with self._lock:
            if self._index is None:
                return []
            ids: list[int] = np.sort(self._index.columns.flat("id")[self._index.slots()]).tolist()
            return ids

    def everything(self) -> list[MemoryRecord]:
        """Return all records, oldest id first."""
        with self._lock:
            if self._index is None:
                return []
            ids = self.held_ids()
            return [record for at in range(0, len(ids), _CHUNK) for record in self.get(ids[at : at + _CHUNK])]

    def places(self, most: int) -> np.ndarray:
        """Return where records lie, x, y, z [N, 3]: all, or ``most`` of them spread over all where there are more."""
        with self._lock:
            if self._index is None:
                return np.zeros((0, 3))
            slots_N = self._index.slots()
            slots_N = slots_N[:: max(1, -(-len(slots_N) // most))]
            return np.stack([self._index.columns.flat(name)[slots_N] for name in "xyz"], axis=1).astype(np.float64)

    def overview(self, most: int, last: int) -> Overview:
        """Return what is held, in outline: ``most`` memories at most, or none, and the ``last`` that came."""
        with self._lock:
            index = self._index
            if index is None or not len(index):
                return Overview()
            return overview_now(index, self._catalogue, most, last)

    def window(self, ask: WindowAsk) -> WindowUpdate | None:
        """Return what a window is to do to be as the memory is; None: the memory is busy at present.

        Raises:
            QueryError: It cannot be filled as asked.
        """
        if not self._lock.acquire(timeout=_PATIENCE_S):
            return None
        try:
            held = Held(self._index, self._catalogue, self._store, self._newest_ns)
            return window_update(held, self._journal, self._grid.map, ask)
        finally:
            self._lock.release()

    def successor_times(self) -> np.ndarray:
        """Return the real time differences of the successors held [s]."""
        index = self._index
        if index is None:
            return np.empty(0)
        with self._lock:
            slots_N = index.slots()
        times, others = [np.empty(0)], []
        # A part at a time, so that queries get their turn in between.
        for at in range(0, len(slots_N), _MANY):
            with self._lock:
                some_N, ids = held_times(index.columns, slots_N[at : at + _MANY])
            times.append(some_N)
            others += ids
        for at in range(0, len(others), _CHUNK):
            read = self._store.successors(others[at : at + _CHUNK], index.dim).values()
            times.append(np.array([item.dt_s for successors in read for item in successors]))
        return np.concatenate(times)
