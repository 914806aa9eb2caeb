"""The node ``transition_predictor``: ``/latent/state`` in, ``/latent_next`` and ``/prediction_error`` out."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from rclpy.client import Client
from rclpy.clock import Clock, ClockType
from rclpy.task import Future
from std_msgs.msg import Float32MultiArray, Header
from std_srvs.srv import Trigger

from transition_predictor.experts_keeper import ExpertsKeeper
from transition_predictor.history import HistoryKeeper, UsableHistory
from transition_predictor.imagining.node import ImaginationServer
from transition_predictor.imagining.scene import Scene
from transition_predictor.keeper import MotionKeeper
from transition_predictor.params import TransitionPredictorParams
from transition_predictor.replacement import Replacement
from transition_predictor.showing.node import PictureTopic
from wm_core.bounds import LARGEST_LATENT_STDS
from wm_core.memory.errors import QueryError
from wm_core.memory.journal import WindowSource
from wm_core.memory.packed import Neighbours
from wm_core.memory.record import has_tilt
from wm_core.projection import Projection
from wm_core.se2 import Pose2
from wm_core.se3 import quaternion_of, yaw_of
from wm_interfaces.msg import LatentForecast, LatentPrediction, LatentState, PredictionError, VisualHistory
from wm_interfaces.msg import Projection as ProjectionMsg
from wm_interfaces.srv import QueryMemoryBatch
from wm_ros import (
    ManagedNode,
    MessageError,
    believable_stamp_ns,
    clipped,
    float_array_msg,
    floats,
    memories_from_msg,
    pose_from_msg,
    pose_to_msg,
    projection_from_msg,
    qos,
    query_to_msg,
    run_node,
    stamp_msg,
    stamp_ns,
    vector_from_msg,
)
from wm_ros.expected_frame import ExpectedFrame
from wm_ros.foresight import Foresight
from wm_ros.memory_window import HeldMemories, WindowSettings
from wm_ros.messages import pose_std_from_values, pose_std_values
from wm_ros.poseless import PoseWatch
from wm_ros.silence import why_silent
from world_model.runtime.adapted import adapted_artifact
from world_model.runtime.artifacts import Artifact
from world_model.runtime.metrics import ErrorTracker, ScoredForecast, misses, too_slow
from world_model.runtime.predictor import Forecast, Observation, Predictor
from world_model.runtime.profile import Profile, profile_folder
from world_model.runtime.retrieved import Memory, MemoryRequest
from world_model.runtime.stepping import measured_step_s
from world_model.runtime.switches import CALIBRATION

_REMEMBERED_PREDICTIONS = 200
# Bases that latents may be in, told by messages; a robot has two or three.
_MOST_BASES = 16
# The training range counts as kept again after so many latents in it: at its edge a robot crosses it all the time.
_INSIDE_AGAIN = 100
_RATED_FRAMES, _RATED_EVERY = 12, 5
_SOURCES = ("none", "window", "service")
# The profile is looked at after so many predictions: five seconds at 20 Hz.
_LOOK_EVERY = 100


@dataclass
class _Open:
    """A latent whose forecast is not out yet: the memory has been asked, or nothing is waited for."""

    state: LatentState
    begin_s: float
    asked_ms: float = math.nan
    future: Future[QueryMemoryBatch.Response] | None = None


class _Answer(NamedTuple):
    """Memories, or why there are none; who was asked, as ``LatentPrediction`` numbers it."""

    memories: Sequence[Sequence[Memory] | Neighbours] | None
    reason: str = ""
    source: int = LatentPrediction.MEMORY_NONE


class TransitionPredictor(ManagedNode[TransitionPredictorParams]):
    """Publish one prediction per latent: one step and 1 s ahead, with the memories of where the robot will be.

    Subscribes ``/latent/state`` (wm_interfaces/LatentState), ``/visual_history/state`` and, where the artifact makes
    features, ``/latent/projection`` (wm_interfaces/Projection): the first latent in another basis changes to it. Holds
    the memories around the robot by ``/spatial_memory/window`` and asks ``/spatial_memory/query_batch`` beyond them.
    Publishes ``/latent_next`` (std_msgs/Float32MultiArray, one step ahead), ``/latent_next/state``
    (wm_interfaces/LatentPrediction) and, when the predicted time has come, ``/prediction_error``
    (wm_interfaces/PredictionError); for viewers ``/latent_next/pose`` (geometry_msgs/PoseWithCovarianceStamped),
    ``/imagination/path`` (nav_msgs/Path) and ``/transition_predictor/markers`` (visualization_msgs/MarkerArray). A
    memory that does not answer within ``memory_deadline_s`` is not waited for. Serves ``~/imagine`` and the action
    ``~/imagine_stream`` on a thread of its own.
    """

    def __init__(
        self, artifact: Artifact | None = None, window_source: WindowSource | None = None, **node_options: Any
    ) -> None:
        super().__init__("transition_predictor", TransitionPredictorParams, **node_options)
        self._given, self._window_source = artifact, window_source
        self.start()

    def prepare(self) -> None:
        """Load weights."""
        params = self._params
        profile = Profile(profile_folder(params.profile, self.get_namespace())) if params.profile else None
        source = self._given or params.load()
        artifact = self._fitting(source, profile)
        self._artifact, self._manifest = artifact, artifact.manifest
        without = () if params.calibrate else (CALIBRATION,)
        make = partial(Predictor, top_k=params.top_k or None, without=without)
        self._predictor = make(artifact)
        self._replacement = Replacement(profile, source, artifact, make)
        self._keeper = MotionKeeper(profile, self._predictor.motion)
        self._keeper.look()
        self._experts = ExpertsKeeper(profile)
        self._history_size = artifact.manifest.history_dim
        self._tracker = ErrorTracker(np.asarray(artifact.manifest.latent_variance), artifact.manifest.step_s / 2)
        self._history = HistoryKeeper(params.use_history, params.history_max_age_s)
        self._history_id = artifact.manifest.files.get("world_action.pt", "")[:16]
        self._degraded: OrderedDict[int, bool] = OrderedDict()
        self._inside_count = self._unrated_count = self._looked_count = 0
        self._stamps: deque[int] = deque(maxlen=2 * _RATED_FRAMES)
        self._open: _Open | None = None
        self._last_state: LatentState | None = None
        # What latents may be in: the artifact's own basis, then those of its features that were told of.
        self._space, self._encoder_id = artifact.manifest.space, artifact.manifest.encoder_id
        self._is_scored = self._space is None
        self._projections: dict[str, Projection] = {}
        self._untold: deque[LatentState] = deque(maxlen=_RATED_FRAMES)
        self._poses = PoseWatch("forecasts are made without memories")
        self._asked: list[int] = []
        if self._space is None:
            self._begin_with_experts()

    def _begin_with_experts(self) -> None:
        if self._experts.begin(self._predictor):
            self.get_logger().info("experts begin with what a former drive taught them")

    def _fitting(self, artifact: Artifact, profile: Profile | None) -> Artifact:
        """Returns the artifact that this robot's profile names in the place of the one it was adapted from."""
        adapted = adapted_artifact(profile, artifact) if profile is not None else None
        if adapted is None:
            return artifact
        self.get_logger().info(f"the profile names {adapted.path} in the place of {artifact.path}")
        return adapted

    def release(self) -> None:
        """Keep what was learned."""
        self._imagination.close()
        self._replacement.close()
        self._keeper.close()
        self._experts.close(self._predictor, self._is_scored)

    def params_changed(self, params: TransitionPredictorParams) -> None:
        """Wait for the memory as long as is said now."""
        self._deadline.timer_period_ns = int(params.memory_deadline_s * 1e9)

    def configure(self) -> None:
        """Open what is published, and the way to the memory."""
        self._health.expect("latents", self._params.latent_timeout_s, self._why_silent)
        self._next_publisher = self.create_publisher(Float32MultiArray, "latent_next", qos.STREAM)
        self._state_publisher = self.create_publisher(LatentPrediction, "latent_next/state", qos.STREAM)
        self._error_publisher = self.create_publisher(PredictionError, "prediction_error", qos.STREAM)
        self._foresight = Foresight(self)
        self._memory: Client[QueryMemoryBatch.Request, QueryMemoryBatch.Response] = self.create_client(
            QueryMemoryBatch, "spatial_memory/query_batch"
        )
        params = self._params
        settings = WindowSettings(
            params.window_radius_m, params.window_max_age_s, params.window_max_count, params.window_period_s
        )
        self._held = HeldMemories(self, self._health, settings, self._window_source)
        self.create_service(Trigger, "~/reload", self._on_reload)
        self._imagination = ImaginationServer(
            self, self._artifact, params.top_k or None, self._window_source, self._scene, self._foresight.imagined
        )
        self._pictures = PictureTopic(
            self, self._imagination, self._manifest.step_s, params.imagination_rate, params.imagination_pictures,
            params.image_transport,
        )  # fmt: skip
        child = self._params.expected_frame
        self._expected_frame = ExpectedFrame(self, child) if child else None
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._deadline = self.create_timer(self._params.memory_deadline_s, self._on_deadline, clock=steady)
        self._deadline.cancel()

    def activate(self) -> None:
        """Open the inputs."""
        if self._space is not None:
            self.create_subscription(ProjectionMsg, "latent/projection", self._on_projection, qos.LATCHED)
        self.create_subscription(LatentState, "latent/state", self._on_state, qos.STREAM)
        self.create_subscription(VisualHistory, "visual_history/state", self._on_history, qos.STREAM)

    def _scene(self) -> Scene:
        """Returns what is known now, for what is imagined from it."""
        last = self._last_state
        return Scene(
            None if last is None else self._predictor.moment(),
            self._held.places() if self._params.use_memory else None,
            replace(self._manifest, encoder_id=self._encoder_id),
            "" if last is None else last.pose_frame_id,
            self.get_clock().now().nanoseconds,
        )

    def _why_silent(self) -> str:
        text = why_silent(
            self, (self.resolve_topic_name("latent/state"),), ("wm_interfaces/msg/LatentState",), "latents"
        )
        return f"{text}; latent_publisher says in /diagnostics what it lacks"

    def _on_state(self, msg: LatentState) -> None:
        begin_s = perf_counter()
        self._health.tick("latents")
        self._health.count("latents_received")
        try:
            is_known = self._is_known_basis(msg)
            observation = self._observation(msg)
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            return
        if not is_known:
            self._untold.append(msg)
            self._health.count("latents_before_their_basis")
            return
        self._follow_time(observation.stamp_ns)
        self._poses.observe(msg)
        # One context, one open question: a latent that comes before the answer to the last ends the waiting for it.
        self._give_up("late")
        self._change_basis(msg.encoder_id)
        self._change_artifact(observation)
        requests = self._predictor.observe(observation)
        self._replacement.observe(observation)
        self._open = _Open(msg, begin_s)
        answer = self._ask(requests)
        judged = self._tracker.observe(observation) if self._is_scored else ()
        if answer is not None:
            self._predict(answer)
        for scored in judged:
            self._publish_error(msg, scored)
        # While the memory looks: what learns from former forecasts need not wait for its answer.
        self._predictor.learn()
        self._say_what_is_not_scored()

    def _is_known_basis(self, msg: LatentState) -> bool:
        """Returns whether a latent's basis has been told of.

        Raises:
            MessageError: It is of another network altogether.
        """
        if msg.encoder_id in (self._encoder_id, *self._projections):
            return True
        if self._space is None or msg.feature_id != self._space.feature_id:
            raise MessageError("encoder-mismatch", f"latent of {msg.encoder_id!r}, expected {self._encoder_id!r}")
        return False

    def _on_projection(self, msg: ProjectionMsg) -> None:
        """Takes note of a basis; the first latent in it changes to it."""
        try:
            projection = projection_from_msg(msg)
            if projection.space != self._space or projection.z_dim != self._manifest.z_dim:
                raise MessageError("projection-mismatch", f"of features {projection.space}, expected {self._space}")
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            return
        self._projections[projection.encoder_id] = projection
        for old in [each for each in self._projections if each != self._encoder_id][:-_MOST_BASES]:
            del self._projections[old]
        waiting = [state for state in self._untold if state.encoder_id == projection.encoder_id]
        self._untold.clear()
        for state in waiting:
            self._on_state(state)

    def _change_basis(self, encoder_id: str) -> None:
        """Goes on in a latent's basis; forecasts made in the one before are never judged by it."""
        if self._space is None:
            return
        projection = self._projections.get(encoder_id)
        if projection is not None and encoder_id != self._encoder_id:
            self._predictor.rebase(projection)
            self._encoder_id, self._is_scored = encoder_id, projection.is_fitted
            variance_D = np.full(self._manifest.z_dim, projection.variance or 1.0)
            self._tracker = ErrorTracker(variance_D, self._manifest.step_s / 2)
            self._degraded.clear()
            self._health.count("changes_of_basis")
        if self._last_state is None:
            self._begin_with_experts()
        unscored = "not published: latents are in a fixed basis until half a minute of driving is seen"
        self._health.gauge("errors", "published" if self._is_scored else unscored)

    def _change_artifact(self, observation: Observation) -> None:
        """Goes on with the artifact that the profile names since a while, from this observation on."""
        ready = self._replacement.take()
        if ready is None:
            return
        self._keeper.follow(ready.predictor.motion)
        self._predictor, self._manifest = ready.predictor, ready.artifact.manifest
        self._imagination.use(ready.artifact)
        # Errors have the unit of the latents that a network was trained on: those of the former are not judged in it.
        self._tracker = ErrorTracker(np.asarray(self._manifest.latent_variance), self._manifest.step_s / 2)
        self._degraded.clear()
        self._history_id = self._manifest.files.get("world_action.pt", "")[:16]
        self._health.count("changes_of_artifact")
        text = f"from {observation.stamp_ns} ns on: the network of {ready.artifact.path}, which the profile names"
        self.get_logger().info(text)

    def _follow_time(self, now_ns: int) -> None:
        """Takes note of a latent's time; what was gathered before a jump back is of another timeline."""
        if self._stamps and now_ns <= self._stamps[-1]:
            self._health.count("time_jumps-back")
            self._stamps.clear()
            self._degraded.clear()
            self._history.clear()
        self._stamps.append(now_ns)

    def _say_what_is_not_scored(self) -> None:
        """Publishes which forecasts no frame can ever judge, because the camera is too slow."""
        self._unrated_count += 1
        if len(self._stamps) <= _RATED_FRAMES or self._unrated_count < _RATED_EVERY:
            return
        self._unrated_count = 0
        self._health.degrade("poses", *(self._poses.complaint() if self._params.use_memory else (None, "")))
        gap_s, step_s = measured_step_s(np.array(self._stamps)), self._manifest.step_s
        slow = [horizon_s for horizon_s in self._predictor.horizons_s if too_slow(gap_s, horizon_s, step_s)]
        for horizon_s in self._predictor.horizons_s:
            text = "scored"
            if horizon_s in slow:
                text = f"not scored: camera too slow, a latent each {gap_s:.3f} s"
            elif misses(gap_s, horizon_s, step_s):
                text = f"scored: interpolated between latents {gap_s:.3f} s apart"
            self._health.gauge(f"forecast_{horizon_s:g}s", text)
        # A camera that shows no single step is a choice; one that shows nothing leaves no error to learn from.
        all_slow = f"no forecast can be scored: camera too slow, a latent each {gap_s:.3f} s; raise its rate"
        self._health.degrade("scoring", all_slow if len(slow) == len(self._predictor.horizons_s) else None)

    def _observation(self, msg: LatentState) -> Observation:
        latent_D = vector_from_msg(msg.latent, self._manifest.z_dim, "latent", math.inf)
        far = self._predictor.distance(latent_D)
        if far > LARGEST_LATENT_STDS:
            text = (
                f"{far:.3g} standard deviations from the training set's mean, expected at most {LARGEST_LATENT_STDS:g}"
            )
            raise MessageError("latent-too-large", text)
        action_A = vector_from_msg(msg.action, self._manifest.action_dim, "action") if msg.has_action else None
        pose, pose_std_3, rotation = None, None, None
        if msg.has_pose:
            position, quaternion = pose_from_msg(msg.pose)
            x_m, y_m, z_m = position.tolist()
            pose, pose_std_3 = Pose2(x_m, y_m, z_m, yaw_of(quaternion)), pose_std_from_values(msg.pose_std)
            x, y, z, w = quaternion.tolist()
            rotation = (x, y, z, w) if has_tilt((x, y)) else None
        code_F = np.array(msg.feature, np.int8) if self._space is not None else None
        if code_F is not None and self._space is not None and len(code_F) != self._space.size:
            raise MessageError("feature-length", f"{len(code_F)} numbers, expected {self._space.size}")
        now_ns = believable_stamp_ns(msg.header.stamp)
        return Observation(now_ns, latent_D, pose, action_A, pose_std_3, code_F, rotation)

    def _ask(self, requests: Sequence[MemoryRequest]) -> _Answer | None:
        """Looks into the window, and asks the memory beyond it; returns None while that one has not answered."""
        assert self._open is not None
        if not self._params.use_memory:
            return _Answer(None)
        if not requests:
            return _Answer(None, "no pose")
        is_served = self._memory.service_is_ready()
        frame_id = self._open.state.pose_frame_id
        try:
            queries = [request.to_query(self._encoder_id, frame_id) for request in requests]
            found = self._held.answer(queries, whatever=not is_served)
        except QueryError as error:
            return self._refused(str(error))
        if found is not None:
            self._open.asked_ms = (perf_counter() - self._open.begin_s) * 1e3
            return _Answer(found, source=LatentPrediction.MEMORY_WINDOW)
        if not is_served:
            self._health.degrade("memory", "nobody serves /spatial_memory/query_batch: predicting without memories")
            return _Answer(None, "memory absent")
        asked = [query_to_msg(request, self._encoder_id, frame_id) for request in requests]
        self._asked = [query.k for query in asked]
        self._open.future = self._memory.call_async(QueryMemoryBatch.Request(queries=asked))
        self._open.future.add_done_callback(self._on_answer)
        self._deadline.reset()
        return None

    def _refused(self, why: str) -> _Answer:
        self._health.degrade("memory", f"the memory refused the query: {why}")
        return _Answer(None, f"memory refused: {why}")

    def _on_answer(self, future: Future[QueryMemoryBatch.Response]) -> None:
        if self._open is None or future is not self._open.future:
            return
        answer: QueryMemoryBatch.Response = future.result()
        self._open.asked_ms = (perf_counter() - self._open.begin_s) * 1e3
        self._health.sample("memory_query_ms", self._open.asked_ms)
        if not self._held.one.takes(answer.epoch, self._memory.srv_name, "answers"):
            self._predict(_Answer(None, "another memory answered"))
            return
        if not answer.success:
            self._predict(self._refused(clipped(answer.message)))
            return
        try:
            found = self._memories(answer)
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            self._health.degrade("memory", f"the memory's answer cannot be used: {clipped(error.detail)}")
            self._predict(_Answer(None, "memory answer unusable"))
            return
        self._predict(_Answer(found, source=LatentPrediction.MEMORY_SERVICE))

    def _memories(self, answer: QueryMemoryBatch.Response) -> list[list[Memory]]:
        """Return an answer's memories, one list per request that was made.

        Raises:
            MessageError: It does not fit the question.
        """
        sizes = self._asked
        if len(answer.matches) != len(sizes):
            raise MessageError("memory-answer", f"{len(answer.matches)} answers to {len(sizes)} queries")
        z_dim, action_dim = self._manifest.z_dim, self._manifest.action_dim
        return [memories_from_msg(each, z_dim, action_dim, k) for each, k in zip(answer.matches, sizes)]

    def _on_deadline(self) -> None:
        self._deadline.cancel()
        self._give_up("late")

    def _give_up(self, why: str) -> None:
        if self._open is None:
            return
        if self._open.future is not None:
            self._memory.remove_pending_request(self._open.future)
        self._health.count("memory_late")
        self._predict(_Answer(None, f"memory {why}"))

    def _predict(self, answer: _Answer) -> None:
        assert self._open is not None
        self._deadline.cancel()
        memories, reason, source = answer
        if memories is not None:
            self._health.degrade("memory", None)
        open_, self._open = self._open, None
        self._last_state = open_.state
        begin_s = perf_counter()
        history = self._history.at(stamp_ns(open_.state.header.stamp))
        prediction = self._predictor.predict(memories, history.values_N, history.count)
        self._next_publisher.publish(float_array_msg(prediction.forecasts[0].latent_D))
        self._health.sample("predict_ms", (perf_counter() - begin_s) * 1e3)
        self._say_outside(prediction.outside)
        self._publish_prediction(open_, prediction.forecasts, answer, history)
        self._tracker.expect(prediction)
        self._pictures.foresee(prediction)
        self._degraded[prediction.stamp_ns] = bool(reason)
        while len(self._degraded) > _REMEMBERED_PREDICTIONS:
            self._degraded.popitem(last=False)
        self._health.tick("latent_next")
        self._health.count("predictions")
        self._health.count("degraded_predictions", int(bool(reason)))
        self._health.count(f"history_{history.reason or 'used'}")
        self._health.count(f"memory_from_{_SOURCES[source]}")
        for name, count in self._predictor.successor_counts.items():
            self._health.gauge(f"successors_{name}", count)
        if self._params.use_memory:
            self._held.refresh(self._predictor.motion.pose, open_.state.pose_frame_id)
        self._follow_profile()

    def _follow_profile(self) -> None:
        """Now and then says which motion model is in use, keeps it, and takes up what another wrote."""
        self._experts.predicted(self._predictor, self._is_scored)
        self._looked_count += 1
        if self._looked_count % _LOOK_EVERY:
            return
        self._health.gauge("motion", self._predictor.motion.says())
        self._take_up()

    def _take_up(self) -> bool:
        """Reads or writes the profile; returns whether something was read."""
        is_read = self._keeper.look()
        if is_read:
            self.get_logger().info(f"motion from the profile: {self._predictor.motion.says()}")
            self._health.count("profile_read")
        self._replacement.look()
        self._health.degrade(
            "profile", self._keeper.problem or self._replacement.problem or self._experts.problem or None
        )
        return is_read

    def _on_reload(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._take_up()
        response.success = not self._keeper.problem
        response.message = self._keeper.problem or self._predictor.motion.says()
        if self._replacement.is_under_way:
            response.message += "; what the profile names is made ready, and takes over at a latent's stamp"
        return response

    def _say_outside(self, outside: Sequence[str]) -> None:
        """Counts and names what lay outside the range that the model was trained on."""
        self._inside_count = 0 if outside else self._inside_count + 1
        self._health.count("outside_training_range", int(bool(outside)))
        if outside:
            self._health.degrade("training range", "; ".join(outside))
        elif self._inside_count == _INSIDE_AGAIN:
            self._health.degrade("training range", None)

    def _publish_prediction(
        self, open_: _Open, forecasts: Sequence[Forecast], answer: _Answer, history: UsableHistory
    ) -> None:
        state = open_.state
        begin_ns = stamp_ns(state.header.stamp)
        msg = LatentPrediction(header=state.header, encoder_id=state.encoder_id, step_s=self._manifest.step_s)
        msg.pose_frame_id = state.pose_frame_id
        msg.forecasts = [_forecast_msg(forecast, begin_ns, state.pose.position.z) for forecast in forecasts]
        msg.degraded, msg.degraded_reason = bool(answer.reason), answer.reason
        msg.memory_query_ms, msg.memory_source, msg.window_age_s = open_.asked_ms, answer.source, self._held.age_s
        msg.history_used, msg.history_reason = history.values_N is not None, history.reason
        self._state_publisher.publish(msg)
        furthest = msg.forecasts[-1]
        header = Header(stamp=state.header.stamp, frame_id=state.pose_frame_id or "map")
        self._foresight.publish(state.pose if state.has_pose else None, msg.forecasts, answer.memories, header)
        if self._expected_frame is not None and furthest.has_pose:
            self._expected_frame.publish(furthest.pose, state.pose_frame_id or "map", state.header.stamp)

    def _publish_error(self, state: LatentState, scored: ScoredForecast) -> None:
        # The frame that judges may be the one before, where no frame lies nearer to the predicted time.
        header = Header(stamp=stamp_msg(scored.stamp_ns), frame_id=state.header.frame_id)
        msg = PredictionError(header=header, encoder_id=state.encoder_id)
        msg.horizon_s, msg.step_s = scored.forecast.horizon_s, self._manifest.step_s
        msg.predicted_from = stamp_msg(scored.predicted_from_ns)
        msg.error, msg.error_persistence = scored.error, scored.error_persistence
        msg.error_running_mean = scored.error_running_mean
        msg.error_without_memory = scored.error_without_memory
        msg.gate, msg.revisit = scored.forecast.gate, scored.revisit
        msg.degraded = self._degraded.get(scored.predicted_from_ns, False)
        self._error_publisher.publish(msg)
        self._health.sample(f"error_{scored.forecast.horizon_s:g}", scored.error)

    def _on_history(self, msg: VisualHistory) -> None:
        size = msg.embedding_dim * msg.capacity
        try:
            if msg.encoder_id != self._history_id:
                raise MessageError("history-mismatch", f"history of {msg.encoder_id!r}, expected {self._history_id!r}")
            if size != self._history_size:
                sizes = (
                    f"{msg.capacity} x {msg.embedding_dim} = {size} values, the transition reads {self._history_size}"
                )
                raise MessageError("history-size", sizes)
            values_N = vector_from_msg(msg.history, size, "history")
            if msg.count > msg.capacity:
                raise MessageError("history-count", f"{msg.count} embeddings, {msg.capacity} have room")
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            return
        self._history.insert(stamp_ns(msg.header.stamp), values_N, msg.count)


def _forecast_msg(forecast: Forecast, begin_ns: int, z_m: float) -> LatentForecast:
    msg = LatentForecast(horizon_s=forecast.horizon_s, gate=forecast.gate, memory_ids=list(forecast.memory_ids))
    msg.target_stamp = stamp_msg(begin_ns + round(forecast.horizon_s * 1e9))
    msg.latent = floats(forecast.latent_D)
    if forecast.pose is not None:
        msg.has_pose = True
        msg.pose = pose_to_msg((forecast.pose.x, forecast.pose.y, z_m), quaternion_of(forecast.pose.yaw))
        if forecast.pose_std_3 is not None:
            msg.pose_std = pose_std_values(*forecast.pose_std_3.tolist())
    return msg


def main() -> None:
    """Run the node; exit code 0 after a signal, 2 when it cannot be configured."""
    raise SystemExit(run_node(TransitionPredictor, describe=(TransitionPredictor, TransitionPredictorParams)))
