"""How ``spatial_memory`` is doing: what ``/spatial_memory/stats`` answers, and what ``/diagnostics`` shows."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from spatial_memory.answering.node import Answering
from spatial_memory.answering.whole import WholeChanges
from spatial_memory.keeping.scale import ScaleBook
from spatial_memory.model import SuccessorFit, fit_of
from wm_core.memory.errors import SpatialMemoryError
from wm_core.memory.protocol import Memory, Stats
from wm_core.memory.recorder import Recorder
from wm_interfaces.srv import MemoryStats
from wm_ros import Health, LongWork, clipped, stamp_msg
from wm_ros.poseless import PoseWatch


class Stream(Protocol):
    """What comes in."""

    is_model_known: bool
    poses: PoseWatch

    def go_on(self) -> None:
        """Take some of what waits."""


class Standing:
    """Looks after a memory.

    Args:
        health: Where it tells.
        memory: The memory.
        recorder: Links what followed.
        keeping: What comes in.
        whole: Changes of the whole memory.
        answering: What was asked.
        book: The scale of the robot's world.
        worker: The thread that counts.
        searcher: The thread that waits for the memory while that is changed.

    Attributes:
        held: Records in the memory, as last looked at.
        frame_id: Frame of its places.
    """

    def __init__(
        self,
        health: Health,
        memory: Memory,
        recorder: Recorder,
        keeping: Stream,
        whole: WholeChanges,
        answering: Answering,
        book: ScaleBook,
        worker: LongWork,
        searcher: LongWork,
    ) -> None:
        self._health, self._memory, self._recorder, self._keeping = health, memory, recorder, keeping
        self._whole, self._answering, self._book = whole, answering, book
        self._worker, self._searcher = worker, searcher
        self._fit = SuccessorFit()
        self._counted_at = 0
        self._counting: Future[SuccessorFit] | None = None
        stats = memory.stats()
        self.held, self.frame_id = stats.memory_count, stats.frame_id or "map"

    async def on_stats(self, _request: MemoryStats.Request, response: MemoryStats.Response) -> MemoryStats.Response:
        """Answer ``/spatial_memory/stats``."""
        is_waiting = self._whole.under_way > 0
        stats: Any = await self._searcher.later(self._memory.stats) if is_waiting else self._memory.stats()
        if isinstance(stats, Exception):
            response.degraded = [clipped(stats)]
            return response
        response.memory_count, response.capacity, response.cell_count = (
            stats.memory_count, stats.capacity, stats.cell_count)  # fmt: skip
        response.encoder_id, response.backend, response.session = (
            stats.encoder_id, stats.backend, self._recorder.session)  # fmt: skip
        response.feature_id, response.frame_id = stats.feature_id, stats.frame_id
        if self._keeping.is_model_known:
            response.step_s, response.horizons_s = self._recorder.step_s, list(self._recorder.horizons_s)
        self._state_scale(response)
        self._count_successors()
        response.successors_usable, response.successors_unusable = self._fit.usable, self._fit.unusable
        response.durable_until = stamp_msg(max(stats.durable_until_ns, 0))
        response.pending_writes, response.ram_bytes, response.disk_bytes = (
            stats.pending_writes, stats.ram_bytes, stats.disk_bytes)  # fmt: skip
        self._answering.state(response)
        response.degraded = list(stats.degraded)
        return response

    def _state_scale(self, response: MemoryStats.Response) -> None:
        scale, spacing = self._book.scale, self._book.spacing
        response.extent_m, response.speed_mps, response.tilts = scale.extent_m, scale.speed_mps, scale.tilts
        response.revisit_radius_m = self._book.same_place_m
        response.retrieval_radius_m = scale.retrieval_radius_m
        response.store_distance_m, response.store_angle_rad = spacing.distance_m, spacing.angle_rad

    def look(self, foreign_source: Callable[[], str | None]) -> None:
        """Tell how the memory is doing, and have the profile state the scale.

        Args:
            foreign_source: Returns why what is stored may belong into another file; None: nothing says so.
        """
        self._keeping.go_on()
        if self._whole.under_way:
            return
        stats = self._memory.stats()
        self.held = stats.memory_count
        self._tell_scale()
        self.frame_id = stats.frame_id or self.frame_id
        has_grown = stats.memory_count > 1.1 * self._counted_at
        if has_grown or self._fit.horizons_s != self._recorder.horizons_s:
            self._counted_at = stats.memory_count
            self._count_successors()
        self._gauge(stats)
        self._health.degrade("successors", self._fit.complaint)
        self._health.degrade("source", foreign_source())
        self._health.degrade("poses", *self._keeping.poses.complaint())
        self._health.degrade("store", "; ".join(stats.degraded) or None)

    def _gauge(self, stats: Stats) -> None:
        self._health.gauge("memory_count", stats.memory_count)
        self._health.gauge("cell_count", stats.cell_count)
        self._health.gauge("encoder_id", stats.encoder_id)
        self._health.gauge("pending_writes", stats.pending_writes)
        self._health.gauge("session", self._recorder.session)
        for horizon_s in self._recorder.horizons_s:
            for name, count in self._recorder.counts.at(horizon_s).items():
                self._health.gauge(f"successors_{name}_{horizon_s:g}", count)
        self._health.gauge("frame_id", stats.frame_id)
        self._health.gauge("successors_usable", self._fit.usable)
        self._health.gauge("successors_unusable", self._fit.unusable)

    def _tell_scale(self) -> None:
        """State the scale in the robot's profile, off the executor, when it is another."""
        work = self._book.news()
        if work is not None:
            told = self._whole.later(work, is_own=True)
            told.add_done_callback(lambda done: self._health.degrade("profile", done.result() or None))

    def _count_successors(self) -> None:
        """Count again, off the executor, which of the successors held can be used, and take what was counted before."""
        if self._counting is not None:
            if not self._counting.done():
                return
            try:
                self._fit = self._counting.result()
                self._health.degrade("successors_count", None)
            except SpatialMemoryError as error:
                self._health.degrade("successors_count", f"which of them can be used is not known: {error}")
        if self._keeping.is_model_known:
            horizons_s, step_s = self._recorder.horizons_s, self._recorder.step_s
            self._counting = self._worker.submit(lambda: fit_of(self._memory.successor_times(), horizons_s, step_s))
