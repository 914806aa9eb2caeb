"""What all parts of a memory share: its records in RAM, its file, and the locks that guard both."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from spatial_memory.embedded.loading import load, new_search, room_of
from spatial_memory.embedded.table import Catalogue
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.index.cell_index import Backend, CellIndex, Search
from spatial_memory.index.eviction import Eviction
from spatial_memory.store.bases import basis_of
from spatial_memory.store.store import Store
from spatial_memory.store.thumbnails import Thumbnails
from wm_core.memory.errors import StoreError
from wm_core.memory.journal import Journal
from wm_core.memory.protocol import Stats
from wm_core.projection import Projection


class MemoryState:
    """An exact index in RAM over a durable store, and how it is doing; its parts say what can be done with it.

    Args:
        store: As ``CellMemory``.
        grid: As ``CellMemory``.
        capacity: As ``CellMemory``.
        backend: As ``CellMemory``.
        surprise_weight: As ``CellMemory``.
        progress: As ``CellMemory``.
        allow_shrink: As ``CellMemory``.

    Raises:
        StoreError: As ``CellMemory``.
    """

    def __init__(
        self,
        store: Store,
        grid: CellGrid,
        capacity: int,
        backend: Backend,
        surprise_weight: float = 1.0,
        progress: Callable[[int, int], None] | None = None,
        *,
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
        self._eviction = Eviction(self._index, surprise_weight) if self._index is not None else None
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

    def _new_search(self, catalogue: Catalogue) -> Search:
        return new_search(self._backend, catalogue, self._grid, room_of(catalogue, len(self), self._capacity))

    def _remove(self, ids: Sequence[int]) -> None:
        """Forget records that are held, here at once and on disk when that takes it."""
        self._take_out(ids)
        if ids:
            self._store.drop(ids)

    def _take_out(self, ids: Sequence[int]) -> None:
        """Forget records that are held, here alone."""
        if not ids:
            return
        assert self._index is not None
        assert self._eviction is not None
        is_newest_gone = False
        for record_id in ids:
            slot = self._index.slot_of(record_id)
            is_newest_gone |= int(self._index.columns.flat("stamp")[slot]) >= self._newest_ns
            cell = self._index.cell_at(slot)
            self._index.remove(record_id)
            self._eviction.touch(cell)
        if is_newest_gone:
            self._newest_ns = self._index.newest_ns()
        self._journal.changed(ids)

    def _evict(self) -> None:
        if self._index is None or self._eviction is None:
            return
        while len(self._index) > self._capacity:
            self._remove([self._eviction.next_victim()[0]])

    def flush(self, timeout_s: float = 30.0) -> None:
        """Return once everything so far is durable.

        Raises:
            StoreError: It is not, and why.
        """
        self._store.flush(timeout_s)

    def close(self) -> None:
        """Make durable what is left, if the disk takes it, and let go of the file."""
        self._store.close()

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
