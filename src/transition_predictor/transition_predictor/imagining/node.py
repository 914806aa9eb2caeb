"""The service ``~/imagine`` and the action ``~/imagine_stream`` of the node ``transition_predictor``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event
from time import perf_counter
from typing import Any

from rclpy.action.server import CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.client import Client

from transition_predictor.imagining.messages import ask_from_msg, imagined_to_msg, jpeg_msg, record_from_msg
from transition_predictor.imagining.scene import Scene
from transition_predictor.imagining.worker import Imaginer, Told
from wm_core.errors import CoreError
from wm_core.memory.errors import QueryError
from wm_core.memory.held import HeldPlaces
from wm_core.memory.journal import Area, WindowAsk, WindowSource, WindowUpdate
from wm_core.memory.record import MemoryRecord
from wm_core.memory.window import Window
from wm_core.words import counted
from wm_interfaces.action import ImagineStream
from wm_interfaces.msg import ImagineAsk
from wm_interfaces.msg import Imagined as ImaginedMsg
from wm_interfaces.srv import Imagine, MemoryWindow, RecallMemory
from wm_ros import LongWork, ManagedNode, MessageError, clipped
from wm_ros.memory_arrays import ask_to_request, update_from_response
from world_model.errors import ImaginationError
from world_model.runtime.artifacts import Artifact

_PATIENCE_S = 2.0
_MOST_IDS = 256


class MemoryService:
    """The memory beyond the window, asked by a thread that may wait.

    Args:
        node: Owns the clients; its executor delivers the answers.
        source: A memory in the same process; None: the service ``spatial_memory/window``.
    """

    def __init__(self, node: ManagedNode[Any], source: WindowSource | None) -> None:
        self._source = source
        group = ReentrantCallbackGroup()
        self._recall: Client[RecallMemory.Request, RecallMemory.Response] = node.create_client(
            RecallMemory, "spatial_memory/recall", callback_group=group
        )
        self._window: Client[MemoryWindow.Request, MemoryWindow.Response] = node.create_client(
            MemoryWindow, "spatial_memory/window", callback_group=group
        )

    def record(self, memory_id: int) -> MemoryRecord | None:
        """Return a memory; None: there is none of this id.

        Raises:
            ImaginationError: ``memory-absent``: nobody answers, or says why not.
        """
        answer = _asked(self._recall, RecallMemory.Request(ids=[memory_id]))
        if answer is None or not answer.success:
            why = "nobody answers" if answer is None else clipped(answer.message)
            raise ImaginationError("memory-absent", f"memory {memory_id} is not at hand, and of the memory {why}")
        return record_from_msg(answer.records[0]) if answer.records else None

    def around(self, area: Area) -> HeldPlaces | None:
        """Return what is remembered in an area; None: nobody answers."""
        update, window = self._update(WindowAsk(area)), Window()
        if update is None or not window.apply(update, area):
            return None
        return window.held()

    def _update(self, ask: WindowAsk) -> WindowUpdate | None:
        try:
            if self._source is not None:
                return self._source.window(ask)
            answer = _asked(self._window, ask_to_request(ask))
            return update_from_response(answer, ask.area) if answer is not None and answer.success else None
        except (QueryError, MessageError):
            return None

    def pictures(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return the JPEG files of some memories, of those that have one."""
        found: dict[int, bytes] = {}
        for at in range(0, len(ids), _MOST_IDS):
            answer = _asked(self._recall, RecallMemory.Request(ids=ids[at : at + _MOST_IDS], pictures=True))
            if answer is None or not answer.success:
                break
            kept = zip(answer.records, answer.pictures_of)
            found |= {record.id: bytes(picture.data) for record, picture in kept if len(picture.data)}
        return found


def _asked(client: Client[Any, Any], request: Any) -> Any:
    """Return what a service answers, after waiting for it on a thread that is not the executor's; None: nothing."""
    if not client.service_is_ready():
        return None
    future, came = client.call_async(request), Event()
    future.add_done_callback(lambda _: came.set())
    if not came.wait(_PATIENCE_S):
        client.remove_pending_request(future)
        return None
    return future.result()


