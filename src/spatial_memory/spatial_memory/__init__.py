"""A robot's memory of latent states: exact by place, time and likeness; durable; bounded."""

from spatial_memory.embedded.memory import CellMemory
from spatial_memory.geometry.cells import CellGrid, resolution_for
from spatial_memory.geometry.maps import DEFAULT_DATUM_LAT, DEFAULT_DATUM_LNG, LocalMap, Wgs84Map
from spatial_memory.store.store import Store
from wm_core.memory.errors import (
    BackendAwayError,
    CorruptStoreError,
    EncoderMismatchError,
    ForgetError,
    FrameMismatchError,
    PlaceError,
    QueryError,
    RecordError,
    SpatialMemoryError,
    StoreError,
    StoreLockedError,
)
from wm_core.memory.protocol import Forget, Memory, Rigid, Stats
from wm_core.memory.query import Box, Matches, Place, Query
from wm_core.memory.record import MemoryRecord, Successor
from wm_core.moved import moved

__all__ = [
    "DEFAULT_DATUM_LAT",
    "DEFAULT_DATUM_LNG",
    "BackendAwayError",
    "Box",
    "CellGrid",
    "CellMemory",
    "CorruptStoreError",
    "EncoderMismatchError",
    "Forget",
    "ForgetError",
    "FrameMismatchError",
    "LocalMap",
    "Matches",
    "Memory",
    "MemoryRecord",
    "Place",
    "PlaceError",
    "Query",
    "QueryError",
    "RecordError",
    "Rigid",
    "SpatialMemoryError",
    "Stats",
    "Store",
    "StoreError",
    "StoreLockedError",
    "Successor",
    "Wgs84Map",
    "resolution_for",
]

moved(
    {
        "spatial_memory.backend": "wm_core.memory.protocol",
        "spatial_memory.errors": "wm_core.memory.errors",
        "spatial_memory.query": "wm_core.memory.query",
        "spatial_memory.recorder": "wm_core.memory.recorder",
        "spatial_memory.records": "wm_core.memory.record",
        "spatial_memory.snapshots": "spatial_memory.store.snapshots",
    }
)
