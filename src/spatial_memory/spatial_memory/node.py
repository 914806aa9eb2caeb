"""The node ``spatial_memory``: remembers ``/latent/state`` and answers ``/spatial_memory/...``."""

from __future__ import annotations

import math
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future as ConcurrentFuture
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic, monotonic_ns, perf_counter
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.task import Future
from std_srvs.srv import Trigger

from spatial_memory import messages
from spatial_memory.album.node import Album, recall
from spatial_memory.answering.node import MOST_ANSWERED, Answering, Usual
from spatial_memory.answering.work import MOST_OF, check_records
from spatial_memory.drawing.picture import MOST_MEMORIES, TRAIL_MEMORIES, Picture, retrieval_of
from spatial_memory.embedded.changes import Allowed, Changes, artifact_source
from spatial_memory.embedded.undo import Undo
from spatial_memory.factory import make_grid, open_memory
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.index.pacing import giving_way
from spatial_memory.model import USUAL_TOP_K, SuccessorFit, fit_of
from spatial_memory.params import SpatialMemoryParams
from spatial_memory.store.files import IN_MEMORY
from spatial_memory.store.names import SnapshotFolder
from spatial_memory.store.scales import is_news, read_scale, write_scale
from wm_core.alignment import AWAITS_MEASURED
from wm_core.bounds import LONGEST_NAME
from wm_core.bounds import checked_name as checked_id
from wm_core.memory.errors import FrameMismatchError, RecordError, SpatialMemoryError, StoreError
from wm_core.memory.joining import PoseJoin
from wm_core.memory.journal import LateSource, WindowSource
from wm_core.memory.place_search import recognise_in
from wm_core.memory.protocol import Memory
from wm_core.memory.recorder import Recorder, State
from wm_core.memory.scale import Scale, ScaleMeter
from wm_interfaces.msg import LatentState, PredictionError, Projection
from wm_interfaces.srv import (
    DeleteMemory,
    InsertMemory,
    MemoryStats,
    MemoryWindow,
    QueryMemory,
    QueryMemoryArrays,
    QueryMemoryBatch,
    RecallMemory,
    RecognisePlace,
    RestoreMemory,
    SnapshotMemory,
    TransformMemory,
)
from wm_ros import (
    ConfigurationError,
    LongWork,
    ManagedNode,
    MessageError,
    clipped,
    projection_from_msg,
    qos,
    run_node,
    stamp_msg,
    stamp_ns,
)
from wm_ros.markers import MarkerSheet
from wm_ros.poseless import PoseWatch
from world_model.errors import ArtifactError, ProfileError
from world_model.runtime.profile import Profile, profile_folder

_NEVER_NS = 2**63 - 1
# Some 50 000 memories, which are there in a fraction of a second.
_LOADED_AT_ONCE_BYTES = 32 << 20
_SOURCES = {"wm_sim": "simulated", "bag_player": "replay"}
_MOST_HELD_BACK = 6000
_DRAINED_AT_ONCE = 20
_AWAIT_BASIS_S = 5.0
# Names of bases come from messages; a robot has two or three.
_MOST_BASES = 64


