"""What a robot's part of a Qdrant collection forgets when it is full: the policy of ``eviction``, cell by cell.

The crowd of every cell comes from the server's facets. The most crowded cells give up records until those that gave are
alike; equally crowded ones go by their number, not by when they were visited. Within a cell the record of the least
worth goes first. Repeating it does no harm.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from qdrant_client import models

from spatial_memory.index.eviction import worth
from spatial_memory.qdrant import points
from spatial_memory.qdrant.outbox import Operation
from spatial_memory.qdrant.server import QdrantServer

MOST_CELLS = 10_000


def shares(crowds: Mapping[int, int], excess: int) -> dict[int, int]:
    """Return how many records each cell gives up, so that in the end the most crowded ones hold alike.

    Args:
        crowds: Records of each cell, the most crowded cells at least.
        excess: How many records have to go.
    """
    heap = [(-count, cell) for cell, count in crowds.items()]
    heapq.heapify(heap)
    given: Counter[int] = Counter()
    for _ in range(min(excess, sum(crowds.values()))):
        count, cell = heap[0]
        given[cell] += 1
        heapq.heapreplace(heap, (count + 1, cell))
    return dict(given)


def trim(server: QdrantServer, collection: str, robot_id: str, capacity: int, surprise_weight: float) -> int:
    """Drop what a robot holds beyond its capacity and return how many records that were.

    Raises:
        BackendAwayError: The server does not answer.
    """
    own = models.Filter(must=[points.is_robot(robot_id)])
    excess = server.count_where(collection, own) - capacity
    if excess <= 0:
        return 0
    dropped = 0
    for cell, count in shares(server.crowds(collection, own, MOST_CELLS), excess).items():
        inside = models.Filter(must=[points.is_robot(robot_id), points.any_of(0, [cell])])
        held = list(server.scroll(collection, inside, vectors=False, keys=points.COMPARED))
        stamp_N = np.array([record.stamp_ns for record in held], np.int64)
        surprise_N, id_N = np.array([record.surprise for record in held]), np.array([record.id for record in held])
        order_N = np.lexsort((id_N, worth(stamp_N, surprise_N, id_N, surprise_weight)))
        server.drop(collection, [points.point_id(robot_id, int(key)) for key in id_N[order_N[:count]]])
        dropped += min(count, len(held))
    return dropped


class BoundedSender:
    """Sends a robot's operations, and forgets what is too much then; on the outbox's thread.

    Args:
        server: Where to.
        robot_id: Whose records.
        capacity: Most records of this robot; 0: any number.
        surprise_weight: How much surprise counts against recency.
        allow_shrink: Whether to forget what it holds beyond ``capacity`` at the start.
    """

    def __init__(
        self, server: QdrantServer, robot_id: str, capacity: int, surprise_weight: float, *, allow_shrink: bool
    ) -> None:
        self._server, self._robot_id = server, robot_id
        self._capacity, self._surprise_weight = capacity, surprise_weight
        # What this robot holds beyond its capacity at the start stays; 0: not known yet.
        self._room = capacity if allow_shrink else 0

    @property
    def complaint(self) -> str | None:
        """What is wrong with what is held, or None."""
        if self._room > self._capacity > 0:
            return f"{self._room} memories held, capacity is {self._capacity}: kept, unless allow_shrink is set"
        return None

    def send(self, operations: Sequence[Operation]) -> None:
        """Send operations in order, then trim the collections that they filled.

        Raises:
            BackendAwayError: The server does not answer.
        """
        if self._capacity and not self._room:
            own = models.Filter(must=[points.is_robot(self._robot_id)])
            held = [self._server.count_where(name, own) for name in {body["collection"] for _, body in operations}]
            self._room = max(self._capacity, *held)
        self._server.send(operations)
        filled = {body["collection"] for kind, body in operations if kind == "put"}
        for collection in filled if self._capacity else ():
            trim(self._server, collection, self._robot_id, self._room, self._surprise_weight)
