"""A robot's memory of latent states: exact by place, time and likeness; durable; bounded."""

from spatial_memory.backend import Forget, Memory, Rigid, Stats
from spatial_memory.cells import CellGrid, resolution_for
from spatial_memory.errors import (
    BackendAwayError,
    CorruptStoreError,
    EncoderMismatchError,
    ForgetError,
    PlaceError,
    QueryError,
    RecordError,
    SpatialMemoryError,
    StoreError,
    StoreLockedError,
)
from spatial_memory.maps import DEFAULT_DATUM_LAT, DEFAULT_DATUM_LNG, LocalMap, Wgs84Map
from spatial_memory.memory import CellMemory
from spatial_memory.query import Box, Matches, Place, Query
from spatial_memory.records import MemoryRecord, Successor
from spatial_memory.store import Store

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
