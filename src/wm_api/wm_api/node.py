"""The node ``wm_api``: what the graph says, served over HTTP; it publishes nothing but its health."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import Path
from rclpy.qos import QoSProfile

from wm_api.app import create_app
from wm_api.graph import GraphMemory
from wm_api.memories import ServedMemory
from wm_api.messages import (
    diagnostics_entry,
    error_from_msg,
    forecast_from_msg,
    observation_from_msg,
    points_from_msg,
)
from wm_api.models import Models
from wm_api.params import WmApiParams
from wm_api.planner import PlannerGoals
from wm_api.server import Server
from wm_api.showing import Showing
from wm_api.world import World
from wm_core.projection import Projection
from wm_core.se2 import Pose2
from wm_core.standing_back import keep_to, stand_back
from wm_interfaces.msg import LatentPrediction, LatentState, PredictionError
from wm_interfaces.msg import Projection as ProjectionMsg
from wm_ros import (
    CameraSubscription,
    ConfigurationError,
    FrameMsg,
    ManagedNode,
    MessageError,
    picture_from_msg,
    projection_from_msg,
    qos,
    run_node,
    stamp_ns,
)
from wm_ros.one_stream import OneStream
from wm_ros.silence import why_silent
from world_model.runtime.artifacts import Artifact
from world_model.runtime.prediction import Observation

_LISTENS_WITHIN_S = 30.0
_LOOKED_AT_S = 10.0
_WATCH_PERIOD_S = 0.5
_STATS_EVERY = 4
_MOST_STATES = 40
_MOST_BASES = 16
_MOST_NODES = 1000
_STANDS_BACK = 10
# Health is told once a second.
_QUIET_S = 5.0
# What is older by its stamp is of a clock that is set otherwise.
_MOST_AGE_S = 10.0


class WmApi(ManagedNode[WmApiParams]):
    """Serve what the graph says: latents, forecasts, errors, health and pictures; and its memory through its services.

    Subscribes ``/latent/state`` (wm_interfaces/LatentState), ``/latent/projection``, ``/latent_next/state``
    (wm_interfaces/LatentPrediction), ``/prediction_error`` and ``/diagnostics``, ``/planned_path`` and
    ``/latent_planner/route`` (nav_msgs/Path); the camera only while somebody looks.
    Asks ``/spatial_memory/{query_batch,window,stats,...}``. Models of its own answer requests, so that no client's work
    falls to the graph.
    """

    # None as long as it was never configured so far: what fails before leaves them.
    _to_end: Server | None = None
    _goals: PlannerGoals | None = None

    def __init__(self, artifact: Artifact | None = None, **node_options: Any) -> None:
        super().__init__("wm_api", WmApiParams, **node_options)
        self._given = artifact
        self.start()

    @property
    def port(self) -> int:
        """Port that is listened on."""
        return self._server.port

    @property
    def processors(self) -> int:
        """How many processors its process is to keep to at most; 0: all."""
        return self._params.processors

    def prepare(self) -> None:
        """Load weights."""
        self._settings = self._params.settings()
        self._models = Models(self._given or self._params.load())

    def configure(self) -> None:
        """Open the way to the memory, and begin to listen."""
        memory: ServedMemory = GraphMemory(self, self._health, self._params.memory_wait_s, self._where)
        self.world = World(self._models, memory, self._settings.longest_rollout_s)
        self.world.mode, self.world.on_wanted = "graph", self._on_wanted
        self._goals = PlannerGoals(self, self.world.live) if self._settings.allow_goals else None
        self.world.goals = self._goals
        app = create_app(self.world, self._settings)
        self._showing = Showing(self.world)
        self._states: OrderedDict[int, tuple[LatentState, Observation]] = OrderedDict()
        self._projections: dict[str, Projection] = {}
        self._statuses: dict[str, tuple[int, str]] = {}
        self._told_s: dict[str, float] = {}
        self._camera: CameraSubscription | None = None
        self._looked_at_s, self._heard_s, self._predicted_s = -_LOOKED_AT_S, -1e9, -1e9
        self._planned_s = -1e9
        self._told_source: dict[str, str] = {}
        self._watched_count = 0
        listening = threading.Event()
        self._server = self._to_end = Server(app, self._settings, lambda _: listening.set())
        self._serving = threading.Thread(target=self._server.run, daemon=True, name="http")
        self._serving.start()
        self._await(listening)
        self.get_logger().info(f"serving {self._models.manifest.name} at {self._settings.host}:{self.port}")
        self._health.expect("latents", max(self._params.silent_after_s, 1.0), self._why_silent)

    def _where(self) -> Pose2 | None:
        present = self.world.present
        return None if present is None else present.pose

    def _await(self, listening: threading.Event) -> None:
        end_s = monotonic() + _LISTENS_WITHIN_S
        while not listening.wait(0.05):
            if not self._serving.is_alive() or monotonic() > end_s:
                raise ConfigurationError(f"cannot listen on {self._settings.host}:{self._settings.port}")

    def activate(self) -> None:
        """Open the inputs."""
        if self._models.manifest.space is not None:
            self.create_subscription(ProjectionMsg, "latent/projection", self._on_projection, qos.LATCHED_EACH)
        stream = OneStream(self, "latent/state", self._health)
        self.create_subscription(LatentState, "latent/state", stream.of(self._on_state), qos.STREAM)
        others: dict[str, tuple[type, Callable[[Any], None], QoSProfile]] = {
            "latent_next/state": (LatentPrediction, self._on_prediction, qos.STREAM),
            "prediction_error": (PredictionError, self._on_error, qos.STREAM),
            "planned_path": (Path, self._on_planned, qos.STREAM),
            "latent_planner/route": (Path, self._on_route, qos.LATCHED),
        }
        for topic, (kind, take, profile) in others.items():
            beside = OneStream(self, topic, self._health, beside=stream)
            self.create_subscription(kind, topic, beside.of(take), profile)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.STREAM)
        self.create_timer(_WATCH_PERIOD_S, self._on_watch)

    def release(self) -> None:
        """Have the server end: its streams first."""
        if self._to_end is not None:
            self._to_end.should_exit = True
            self._serving.join(_LISTENS_WITHIN_S)
        if self._goals is not None:
            self._goals.close()

    def _why_silent(self) -> str:
        return why_silent(
            self, (self.resolve_topic_name("latent/state"),), ("wm_interfaces/msg/LatentState",), "latents"
        )

    # ---------------------------------------------------------------- what the graph says

    def _on_projection(self, msg: ProjectionMsg) -> None:
        try:
            projection = projection_from_msg(msg)
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            return
        if projection.space == self._models.manifest.space and projection.z_dim == self._models.manifest.z_dim:
            self._projections[projection.encoder_id] = projection
            for old in list(self._projections)[:-_MOST_BASES]:
                del self._projections[old]

    def _follow_basis(self, encoder_id: str) -> bool:
        """Goes on in the basis of the graph's latents; returns whether it is known."""
        if encoder_id == self._models.manifest.encoder_id:
            return True
        projection = self._projections.get(encoder_id)
        if projection is None:
            return False
        self._models = Models(self._models.artifact.bound_to(projection))
        self.world.change_models(self._models)
        self._showing.restart()
        self._states.clear()
        self._health.count("changes_of_basis")
        return True

    def _on_state(self, msg: LatentState) -> None:
        self._health.tick("latents")
        if not self._follow_basis(msg.encoder_id):
            expected = self._models.manifest.encoder_id
            self._health.drop("encoder-mismatch", f"latent of {msg.encoder_id[:64]!r}, expected {expected}")
            return
        try:
            observation = observation_from_msg(msg, self._models.manifest)
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            return
        self._heard_s = monotonic()
        self.world.observe(observation)
        self._states[observation.stamp_ns] = msg, observation
        while len(self._states) > _MOST_STATES:
            self._states.popitem(last=False)
            self._showing.missed += 1
        self._take_age("latent", msg)
        if self._heard_s - self._predicted_s > self._params.silent_after_s:
            self._showing.show(observation, (), msg.pose_frame_id)

    def _on_prediction(self, msg: LatentPrediction) -> None:
        found = self._states.pop(stamp_ns(msg.header.stamp), None)
        if found is None or msg.encoder_id != self._models.manifest.encoder_id:
            return
        try:
            forecasts = [forecast_from_msg(each) for each in msg.forecasts]
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            return
        self._predicted_s = monotonic()
        self._take_age("forecast", msg)
        self._showing.ages["memory_query"] = round(float(msg.memory_query_ms), 2) if msg.memory_query_ms > 0 else 0.0
        self._showing.show(found[1], forecasts, found[0].pose_frame_id)

    def _on_error(self, msg: PredictionError) -> None:
        if msg.encoder_id == self._models.manifest.encoder_id:
            self._showing.judged(error_from_msg(msg))

    def _take_age(self, name: str, msg: LatentState | LatentPrediction) -> None:
        """Takes note of how old a frame is by what was made of it; of no clock but the frame's own nothing is said."""
        age_ms = (self.get_clock().now().nanoseconds - stamp_ns(msg.header.stamp)) * 1e-6
        if 0.0 <= age_ms <= _MOST_AGE_S * 1e3:
            self._showing.ages[name] = round(age_ms, 2)
        else:
            self._showing.ages.pop(name, None)

    def _on_planned(self, msg: Path) -> None:
        self._showing.planned, self._planned_s = points_from_msg(msg), monotonic()

    def _on_route(self, msg: Path) -> None:
        self.world.live.happened("route", {"points": points_from_msg(msg)}, "route")

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status[:200]:
            entry = diagnostics_entry(status)
            stands = entry["level"], entry["message"]
            name = entry["node"]
            if name not in self._statuses and len(self._statuses) >= _MOST_NODES:
                continue
            self._told_s[name] = monotonic()
            if self._statuses.get(name) != stands:
                self._statuses[name] = stands
                self.world.live.happened("diagnostics", entry, name)

    def _tell_quiet(self) -> None:
        """Tells which nodes do not speak of their health any more."""
        now_s, level = monotonic(), DiagnosticStatus.STALE[0]
        for name, told_s in self._told_s.items():
            if now_s - told_s > _QUIET_S and self._statuses[name][0] != level:
                text = f"says nothing of its health for {_QUIET_S:g} s: it has ended, or hangs"
                self._statuses[name] = level, text
                entry = {"node": name, "level": level, "message": text, "values": {}}
                self.world.live.happened("diagnostics", entry, name)

    # ---------------------------------------------------------------- pictures and watching

    def _on_wanted(self, name: str) -> None:
        if name == "camera":
            self._looked_at_s = monotonic()

    def _on_image(self, msg: FrameMsg) -> None:
        try:
            self.world.gallery.put("camera", picture_from_msg(msg))
        except MessageError as error:
            self._health.drop(error.reason, error.detail)

    def _on_watch(self) -> None:
        """Says when the graph falls silent or comes back; listens to the camera only while somebody looks."""
        self._tell_source("live" if monotonic() - self._heard_s <= self._params.silent_after_s else "silent")
        if monotonic() - self._planned_s > max(self._params.silent_after_s, 1.0):
            self._showing.planned = []
        self._tell_quiet()
        is_looked_at = monotonic() - self._looked_at_s < _LOOKED_AT_S
        if is_looked_at and self._camera is None:
            params = self._params
            self._camera = CameraSubscription(
                self, params.image_topic, self._on_image, params.image_transport, health=self._health
            )
        elif not is_looked_at and self._camera is not None:
            self._camera.close()
            self._camera = None
        self._watched_count += 1
        if self._watched_count % _STATS_EVERY == 0:
            self._ask_stats()

    def _tell_source(self, state: str) -> None:
        """Tells how the source is, where that is new; why it is silent is looked at again now and then."""
        if state == self._told_source.get("state") and (state == "live" or self._watched_count % _STATS_EVERY):
            return
        told = {"state": state, "detail": "" if state == "live" else self._why_silent()}
        if told != self._told_source:
            self._told_source = told
            self.world.live.happened("source", told, "source")

    def _ask_stats(self) -> None:
        """Asks the memory how much it holds; the answer is shown when it comes."""
        memory = self.world.memory
        assert isinstance(memory, GraphMemory)
        memory.ask_stats(lambda found: self._showing.memory.update(count=found.memory_count, cells=found.cell_count))


def main() -> None:
    """Run the node; exit code 0 after a signal, 2 when it cannot be configured."""
    # On a full machine the graph goes first.
    stand_back(_STANDS_BACK)
    raise SystemExit(run_node(_on_its_processors, describe=(WmApi, WmApiParams)))


def _on_its_processors() -> WmApi:
    node = WmApi()
    keep_to(node.processors)
    return node
