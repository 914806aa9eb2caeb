"""What peers change of ``spatial_memory``, by its services, off the executor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from rclpy.node import Node
from std_srvs.srv import Trigger

from spatial_memory import messages
from spatial_memory.answering.node import MOST_ANSWERED
from spatial_memory.answering.whole import WholeChanges
from spatial_memory.answering.work import check_records
from spatial_memory.embedded.changes import Changes
from spatial_memory.index.pacing import giving_way
from wm_interfaces.srv import DeleteMemory, InsertMemory, RestoreMemory, SnapshotMemory, TransformMemory
from wm_ros import clipped


class Changing:
    """Changes a memory as requests say, one after another.

    Args:
        node: Whose clock says what is old.
        changes: Makes them.
        whole: Those of the whole memory.
    """

    def __init__(self, node: Node, changes: Changes, whole: WholeChanges) -> None:
        self._node, self._changes, self._whole = node, changes, whole
        self._later = whole.later

    def services(self) -> Mapping[str, tuple[type, Callable[[Any, Any], Any]]]:
        """Return kind and callback of each service, by name."""
        return {
            "insert": (InsertMemory, self._on_insert),
            "delete": (DeleteMemory, self._on_delete),
            "transform": (TransformMemory, self._on_transform),
            "snapshot": (SnapshotMemory, self._on_snapshot),
            "restore": (RestoreMemory, self._on_restore),
            "clear": (Trigger, self._on_clear),
            "undo": (Trigger, self._on_undo),
        }

    async def _on_insert(self, request: InsertMemory.Request, response: InsertMemory.Response) -> InsertMemory.Response:
        result = await self._later(lambda: self._insert(request))
        response.success = not isinstance(result, Exception)
        if response.success:
            response.ids = result
        else:
            response.message = clipped(result, MOST_ANSWERED)
        return response

    def _insert(self, request: InsertMemory.Request) -> list[int]:
        """Keep records for good or not at all: what is acknowledged is durable."""
        check_records(len(request.records))
        check_records(len(request.records), messages.values_of(request.records))
        return self._changes.insert(messages.records_from_msgs(request.records, giving_way), request.idempotence_key)

    async def _on_delete(self, request: DeleteMemory.Request, response: DeleteMemory.Response) -> DeleteMemory.Response:
        now_ns = self._node.get_clock().now().nanoseconds

        def work() -> int:
            what = replace(messages.forget_from_msg(request), now_ns=now_ns)
            return int(self._whole.make(self._changes.delete, what))

        response.success, response.message, response.deleted_count = _outcome(await self._later(work))
        return response

    async def _on_transform(
        self, request: TransformMemory.Request, response: TransformMemory.Response
    ) -> TransformMemory.Response:
        def work() -> int:
            move = messages.rigid_from_msg(request.transform, request.frame_id)
            return int(self._whole.make(self._changes.transform, move, request.session))

        response.success, response.message, response.moved_count = _outcome(await self._later(work))
        return response

    async def _on_snapshot(
        self, request: SnapshotMemory.Request, response: SnapshotMemory.Response
    ) -> SnapshotMemory.Response:
        result = await self._later(lambda: self._whole.copied(self._changes.snapshot, request.path))
        response.success, response.message, response.memory_count = _outcome(result)
        return response

    async def _on_restore(
        self, request: RestoreMemory.Request, response: RestoreMemory.Response
    ) -> RestoreMemory.Response:
        result = await self._later(lambda: self._whole.make(self._changes.restore, request.path))
        response.success, response.message, response.memory_count = _outcome(result)
        return response

    async def _on_clear(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        result = await self._later(lambda: self._whole.make(self._changes.clear))
        response.success, response.message, _ = _outcome(result)
        return response

    async def _on_undo(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        result = await self._later(lambda: self._whole.make(self._changes.undo))
        response.success = not isinstance(result, Exception)
        response.message = clipped(result, MOST_ANSWERED)
        return response


def _outcome(result: Any) -> tuple[bool, str, int]:
    """Return success, what went wrong, and how many records it was about."""
    if isinstance(result, Exception):
        return False, clipped(result, MOST_ANSWERED), 0
    return True, "", int(result or 0)
