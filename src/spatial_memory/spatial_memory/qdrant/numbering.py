"""Ids of a robot's records: none is given twice, whatever was lost and whatever was put under ids given elsewhere."""

from __future__ import annotations

import contextlib
import time
import zlib
from collections.abc import Container, Iterable, Sequence

from spatial_memory.qdrant.operations import Operations
from spatial_memory.qdrant.outbox import Outbox
from spatial_memory.qdrant.server import QdrantServer
from wm_core.memory.errors import BackendAwayError, RecordError


class Numbering:
    """Gives ids.

    Args:
        robot_id: Name of the robot: 20 bits of it, then milliseconds, so that no robot gives another's id either.
    """

    def __init__(self, robot_id: str) -> None:
        self._last = ((zlib.crc32(robot_id.encode()) & 0xFFFFF) << 43) + int(time.time() * 1000)
        # Ids from elsewhere that this counter has yet to pass.
        self._ahead: set[int] = set()

    def new(self, besides: Container[int]) -> int:
        """Return an id that nobody has.

        Args:
            besides: Ids that are about to be taken.
        """
        self._last += 1
        while self._last in besides or self._last in self._ahead:
            self._last += 1
        return self._last

    def take(self, ids: Iterable[int]) -> None:
        """Take note of ids from elsewhere."""
        self._ahead.update(key for key in ids if key > self._last)


def check_free(ids: Sequence[int], make: Operations, outbox: Outbox, server: QdrantServer) -> None:
    """Refuse ids that were given, 0 aside, and are held; while the server is away only what is on its way is known.

    Args:
        ids: Of the records that are to be kept.
        make: Of the collection that is to keep them.
        outbox: What is on its way.
        server: What is there.

    Raises:
        RecordError: The first one, by its place in the list.
    """
    points_N = {make.point(key): at for at, key in enumerate(ids) if key}
    taken = [at for at, key in enumerate(ids) if key and points_N[make.point(key)] != at]
    if points_N and not taken:
        last = outbox.last_of(points_N)
        taken = [points_N[point] for point, kind in last.items() if kind == "put"]
        with contextlib.suppress(BackendAwayError):
            held = server.held(make.collection, [point for point in points_N if point not in last])
            taken += [points_N[point] for point in held]
    if taken:
        at = min(taken)
        raise RecordError("id-taken", f"record {at}: id {ids[at]} is held already")