class ImaginationServer:
    """Imagines for others, on a thread of its own.

    Args:
        node: Who serves.
        artifact: Whose network.
        top_k: Memories at each place; None: as the artifact was trained.
        source: A memory in the same process; None: its services.
        scene: Returns what the predictor knows now; called by the executor.
        show: Told of what was imagined, by the executor.
    """

    def __init__(
        self,
        node: ManagedNode[Any],
        artifact: Artifact,
        top_k: int | None,
        source: WindowSource | None,
        scene: Callable[[], Scene],
        show: Callable[[ImaginedMsg], None] = lambda _: None,
    ) -> None:
        self._node, self._scene, self._show, self._is_closed = node, scene, show, False
        memory = MemoryService(node, source)
        self.imaginer = Imaginer(artifact, top_k, memory, memory)
        self.work = LongWork("imagination", lambda: node.executor, CoreError)
        group = ReentrantCallbackGroup()
        node.create_service(Imagine, "~/imagine", self._on_imagine, callback_group=group)
        node.create_action_server(
            ImagineStream, "~/imagine_stream", self._on_goal, callback_group=group,
            goal_callback=lambda _: GoalResponse.ACCEPT if node.is_active else GoalResponse.REJECT,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )  # fmt: skip

    def use(self, artifact: Artifact) -> None:
        """Go on with another artifact, once what is asked already was imagined."""
        self.work.submit(lambda: self.imaginer.use(artifact))

    def close(self) -> None:
        """End what is being imagined, and the thread."""
        self._is_closed = True
        self.work.shutdown()

    async def _on_imagine(self, request: Imagine.Request, response: Imagine.Response) -> Imagine.Response:
        scene, begin_s = self._scene(), perf_counter()
        result: Any = await self.work.later(lambda: self._imagined(request.ask, scene))
        response.compute_ms = (perf_counter() - begin_s) * 1e3
        return self._filled(response, result)

    def _imagined(self, msg: ImagineAsk, scene: Scene) -> ImaginedMsg:
        return _told_to_msg(self.imaginer.imagine(ask_from_msg(msg, scene.manifest.action_dim), scene), scene)

    async def _on_goal(self, handle: Any) -> ImagineStream.Result:
        scene, begin_s = self._scene(), perf_counter()
        result: Any = await self.work.later(lambda: self._streamed(handle, scene))
        response = ImagineStream.Result(compute_ms=(perf_counter() - begin_s) * 1e3)
        if isinstance(result, Exception):
            handle.abort()
            return self._filled(response, result)
        msg, is_whole = result
        self._filled(response, msg)
        if is_whole:
            handle.succeed()
            return response
        response.success, response.reason = False, "cancelled"
        response.message = f"ended after {counted(len(msg.times_s), 'step')}"
        (handle.canceled if handle.is_cancel_requested else handle.abort)()
        return response

    def _streamed(self, handle: Any, scene: Scene) -> tuple[ImaginedMsg, bool]:
        def tell(step: Told) -> None:
            handle.publish_feedback(ImagineStream.Feedback(step=_told_to_msg(step, scene)))

        def is_ended() -> bool:
            return self._is_closed or bool(handle.is_cancel_requested)

        ask = ask_from_msg(handle.request.ask, scene.manifest.action_dim)
        told = self.imaginer.stream(ask, scene, tell, is_ended)
        return _told_to_msg(told, scene), told.is_whole

    def _filled(self, response: Any, result: Any) -> Any:
        """Return a response with what was imagined, or with why not."""
        health = self._node._health
        health.count("imagined", int(not isinstance(result, Exception)))
        if isinstance(result, Exception):
            health.count("imaginations_refused")
            response.reason = getattr(result, "reason", type(result).__name__)
            response.message = clipped(result, 500)
            return response
        response.success, response.imagined = True, result
        self._show(result)
        health.sample("imagine_ms", response.compute_ms)
        return response


def _told_to_msg(told: Told, scene: Scene) -> ImaginedMsg:
    moment, step_s = told.moment, scene.manifest.step_s
    msg = imagined_to_msg(told.imagined, moment.encoder_id, moment.stamp_ns, scene.frame_id, step_s)
    step_ns = step_s * 1e9
    msg.pictures, msg.picture_steps = told.kind, [each.step for each in told.pictures]
    msg.images = [jpeg_msg(each.jpeg, moment.stamp_ns + round(each.step * step_ns)) for each in told.pictures]
    return msg
