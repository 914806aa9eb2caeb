"""What the node knows of former visits: the window first, the service ``/spatial_memory/query_batch`` beyond it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, NamedTuple

from rclpy.client import Client
from rclpy.clock import Clock, ClockType
from rclpy.task import Future

from transition_predictor.messages import memories_from_answer
from transition_predictor.params import TransitionPredictorParams
from wm_core.memory.errors import QueryError
from wm_core.memory.held import HeldPlaces
from wm_core.memory.journal import WindowSource
from wm_core.memory.packed import Neighbours
from wm_core.se2 import Pose2
from wm_interfaces.msg import LatentPrediction
from wm_interfaces.srv import QueryMemoryBatch
from wm_ros import Health, ManagedNode, MessageError, clipped, query_to_msg
from wm_ros.memory_window import HeldMemories, WindowSettings
from world_model.runtime.manifest import Manifest
from world_model.runtime.retrieved import Memory, MemoryRequest


class Answer(NamedTuple):
    """Memories, or why there are none; who was asked, as ``LatentPrediction`` numbers it, and how long it took."""

    memories: Sequence[Sequence[Memory] | Neighbours] | None
    reason: str = ""
    source: int = LatentPrediction.MEMORY_NONE
    query_ms: float = math.nan


class Remembering:
    """Asks the memory, one question at a time, and waits no longer than ``memory_deadline_s``.

    Args:
        node: Owns client and timer.
        health: Where it says how the memory does.
        params: Of the node.
        source: A memory in the same process; None: its services.
        answered: Called with what the memory's service answered, and when the deadline passed.
    """

    def __init__(
        self,
        node: ManagedNode[Any],
        health: Health,
        params: TransitionPredictorParams,
        source: WindowSource | None,
        answered: Callable[[Answer], None],
    ) -> None:
        self._health, self._answered, self._is_used = health, answered, params.use_memory
        self.client: Client[QueryMemoryBatch.Request, QueryMemoryBatch.Response] = node.create_client(
            QueryMemoryBatch, "spatial_memory/query_batch"
        )
        settings = WindowSettings(
            params.window_radius_m, params.window_max_age_s, params.window_max_count, params.window_period_s
        )
        self.held = HeldMemories(node, health, settings, source)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.deadline = node.create_timer(params.memory_deadline_s, self.late, clock=steady)
        self.deadline.cancel()
        self._future: Future[QueryMemoryBatch.Response] | None = None
        self._begin_s = 0.0
        self._asked: list[int] = []
        self._manifest: Manifest | None = None

    def params_changed(self, params: TransitionPredictorParams) -> None:
        """Wait for the memory as long as is said now, where it is to be asked at all."""
        self._is_used = params.use_memory
        self.deadline.timer_period_ns = int(params.memory_deadline_s * 1e9)

    def places(self) -> HeldPlaces | None:
        """Return what the window holds; None: memories are not used."""
        return self.held.places() if self._is_used else None

    def refresh(self, pose: Pose2 | None, frame_id: str) -> None:
        """Have the window follow the robot."""
        if self._is_used:
            self.held.refresh(pose, frame_id)

    def ask(
        self, requests: Sequence[MemoryRequest], manifest: Manifest, encoder_id: str, frame_id: str, begin_s: float
    ) -> Answer | None:
        """Look into the window, and ask the memory beyond it; return None while that one has not answered.

        Args:
            requests: What the predictor wants to know.
            manifest: Of its artifact.
            encoder_id: The basis of its latents.
            frame_id: Of its poses.
            begin_s: When the latent came, by ``perf_counter`` [s].
        """
        if not self._is_used:
            return Answer(None)
        if not requests:
            return Answer(None, "no pose")
        is_served = self.client.service_is_ready()
        try:
            queries = [request.to_query(encoder_id, frame_id) for request in requests]
            found = self.held.answer(queries, whatever=not is_served)
        except QueryError as error:
            return self._refused(str(error))
        if found is not None:
            return self._found(found, LatentPrediction.MEMORY_WINDOW, (perf_counter() - begin_s) * 1e3)
        if not is_served:
            self._health.degrade("memory", f"nobody serves {self.client.srv_name}: predicting without memories")
            return Answer(None, "memory absent")
        asked = [query_to_msg(request, encoder_id, frame_id) for request in requests]
        self._asked, self._manifest, self._begin_s = [query.k for query in asked], manifest, begin_s
        self._future = self.client.call_async(QueryMemoryBatch.Request(queries=asked))
        self._future.add_done_callback(self._on_answer)
        self.deadline.reset()
        return None

    def give_up(self) -> None:
        """Wait for nothing any more."""
        self.deadline.cancel()
        future, self._future = self._future, None
        if future is not None and not future.done():
            self.client.remove_pending_request(future)

    def late(self) -> None:
        """Answer without memories: what was asked took too long."""
        self.give_up()
        self._health.count("memory_late")
        self._answered(Answer(None, "memory late"))

    def _found(self, memories: Sequence[Sequence[Memory] | Neighbours], source: int, query_ms: float) -> Answer:
        self._health.degrade("memory", None)
        return Answer(memories, source=source, query_ms=query_ms)

    def _refused(self, why: str, query_ms: float = math.nan) -> Answer:
        self._health.degrade("memory", f"the memory refused the query: {why}")
        return Answer(None, f"memory refused: {why}", query_ms=query_ms)

    def _on_answer(self, future: Future[QueryMemoryBatch.Response]) -> None:
        if future is self._future:
            self.give_up()
            self._answered(self._answer_of(future.result()))

    def _answer_of(self, answer: QueryMemoryBatch.Response) -> Answer:
        query_ms = (perf_counter() - self._begin_s) * 1e3
        self._health.sample("memory_query_ms", query_ms)
        if not self.held.one.takes(answer.epoch, self.client.srv_name, "answers"):
            return Answer(None, "another memory answered", query_ms=query_ms)
        if not answer.success:
            return self._refused(clipped(answer.message), query_ms)
        assert self._manifest is not None
        try:
            found = memories_from_answer(answer, self._asked, self._manifest)
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            self._health.degrade("memory", f"the memory's answer cannot be used: {clipped(error.detail)}")
            return Answer(None, "memory answer unusable", query_ms=query_ms)
        return self._found(found, LatentPrediction.MEMORY_SERVICE, query_ms)
