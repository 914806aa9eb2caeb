"""Deleting records that were named, or everything."""

from __future__ import annotations

from collections.abc import Sequence

from spatial_memory.embedded.selection import matching_slots
from spatial_memory.embedded.state import MemoryState
from spatial_memory.embedded.table import Catalogue
from wm_core.memory.protocol import Forget

_CHUNK = 1_000


class Deleting(MemoryState):
    """Forgets what it is told to."""

    def delete(self, what: Forget) -> int:
        """Forget what matches and return how many that were.

        Raises:
            ForgetError: Criteria that make no sense.
        """
        ids = self.matching_ids(what)
        # A part at a time, so that queries get their turn in between.
        return sum(self._remove_held(ids[start : start + _CHUNK]) for start in range(0, len(ids), _CHUNK))

    def delete_now(self, what: Forget) -> int:
        """Forget what matches, all of it and for good before returning, or nothing, and return how many that were.

        Raises:
            ForgetError: Criteria that make no sense.
            StoreError: The disk does not take it; then nothing changed.
        """
        with self._gate:
            ids = self.matching_ids(what)
            if ids:
                self._store.drop_now(ids)
            for start in range(0, len(ids), _CHUNK):
                with self._lock:
                    self._take_out(ids[start : start + _CHUNK])
        return len(ids)

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

    def clear(self) -> None:
        """Forget everything, the encoder included, for good before returning; ids are not used again.

        Raises:
            StoreError: The disk does not take it; then nothing changed.
        """
        with self._restoring, self._gate:
            next_id = self._catalogue.next_id
            self._store.clear(next_id=next_id)
            with self._lock:
                self._catalogue = Catalogue(next_id=next_id)
                self._search = self._eviction = None
                self._journal.replaced("cleared")
                self._newest_ns = self._put_newest_ns = 0
                self._store.read_in(None)
