"""Keeps small pictures of the records of ``spatial_memory``, and answers ``/spatial_memory/recall``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any

from sensor_msgs.msg import CompressedImage

from spatial_memory.album.frames import FrameRing
from spatial_memory.messages import record_to_msg
from wm_core.errors import FrameError
from wm_core.memory.errors import QueryError, SpatialMemoryError
from wm_interfaces.srv import RecallMemory
from wm_ros import CameraSubscription, FrameMsg, Health, ManagedNode, MessageError, picture_from_msg, stamp_ns

# Frames that wait for the thread; a newer one is left out, never waited for.
_MOST_WAITING = 8
MOST_IDS = 256
"""Records in one answer."""


class Album:
    """Small pictures of a memory's records, made on a thread of their own.

    Args:
        health: Where it tells what becomes of frames.
        memory: The memory; only one that keeps pictures is kept any for.
        most: Pictures in all.
    """

    def __init__(self, health: Health, memory: Any, most: int) -> None:
        self._health, self._memory, self._most = health, memory, most
        self._ring, self._lock, self._waiting = FrameRing(), Lock(), 0
        self._node: ManagedNode[Any] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="memory-album")

    def listen(self, node: ManagedNode[Any], transport: str) -> None:
        """Open the camera's topic."""
        self._node = node
        self._camera = CameraSubscription(node, "camera/image_raw", self._on_frame, transport, health=self._health)

    def _on_frame(self, msg: FrameMsg) -> None:
        with self._lock:
            is_busy = self._waiting >= _MOST_WAITING
            self._waiting += int(not is_busy)
        if is_busy:
            self._health.skip("thumbnail-late")
        else:
            self._later(self._take, msg)

    def _take(self, msg: FrameMsg) -> None:
        with self._lock:
            self._waiting -= 1
        try:
            self._keep(self._ring.frame(stamp_ns(msg.header.stamp), picture_from_msg(msg)))
        except (MessageError, FrameError, SpatialMemoryError) as error:
            self._health.drop("thumbnail", str(error))

    def remember(self, record_id: int, at_ns: int) -> None:
        """Keep a picture of a record that was stored, of the frame of its stamp; returns at once."""
        self._later(self._take_record, record_id, at_ns)

    def _later(self, work: Callable[..., None], *arguments: Any) -> None:
        def tell(done: Future[None]) -> None:
            error, node = done.exception(), self._node
            if error is None or node is None or node.executor is None:
                return
            # A node takes note of its faults on its executor alone.
            node.executor.create_task(node.fault, error)

        self._thread.submit(work, *arguments).add_done_callback(tell)

    def _take_record(self, record_id: int, at_ns: int) -> None:
        try:
            self._keep(self._ring.record(record_id, at_ns))
        except (FrameError, SpatialMemoryError) as error:
            self._health.drop("thumbnail", str(error))

    def _keep(self, pictures: dict[int, bytes]) -> None:
        if not pictures:
            return
        self._memory.thumbnails.keep(pictures, self._most)
        self._health.count("thumbnails_kept", len(pictures))
        self._health.gauge("thumbnails_missed", self._ring.missed)

    def close(self) -> None:
        """Keep what came."""
        self._thread.shutdown()


def recall(memory: Any, request: RecallMemory.Request, response: RecallMemory.Response) -> RecallMemory.Response:
    """Return an answer filled with memories by their ids.

    Args:
        memory: The memory.
        request: Which.
        response: To be filled.

    Raises:
        QueryError: Too many are asked for.
        SpatialMemoryError: It cannot be read.
    """
    if len(request.ids) > MOST_IDS:
        raise QueryError(f"{len(request.ids)} ids in one request, at most {MOST_IDS}: ask in parts")
    ids = list(dict.fromkeys(request.ids))
    held = {record.id: record for record in memory.get(ids)}
    response.frame_id = memory.stats().frame_id
    response.records = [record_to_msg(held[each]) for each in ids if each in held]
    response.unknown_ids = [each for each in ids if each not in held]
    if request.pictures:
        response.pictures_of = _pictures(memory, [each for each in ids if each in held], response.records)
    response.success = True
    return response


def _pictures(memory: Any, ids: Sequence[int], records: Sequence[Any]) -> list[CompressedImage]:
    kept = memory.thumbnails.get(ids) if hasattr(memory, "thumbnails") else {}
    pictures = []
    for record in records:
        jpeg = kept.get(record.id, b"")
        msg = CompressedImage(format="jpeg" if jpeg else "", data=jpeg)
        msg.header.stamp = record.stamp
        pictures.append(msg)
    return pictures