class SpatialMemory(ManagedNode[SpatialMemoryParams]):
    """Store states at a spacing and answer which of them lie near.

    Subscribes ``/latent/state`` (wm_interfaces/LatentState), ``/latent/pose``
    (geometry_msgs/PoseWithCovarianceStamped), ``/prediction_error`` (wm_interfaces/PredictionError, 1 s horizon),
    joined by stamp, and ``/latent/projection`` (wm_interfaces/Projection, latched); serves
    ``/spatial_memory/{query,query_batch,query_arrays,window,insert,delete,transform,stats,snapshot,restore,clear,undo,
    recognise,recall}``; publishes ``/spatial_memory/markers`` (visualization_msgs/MarkerArray): cells, memories,
    trail, last retrieval.

    What takes long or waits for the disk runs on a thread of its own; queries never wait for it.
    """

    def __init__(self, memory: Memory | None = None, *, beside: bool = False, **node_options: Any) -> None:
        """Starts.

        Args:
            memory: Else what the parameters name is opened.
            beside: A large memory is loaded while other nodes of the process are served already.
            **node_options: As for ``rclpy.node.Node``.
        """
        super().__init__("spatial_memory", SpatialMemoryParams, **node_options)
        self._given = memory
        if beside and memory is None and self._loads_long():
            self.start_beside()
        else:
            self.start()

    def _loads_long(self) -> bool:
        path = Path(self._params.path(self.get_namespace(), self._is_simulated()))
        return path.is_file() and path.stat().st_size > _LOADED_AT_ONCE_BYTES

    def prepare(self) -> None:
        """Load the memory."""
        params = self._params
        self._profile = Profile(profile_folder(params.profile, self.get_namespace())) if params.profile else None
        known_scale = self._known_scale()
        self._last_progress = monotonic()
        try:
            self._grid: CellGrid = make_grid(
                params.map, params.datum_lat, params.datum_lng, params.usual_radius_m, params.h3_resolution
            )
            self._memory: Memory = self._given or open_memory(
                params.memory_settings(self.get_namespace(), self._is_simulated()),
                self._grid,
                self._log_progress,
            )
            self._album = self._open_album(params)
            self._changes = self._open_changes(params)
        except (SpatialMemoryError, ArtifactError, OSError) as error:
            raise ConfigurationError(f"{self.get_name()}: {error}") from error
        self._model = params.model_settings()
        self._recorder = Recorder(
            self._memory,
            _session_name(params.robot_name(self.get_namespace())),
            params.spacing(),
            self._model.initial_horizons_s(),
            params.session_gap_s,
        )
        self._join: PoseJoin[LatentState, PoseWithCovarianceStamped] = PoseJoin(params.pose_join_s)
        self._top_k = params.top_k or USUAL_TOP_K
        self._is_model_known = False
        self._fit = SuccessorFit()
        self._counted_at = 0
        self._counting: ConcurrentFuture[SuccessorFit] | None = None
        self._frame_id = self._memory.stats().frame_id or "map"
        self._drawing: Future[Any] | None = None
        self._picture = Picture(self._grid.outline)
        self._newest: State | None = None
        self._bases: deque[str] = deque(maxlen=_MOST_BASES)
        self._await_until_s = 0.0
        self._poses = PoseWatch("they are not remembered")
        self._meter = ScaleMeter(self._grid.map, known_scale)
        self._include_held_places()
        self._held, self._changing = self._memory.stats().memory_count, 0
        self._held_back: deque[LatentState | PredictionError] = deque(maxlen=_MOST_HELD_BACK)
        self._worker = LongWork("memory-worker", lambda: self.executor, SpatialMemoryError, MessageError)
        self._searcher = LongWork("memory-searcher", lambda: self.executor, SpatialMemoryError)
        self._answering = Answering(self._health, self._memory, self.window_source, self._searcher, self._usual)

    def _open_album(self, params: SpatialMemoryParams) -> Album | None:
        if not params.store_thumbnails:
            return None
        if not hasattr(self._memory, "thumbnails"):
            raise ConfigurationError(f"{self.get_name()}: store_thumbnails: backend {params.backend} keeps no pictures")
        return Album(self._health, self._memory, params.thumbnail_limit)

    def _is_simulated(self) -> bool:
        return bool(self.get_parameter("use_sim_time").value)

    def _foreign_source(self) -> str | None:
        """Return why what is stored may belong into another file; None: nothing says so."""
        names = set(self.get_node_names()) & _SOURCES.keys()
        if self._params.db_path or self._is_simulated() or not names:
            return None
        name = min(names)
        return f"{name} is in the graph, and this is the robot's own file: start with --memory {_SOURCES[name]}"

    def _open_changes(self, params: SpatialMemoryParams) -> Changes:
        """Return what changes the memory for peers, as the parameters allow it."""
        namespace, is_simulated = self.get_namespace(), self._is_simulated()
        memory: Any = self._memory
        undo = Undo(memory, IN_MEMORY if self._given else params.path(namespace, is_simulated), self._grid)
        source = artifact_source(params.model_path)
        self._allowed = Allowed(params.allow_destructive, params.allow_restore, *source, params.model_path)
        folder = SnapshotFolder(params.snapshots(namespace, is_simulated), params.snapshot_limit)
        return Changes(memory, undo, folder, self._allowed)

    def configure(self) -> None:
        """Open what is drawn."""
        self._sheet = MarkerSheet(self, "spatial_memory/markers")

    def activate(self) -> None:
        """Open topics and services: nothing is served before the memory is ready."""
        self.create_subscription(LatentState, "latent/state", self._on_state, qos.STREAM)
        self.create_subscription(PoseWithCovarianceStamped, "latent/pose", self._on_pose, qos.EVERY)
        self.create_subscription(PredictionError, "prediction_error", self._on_error, qos.STREAM)
        self.create_subscription(Projection, "latent/projection", self._on_projection, qos.LATCHED)
        if self._album is not None:
            self._album.listen(self, self._params.image_transport)
        services: tuple[tuple[type, str, Callable], ...] = (
            (QueryMemory, "query", self._answering.query),
            (QueryMemoryBatch, "query_batch", self._answering.query_batch),
            (QueryMemoryArrays, "query_arrays", self._answering.query_arrays),
            (MemoryWindow, "window", self._answering.window),
            (InsertMemory, "insert", self._on_insert),
            (DeleteMemory, "delete", self._on_delete),
            (TransformMemory, "transform", self._on_transform),
            (MemoryStats, "stats", self._on_stats),
            (SnapshotMemory, "snapshot", self._on_snapshot),
            (RestoreMemory, "restore", self._on_restore),
            (Trigger, "clear", self._on_clear),
            (RecognisePlace, "recognise", self._on_recognise),
            (Trigger, "undo", self._on_undo),
            (RecallMemory, "recall", self._on_recall),
        )
        # An exclusive group would let nobody in while one of them waits for its thread.
        group = ReentrantCallbackGroup()
        for kind, name, callback in services:
            most_of = MOST_OF.get(name, {})
            self.create_service(kind, f"spatial_memory/{name}", callback, callback_group=group, most_of=most_of)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(0.5, self._on_gauges, clock=steady)
        self._marker_timer = self.create_timer(1.0, self._on_markers, clock=steady)
        self._pace_markers(self._params.marker_rate)

    def params_changed(self, params: SpatialMemoryParams) -> None:
        """Follow another spacing and marker rate."""
        self._recorder.set_spacing(params.spacing(self._meter.scale))
        if self.is_active:
            self._pace_markers(params.marker_rate)

    def _pace_markers(self, rate_hz: float) -> None:
        if rate_hz > 0:
            self._marker_timer.timer_period_ns = int(1e9 / rate_hz)
            self._marker_timer.reset()
        else:
            self._marker_timer.cancel()

    def release(self) -> None:
        """Make durable what is left."""
        self._worker.shutdown()
        self._searcher.shutdown()
        self._take_joined(_NEVER_NS)
        self._drain(len(self._held_back))
        try:
            self._recorder.finish()
        except SpatialMemoryError as error:
            self._health.drop("backend-away", str(error))
        if self._album is not None:
            self._album.close()
        self._changes.close()
        self._memory.close()

    def _log_progress(self, done: int, total: int) -> None:
        if monotonic() - self._last_progress >= 1.0 or done == total:
            self._last_progress = monotonic()
            self.get_logger().info(f"loading memories: {done} of {total}")

    # ---------------------------------------------------------------- stream

    def _on_state(self, msg: LatentState) -> None:
        self._health.count("states_received")
        waits = msg.has_pose and msg.pose_status in AWAITS_MEASURED
        self._join.push(stamp_ns(msg.header.stamp), msg, waits=waits, steady_ns=monotonic_ns())
        self._take_joined(monotonic_ns())

    def _on_pose(self, msg: PoseWithCovarianceStamped) -> None:
        self._join.pose(stamp_ns(msg.header.stamp), msg)
        self._take_joined(monotonic_ns())

    def _take_joined(self, steady_ns: int) -> None:
        """Take the states whose measured pose is there; one that did not come in time counts as none."""
        for msg, pose, is_late in self._join.ready(steady_ns):
            if pose is not None:
                msg.pose, msg.pose_frame_id = pose.pose.pose, pose.header.frame_id
                msg.pose_status = LatentState.POSE_INTERPOLATED
            elif is_late:
                self._health.count("poses_late")
                msg.has_pose = False
            self._take(msg)

    def _on_error(self, msg: PredictionError) -> None:
        self._take(msg)

    def _take(self, msg: LatentState | PredictionError) -> None:
        """Take what comes in its order; while the whole memory changes nobody waits for it, what comes does."""
        if len(self._held_back) == _MOST_HELD_BACK:
            self._health.drop("held-back", f"more than {_MOST_HELD_BACK} messages came while the memory was changed")
        self._held_back.append(msg)
        self._drain()

    def _drain(self, most: int = _DRAINED_AT_ONCE) -> None:
        for _ in range(min(most, len(self._held_back)) if self._changing == 0 else 0):
            if self._awaits_basis(self._held_back[0]):
                return
            msg = self._held_back.popleft()
            if isinstance(msg, LatentState):
                self._keep(msg)
            else:
                self._judge(msg)

    def _awaits_basis(self, msg: LatentState | PredictionError) -> bool:
        """Return whether a state came before the projection that leads to its basis: it waits for it a while."""
        if not isinstance(msg, LatentState) or not msg.feature_id or msg.encoder_id in self._bases:
            return False
        if len(msg.encoder_id) > LONGEST_NAME:  # refused as soon as it is taken
            return False
        if monotonic() < self._await_until_s:
            return True
        stats = self._memory.stats()
        is_other = stats.feature_id == msg.feature_id and stats.encoder_id not in ("", msg.encoder_id)
        if not is_other or self._await_until_s:
            self._bases.append(msg.encoder_id)  # known, or waited for long enough: now the memory judges
            self._await_until_s = 0.0
            return False
        self._await_until_s = monotonic() + _AWAIT_BASIS_S
        return True

    def _keep(self, msg: LatentState) -> None:
        self._poses.observe(msg)
        try:
            state = self._newest = self._model.apply(messages.state_from_msg(msg))
            self._allowed.check_source(state.encoder_id, state.feature_id, state.latent_D.size, "the latent")
            record = self._recorder.observe(state)
        except (MessageError, RecordError) as error:
            if isinstance(error, FrameMismatchError):
                self._health.degrade("frame", clipped(error))
            if error.reason == "no-pose":
                self._health.skip("no-pose")
            else:
                self._health.drop(error.reason, str(error))
            return
        except StoreError as error:
            self._health.drop("backend-away", str(error))
            return
        if state.place is not None:
            self._meter.observe(state.stamp_ns, state.place, tilts=state.orientation is not None)
        self._is_model_known = self._is_model_known or bool(state.horizons_s)
        self._top_k = self._params.top_k or msg.top_k or self._top_k
        if record is None:
            self._health.skip("spacing")
            return
        self._health.count("states_stored")
        if self._album is not None:
            self._album.remember(self._recorder.id_of(record.stamp_ns) or 0, record.stamp_ns)
        self._health.degrade("frame", None)

    def _known_scale(self) -> Scale | None:
        """Return the scale that the robot's profile states."""
        self._told_scale: Scale | None = None
        try:
            self._told_scale = None if self._profile is None else read_scale(self._profile)
        except ProfileError as error:
            raise ConfigurationError(f"{self.get_name()}: {error}") from error
        return self._told_scale

    def _tell_scale(self) -> None:
        """State the scale in the robot's profile, off the executor, when it is another."""
        scale, profile, params = self._meter.scale, self._profile, self._params
        if profile is None or not is_news(scale, self._told_scale):
            return
        self._told_scale = scale

        def work() -> str | None:
            try:
                write_scale(profile, scale, params.same_place_m(scale), params.spacing(scale))
            except ProfileError as error:
                return str(error)
            return None

        self._later(work).add_done_callback(lambda done: self._health.degrade("profile", done.result() or None))

    def _include_held_places(self) -> None:
        """Let the extent of what was seen begin with what earlier runs saw."""
        try:
            self._meter.include(self._memory.places(messages.MOST_PLACES))
        except StoreError as error:  # a server that is away
            self.get_logger().warning(f"the extent of what was seen is not known: {error}")

    def _on_projection(self, msg: Projection) -> None:
        """Read the memory in another basis from now on, off the executor; queries go on, and what comes waits."""

        def work() -> int:
            projection, before = projection_from_msg(msg), checked_id(msg.previous_encoder_id, "previous_encoder_id")
            count: int = self._whole(self._memory.reproject, projection)
            self._bases += [each for each in (projection.encoder_id, before) if each not in self._bases]
            self._await_until_s = 0.0
            if count:
                self.get_logger().info(f"projected {count} memories again, for encoder {projection.encoder_id}")
            return count

        def tell(done: Future) -> None:
            result = done.result()
            self._health.degrade("projection", clipped(result) if isinstance(result, Exception) else None)
            self._drain()

        self._later(work).add_done_callback(tell)

    def _judge(self, msg: PredictionError) -> None:
        far_s = self._recorder.horizons_s[-1]
        if abs(msg.horizon_s - far_s) <= self._recorder.step_s / 2 and math.isfinite(msg.error):
            self._recorder.observe_error(stamp_ns(msg.header.stamp), msg.error)

    # ---------------------------------------------------------------- queries

    @property
    def window_source(self) -> WindowSource:
        """The memory, for a window in the same process: whichever this node has by the time that it is asked."""
        return LateSource(lambda: self._memory if self.is_active else None)

    def _usual(self) -> Usual:
        params = self._params
        return Usual(self._top_k, params.yaw_weight_m, params.pose_weight, self._held, self._changing > 0)

    async def _on_recognise(
        self, request: RecognisePlace.Request, response: RecognisePlace.Response
    ) -> RecognisePlace.Response:
        newest, session, begin_s = self._newest, self._recorder.session, perf_counter()
        radius_m = self._params.same_place_m(self._meter.scale)
        try:
            sought = messages.sought_from_msg(request)
        except MessageError as error:
            answer: Any = error
        else:
            metric = self._grid.map
            answer = await self._searcher.later(
                lambda: recognise_in(self._memory, sought, newest, session, radius_m, metric)
            )
        if isinstance(answer, Exception):
            self._health.count("recognitions_refused")
            response.message = clipped(answer, MOST_ANSWERED)
            return response
        response.success, response.frame_id = True, self._frame_id
        response.places = messages.places_to_msgs(answer)
        response.ambiguity = answer.recognition.ambiguity
        response.ambiguous = bool(response.ambiguity)
        response.second_ratio, response.agreement = answer.recognition.second_ratio, answer.recognition.agreement
        response.search_ms = (perf_counter() - begin_s) * 1e3
        self._health.count("recognitions")
        return response

    async def _on_recall(self, request: RecallMemory.Request, response: RecallMemory.Response) -> RecallMemory.Response:
        answer: Any = await self._searcher.later(lambda: recall(self._memory, request, response))
        if isinstance(answer, Exception):
            response.message = clipped(answer, MOST_ANSWERED)
        return response

    # ---------------------------------------------------------------- changes

    def _later(self, work: Callable[[], Any]) -> Future:
        """Run work off the executor; the future holds its result, or the expected error it ended with."""
        return self._worker.later(work)

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
        now_ns = self.get_clock().now().nanoseconds

        def work() -> int:
            what = replace(messages.forget_from_msg(request), now_ns=now_ns)
            return int(self._whole(self._changes.delete, what))

        result = await self._later(work)
        response.success, response.message, response.deleted_count = _outcome(result)
        return response

    async def _on_transform(
        self, request: TransformMemory.Request, response: TransformMemory.Response
    ) -> TransformMemory.Response:
        def work() -> int:
            move = messages.rigid_from_msg(request.transform, request.frame_id)
            return self._whole(self._changes.transform, move, request.session)

        response.success, response.message, response.moved_count = _outcome(await self._later(work))
        return response

    async def _on_snapshot(
        self, request: SnapshotMemory.Request, response: SnapshotMemory.Response
    ) -> SnapshotMemory.Response:
        result = await self._later(lambda: self._changes.snapshot(request.path))
        response.success, response.message, response.memory_count = _outcome(result)
        return response

    async def _on_restore(
        self, request: RestoreMemory.Request, response: RestoreMemory.Response
    ) -> RestoreMemory.Response:
        result = await self._later(lambda: self._whole(self._changes.restore, request.path))
        response.success, response.message, response.memory_count = _outcome(result)
        return response

    async def _on_clear(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        result = await self._later(lambda: self._whole(self._changes.clear))
        response.success, response.message, _ = _outcome(result)
        return response

    async def _on_undo(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        result = await self._later(lambda: self._whole(self._changes.undo))
        response.success = not isinstance(result, Exception)
        response.message = clipped(result, MOST_ANSWERED)
        return response

    def _whole(self, change: Callable[..., Any], *arguments: Any) -> Any:
        """Change the memory as a whole; what was found before is not drawn any more."""
        self._changing += 1
        try:
            result = change(*arguments)
        finally:
            self._changing -= 1
        self._answering.forget_last()
        return result

    # ---------------------------------------------------------------- state

    async def _on_stats(self, _request: MemoryStats.Request, response: MemoryStats.Response) -> MemoryStats.Response:
        stats: Any = await self._searcher.later(self._memory.stats) if self._changing else self._memory.stats()
        if isinstance(stats, Exception):
            response.degraded = [clipped(stats)]
            return response
        response.memory_count, response.capacity, response.cell_count = (
            stats.memory_count, stats.capacity, stats.cell_count)  # fmt: skip
        response.encoder_id, response.backend, response.session = (
            stats.encoder_id, stats.backend, self._recorder.session)  # fmt: skip
        response.feature_id, response.frame_id = stats.feature_id, stats.frame_id
        if self._is_model_known:
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
        scale = self._meter.scale
        spacing = self._params.spacing(scale)
        response.extent_m, response.speed_mps, response.tilts = scale.extent_m, scale.speed_mps, scale.tilts
        response.revisit_radius_m = self._params.same_place_m(scale)
        response.retrieval_radius_m = scale.retrieval_radius_m
        response.store_distance_m, response.store_angle_rad = spacing.distance_m, spacing.angle_rad

    def _on_gauges(self) -> None:
        self._take_joined(monotonic_ns())
        self._drain()
        if self._changing:
            return
        stats = self._memory.stats()
        self._held = stats.memory_count
        self._recorder.set_spacing(self._params.spacing(self._meter.scale))
        self._tell_scale()
        self._health.gauge("memory_count", stats.memory_count)
        self._health.gauge("cell_count", stats.cell_count)
        self._health.gauge("encoder_id", stats.encoder_id)
        self._health.gauge("pending_writes", stats.pending_writes)
        self._health.gauge("session", self._recorder.session)
        for horizon_s in self._recorder.horizons_s:
            for name, count in self._recorder.counts.at(horizon_s).items():
                self._health.gauge(f"successors_{name}_{horizon_s:g}", count)
        self._health.gauge("frame_id", stats.frame_id)
        self._frame_id = stats.frame_id or self._frame_id
        has_grown = stats.memory_count > 1.1 * self._counted_at
        if has_grown or self._fit.horizons_s != self._recorder.horizons_s:
            self._counted_at = stats.memory_count
            self._count_successors()
        self._health.gauge("successors_usable", self._fit.usable)
        self._health.gauge("successors_unusable", self._fit.unusable)
        self._health.degrade("successors", self._fit.complaint)
        self._health.degrade("source", self._foreign_source())
        self._health.degrade("poses", *self._poses.complaint())
        self._health.degrade("store", "; ".join(stats.degraded) or None)

    def _count_successors(self) -> None:
        """Count again, off the executor, which of the successors held can be used, and take what was counted before."""
        if self._counting is not None:
            if not self._counting.done():
                return
            self._fit = self._counting.result()
        if self._is_model_known:
            horizons_s, step_s = self._recorder.horizons_s, self._recorder.step_s
            self._counting = self._worker.submit(lambda: fit_of(self._memory.successor_times(), horizons_s, step_s))

    def _on_markers(self) -> None:
        if self._sheet.is_watched and (self._drawing is None or self._drawing.done()):
            self._drawing = self._later(self._draw)

    def _draw(self) -> None:
        """Show what the memory holds now, whatever run it comes from."""
        asked, matches = self._answering.last
        sketch = self._memory.sketch(MOST_MEMORIES, TRAIL_MEMORIES)
        shapes = self._picture.shapes(sketch, retrieval_of(asked, matches.records), self._params.marker_color)
        self._sheet.show(shapes, sketch.frame_id or self._frame_id)


def _outcome(result: Any) -> tuple[bool, str, int]:
    """Return success, what went wrong, and how many records it was about."""
    if isinstance(result, Exception):
        return False, clipped(result, MOST_ANSWERED), 0
    return True, "", int(result or 0)


def _session_name(robot_id: str) -> str:
    """Return a name that no other run has."""
    return f"{robot_id}-{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"


def main() -> None:
    """Run the node until it is told to stop."""
    raise SystemExit(run_node(SpatialMemory, describe=(SpatialMemory, SpatialMemoryParams)))


if __name__ == "__main__":
    main()
