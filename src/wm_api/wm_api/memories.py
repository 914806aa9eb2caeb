"""The memory that is served: what the service asks of it, and the one that lies in a file or in this process.

Shape suffixes: N = records, C = cells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from spatial_memory.embedded.memory import CellMemory
from spatial_memory.factory import make_grid, open_cell_memory
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.geometry.maps import DEFAULT_DATUM_LAT, DEFAULT_DATUM_LNG
from spatial_memory.store.files import IN_MEMORY
from spatial_memory.store.names import SnapshotFolder
from wm_core.memory.errors import StoreError
from wm_core.memory.packed import Neighbours
from wm_core.memory.protocol import Forget, Rigid, Stats
from wm_core.memory.query import Matches, Query
from wm_core.memory.record import MemoryRecord
from wm_core.projection import Projection
from wm_core.se2 import Pose2
from world_model.runtime.retrieved import Memory

_CAPACITY = 100_000_000
_MOST_SNAPSHOTS = 100
_USUAL_RADIUS_M = 2.0
_COMMIT_EVERY_S = 0.2
_MOST_PLACES = 100_000


@dataclass(frozen=True)
class Cell:
    """A cell of the map and how many memories lie in it; ``outline_C2`` are its corners [m]."""

    cell: int
    count: int
    outline_C2: np.ndarray


def fullest_cells(grid: CellGrid, place_N2: np.ndarray, most: int) -> tuple[list[Cell], int]:
    """Return the fullest cells, and how many hold something.

    Args:
        grid: Cuts the map.
        place_N2: Where memories are [m].
        most: So many cells.
    """
    cell_N = grid.cells_of(place_N2[:, 0], place_N2[:, 1])
    held, place_of = Counter(cell_N.tolist()), dict(zip(cell_N.tolist(), place_N2.tolist()))
    fullest = [Cell(cell, count, grid.outline(cell, tuple(place_of[cell]))) for cell, count in held.most_common(most)]
    return fullest, len(held)


class ServedMemory(Protocol):
    """What the service asks of a memory; called from its worker's threads."""

    source: str
    """Where it is, in a word."""

    def query_batch(self, queries: Sequence[Query]) -> list[Matches]:
        """Answer queries; ``QueryError`` names the first that cannot be answered."""

    def neighbours(self, queries: Sequence[Query]) -> list[Sequence[Memory] | Neighbours]:
        """Answer queries of whoever looks ahead: the same, as the predictor reads it."""

    def get(self, ids: Sequence[int]) -> list[MemoryRecord]:
        """Return records by id; those that are not held are left out."""

    def pictures(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return what was seen at records, as JPEG files by id: of those of which a picture is kept."""

    def stats(self) -> Stats:
        """Return how the memory is doing."""

    def cells(self, most: int) -> tuple[list[Cell], int]:
        """Return the fullest cells, at most so many, and how many hold anything."""

    def insert(self, records: Sequence[MemoryRecord]) -> list[int]:
        """Keep records and return their ids."""

    def delete(self, what: Forget) -> int:
        """Forget what matches and return how many that were."""

    def transform(self, rigid: Rigid, session: str) -> int:
        """Move the records of a session, or all, and return how many."""

    def snapshot(self, name: str) -> int:
        """Write a snapshot of a name and return how many records it holds."""

    def restore(self, name: str) -> int:
        """Replace everything by a snapshot and return how many records that are."""

    def close(self) -> None:
        """Let go."""


class FileMemory:
    """A memory in a file, or in this process alone.

    Args:
        path: The file, which must be there; None keeps everything in this process.
        snapshots: Folder of the snapshots that callers name; None: beside the file.

    Raises:
        StoreError: The file is absent, held by another process, damaged, or no memory.
    """

    def __init__(self, path: Path | None = None, snapshots: Path | None = None) -> None:
        if path is not None and not path.is_file():
            raise StoreError(f"no memory file at '{path}'")
        self.source = "process" if path is None else "file"
        self._grid = make_grid("local", DEFAULT_DATUM_LAT, DEFAULT_DATUM_LNG, _USUAL_RADIUS_M, -1)
        name = IN_MEMORY if path is None else str(path)
        self.memory: CellMemory = open_cell_memory(name, self._grid, _CAPACITY, 1.0, _COMMIT_EVERY_S)
        folder = snapshots or (None if path is None else path.parent / "snapshots")
        self._snapshots = None if folder is None else SnapshotFolder(folder, _MOST_SNAPSHOTS)

    @property
    def basis(self) -> Projection | None:
        """From its features to its latents, where it holds features and was told."""
        return self.memory.basis

    def query_batch(self, queries: Sequence[Query]) -> list[Matches]:
        """Answer queries; see ``ServedMemory``."""
        return self.memory.query_batch(queries)

    def neighbours(self, queries: Sequence[Query]) -> list[Sequence[Memory] | Neighbours]:
        """Answer queries of whoever looks ahead; see ``ServedMemory``."""
        return [memories_of(found) for found in self.query_batch(queries)]

    def get(self, ids: Sequence[int]) -> list[MemoryRecord]:
        """Return records by id; see ``ServedMemory``."""
        return self.memory.get(ids)

    def pictures(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return pictures of records; see ``ServedMemory``."""
        return self.memory.thumbnails.get(ids)

    def stats(self) -> Stats:
        """Return how the memory is doing."""
        return self.memory.stats()

    def cells(self, most: int) -> tuple[list[Cell], int]:
        """Return the fullest cells; see ``ServedMemory``."""
        place_N3 = self.memory.places(_MOST_PLACES)
        return fullest_cells(self._grid, place_N3[:, :2], most)

    def insert(self, records: Sequence[MemoryRecord]) -> list[int]:
        """Keep records; see ``ServedMemory``."""
        return self.memory.insert(records)

    def delete(self, what: Forget) -> int:
        """Forget what matches; see ``ServedMemory``."""
        return self.memory.delete(what)

    def transform(self, rigid: Rigid, session: str) -> int:
        """Move records; see ``ServedMemory``."""
        return self.memory.transform(rigid, session)

    def snapshot(self, name: str) -> int:
        """Write a snapshot; see ``ServedMemory``."""
        return self.memory.snapshot(self._folder().to_write(name))

    def restore(self, name: str) -> int:
        """Read a snapshot; see ``ServedMemory``."""
        return self.memory.restore(self._folder().to_read(name))

    def close(self) -> None:
        """Let go of the file."""
        self.memory.close()

    def _folder(self) -> SnapshotFolder:
        if self._snapshots is None:
            raise StoreError("a memory without a file has no folder for snapshots: name one when the service starts")
        return self._snapshots


def memories_of(found: Matches) -> list[Memory]:
    """Return the memories of one answer as the predictor reads them."""
    return [
        Memory(
            record.id,
            record.stamp_ns,
            record.latent_D,
            Pose2(record.x, record.y, record.z, record.yaw),
            record.action_A if record.action_A.size else None,
            tuple((each.horizon_s, each.dt_s, each.latent_D) for each in record.successors),
        )
        for record in found.records
    ]


def without_age(query: Query) -> Query:
    """Return a query that does not look at how old memories are."""
    return replace(query, exclude_recent_s=0.0, stamp_ns=None)
