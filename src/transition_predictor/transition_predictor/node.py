"""The node ``transition_predictor``: ``/latent/state`` in, ``/latent_next`` and ``/prediction_error`` out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from std_msgs.msg import Float32MultiArray, Header
from std_srvs.srv import Trigger

from transition_predictor.bases import Bases
from transition_predictor.experts_keeper import ExpertsKeeper
from transition_predictor.history import HistoryKeeper, UsableHistory
from transition_predictor.imagining.node import ImaginationServer
from transition_predictor.imagining.scene import Scene
from transition_predictor.keeper import MotionKeeper
from transition_predictor.messages import history_from_msg, observation_from_msg, prediction_to_msg
from transition_predictor.params import TransitionPredictorParams
from transition_predictor.remembering.node import Answer, Remembering
from transition_predictor.replacement import Replacement
from transition_predictor.scoring.node import Scoring
from transition_predictor.showing.node import PictureTopic
from wm_core.bounds import LARGEST_LATENT_STDS
from wm_core.memory.journal import WindowSource
from wm_interfaces.msg import LatentPrediction, LatentState, VisualHistory
from wm_interfaces.msg import Projection as ProjectionMsg
from wm_ros import (
    ManagedNode,
    MessageError,
    float_array_msg,
    projection_from_msg,
    qos,
    run_node,
    stamp_ns,
    vector_from_msg,
)
from wm_ros.expected_frame import ExpectedFrame
from wm_ros.foresight import Foresight
from wm_ros.one_stream import OneStream
from wm_ros.poseless import PoseWatch
from wm_ros.silence import why_silent
from world_model.runtime.adapted import adapted_artifact
from world_model.runtime.artifacts import Artifact
from world_model.runtime.predictor import Forecast, Observation, Predictor
from world_model.runtime.profile import Profile, profile_folder
from world_model.runtime.switches import CALIBRATION

# The training range counts as kept again after so many latents in it: at its edge a robot crosses it all the time.
_INSIDE_AGAIN = 100
_SOURCES = ("none", "window", "service")
# The profile is looked at after so many predictions: five seconds at 20 Hz.
_LOOK_EVERY = 100


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

    # None as long as it was never configured so far: what fails before leaves it.
    _to_end: ImaginationServer | None = None

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
        self._history = HistoryKeeper(params.use_history, params.history_max_age_s)
        self._history_id = artifact.manifest.files.get("world_action.pt", "")[:16]
        self._inside_count = self._looked_count = 0
        # The latent whose forecast is not out yet: the memory has been asked, or nothing is waited for.
        self._open: LatentState | None = None
        self._last_state: LatentState | None = None
        self._bases: Bases[LatentState] = Bases(artifact.manifest)
        self._poses = PoseWatch("forecasts are made without memories")
        if self._bases.space is None:
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

    def finish(self) -> None:
        """End what is being imagined."""
        if self._to_end is not None:
            self._to_end.close()

    def release(self) -> None:
        """Keep what was learned."""
        self.finish()
        self._replacement.close()
        self._keeper.close()
        self._experts.close(self._predictor, self._bases.is_final)

    def params_changed(self, params: TransitionPredictorParams) -> None:
        """Ask the memory as is said now."""
        self._remembering.params_changed(params)

    def configure(self) -> None:
        """Open what is published, and the way to the memory."""
        self._health.expect("latents", self._params.latent_timeout_s, self._why_silent)
        self._next_publisher = self.create_publisher(Float32MultiArray, "latent_next", qos.STREAM)
        self._state_publisher = self.create_publisher(LatentPrediction, "latent_next/state", qos.STREAM)
        variance_D = np.asarray(self._manifest.latent_variance)
        self._scoring = Scoring(self, self._health, variance_D, self._manifest.step_s)
        self._foresight = Foresight(self)
        params = self._params
        self._remembering = Remembering(self, self._health, params, self._window_source, self._predict)
        self.create_service(Trigger, "~/reload", self._on_reload)
        self._imagination = self._to_end = ImaginationServer(
            self, self._artifact, params.top_k or None, self._window_source, self._scene, self._foresight.imagined
        )
        self._pictures = PictureTopic(
            self, self._imagination, self._manifest.step_s, params.imagination_rate, params.imagination_pictures,
            params.image_transport,
        )  # fmt: skip
        child = self._params.expected_frame
        self._expected_frame = ExpectedFrame(self, child) if child else None

    def activate(self) -> None:
        """Open the inputs."""
        if self._bases.space is not None:
            self.create_subscription(ProjectionMsg, "latent/projection", self._on_projection, qos.LATCHED_EACH)
        stream = OneStream(self, "latent/state", self._health)
        self.create_subscription(LatentState, "latent/state", stream.of(self._on_state), qos.STREAM)
        histories = OneStream(self, "visual_history/state", self._health, beside=stream)
        take = histories.of(self._on_history)
        self.create_subscription(VisualHistory, "visual_history/state", take, qos.STREAM)

    def _scene(self) -> Scene:
        """Returns what is known now, for what is imagined from it."""
        last = self._last_state
        return Scene(
            None if last is None else self._predictor.moment(),
            self._remembering.places(),
            replace(self._manifest, encoder_id=self._bases.encoder_id),
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
            self._bases.wait(msg.encoder_id, msg)
            self._health.count("latents_before_their_basis")
            return
        if self._scoring.follow_time(observation.stamp_ns):
            self._health.count("time_jumps-back")
            self._history.clear()
        self._poses.observe(msg)
        # One context, one open question: a latent that comes before the answer to the last ends the waiting for it.
        if self._open is not None:
            self._remembering.late()
        self._change_basis(msg.encoder_id)
        self._change_artifact(observation)
        requests = self._predictor.observe(observation)
        self._replacement.observe(observation)
        self._open = msg
        answer = self._remembering.ask(requests, self._manifest, self._bases.encoder_id, msg.pose_frame_id, begin_s)
        judged = self._scoring.judge(observation) if self._bases.is_final else ()
        if answer is not None:
            self._predict(answer)
        self._scoring.publish(msg, judged)
        # While the memory looks: what learns from former forecasts need not wait for its answer.
        self._predictor.learn()
        if self._scoring.say_what_is_not(self._predictor.horizons_s):
            self._health.degrade("poses", *(self._poses.complaint() if self._params.use_memory else (None, "")))

    def _is_known_basis(self, msg: LatentState) -> bool:
        """Returns whether a latent's basis has been told of.

        Raises:
            MessageError: It is of another network altogether.
        """
        is_known = self._bases.is_known(msg.encoder_id)
        if not is_known and not self._bases.may_come(msg.feature_id):
            expected = f"latent of {msg.encoder_id!r}, expected {self._bases.encoder_id!r}"
            raise MessageError("encoder-mismatch", expected)
        return is_known

    def _on_projection(self, msg: ProjectionMsg) -> None:
        """Takes note of a basis; the first latent in it changes to it."""
        try:
            projection = projection_from_msg(msg)
            if not self._bases.fits(projection):
                raise MessageError(
                    "projection-mismatch", f"of features {projection.space}, expected {self._bases.space}"
                )
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            return
        for state in self._bases.tell(projection):
            self._on_state(state)

    def _change_basis(self, encoder_id: str) -> None:
        """Goes on in a latent's basis; forecasts made in the one before are never judged by it."""
        if self._bases.space is None:
            return
        projection = self._bases.change(encoder_id)
        if projection is not None:
            self._predictor.rebase(projection)
            self._scoring.change_unit(np.full(self._manifest.z_dim, projection.variance or 1.0))
            self._health.count("changes_of_basis")
        if self._last_state is None:
            self._begin_with_experts()
        unscored = "not published: latents are in a fixed basis until half a minute of driving is seen"
        self._health.gauge("errors", "published" if self._bases.is_final else unscored)

    def _change_artifact(self, observation: Observation) -> None:
        """Goes on with the artifact that the profile names since a while, from this observation on."""
        ready = self._replacement.take()
        if ready is None:
            return
        self._keeper.follow(ready.predictor.motion)
        self._predictor, self._manifest = ready.predictor, ready.artifact.manifest
        self._imagination.use(ready.artifact)
        # Errors have the unit of the latents that a network was trained on: those of the former are not judged in it.
        self._scoring.change_unit(np.asarray(self._manifest.latent_variance))
        self._history_id = self._manifest.files.get("world_action.pt", "")[:16]
        self._health.count("changes_of_artifact")
        text = f"from {observation.stamp_ns} ns on: the network of {ready.artifact.path}, which the profile names"
        self.get_logger().info(text)

    def _observation(self, msg: LatentState) -> Observation:
        latent_D = vector_from_msg(msg.latent, self._manifest.z_dim, "latent", math.inf)
        far = self._predictor.distance(latent_D)
        if far > LARGEST_LATENT_STDS:
            text = (
                f"{far:.3g} standard deviations from the training set's mean, expected at most {LARGEST_LATENT_STDS:g}"
            )
            raise MessageError("latent-too-large", text)
        return observation_from_msg(msg, latent_D, self._manifest.action_dim, self._bases.space)

    def _predict(self, answer: Answer) -> None:
        assert self._open is not None
        state, self._open = self._open, None
        self._last_state = state
        begin_s = perf_counter()
        history = self._history.at(stamp_ns(state.header.stamp))
        prediction = self._predictor.predict(answer.memories, history.values_N, history.count)
        self._next_publisher.publish(float_array_msg(prediction.forecasts[0].latent_D))
        self._health.sample("predict_ms", (perf_counter() - begin_s) * 1e3)
        self._say_outside(prediction.outside)
        self._publish_prediction(state, prediction.forecasts, answer, history)
        self._scoring.expect(prediction, degraded=bool(answer.reason))
        self._pictures.foresee(prediction)
        self._health.tick("latent_next")
        self._health.count("predictions")
        self._health.count("degraded_predictions", int(bool(answer.reason)))
        self._health.count(f"history_{history.reason or 'used'}")
        self._health.count(f"memory_from_{_SOURCES[answer.source]}")
        for name, count in self._predictor.successor_counts.items():
            self._health.gauge(f"successors_{name}", count)
        self._remembering.refresh(self._predictor.motion.pose, state.pose_frame_id)
        self._follow_profile()

    def _follow_profile(self) -> None:
        """Now and then says which motion model is in use, keeps it, and takes up what another wrote."""
        self._experts.predicted(self._predictor, self._bases.is_final)
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
        self, state: LatentState, forecasts: Sequence[Forecast], answer: Answer, history: UsableHistory
    ) -> None:
        msg = prediction_to_msg(state, self._manifest.step_s, forecasts, history)
        msg.degraded, msg.degraded_reason = bool(answer.reason), answer.reason
        msg.memory_query_ms, msg.memory_source = answer.query_ms, answer.source
        msg.window_age_s = self._remembering.held.age_s
        self._state_publisher.publish(msg)
        furthest = msg.forecasts[-1]
        header = Header(stamp=state.header.stamp, frame_id=state.pose_frame_id or "map")
        self._foresight.publish(state.pose if state.has_pose else None, msg.forecasts, answer.memories, header)
        if self._expected_frame is not None and furthest.has_pose:
            self._expected_frame.publish(furthest.pose, state.pose_frame_id or "map", state.header.stamp)

    def _on_history(self, msg: VisualHistory) -> None:
        try:
            values_N = history_from_msg(msg, self._history_id, self._history_size)
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            return
        self._history.insert(stamp_ns(msg.header.stamp), values_N, msg.count)


def main() -> None:
    """Run the node; exit code 0 after a signal, 2 when it cannot be configured."""
    raise SystemExit(run_node(TransitionPredictor, describe=(TransitionPredictor, TransitionPredictorParams)))
