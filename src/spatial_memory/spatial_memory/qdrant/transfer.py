"""Snapshots of memories that keep their records elsewhere, in the one format that every backend restores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spatial_memory.embedded.finding import Finding
from spatial_memory.embedded.inserting import Inserting
from spatial_memory.embedded.staging import check_fits, staged
from spatial_memory.embedded.table import Catalogue
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.index.compiled import EMBEDDED
from spatial_memory.store.files import IN_MEMORY
from spatial_memory.store.store import Store
from wm_core.memory.query import MAX_K
from wm_core.memory.record import MemoryRecord, check_record


def write_snapshot(path: Path, records: Sequence[MemoryRecord], grid: CellGrid) -> int:
    """Write records to one file, atomically, and return how many those are.

    Raises:
        StoreError: It cannot be written, and why.
    """
    store = Store()
    memory = Inserting(store, grid, max(1, len(records)), EMBEDDED)
    try:
        for start in range(0, len(records), MAX_K):
            memory.insert(records[start : start + MAX_K])
        return store.snapshot(path)
    finally:
        memory.close()


def read_snapshot(path: Path, mine: Catalogue, grid: CellGrid) -> list[MemoryRecord]:
    """Return all records of a snapshot, each of which can be kept.

    Args:
        path: The file.
        mine: Encoder and sizes of the memory that is to hold them.
        grid: Cuts the map into cells.

    Raises:
        StoreError: It is absent or damaged.
        EncoderMismatchError: It is of another encoder, or of other sizes.
        RecordError: One of them cannot be kept.
    """
    with staged(path, IN_MEMORY, grid, 10**9, EMBEDDED) as snapshot:
        check_fits(str(path), snapshot.catalogue, mine)
        memory = Finding(Store(snapshot.path), grid, 10**9, EMBEDDED)
        try:
            records = memory.everything()
        finally:
            memory.close()
    for record in records:
        check_record(record, snapshot.catalogue.dim, snapshot.catalogue.action_dim)
    return records
