"""From settings to a memory that answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from spatial_memory.embedded.memory import CellMemory
from spatial_memory.geometry.cells import CellGrid, resolution_for
from spatial_memory.geometry.maps import LocalMap, Wgs84Map
from spatial_memory.index.cell_index import Backend
from spatial_memory.index.compiled import EMBEDDED
from spatial_memory.qdrant.outbox import next_to
from spatial_memory.settings import MemorySettings
from spatial_memory.store.files import IN_MEMORY, check_place
from spatial_memory.store.recovery import recover
from spatial_memory.store.store import Store
from wm_core.memory.errors import CorruptStoreError, StoreError
from wm_core.memory.frames import Map
from wm_core.memory.protocol import Memory


def make_grid(map_name: str, datum_lat: float, datum_lng: float, usual_radius_m: float, resolution: int) -> CellGrid:
    """Return the grid that cuts a map.

    Args:
        map_name: ``local`` or ``wgs84``.
        datum_lat: Latitude of a local map's origin [deg].
        datum_lng: Longitude of a local map's origin [deg].
        usual_radius_m: Radius that most queries ask for [m].
        resolution: H3 resolution; negative: from ``usual_radius_m``.
    """
    map_frame: Map = Wgs84Map() if map_name == "wgs84" else LocalMap(datum_lat, datum_lng)
    return CellGrid(map_frame, resolution if resolution >= 0 else resolution_for(usual_radius_m))


def open_cell_memory(
    path: str,
    grid: CellGrid,
    capacity: int,
    surprise_weight: float,
    commit_every_s: float,
    progress: Callable[[int, int], None] | None = None,
    *,
    on_corrupt: str = "refuse",
    backend: Backend = EMBEDDED,
    allow_shrink: bool = False,
) -> CellMemory:
    """Return the memory kept in a file, ready to answer; lets go of the file where that fails.

    Args:
        path: The file, or ``:memory:``.
        grid: Cuts the map into cells.
        capacity: Most records to hold.
        surprise_weight: How much surprise counts against recency in eviction.
        commit_every_s: Longest time a state waits before it is written [s].
        progress: Called with records read and records in all.
        on_corrupt: ``recover`` keeps what can be read of a damaged file, ``refuse`` leaves it alone.
        backend: How to search what is held in memory.
        allow_shrink: Whether to forget what the file holds beyond ``capacity``.

    Raises:
        StoreLockedError: Another process holds the file.
        CorruptStoreError: The file is damaged.
        StoreError: It holds more than ``capacity``, or no file can lie there.
    """
    if path != IN_MEMORY:
        check_place(path)
    if on_corrupt == "recover" and path != IN_MEMORY:
        try:
            return open_cell_memory(
                path, grid, capacity, surprise_weight, commit_every_s, progress,
                backend=backend, allow_shrink=allow_shrink,
            )  # fmt: skip
        except CorruptStoreError:
            recover(Path(path).expanduser().resolve())
    store = Store(path, commit_every_s)
    try:
        return CellMemory(store, grid, capacity, surprise_weight, progress, backend=backend, allow_shrink=allow_shrink)
    except BaseException:
        store.close()
        raise


def open_memory(settings: MemorySettings, grid: CellGrid, progress: Callable[[int, int], None] | None = None) -> Memory:
    """Return the memory that settings ask for, ready to answer.

    Raises:
        StoreError: It cannot be opened, and why.
    """
    if settings.backend == "qdrant":
        return _open_qdrant(settings, grid)
    return open_cell_memory(
        settings.path, grid, settings.capacity, settings.surprise_weight, settings.commit_every_s, progress,
        on_corrupt=settings.on_corrupt, backend=_faiss() if settings.backend == "faiss" else EMBEDDED,
        allow_shrink=settings.allow_shrink,
    )  # fmt: skip


def _faiss() -> Backend:
    """Return the search by Faiss; imported only where it is chosen."""
    try:
        from spatial_memory.index.flat import FAISS
    except ModuleNotFoundError as error:
        raise StoreError(f"backend faiss needs the Python package faiss-cpu: {error}") from error
    return FAISS


def _open_qdrant(settings: MemorySettings, grid: CellGrid) -> Memory:
    try:
        from spatial_memory.qdrant.memory import QdrantMemory
        from spatial_memory.qdrant.server import connect
    except ModuleNotFoundError as error:
        raise StoreError(f"backend qdrant needs the Python package qdrant-client: {error}") from error
    client = connect(settings.qdrant_host, settings.qdrant_port, settings.qdrant_api_key, tls=settings.qdrant_tls)
    return QdrantMemory(
        client, grid, settings.robot_id, settings.qdrant_collection, next_to(settings.path), settings.commit_every_s,
        settings.capacity, settings.surprise_weight, allow_shrink=settings.allow_shrink,
    )  # fmt: skip
