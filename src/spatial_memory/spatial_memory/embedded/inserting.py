"""What comes into a memory: records, what followed them, and how surprising they were."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spatial_memory.embedded.reprojection import (
    all_in_basis,
    check_features,
)
from spatial_memory.embedded.state import MemoryState
from spatial_memory.embedded.table import MOST_SESSIONS, Catalogue, checked_cells, rows_of
from spatial_memory.index.columns import Rows
from spatial_memory.index.eviction import Eviction
from spatial_memory.store.bases import WRITTEN_IN, basis_word, projected
from spatial_memory.store.extras import extras_of, extras_of_successor
from wm_core.memory.present import newest_ns
from wm_core.memory.record import MemoryRecord, Successor, check_successor, check_surprise


class Inserting(MemoryState):
    """Keeps records."""

    def insert(self, records: Sequence[MemoryRecord]) -> list[int]:
        """Keep records and return their ids; all or none.

        Raises:
            RecordError: The first one that cannot be kept, by its place in the list.
        """
        if not records:
            return []
        with self._gate, self._lock:
            if len(self._catalogue.sessions) >= MOST_SESSIONS:
                self._drop_empty_sessions()
            records = all_in_basis(records, self._basis, self._coming, self._catalogue.feature_id)
            catalogue = self._catalogue.adopting(records)
            cells_N = checked_cells(records, catalogue, self._grid, self._index)
            ids = catalogue.ids_for(records, self._index)
            self._adopt(catalogue)
            rows = rows_of(records, ids, cells_N, self._catalogue, self._store.put_session)
            self._add(rows)
            links = [(key, successor) for key, record in zip(ids, records) for successor in record.successors]
            packed = self._store.put_successors(links) if links else []
            extras = [(key, extra) for key, record in zip(ids, records) for extra in extras_of(record)]
            self._store.put_extras(extras, int(rows.stamp_N.min()))
            self._hold(ids, packed)
            self._journal.changed(ids)
            self._evict()
            return ids

    def _drop_empty_sessions(self) -> None:
        """Forget the names of sessions of which no record is held any more."""
        index = self._index
        held = set() if index is None else set(index.columns.flat("session")[index.slots()].tolist())
        gone = [name for name, number in self._catalogue.sessions.items() if number not in held]
        self._store.drop_sessions(self._catalogue.drop_sessions(gone))

    def _adopt(self, catalogue: Catalogue) -> None:
        """Take encoder and sizes from what comes in, where they were open."""
        if self._index is None or not catalogue.is_alike(self._catalogue):
            if self._index is None:
                self._search = self._new_search(catalogue)
                self._eviction = Eviction(self._search.index, self._surprise_weight)
            else:
                self._index.columns.check_adopted(*self._catalogue.new_sizes(catalogue))
                if catalogue.action_dim != self._catalogue.action_dim:
                    self._index.columns.adopt_actions(catalogue.action_dim)
                if catalogue.feature_dim != self._catalogue.feature_dim:
                    self._index.columns.adopt_features(catalogue.feature_dim)
            self._store.put_meta(**{**catalogue.meta(self._grid), **self._written_in(catalogue), **self._switching})
        self._catalogue = catalogue

    def _written_in(self, catalogue: Catalogue) -> dict[str, str]:
        """Return the word that says how latents follow from features, where that is known."""
        basis = self._basis
        return {} if basis is None or basis.encoder_id != catalogue.encoder_id else {WRITTEN_IN: basis_word(basis)}

    def _add(self, rows: Rows) -> None:
        assert self._index is not None
        assert self._eviction is not None
        self._index.add(rows)
        self._store.put(rows)
        self._store.put_meta(next_id=self._catalogue.next_id)
        before = [] if len(self._index) == len(rows) else [self._newest_ns]
        self._newest_ns = newest_ns(np.array([*before, newest_ns(rows.stamp_N)], np.int64))
        self._put_newest_ns = max(self._put_newest_ns, int(rows.stamp_N.max()))
        for cell in set(rows.cell_N.tolist()):
            self._eviction.touch(cell)

    def _hold(self, ids: Sequence[int], packed: Sequence[tuple[int, bytes]]) -> None:
        """Hold in RAM what followed new records."""
        assert self._index is not None
        bodies = dict.fromkeys(ids, b"")
        for record_id, body in packed:
            bodies[record_id] += body
        for record_id, body in bodies.items():
            self._index.hold_successors(record_id, body)

    def link(self, record_id: int, successor: Successor) -> bool:
        """Add what followed a record; False where it is forgotten already.

        Raises:
            RecordError: A successor that cannot be kept.
        """
        with self._gate, self._lock:
            check_successor(successor, self._catalogue.dim, self._catalogue.feature_id)
            successor = self._successor_in_basis(successor)
            if self._index is None or record_id not in self._index:
                return False
            ((_, body),) = self._store.put_successors([(record_id, successor)])
            self._store.put_extras([(record_id, extra) for extra in extras_of_successor(successor)])
            self._index.hold_successors(record_id, body, more=True)
            self._journal.changed([record_id])
            return True

    def _successor_in_basis(self, successor: Successor) -> Successor:
        """Return a successor in the memory's basis: who links may be a basis behind or ahead."""
        coming = self._coming or self._basis
        if coming is None or coming.space.feature_id != self._catalogue.feature_id:
            return successor
        check_features((successor,), coming.space.size)
        return successor if self._basis is None else projected((successor,), self._basis)[0]

    def set_surprise(self, record_id: int, surprise: float) -> bool:
        """Say how surprising a record was; False where it is forgotten already.

        Raises:
            RecordError: A surprise that cannot be kept.
        """
        check_surprise(surprise)
        with self._gate, self._lock:
            if self._index is None or not self._index.set_surprise(record_id, surprise):
                return False
            self._store.put(self._index.rows(np.array([self._index.slot_of(record_id)])), known=True)
            self._journal.changed([record_id])
            return True
