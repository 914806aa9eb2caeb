"""The memory of one robot: an exact index in RAM over a durable store."""

from __future__ import annotations

from collections.abc import Callable

from spatial_memory.embedded.deleting import Deleting
from spatial_memory.embedded.finding import Finding
from spatial_memory.embedded.inserting import Inserting
from spatial_memory.embedded.moving import Moving
from spatial_memory.embedded.rebasing import Rebasing
from spatial_memory.embedded.restoring import Restoring
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.index.cell_index import Backend
from spatial_memory.index.compiled import EMBEDDED
from spatial_memory.store.store import Store


class CellMemory(Inserting, Finding, Deleting, Moving, Rebasing, Restoring):
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
        super().__init__(store, grid, capacity, backend, surprise_weight, progress, allow_shrink=allow_shrink)
