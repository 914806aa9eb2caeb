"""Snapshots of memories that keep their records elsewhere, in the one format that every backend restores."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from spatial_memory.embedded.memory import CellMemory
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.store.snapshots import check_snapshot
from spatial_memory.store.store import Store
from wm_core.memory.query import MAX_K
from wm_core.memory.record import MemoryRecord


def write_snapshot(path: Path, records: Sequence[MemoryRecord], grid: CellGrid) -> int:
    """Write records to one file, atomically, and return how many those are.

    Raises:
        StoreError: It cannot be written, and why.
    """
    memory = CellMemory(Store(), grid, capacity=max(1, len(records)))
    try:
        for start in range(0, len(records), MAX_K):
            memory.insert(records[start : start + MAX_K])
        return memory.snapshot(path)
    finally:
        memory.close()


def read_snapshot(path: Path, encoder_id: str, grid: CellGrid) -> list[MemoryRecord]:
    """Return all records of a snapshot.

    Raises:
        StoreError: It is absent or damaged.
        EncoderMismatchError: It is of another encoder.
    """
    check_snapshot(path, encoder_id)
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy(path, Path(folder) / "snapshot")
        memory = CellMemory(Store(copy), grid, capacity=10**9)
        try:
            return memory.everything()
        finally:
            memory.close()
