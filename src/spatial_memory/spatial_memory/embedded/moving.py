"""Moving records that are held: by a transform, or back to where they lay. Shape suffix: N = records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from spatial_memory.embedded.places import Places
from spatial_memory.embedded.selection import matching_slots, moved_rows, turned_extras
from spatial_memory.embedded.state import MemoryState
from spatial_memory.index.cell_index import Search
from spatial_memory.index.columns import Rows
from spatial_memory.index.eviction import Eviction
from spatial_memory.index.pacing import giving_way
from spatial_memory.store.extras import Extra
from wm_core.memory.protocol import Forget, Rigid

_CHUNK = 1_000
# All rows are written anew, in one transaction.
_WHOLE_S = 600.0

Moved = tuple[list[Rows], list[tuple[int, Extra]], str]
"""Rows where they shall lie, the rotations that are more than a yaw, by record, and the frame."""


class Moving(MemoryState):
    """Moves records, all or none."""

    def transform(self, rigid: Rigid, session: str = "") -> int:
        """Move the records of a session, or all, and return how many; for good when it returns.

        Raises:
            PlaceError: One of them would lie nowhere; then none moved.
            FrameMismatchError: Only some would move to another frame; then none moved.
            StoreError: The disk does not take it; then none moved.
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
        """Put records where they lay, and return how many those are; for good when it returns.

        Args:
            places: Where; of records that are not held any more nothing comes of it.
            back: Where it moves all others, into the frame of ``places``; None: they stay.

        Raises:
            PlaceError: One of those others would lie nowhere; then none moved.
            StoreError: The disk does not take it; then none moved.
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
        """Put records elsewhere, all or none, and return them; for good when it returns.

        Args:
            plan: Returns them as they shall be, their rotations, and the frame. Queries go on meanwhile; where the
                memory was changed by the time that it is done, it is asked again while nobody may change it.
        """
        with self._restoring:
            moved = self._planned(plan)
            if moved is None:
                with self._gate:
                    moved = self._planned(plan)
        return moved or []

    def _planned(self, plan: Callable[[], Moved]) -> list[Rows] | None:
        """Do what a plan says; None: the memory changed meanwhile, and nothing was done."""
        with self._lock:
            revision = self._journal.revision
        moved, turned, frame_id = plan()
        # Built beside the one that is searched: with all of a large memory that takes seconds.
        search = self._searched(moved) if moved and sum(map(len, moved)) == len(self) else None
        with self._gate:
            with self._lock:
                if self._journal.revision != revision:
                    return None
            # Queries go on; who changes records waits.
            if self._index is not None and moved:
                self._store.replace_now(giving_way(moved), turned, _WHOLE_S, frame_id=frame_id)
            with self._lock:
                if self._index is not None:
                    self._put_moved(moved, search, frame_id)
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
        self._eviction = Eviction(self._index, self._surprise_weight)
        self._catalogue = replace(self._catalogue, frame_id=frame_id)
        self._tell_moved(moved, is_all=search is not None)

    def _tell_moved(self, moved: Sequence[Rows], *, is_all: bool) -> None:
        if is_all:
            self._journal.replaced("transformed")
        else:
            self._journal.changed(record_id for part in moved for record_id in part.id_N.tolist())
