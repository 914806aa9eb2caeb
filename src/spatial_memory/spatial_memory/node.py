"""The node ``spatial_memory``: remembers ``/latent/state`` and answers ``/spatial_memory/...``."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType

from spatial_memory import messages
from spatial_memory.album.node import Album
from spatial_memory.answering.node import Answering, Usual
from spatial_memory.answering.whole import WholeChanges
from spatial_memory.answering.work import MOST_OF
from spatial_memory.changing.node import Changing
from spatial_memory.drawing.node import Drawing
from spatial_memory.drawing.picture import Picture
from spatial_memory.embedded.changes import Allowed, Changes, artifact_source
from spatial_memory.embedded.undo import Undo
from spatial_memory.factory import make_grid, open_memory
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.keeping.node import Keeping
from spatial_memory.keeping.scale import ScaleBook
from spatial_memory.looks.node import Looks
from spatial_memory.params import SpatialMemoryParams
from spatial_memory.standing.node import Standing
from spatial_memory.store.files import IN_MEMORY
from spatial_memory.store.names import SnapshotFolder
from wm_core.memory.errors import SpatialMemoryError, StoreError
from wm_core.memory.journal import LateSource, WindowSource
from wm_core.memory.protocol import Memory
from wm_core.memory.recorder import Recorder
from wm_interfaces.srv import (
    MemoryStats,
    MemoryWindow,
    QueryMemory,
    QueryMemoryArrays,
    QueryMemoryBatch,
    RecallMemory,
    RecognisePlace,
)
from wm_ros import ConfigurationError, LongWork, ManagedNode, MessageError, run_node
from wm_ros.kept_room import give_back_room
from world_model.errors import ArtifactError, ProfileError
from world_model.runtime.profile import Profile, profile_folder

# Some 50 000 memories, which are there in a fraction of a second.
_LONGEST_FLUSH_S = 10.0
_LOADED_AT_ONCE_BYTES = 32 << 20
_SOURCES = {"wm_sim": "simulated", "bag_player": "replay"}


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
        try:
            return path.is_file() and path.stat().st_size > _LOADED_AT_ONCE_BYTES
        except OSError:  # who opens it says what is wrong with its name
            return False

    def prepare(self) -> None:
        """Load the memory."""
        params = self._params
        book = self._scale_book(params)
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
            self._allowed = Allowed(
                params.allow_destructive, params.allow_restore, *artifact_source(params.model_path), params.model_path
            )
            self._changes = self._open_changes(params)
        except (SpatialMemoryError, ArtifactError, OSError) as error:
            raise ConfigurationError(f"{self.get_name()}: {error}") from error
        book.begin(self._grid.map)
        self._include_held_places(book)
        self._recorder = Recorder(
            self._memory,
            _session_name(params.robot_name(self.get_namespace())),
            book.meter,
            params.model_settings().initial_horizons_s(),
            params.session_gap_s,
        )
        self._picture = Picture(self._grid.outline)
        self._make_parts(book)

    def _make_parts(self, book: ScaleBook) -> None:
        """Make what answers, changes, keeps and looks after the memory."""
        health, memory, recorder = self._health, self._memory, self._recorder
        self._book = book
        self._worker = LongWork("memory-worker", lambda: self.executor, SpatialMemoryError, MessageError)
        self._searcher = LongWork("memory-searcher", lambda: self.executor, SpatialMemoryError)
        self._answering = Answering(health, memory, self.window_source, self._searcher, self._usual)
        self._whole = WholeChanges(self._worker.later, self._answering.forget_last, give_back_room)
        self._changing = Changing(self, self._changes, self._whole)
        self._keeping = Keeping(health, memory, recorder, self._whole, self._allowed, self._album, lambda: self._params)
        self._standing = Standing(
            health, memory, recorder, self._keeping, self._whole, self._answering, book,
            self._worker, self._searcher,
        )  # fmt: skip
        self._looks = Looks(health, memory, self._searcher, self._answering.epoch, self._grid.map)

    def _scale_book(self, params: SpatialMemoryParams) -> ScaleBook:
        """Return what measures the scale, beginning with the one that the robot's profile states."""
        profile = Profile(profile_folder(params.profile, self.get_namespace())) if params.profile else None
        try:
            return ScaleBook(lambda: self._params, profile)
        except ProfileError as error:
            raise ConfigurationError(f"{self.get_name()}: {error}") from error

    def _include_held_places(self, book: ScaleBook) -> None:
        """Let the extent of what was seen begin with what earlier runs saw."""
        try:
            book.include(self._memory.places(messages.MOST_PLACES))
        except StoreError as error:  # a server that is away
            self.get_logger().warning(f"the extent of what was seen is not known: {error}")

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
        folder = SnapshotFolder(params.snapshots(namespace, is_simulated), params.snapshot_limit)
        return Changes(memory, undo, folder, self._allowed)

    def _log_progress(self, done: int, total: int) -> None:
        if monotonic() - self._last_progress >= 1.0 or done == total:
            self._last_progress = monotonic()
            self.get_logger().info(f"loading memories: {done} of {total}")

    def configure(self) -> None:
        """Open what is drawn."""
        self._drawing = Drawing(self, self._memory, self._picture, lambda: self._answering.last)

    def activate(self) -> None:
        """Open topics and services: nothing is served before the memory is ready."""
        self._keeping.listen(self)
        if self._album is not None:
            self._album.listen(self, self._params.image_transport)
        # An exclusive group would let nobody in while one of them waits for its thread.
        group = ReentrantCallbackGroup()
        for name, (kind, callback) in self._served().items():
            most_of = MOST_OF.get(name, {})
            self.create_service(kind, f"spatial_memory/{name}", callback, callback_group=group, most_of=most_of)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(0.5, lambda: self._standing.look(self._foreign_source), clock=steady)
        self._drawing.begin(self, self._whole.later, lambda: (self._params.marker_color, self._standing.frame_id))
        self._drawing.pace(self._params.marker_rate)

    def _served(self) -> Mapping[str, tuple[type, Callable[[Any, Any], Any]]]:
        """Return kind and callback of each service, by name."""
        return {
            "query": (QueryMemory, self._answering.query),
            "query_batch": (QueryMemoryBatch, self._answering.query_batch),
            "query_arrays": (QueryMemoryArrays, self._answering.query_arrays),
            "window": (MemoryWindow, self._answering.window),
            "stats": (MemoryStats, self._standing.on_stats),
            "recognise": (RecognisePlace, self._on_recognise),
            "recall": (RecallMemory, self._looks.recall),
            **self._changing.services(),
        }

    def params_changed(self, params: SpatialMemoryParams) -> None:
        """Follow another spacing and marker rate."""
        self._recorder.set_spacing(params.spacing(self._book.scale))
        if self.is_active:
            self._drawing.pace(params.marker_rate)

    def finish(self) -> None:
        """Wait for what peers asked for, and for the disk."""
        self._worker.shutdown()
        self._searcher.shutdown()
        with suppress(StoreError):  # it goes on waiting in RAM
            self._memory.flush(_LONGEST_FLUSH_S)

    def release(self) -> None:
        """Make durable what is left."""
        self._worker.shutdown()
        self._searcher.shutdown()
        self._keeping.finish()
        if self._album is not None:
            self._album.close()
        self._changes.close()
        self._memory.close()

    @property
    def window_source(self) -> WindowSource:
        """The memory, for a window in the same process: whichever this node has by the time that it is asked."""
        return LateSource(lambda: self._memory if self.is_active else None)

    def _usual(self) -> Usual:
        params, whole = self._params, self._whole
        return Usual(
            self._keeping.top_k, params.yaw_weight_m, params.pose_weight, self._standing.held, whole.under_way > 0
        )

    async def _on_recognise(
        self, request: RecognisePlace.Request, response: RecognisePlace.Response
    ) -> RecognisePlace.Response:
        seen = self._keeping.newest, self._recorder.session, self._book.same_place_m
        response = await self._looks.recognise(request, response, *seen)
        response.frame_id = self._standing.frame_id if response.success else ""
        return response


def _session_name(robot_id: str) -> str:
    """Return a name that no other run has."""
    return f"{robot_id}-{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"


def main() -> None:
    """Run the node until it is told to stop."""
    raise SystemExit(run_node(SpatialMemory, describe=(SpatialMemory, SpatialMemoryParams)))


if __name__ == "__main__":
    main()
