"""What a memory has to know to be opened."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MemorySettings:
    """What ``open_memory`` has to know; the node's parameters of the same names say what they mean."""

    path: str
    backend: str
    capacity: int
    surprise_weight: float
    commit_every_s: float
    on_corrupt: str
    robot_id: str
    qdrant_host: str
    qdrant_port: int
    qdrant_api_key: str
    qdrant_tls: bool
    qdrant_collection: str
    allow_shrink: bool = False
