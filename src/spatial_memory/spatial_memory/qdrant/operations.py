"""What one robot asks of one collection, as operations for the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spatial_memory.geometry.cells import CellGrid
from spatial_memory.qdrant import points
from spatial_memory.qdrant.kind import Kind
from spatial_memory.qdrant.outbox import Operation
from wm_core.memory.errors import RecordError
from wm_core.memory.record import MemoryRecord


@dataclass(frozen=True)
class Operations:
    """Makes operations.

    Attributes:
        robot_id: Whose records.
        collection: Name of the collection.
        grid: Cuts the map into cells.
    """

    robot_id: str
    collection: str
    grid: CellGrid

    def point(self, record_id: int) -> str:
        """Return the id on the server of a record."""
        return points.point_id(self.robot_id, record_id)

    def put(self, ids: Sequence[int], records: Sequence[MemoryRecord], kind: Kind) -> list[Operation]:
        """Return what puts records under ids.

        Raises:
            EncoderMismatchError, RecordError: The first one that cannot be kept, by its place in the list.
        """
        made: list[Operation] = []
        for at, (key, record) in enumerate(zip(ids, records)):
            try:
                payload = points.payload_of(kind.accepted(record), key, self.robot_id, self.grid)
            except RecordError as error:
                error.args = (f"record {at}: {error}",)
                raise
            vector = np.asarray(record.latent_D, np.float32).tolist()
            made.append(("put", self._on(id=self.point(key), vector=vector, payload=payload)))
        return made

    def set(self, record_id: int, payload: dict[str, Any]) -> Operation:
        """Return what changes some of what is known of a record."""
        return "set", self._on(id=self.point(record_id), payload=payload)

    def drop(self, ids: Sequence[int]) -> list[Operation]:
        """Return what takes records away; nothing for none."""
        return [("drop", self._on(ids=[self.point(key) for key in ids]))] if ids else []

    def _on(self, **body: Any) -> dict[str, Any]:
        return {"collection": self.collection, **body}
