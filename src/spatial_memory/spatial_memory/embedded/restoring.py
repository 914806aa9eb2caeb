"""A whole memory into one file, and back."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from spatial_memory.embedded.followed import FollowedAnew
from spatial_memory.embedded.reprojection import check_complete
from spatial_memory.embedded.staging import Staged, check_fits, staged
from spatial_memory.embedded.state import MemoryState
from spatial_memory.index.eviction import Eviction
from spatial_memory.index.rebasing import project_all, put_in_place
from spatial_memory.store.bases import BASIS, basis_word
from spatial_memory.store.store import Store
from wm_core.memory.errors import RecordError
from wm_core.memory.record import check_stamps
from wm_core.projection import Projection

_LOG = logging.getLogger(__name__)


class Restoring(MemoryState):
    """Writes and restores snapshots."""

    def snapshot(self, path: Path) -> int:
        """Write everything to one file, atomically, and return how many records it holds.

        Raises:
            StoreError: It cannot be written, and why.
        """
        return self._store.snapshot(path)

    def restore(self, path: Path, *, is_own: bool = False) -> int:
        """Replace everything by what a snapshot holds and return how many records that are.

        Queries go on while the snapshot is read and checked. Ids that were chosen before are not chosen again.

        Args:
            path: The snapshot.
            is_own: It is this memory's own past: its places may be in another frame than now, its stamps as ever.

        Raises:
            StoreError: The snapshot is absent, damaged or something else, or the disk does not take it; then nothing
                changed.
            EncoderMismatchError: It holds latents of another encoder than the memory; then nothing changed.
            PlaceError: Records lie outside the map; then nothing changed.
            RecordError: A record has a stamp that none can have; then nothing changed.
        """
        snapshots = staged(path, self._store.path, self._grid, self._capacity, self._backend)
        with self._restoring, snapshots as snapshot:
            if not is_own:
                _check_stamps(str(path), snapshot)
            words, basis = self._rebased(str(path), snapshot)
            with self._gate:
                with self._lock:
                    mine = replace(self._catalogue, frame_id="") if is_own else self._catalogue
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
        search, eviction = snapshot.search, None
        if search is not None:
            eviction = Eviction(search.index, self._surprise_weight)
        with self._lock:
            before = self._search
            yield
            self._catalogue, self._search, self._eviction = snapshot.catalogue, search, eviction
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
            followed = FollowedAnew(store, basis)
            replacement = project_all(search.index.columns, basis, followed)
            check_complete(search.index, store, theirs, followed.complete)
        put_in_place(search.index.columns, replacement, basis)
        _LOG.info("%s is of encoder %s: projected again for %s", name, theirs.encoder_id, basis.encoder_id)
        theirs.encoder_id = basis.encoder_id
        return {"encoder_id": basis.encoder_id, BASIS: basis_word(basis)}, basis


def _check_stamps(name: str, snapshot: Staged) -> None:
    if snapshot.search is None:
        return
    index = snapshot.search.index
    try:
        check_stamps(index.columns.flat("stamp")[index.slots()])
    except RecordError as error:
        raise RecordError(error.reason, f"snapshot {name}: {error}") from error
