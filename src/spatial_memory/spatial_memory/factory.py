"""From settings to a memory that answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from spatial_memory.backend import Memory
from spatial_memory.cells import CellGrid, resolution_for
from spatial_memory.maps import LocalMap, Map, Wgs84Map
from spatial_memory.memory import CellMemory
from spatial_memory.store import Store


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
) -> CellMemory:
    """Return the memory kept in a file, ready to answer; lets go of the file where that fails.

    Raises:
        StoreLockedError: Another process holds the file.
        CorruptStoreError: The file is damaged.
    """
    store = Store(path, commit_every_s)
    try:
        return CellMemory(store, grid, capacity, surprise_weight, progress)
    except BaseException:
        store.close()
        raise


class MemorySettings(Protocol):
    """What ``open_memory`` has to know; the node's parameters are one."""

    backend: str
    capacity: int
    surprise_weight: float
    commit_every_s: float

    def path(self) -> str:
        """Return the file that holds the memory."""


def open_memory(
    settings: MemorySettings, grid: CellGrid, progress: Callable[[int, int], None] | None = None
) -> Memory:
    """Return the memory that settings ask for, ready to answer.

    Raises:
        StoreError: It cannot be opened, and why.
    """
    return open_cell_memory(
        settings.path(), grid, settings.capacity, settings.surprise_weight, settings.commit_every_s, progress
    )
