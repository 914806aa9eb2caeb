"""The memory of one robot: an exact index in RAM over a durable store.

Shape suffixes: N = records, K = answers, D = latent size, A = action size.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from spatial_memory.embedded.answers import answer, complete, limits_of
from spatial_memory.embedded.loading import load, new_search, room_of
from spatial_memory.embedded.places import Places
from spatial_memory.embedded.reprojection import (
    all_in_basis,
    check_complete,
    check_features,
)
from spatial_memory.embedded.selection import matching_slots, moved_rows, turned_extras
from spatial_memory.embedded.sketching import sketched
from spatial_memory.embedded.staging import Staged, check_fits, staged
from spatial_memory.embedded.table import MOST_SESSIONS, Catalogue, checked_cells, records_of, rows_of
from spatial_memory.embedded.windowing import Held, window_update
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.index.cell_index import Backend, CellIndex, Search
from spatial_memory.index.columns import Rows
from spatial_memory.index.compiled import EMBEDDED
from spatial_memory.index.eviction import Forgetting
from spatial_memory.index.looks import LookInParts
from spatial_memory.index.pacing import giving_way
from spatial_memory.index.rebasing import project_all, put_in_place
from spatial_memory.index.successors import held_times
from spatial_memory.store.bases import BASIS, WRITTEN_IN, basis_of, basis_word, projected
from spatial_memory.store.extras import Extra, extras_of, extras_of_successor
from spatial_memory.store.schema import pack_successor, packed_rows
from spatial_memory.store.store import Store
from spatial_memory.store.thumbnails import Thumbnails
from wm_core.memory.errors import StoreError
from wm_core.memory.journal import Journal, WindowAsk, WindowUpdate
from wm_core.memory.protocol import Forget, Rigid, Stats
from wm_core.memory.query import Matches, Query, no_matches
from wm_core.memory.record import MemoryRecord, Successor, check_successor, check_surprise
from wm_core.memory.sketch import Sketch
from wm_core.projection import Projection

_LOG = logging.getLogger(__name__)
_CHUNK = 1_000
_MANY = 50_000
_TRIES = 3
_PATIENCE_S = 0.005
# All rows are written anew, in one transaction.
_WHOLE_S = 600.0


Moved = tuple[list[Rows], list[tuple[int, Extra]], str]
"""Rows where they shall lie, the rotations that are more than a yaw, by record, and the frame."""


class CellMemory:
    """Remembers states and finds them again, exactly; the default backend.

    Args:
        store: What is durable; all of it is read at once.
        grid: Cuts the map into cells; a store that was cut differently is cut anew.
        capacity: Most records to hold; the policy of ``eviction`` chooses what goes.
        surprise_weight: How much surprise counts against recency in eviction.
        progress: Called with records read and records in all while reading.
        backend: How to search what is held in memory.
        allow_shrink: Whether to forget at once what a store, or a snapshot to restore, holds beyond ``capacity``.

    Raises:
        CorruptStoreError: The store is damaged.
        StoreError: It holds more than ``capacity``.
    """

    def __init__(
        self,
        store: Store,
        grid: CellGrid,
        capacity: int = 1_000_000,
        surprise_weight: float = 1.0,
        progress: Callable[[int, int], None] | None = None,
        *,
        backend: Backend = EMBEDDED,
        allow_shrink: bool = False,
    ) -> None:
        self._allow_shrink = allow_shrink
        self._lock = threading.RLock()
        self._restoring = threading.Lock()
        # Held by who changes records, and before ``_lock``; queries do not wait for it.
        self._gate = threading.RLock()
        self._journal = Journal()
        self._store = store
        self._grid = grid
        self._capacity = capacity
        self._surprise_weight = surprise_weight
        self._backend = backend
        loaded = load(store, grid, capacity, backend, progress)
        self._catalogue, self._search, self._newest_ns = loaded
        self._check_room(store.path, len(self))
        self._basis = basis_of(store.meta())
        self._coming: Projection | None = None
        self._switching: dict[str, str] = {}
        self._put_newest_ns = self._newest_ns
        self._forgetting = Forgetting(self._index, surprise_weight) if self._index is not None else None
        self._evict()

    def _check_room(self, name: str, count: int) -> None:
        """Refuse to forget for good what is beyond a capacity that was lowered, unless that is wanted."""
        if count > self._capacity and not self._allow_shrink:
            raise StoreError(
                f"{name} holds {count} memories, capacity is {self._capacity}: {count - self._capacity} would be "
                f"forgotten for good; set capacity to {count} or more, or allow_shrink"
            )

    @property
    def _index(self) -> CellIndex | None:
        return None if self._search is None else self._search.index

    # ---------------------------------------------------------------- keeping

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
            if links:
                self._store.put_successors(links)
            extras = [(key, extra) for key, record in zip(ids, records) for extra in extras_of(record)]
            self._store.put_extras(extras, int(rows.stamp_N.min()))
            self._hold(ids, records)
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
                self._forgetting = Forgetting(self._search.index, self._surprise_weight)
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

    def _new_search(self, catalogue: Catalogue) -> Search:
        return new_search(self._backend, catalogue, self._grid, room_of(catalogue, len(self), self._capacity))

    def _add(self, rows: Rows) -> None:
        assert self._index is not None
        assert self._forgetting is not None
        self._index.add(rows)
        self._store.put(rows)
        self._store.put_meta(next_id=self._catalogue.next_id)
        newest = int(rows.stamp_N.max())
        self._newest_ns = newest if len(self._index) == len(rows) else max(self._newest_ns, newest)
        self._put_newest_ns = max(self._put_newest_ns, newest)
        for cell in set(rows.cell_N.tolist()):
            self._forgetting.touch(cell)

    def _hold(self, ids: Sequence[int], records: Sequence[MemoryRecord]) -> None:
        """Hold the successors of new records in RAM."""
        assert self._index is not None
        for key, record in zip(ids, records):
            packed = [pack_successor(key, successor) for successor in record.successors]
            self._index.hold_successors(key, b"".join(packed))

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
            self._store.put_successors([(record_id, successor)])
            self._store.put_extras([(record_id, extra) for extra in extras_of_successor(successor)])
            self._index.hold_successors(record_id, pack_successor(record_id, successor), more=True)
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

    # ---------------------------------------------------------------- finding

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

    def sketch(self, most: int, last: int) -> Sketch:
        """Return what is held, in outline: ``most`` memories at most, or none, and the ``last`` that came."""
        with self._lock:
            index = self._index
            if index is None or not len(index):
                return Sketch()
            return sketched(index, self._catalogue, most, last)

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

    # ---------------------------------------------------------------- eviction

    def delete(self, what: Forget) -> int:
        """Forget what matches and return how many that were.

        Raises:
            ForgetError: Criteria that make no sense.
        """
        ids = self.matching_ids(what)
        # A part at a time, so that queries get their turn in between.
        return sum(self._remove_held(ids[start : start + _CHUNK]) for start in range(0, len(ids), _CHUNK))

    def matching_ids(self, what: Forget) -> list[int]:
        """Return the ids of what ``delete`` would forget.

        Raises:
            ForgetError: Criteria that make no sense.
        """
        with self._lock:
            what.check(self._catalogue.frame_id)
            if self._index is None:
                return []
            ids: list[int] = self._index.columns.flat("id")[matching_slots(what, self._index, self._catalogue)].tolist()
            return ids

    def _remove_held(self, ids: Sequence[int]) -> int:
        """Forget records, those of them that are still held, and return how many that were."""
        with self._gate, self._lock:
            held = [record_id for record_id in ids if self._index is not None and record_id in self._index]
            self._remove(held)
            return len(held)

    def _remove(self, ids: Sequence[int]) -> None:
        if not ids:
            return
        assert self._index is not None
        assert self._forgetting is not None
        for record_id in ids:
            slot = self._index.slot_of(record_id)
            newest = int(self._index.columns.flat("stamp")[slot]) >= self._newest_ns
            cell = self._index.cell_at(slot)
            self._index.remove(record_id)
            self._forgetting.touch(cell)
            if newest:
                self._newest_ns = self._index.newest_ns()
        self._store.drop(ids)
        self._journal.changed(ids)

    def _evict(self) -> None:
        if self._index is None or self._forgetting is None:
            return
        while len(self._index) > self._capacity:
            self._remove([self._forgetting.next_victim()[0]])

    def clear(self) -> None:
        """Forget everything, the encoder included; ids are not used again."""
        with self._restoring, self._lock:
            next_id = self._catalogue.next_id
            self._catalogue = Catalogue(next_id=next_id)
            self._search = self._forgetting = None
            self._journal.replaced("cleared")
            self._newest_ns = self._put_newest_ns = 0
            self._store.clear(next_id=next_id)
            self._store.read_in(None)

    # ---------------------------------------------------------------- whole memory

    def transform(self, rigid: Rigid, session: str = "") -> int:
        """Move the records of a session, or all, and return how many; durable when it returns.

        Raises:
            PlaceError: One of them would lie nowhere; then none moved.
            FrameMismatchError: Only some would move to another frame; then none moved.
            StoreError: The disk does not take it at present; they moved in RAM and will on disk.
        """

        def plan() -> Moved:
            with self._lock:
                if self._index is None:
                    return [], [], ""
                rigid.check(session, self._catalogue.frame_id)
                slots_N = matching_slots(Forget(session=session), self._index, self._catalogue)
                frame_id = rigid.frame_id or self._catalogue.frame_id
            moved = [moved_rows(part, rigid, self._grid) for part in self._parts(slots_N)]
            turned = turned_extras(self._store.extras([key for part in moved for key in part.id_N.tolist()]), rigid)
            return moved, turned, frame_id

        return sum(map(len, self._move(plan)))

    def places_of(self, session: str = "") -> Places:
        """Return where the records of a session, or all, lie."""
        places = self._places_now(session)
        if places is None:
            with self._lock:
                places = self._places_now(session)
        return places or Places.none()

    def _places_now(self, session: str) -> Places | None:
        """Return where records lie; None: the memory changed meanwhile."""
        with self._lock:
            revision, frame_id = self._journal.revision, self._catalogue.frame_id
            if self._index is None:
                return Places.none()
            slots_N = matching_slots(Forget(session=session), self._index, self._catalogue)
        places = Places.joined([Places.of(part, frame_id) for part in self._parts(slots_N)], frame_id)
        with self._lock:
            return places if self._journal.revision == revision else None

    def put_places(self, places: Places, back: Rigid | None = None) -> int:
        """Put records where they lay, and return how many those are; durable when it returns.

        Args:
            places: Where; of records that are not held any more nothing comes of it.
            back: Where it moves all others, into the frame of ``places``; None: they stay.

        Raises:
            PlaceError: One of those others would lie nowhere; then none moved.
            StoreError: The disk does not take it at present; they moved in RAM and will on disk.
        """

        def plan() -> Moved:
            with self._lock:
                if self._index is None:
                    return [], [], ""
                slots_N = self._index.slots()
                frame_id = self._catalogue.frame_id if back is None else places.frame_id
            return *places.put_back(self._parts(slots_N), back, self._store, self._grid), frame_id

        moved = self._move(plan)
        return int(np.isin(places.id_N, [key for part in moved for key in part.id_N.tolist()]).sum())

    def _parts(self, slots_N: np.ndarray) -> Iterator[Rows]:
        """Yield the rows of slots, some at a time; queries go on in between."""
        for at in giving_way(range(0, len(slots_N), _CHUNK)):
            with self._lock:
                rows = None if self._index is None else self._index.rows(slots_N[at : at + _CHUNK])
            if rows is not None:
                yield rows

    def _move(self, plan: Callable[[], Moved]) -> list[Rows]:
        """Put records elsewhere, all or none, and return them; durable when it returns.

        Args:
            plan: Returns them as they shall be, their rotations, and the frame. Queries go on meanwhile; where the
                memory was changed by the time that it is done, it is asked again while nobody may change it.
        """
        with self._restoring:
            moved = self._planned(plan)
            if moved is None:
                with self._lock:
                    moved = self._planned(plan)
        self.flush(_WHOLE_S)
        return moved or []

    def _planned(self, plan: Callable[[], Moved]) -> list[Rows] | None:
        """Do what a plan says; None: the memory changed meanwhile, and nothing was done."""
        with self._lock:
            revision = self._journal.revision
        moved, turned, frame_id = plan()
        # Built beside the one that is searched: with all of a large memory that takes seconds.
        search = self._searched(moved) if moved and sum(map(len, moved)) == len(self) else None
        tuples = packed_rows(giving_way(moved))
        with self._lock:
            if self._journal.revision != revision:
                return None
            if self._index is not None:
                self._put_moved(moved, search, frame_id)
                if moved:
                    self._store.replace(tuples, turned, frame_id=frame_id)
            return moved

    def _searched(self, parts: Sequence[Rows]) -> Search:
        search = self._new_search(self._catalogue)
        for part in giving_way(parts):
            search.index.add(part)
        return search

    def _put_moved(self, moved: Sequence[Rows], search: Search | None, frame_id: str) -> None:
        """Put records, held already, at other places; ``search`` is over them where they are all."""
        assert self._index is not None
        if search is not None:
            self._search = search
        else:
            for part in moved:
                for record_id in part.id_N.tolist():
                    self._index.remove(record_id)
                self._index.add(part)
        self._forgetting = Forgetting(self._index, self._surprise_weight)
        self._catalogue = replace(self._catalogue, frame_id=frame_id)
        self._tell_moved(moved, is_all=search is not None)

    def _tell_moved(self, moved: Sequence[Rows], *, is_all: bool) -> None:
        if is_all:
            self._journal.replaced("transformed")
        else:
            self._journal.changed(record_id for part in moved for record_id in part.id_N.tolist())

    def reproject(self, projection: Projection) -> int:
        """Read all latents, successors' included, in another basis from now on and return of how many records.

        They follow from the features. Queries go on meanwhile in the basis so far; then all change at once, on disk in
        one transaction and in RAM. A crash leaves the basis before or the one after.

        Raises:
            EncoderMismatchError: It is of another network or other sizes than the features held; then nothing changed.
            RecordError: ``missing-feature``: a record would be lost; then nothing changed.
            StoreError: The disk does not take it; then nothing changed.
        """
        with self._restoring:
            with self._lock:
                index = self._index
                if index is None or not len(index):
                    self._basis = projection
                    return 0
                self._catalogue.check_projection(projection)
                if self._catalogue.encoder_id == projection.encoder_id:
                    self._basis = projection
                    return 0
                self._coming = projection
            try:
                self._switch(index, projection)
            finally:
                with self._lock:
                    self._coming, self._switching = None, {}
                    index.columns.give_up_replacement()
            return len(self)

    def _switch(self, index: CellIndex, projection: Projection) -> None:
        """Project everything again and change the basis: first on disk, then in RAM."""
        self.flush()
        check_complete(index, self._store, self._catalogue, self._lock)
        replacement = project_all(index.columns, projection, self._lock)
        words = {"encoder_id": projection.encoder_id, BASIS: basis_word(projection)}
        with self._lock:
            self._switching = words
        self._store.put_meta_now(words)
        with self._lock:
            put_in_place(index.columns, replacement, projection)
            self._catalogue = replace(self._catalogue, encoder_id=projection.encoder_id)
            self._basis = projection
            self._store.read_in(projection)
            self._journal.replaced("reprojected")

    def snapshot(self, path: Path) -> int:
        """Write everything to one file, atomically, and return how many records it holds.

        Raises:
            StoreError: It cannot be written, and why.
        """
        return self._store.snapshot(path)

    def restore(self, path: Path, *, any_frame: bool = False) -> int:
        """Replace everything by what a snapshot holds and return how many records that are.

        Queries go on while the snapshot is read and checked. Ids that were chosen before are not chosen again.

        Args:
            path: The snapshot.
            any_frame: Whether its places may be in another frame than the memory's.

        Raises:
            StoreError: The snapshot is absent, damaged or something else, or the disk does not take it; then nothing
                changed.
            EncoderMismatchError: It holds latents of another encoder than the memory; then nothing changed.
            PlaceError: Records lie outside the map; then nothing changed.
        """
        snapshots = staged(path, self._store.path, self._grid, self._capacity, self._backend)
        with self._restoring, snapshots as snapshot:
            words, basis = self._rebased(str(path), snapshot)
            with self._gate:
                with self._lock:
                    mine = replace(self._catalogue, frame_id="") if any_frame else self._catalogue
                    check_fits(str(path), snapshot.catalogue, mine)
                    if snapshot.search is not None:
                        self._check_room(f"snapshot {path}", len(snapshot.search.index))
                    snapshot.catalogue.reserve_ids(self._catalogue.next_id - 1)
                words["next_id"] = snapshot.catalogue.next_id
                self._store.restore(snapshot.path, self._switched(snapshot, basis), **words)
                return len(self)

    @contextlib.contextmanager
    def _switched(self, snapshot: Staged, basis: Projection | None) -> Iterator[None]:
        """Keep queries waiting while what a file holds is replaced, then answer them from what it holds now."""
        search, forgetting = snapshot.search, None
        if search is not None:
            forgetting = Forgetting(search.index, self._surprise_weight)
        with self._lock:
            before = self._search
            yield
            self._catalogue, self._search, self._forgetting = snapshot.catalogue, search, forgetting
            self._newest_ns = self._put_newest_ns = snapshot.newest_ns
            self._journal.replaced("restored")
            self._basis = basis or self._basis
            self._store.read_in(basis)
            self._evict()
        del before  # which takes a while, and nobody waits for it

    def _rebased(self, name: str, snapshot: Staged) -> tuple[dict[str, Any], Projection | None]:
        """Project a snapshot in another basis of the memory's features again, before anything it replaces is touched.

        Returns:
            What the store is to say of its basis, and the basis to read successors in.

        Raises:
            RecordError: One of its records has no feature.
        """
        basis, theirs, search = self._basis, snapshot.catalogue, snapshot.search
        if basis is None or search is None or theirs.feature_id != basis.space.feature_id:
            return {}, snapshot.basis
        if theirs.encoder_id == basis.encoder_id or self._catalogue.encoder_id not in ("", basis.encoder_id):
            return {}, snapshot.basis
        theirs.check_projection(basis)
        with contextlib.closing(Store(snapshot.path)) as store:
            check_complete(search.index, store, theirs)
        put_in_place(search.index.columns, project_all(search.index.columns, basis), basis)
        _LOG.info("%s is of encoder %s: projected again for %s", name, theirs.encoder_id, basis.encoder_id)
        theirs.encoder_id = basis.encoder_id
        return {"encoder_id": basis.encoder_id, BASIS: basis_word(basis)}, basis

    def flush(self, timeout_s: float = 30.0) -> None:
        """Return once everything so far is durable.

        Raises:
            StoreError: It is not, and why.
        """
        self._store.flush(timeout_s)

    def close(self) -> None:
        """Make durable what is left, if the disk takes it, and let go of the file."""
        self._store.close()

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

    @property
    def thumbnails(self) -> Thumbnails:
        """Small pictures of records; no query reads them."""
        return self._store.thumbnails

    @property
    def epoch(self) -> int:
        """Tells this run of the memory from others; what its windows say."""
        return self._journal.epoch

    @property
    def encoder_id(self) -> str:
        """Whose latents it holds; empty while that is open."""
        return self._catalogue.encoder_id

    @property
    def basis(self) -> Projection | None:
        """From the features it holds to its latents; None where it holds none, or was never told."""
        return self._basis

    def __len__(self) -> int:
        return 0 if self._index is None else len(self._index)

    def stats(self) -> Stats:
        """Return how the memory is doing."""
        with self._lock:
            index, trouble, damage = self._index, self._store.trouble, self._store.damage
            degraded = [f"not durable: {trouble}"] if trouble else []
            degraded += [damage] if damage else []
            return Stats(
                memory_count=len(self),
                capacity=self._capacity,
                cell_count=0 if index is None else index.directory.cell_count,
                encoder_id=self._catalogue.encoder_id,
                frame_id=self._catalogue.frame_id,
                feature_id=self._catalogue.feature_id,
                backend=self._backend.name,
                durable_until_ns=0 if self._store.in_memory else self._store.durable_until_ns(self._put_newest_ns),
                pending_writes=self._store.pending_count,
                ram_bytes=0 if index is None else index.nbytes,
                disk_bytes=self._store.disk_bytes(),
                degraded=tuple(degraded),
            )
