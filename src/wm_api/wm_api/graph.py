"""The memory of a running graph, asked through its services from the service's own threads.

Shape suffixes: N = records.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any

import numpy as np
from geometry_msgs.msg import Quaternion, Transform, Vector3
from rclpy.node import Node

from spatial_memory.factory import make_grid
from spatial_memory.geometry.maps import DEFAULT_DATUM_LAT, DEFAULT_DATUM_LNG
from spatial_memory.messages import record_to_msg
from wm_api.memories import Cell, fullest_cells, memories_of
from wm_api.messages import celled_records, corners, ids_of, matches_from_msg, query_to_msg, stats_from_response
from wm_core.errors import MessageError
from wm_core.memory.errors import BackendAwayError, QueryError, StoreError
from wm_core.memory.journal import Area
from wm_core.memory.packed import Neighbours
from wm_core.memory.protocol import Forget, Rigid, Stats
from wm_core.memory.query import Matches, Query
from wm_core.memory.record import MemoryRecord
from wm_core.memory.rows import Rows
from wm_core.memory.window import Window
from wm_core.se2 import Pose2
from wm_core.se3 import quaternion_of
from wm_interfaces.srv import (
    DeleteMemory,
    InsertMemory,
    MemoryStats,
    MemoryWindow,
    QueryMemoryBatch,
    RecallMemory,
    RestoreMemory,
    SnapshotMemory,
    TransformMemory,
)
from wm_ros.health import Health
from wm_ros.memory_arrays import ask_to_request, update_from_response
from wm_ros.one_memory import OneMemory
from world_model.runtime.retrieved import Memory

_SERVICES: Mapping[str, Any] = {
    "query_batch": QueryMemoryBatch, "stats": MemoryStats, "window": MemoryWindow, "insert": InsertMemory,
    "delete": DeleteMemory, "transform": TransformMemory, "snapshot": SnapshotMemory, "restore": RestoreMemory,
    "recall": RecallMemory,
}  # fmt: skip
_USUAL_RADIUS_M = 2.0
# As many as the memory recalls at a time.
_MOST_RECALLED = 256
_HELD_S = 2.0
_MOST_HELD = 20_000
# Wider than robots drive, and within what a local map can hold.
_WIDE_M = 40_000.0


class GraphMemory:
    """What ``ServedMemory`` asks, as services of ``spatial_memory``.

    Cells are read from the newest twenty thousand memories, looked at again after two seconds.

    Args:
        node: Owns the clients; its executor runs on another thread.
        health: Where a second memory that answers is named.
        wait_s: Longest wait for an answer [s].
        where: Returns the robot's pose, or None.
    """

    source = "graph"

    def __init__(self, node: Node, health: Health, wait_s: float, where: Callable[[], Pose2 | None]) -> None:
        self._clients: dict[str, Any] = {
            name: node.create_client(kind, f"spatial_memory/{name}") for name, kind in _SERVICES.items()
        }
        self._wait_s, self._where = wait_s, where
        self._one, self._lock = OneMemory(node, health), threading.Lock()
        self._area: Area | None = None
        self._window, self._window_lock, self._held_s = Window(), threading.Lock(), -_HELD_S
        self._grid = make_grid("local", DEFAULT_DATUM_LAT, DEFAULT_DATUM_LNG, _USUAL_RADIUS_M, -1)

    def _call(self, name: str, request: Any, refused: type[ValueError] = StoreError) -> Any:
        """Returns the answer of a service.

        Raises:
            BackendAwayError: It is not there, or does not answer in time.
            ValueError: It refuses; of the kind ``refused``.
        """
        client = self._clients[name]
        if not client.service_is_ready():
            raise BackendAwayError(f"nobody serves spatial_memory/{name}")
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(self._wait_s):
            client.remove_pending_request(future)
            raise BackendAwayError(f"spatial_memory/{name} did not answer within {self._wait_s:g} s")
        answer: Any = future.result()
        self._keep_to(getattr(answer, "epoch", 0), name)
        if not getattr(answer, "success", True):
            raise refused(answer.message)
        return answer

    def _keep_to(self, epoch: int, name: str) -> None:
        """Refuse the answer of another memory than the one that answered so far, where both are there.

        Raises:
            BackendAwayError: It is that of another one.
        """
        with self._lock:
            is_of_it = self._one.takes(epoch, f"spatial_memory/{name}", "answers")
        if not is_of_it:
            raise BackendAwayError(f"several memories answer spatial_memory/{name}, this was another one's")

    def query_batch(self, queries: Sequence[Query]) -> list[Matches]:
        """Answer queries; see ``ServedMemory``."""
        request = QueryMemoryBatch.Request(queries=[query_to_msg(query) for query in queries])
        answer = self._call("query_batch", request, QueryError)
        try:
            found = [matches_from_msg(each) for each in answer.matches]
        except MessageError as error:
            raise BackendAwayError(f"the memory's answer cannot be used: {error}") from error
        if len(found) != len(queries):
            raise BackendAwayError(f"{len(found)} answers to {len(queries)} queries")
        return found

    def get(self, ids: Sequence[int]) -> list[MemoryRecord]:
        """Return records by id; see ``ServedMemory``."""
        answers = [self._recall(part, pictures=False) for part in _parts(ids)]
        try:
            return [record for answer in answers for record in celled_records(answer.records)]
        except MessageError as error:
            raise BackendAwayError(f"the memory's answer cannot be used: {error}") from error

    def _recall(self, ids: Sequence[int], *, pictures: bool) -> RecallMemory.Response:
        return self._call("recall", RecallMemory.Request(ids=list(ids), pictures=pictures))

    def pictures(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return pictures of records; see ``ServedMemory``."""
        found: dict[int, bytes] = {}
        for part in _parts(ids):
            answer = self._recall(part, pictures=True)
            pairs = zip(answer.records, answer.pictures_of)
            found |= {record.id: bytes(picture.data) for record, picture in pairs if len(picture.data)}
        return found

    def stats(self) -> Stats:
        """Return how the memory is doing."""
        return stats_from_response(self._call("stats", MemoryStats.Request()))

    def ask_stats(self, told: Callable[[Stats], None]) -> None:
        """Ask how the memory is doing, and go on: ``told`` is called on the executor's thread if it answers."""
        client = self._clients["stats"]
        if client.service_is_ready():
            future = client.call_async(MemoryStats.Request())
            future.add_done_callback(lambda done: told(stats_from_response(done.result())))

    def cells(self, most: int) -> tuple[list[Cell], int]:
        """Return the fullest cells; see ``ServedMemory``."""
        try:
            rows = self._rows()
        except QueryError as error:
            # Nobody asked for anything but what there is.
            raise BackendAwayError(f"the memory does not tell what it holds: {error}") from error
        return fullest_cells(self._grid, np.column_stack([rows.x_N, rows.y_N]), most)

    def neighbours(self, queries: Sequence[Query]) -> list[Sequence[Memory] | Neighbours]:
        """Answer queries of whoever looks ahead, from the window where it reaches as far; see ``ServedMemory``.

        The memory's own thread has the graph to serve: a rollout asks it for a hundred records and more.
        """
        with self._window_lock:
            self._refresh()
            if all(self._window.covers(query) for query in queries):
                return [self._window.neighbours(found.row_K) for found in self._window.query_batch(queries)]
        return [memories_of(found) for found in self.query_batch(queries)]

    def _rows(self) -> Rows:
        """Returns the newest memories."""
        with self._window_lock:
            self._refresh()
            return self._window.rows()

    def _refresh(self) -> None:
        """Asks for what changed since the window was last looked at."""
        if monotonic() - self._held_s <= _HELD_S:
            return
        area = self._area or self._area_here() or Area(0.0, 0.0, _WIDE_M, max_count=_MOST_HELD)
        answer = self._call("window", ask_to_request(self._window.ask(area)), QueryError)
        try:
            is_taken = self._window.apply(update_from_response(answer, area), area)
        except MessageError as error:
            raise BackendAwayError(f"the memory's answer cannot be used: {error}") from error
        self._held_s = monotonic() if is_taken else -_HELD_S

    def _area_here(self) -> Area | None:
        """Returns the area around the robot; None while nobody knows where that is."""
        pose = self._where()
        self._area = None if pose is None else Area(pose.x, pose.y, _WIDE_M, max_count=_MOST_HELD)
        return self._area

    def insert(self, records: Sequence[MemoryRecord]) -> list[int]:
        """Keep records; see ``ServedMemory``."""
        request = InsertMemory.Request(records=[record_to_msg(record) for record in records])
        return ids_of(self._call("insert", request).ids)

    def delete(self, what: Forget) -> int:
        """Forget what matches; see ``ServedMemory``."""
        request = DeleteMemory.Request(
            ids=list(what.ids), session=what.session, older_than_s=what.older_than_s, frame_id=what.frame_id
        )
        if what.box is not None:
            request.has_box, (request.box_min, request.box_max) = True, corners(what.box)
        return int(self._call("delete", request).deleted_count)

    def transform(self, rigid: Rigid, session: str) -> int:
        """Move records; see ``ServedMemory``."""
        x, y, z, w = quaternion_of(rigid.yaw)
        turn = Quaternion(x=float(x), y=float(y), z=float(z), w=float(w))
        moved = Transform(translation=Vector3(x=rigid.x, y=rigid.y, z=rigid.z), rotation=turn)
        request = TransformMemory.Request(session=session, frame_id=rigid.frame_id, transform=moved)
        return int(self._call("transform", request).moved_count)

    def snapshot(self, name: str) -> int:
        """Write a snapshot; see ``ServedMemory``."""
        return int(self._call("snapshot", SnapshotMemory.Request(path=name)).memory_count)

    def restore(self, name: str) -> int:
        """Read a snapshot; see ``ServedMemory``."""
        return int(self._call("restore", RestoreMemory.Request(path=name)).memory_count)

    def close(self) -> None:
        """Nothing is held: the clients are the node's."""


def _parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yields ids, as many at a time as the memory recalls."""
    for at in range(0, len(ids), _MOST_RECALLED):
        yield ids[at : at + _MOST_RECALLED]
