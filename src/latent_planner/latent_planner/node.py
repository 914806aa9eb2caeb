"""The node ``latent_planner``: goals by action in, commands, path and field out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import numpy as np
from nav_msgs.msg import OccupancyGrid, Path
from rclpy.action.server import CancelResponse, GoalResponse
from rclpy.clock import Clock, ClockType
from rclpy.task import Future
from std_msgs.msg import Float32MultiArray, Header

from latent_planner.goals import GoalError, GoalPose, is_agreed, refined
from latent_planner.judging import SurpriseJudge
from latent_planner.locate import (
    FEATURE_SHARE,
    Located,
    Wish,
    beside,
    check_alike,
    check_confidence,
    locate,
    usual_difference,
)
from latent_planner.messages import (
    COMMANDS,
    NAMES,
    Asked,
    actions_msg,
    asked_from_goal,
    command_msg,
    features_from_answers,
    features_of,
    field_msg,
    outcome_of,
    path_msg,
    place_query,
    pose_stamped,
    route_msg,
    sample_queries,
    shapes_of,
)
from latent_planner.params import LatentPlannerParams
from latent_planner.planner import Decision, Judge, State
from latent_planner.pursuit import ACTIONS, Pursuit, PursuitSettings, stepwise
from latent_planner.remembered import Remembered
from latent_planner.watch import InputWatch
from wm_core.memory.recognition import SamePlace
from wm_core.se2 import Pose2
from wm_core.se3 import yaw_of
from wm_interfaces.action import Plan
from wm_interfaces.msg import LatentState
from wm_interfaces.srv import EncodeImage, QueryMemoryBatch, RecognisePlace
from wm_ros import (
    ConfigurationError,
    LongWork,
    ManagedNode,
    MessageError,
    believable_stamp_ns,
    clipped,
    pose_from_msg,
    qos,
    run_node,
    vector_from_msg,
)
from wm_ros.markers import MarkerSheet
from wm_ros.memory_window import HeldMemories, WindowSettings
from wm_ros.poseless import PoseWatch
from wm_ros.silence import why_silent
from world_model.errors import ProfileError
from world_model.runtime.artifacts import Artifact
from world_model.runtime.calibration import STATE_VERSION
from world_model.runtime.motion_model import MotionModel
from world_model.runtime.own_motion import OwnMotion
from world_model.runtime.profile import MOTION, Profile, profile_folder

# A command to stop is repeated: whoever reads it may miss one.
_STOPS = 5
_FEEDBACK_S = 0.1
_RENEW_S = 1.0
Result, Feedback = Plan.Result, Plan.Feedback
_STATES = {State.DRIVING: Feedback.DRIVING, State.TURNING: Feedback.TURNING, State.REACHED: Feedback.TURNING}


class _OverError(Exception):
    """The goal has ended while something was waited for."""


@dataclass
class _Run:
    """A goal under way.

    Attributes:
        handle: The action server's.
        ended: Done when it has ended, as ``end`` says: outcome and message.
        begin_s: When it was accepted, on the steady clock.
        limit_s: When it is given up.
        waits_for: What to say where what is waited for does not come in time: outcome and message; None: nothing is.
        waiting: What its coroutine awaits at present.
        wish: What is wanted, once that is known.
        moves: How often memories had moved when the way was found.
        found_s: When it was last found anew.
        located: Where it is, once that is known.
        pose: As far as it is recognised.
        memory_id: As in the result.
        left_m: As in the result.
        told_s: When feedback was last sent.
        suspected: Why the last tick would have ended it; 0: it would not.
    """

    handle: Any
    ended: Future[None]
    begin_s: float
    limit_s: float
    end: tuple[int, str] = (Result.FAILED, "")
    waits_for: tuple[int, str] | None = None
    waiting: Future[Any] | None = None
    wish: Wish | None = None
    moves: int = 0
    found_s: float = -math.inf
    located: Located | None = None
    pose: GoalPose | None = None
    memory_id: int = 0
    left_m: float = math.nan
    told_s: float = -math.inf
    suspected: int = 0


class LatentPlanner(ManagedNode[LatentPlannerParams]):
    """Drive to a picture, latent, pose, memory or region over the ground that the memory knows.

    Subscribes ``/latent/state`` (wm_interfaces/LatentState); holds the memories by ``/spatial_memory/window``; turns
    pictures into poses by ``/latent_publisher/encode`` and ``/spatial_memory/recognise``. Serves the action
    ``/latent_planner/plan`` (wm_interfaces/action/Plan). Publishes ``/planned_actions`` (std_msgs/Float32MultiArray,
    [step, action], the command for now first), ``/planned_path`` (nav_msgs/Path), ``/latent_planner/field``
    (nav_msgs/OccupancyGrid, latched), ``/latent_planner/route`` (nav_msgs/Path, latched) and, while somebody looks,
    ``/latent_planner/markers`` (visualization_msgs/MarkerArray: goal, sampled plans); where ``drive`` says so,
    ``/actions`` (std_msgs/Float32MultiArray, geometry_msgs/Twist or TwistStamped, as ``output`` says) too. Whatever
    ends a goal stops the robot.

    Args:
        artifact: Whose motion model to begin with; None: as ``model_path`` says.
        judge: Which of the best plans of each time are no good, in the place of ``SurpriseJudge``. It is asked on the
            executor's thread, so it must not wait.
        **node_options: As for ``rclpy.node.Node``.
    """

    def __init__(self, artifact: Artifact | None = None, judge: Judge | None = None, **node_options: Any) -> None:
        super().__init__("latent_planner", LatentPlannerParams, **node_options)
        self._given, self._judge = artifact, judge
        self._run: _Run | None = None
        self.start()

    # ---------------------------------------------------------------- life

    def prepare(self) -> None:
        """Read what the artifact and the profile know of the robot's motion."""
        params = self._params
        artifact = self._given or params.load()
        manifest = artifact.manifest
        if manifest.action_dim != ACTIONS:
            text = f"{manifest.action_dim} actions, expected {ACTIONS}: forward speed and yaw rate"
            raise ConfigurationError(f"the artifact '{manifest.name}' is of a robot with {text}")
        motion = OwnMotion(
            MotionModel.from_manifest(manifest.motion), manifest.step_s, ACTIONS,
            (manifest.step_s, manifest.horizon_s), manifest.horizon_s, calibrate=params.calibrate,
        )  # fmt: skip
        self._read_profile(motion)
        settings = PursuitSettings(
            step_s=manifest.step_s, replan_every=stepwise(params.rate, manifest.step_s), limits=params.limits,
            planner=params.planner, mppi=params.mppi, is_obeyed=params.drive, seed=params.seed,
        )  # fmt: skip
        self._motion, self._step_s, self._same = motion, manifest.step_s, SamePlace(params.same_place_m)
        self._imagining = None
        if params.imagine and self._judge is None:
            self._imagining = SurpriseJudge(artifact, manifest.step_s, params.surprise_margin)
        self._pursuit = Pursuit(motion, settings, self._judge or self._imagining)
        self._watch = InputWatch(params.input_timeout_s)
        self._poses = PoseWatch("nothing can be planned")
        self._frame_id, self._z_m, self._stops_left = "", 0.0, 0
        self._seen_last: tuple[int, np.ndarray] | None = None

    def _read_profile(self, motion: OwnMotion) -> None:
        if not self._params.profile:
            return
        try:
            part = Profile(profile_folder(self._params.profile, self.get_namespace())).read(MOTION, STATE_VERSION)
            if part is not None:
                motion.restore(part.entries)
                self.get_logger().info(f"motion from the profile: {motion.says()}")
        except ProfileError as error:
            self._health.degrade("profile", str(error))

    def configure(self) -> None:
        """Open what is published, the ways to memory and encoder, and the action server."""
        params = self._params
        self._health.expect("latents", params.latent_timeout_s, self._why_silent)
        self._plan_publisher = self.create_publisher(Float32MultiArray, "planned_actions", qos.STREAM)
        self._path_publisher = self.create_publisher(Path, "planned_path", qos.STREAM)
        self._field_publisher = self.create_publisher(OccupancyGrid, "~/field", qos.LATCHED)
        self._route_publisher = self.create_publisher(Path, "~/route", qos.LATCHED)
        self._command_publisher = None
        if params.drive:
            self._command_publisher = self.create_publisher(COMMANDS[params.output], "actions", qos.STREAM)
        self._sheet = MarkerSheet(self, "~/markers")
        settings = WindowSettings(params.window_radius_m, 0.0, params.window_max_count, params.window_period_s)
        self._held = HeldMemories(self, self._health, settings)
        self._encode = self.create_client(EncodeImage, "latent_publisher/encode")
        self._recognise = self.create_client(RecognisePlace, "spatial_memory/recognise")
        self._query = self.create_client(QueryMemoryBatch, "spatial_memory/query_batch")
        self._work = LongWork("latent_planner", lambda: self.executor, GoalError)
        self._ticked: list[Future[Any]] = []
        # Beside configure's other things: whoever's goal a deactivation ends is still told.
        self.create_action_server(
            Plan, "~/plan", self._execute, goal_callback=self._on_goal, cancel_callback=self._on_cancel
        )

    def activate(self) -> None:
        """Open the input and begin to tick."""
        self.create_subscription(LatentState, "latent/state", self._on_state, qos.STREAM)
        self.create_timer(self._step_s, self._on_tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def deactivate(self) -> None:
        """Stop the robot."""
        if self._run is not None:
            self._end(self._run, Result.STOPPED, "the planner was deactivated")

    def release(self) -> None:
        """Wait for what is under way."""
        self._work.shutdown()

    def fault(self, error: Exception) -> None:
        """Take note of an error that nobody expected, and stop the robot."""
        super().fault(error)
        if self._run is not None:
            self._end(self._run, Result.FAILED, f"unexpected {type(error).__name__}, see the node's log")

    # ---------------------------------------------------------------- inputs

    def _why_silent(self) -> str:
        topic = self.resolve_topic_name("latent/state")
        return f"{why_silent(self, (topic,), ('wm_interfaces/msg/LatentState',), 'latents')}; nothing can be planned"

    def _on_state(self, msg: LatentState) -> None:
        self._health.tick("latents")
        self._health.count("latents_received")
        self._poses.observe(msg)
        try:
            now_ns = believable_stamp_ns(msg.header.stamp)
            action_A = vector_from_msg(msg.action, ACTIONS, "action") if msg.has_action else None
            pose = self._pose_of(msg) if msg.has_pose else None
            latent_D = self._latent_of(msg) if self._imagining is not None else None
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            return
        self._pursuit.observe(now_ns, pose, action_A)
        if pose is not None:
            if self._run is not None and self._frame_id and msg.pose_frame_id != self._frame_id:
                text = f"the robot's poses are in '{msg.pose_frame_id}' now, and were in '{self._frame_id}'"
                self._end(self._run, Result.REFUSED, text)
            self._frame_id, self._z_m = msg.pose_frame_id, pose.z
            self._seen_last = (now_ns, latent_D) if latent_D is not None else None
            self._watch.take(now_ns, self.get_clock().now().nanoseconds, monotonic())

    def _pose_of(self, msg: LatentState) -> Pose2:
        position, quaternion = pose_from_msg(msg.pose)
        x_m, y_m, z_m = position.tolist()
        return Pose2(x_m, y_m, z_m, yaw_of(quaternion))

    def _latent_of(self, msg: LatentState) -> np.ndarray | None:
        """Return what is seen, where it is in the basis of the memories held."""
        window = self._held.window
        if window is None or msg.encoder_id != window.encoder_id:
            return None
        return vector_from_msg(msg.latent, len(msg.latent), "latent")

    # ---------------------------------------------------------------- goals

    def _on_goal(self, _: Plan.Goal) -> GoalResponse:
        return GoalResponse.ACCEPT if self.is_active else GoalResponse.REJECT

    def _on_cancel(self, handle: Any) -> CancelResponse:
        if self._run is not None and self._run.handle == handle:
            self._end(self._run, Result.CANCELLED, "cancelled by the client")
        return CancelResponse.ACCEPT

    async def _execute(self, handle: Any) -> Plan.Result:
        if self._run is not None:
            self._end(self._run, Result.PREEMPTED, "another goal came")
        now_s, goal = monotonic(), handle.request
        limit_s = goal.time_limit_s or self._params.time_limit_s or math.inf
        run = self._run = _Run(handle, Future(executor=self.executor), now_s, now_s + limit_s)
        self._health.count("goals")
        try:
            await self._set_out(run, asked_from_goal(goal))
        except (GoalError, MessageError) as error:
            self._end(run, outcome_of(error), str(error))
        except _OverError:
            pass
        finally:
            # Nobody expected what comes by here without an end or a way.
            if run.located is None:
                self._end(run, Result.FAILED, "internal error, see the node's log")
        await run.ended
        outcome, message = run.end
        {Result.REACHED: handle.succeed, Result.CANCELLED: handle.canceled}.get(outcome, handle.abort)()
        return self._result(run, outcome, message)

    def _end(self, run: _Run, outcome: int, message: str) -> None:
        """End a goal, if it has not ended, and stop the robot."""
        if run.ended.done():
            return
        run.end = outcome, message
        run.ended.set_result(None)
        if run.waiting is not None and not run.waiting.done():
            run.waiting.set_result(None)
        if self._run is run:
            self._run = None
        self._stop()
        self._health.count(f"goals/{NAMES[outcome].lower()}")
        self._health.gauge("last_goal", f"{NAMES[outcome]}: {clipped(message)}")
        self.get_logger().info(f"goal {NAMES[outcome]}: {clipped(message)}")

    def _result(self, run: _Run, outcome: int, message: str) -> Plan.Result:
        result = Result(outcome=outcome, name=NAMES[outcome], message=message, distance_left=run.left_m)
        result.time_s, result.memory_id = monotonic() - run.begin_s, run.memory_id
        if run.pose is not None:
            result.has_pose, result.confidence = True, run.pose.confidence
            result.pose = pose_stamped(self._header(), run.pose.pose_3, self._z_m)
        return result

    # ---------------------------------------------------------------- from a goal to a way

    async def _set_out(self, run: _Run, asked: Asked) -> None:
        """Locate a goal and begin to drive there.

        Raises:
            GoalError: It cannot be planned for.
            MessageError: It is of another frame or encoder.
            _OverError: It has ended meanwhile.
        """
        # Inputs and memory may be just about to come.
        run.waits_for = Result.STALE_INPUTS, "no latent with a pose has come yet"
        while self._watch.is_stale(monotonic()) and math.isinf(self._watch.lag_s(monotonic())):
            await self._tick(run)
        if asked.frame_id and self._frame_id and asked.frame_id != self._frame_id:
            raise MessageError("goal", f"in frame '{asked.frame_id}', the robot's poses are in '{self._frame_id}'")
        self._pursuit.check()
        run.waits_for = Result.MEMORY_LOST, "the memory has not told what it holds"
        while self._held.window is None:
            await self._tick(run)
        remembered = self._remembered()
        wish = await self._seen(run, asked, remembered) if asked.is_image else asked.wish
        wish = replace(wish, least_confidence=wish.least_confidence or self._params.least_confidence)
        if asked.encoder_id and remembered.encoder_id and asked.encoder_id != remembered.encoder_id:
            text = f"the latent is of encoder '{asked.encoder_id}', the memory of '{remembered.encoder_id}'"
            raise MessageError("goal", text)
        # On a large ground that takes its time, and nobody else's.
        run.waits_for, run.wish = None, wish
        located = await self._locate(run)
        self._show(run, located)
        self._pursuit.drive_to(located.goal.pose_3, located.field)
        # From now on, to where that memory is, wherever it is moved to.
        if located.memory_id:
            run.wish = replace(wish, pose=None, latent_D=None, memory_id=located.memory_id)
        self._health.sample("goal_located_ms", (monotonic() - run.begin_s) * 1e3)

    async def _locate(self, run: _Run) -> Located:
        """Return where a goal's wish leads by what is remembered now.

        Raises:
            GoalError: It cannot be planned for.
        """
        wish, remembered, run.moves = run.wish, self._remembered(), self._moves()
        pose_3, ground = self._pursuit.pose_3, self._params.ground
        assert wish is not None
        if pose_3 is None:
            raise MessageError("goal", "the robot's pose is not known")
        located = await self._answer(
            run, self._work.later(lambda: locate(wish, remembered, pose_3, ground, self._same))
        )
        if isinstance(located, Exception):
            raise located
        assert isinstance(located, Located)
        return located

    async def _renew(self, run: _Run) -> None:
        """Find the way anew: what is remembered was moved, restored or taken away."""
        try:
            located = await self._locate(run)
        except (GoalError, MessageError) as error:
            self._end(run, outcome_of(error), str(error))
            return
        except _OverError:
            return
        self._show(run, located)
        self._pursuit.lead(located.goal.pose_3, located.field)
        self._health.count("ways_found_anew")

    def _look_for_moves(self, run: _Run, now_s: float) -> None:
        """Begin to find the way anew where memories moved; seldom, since a full memory loses some all the time."""
        if self._held.window is None or self._moves() == run.moves or now_s - run.found_s < _RENEW_S:
            return
        run.moves, run.found_s = self._moves(), now_s
        assert self.executor is not None
        self.executor.create_task(self._renew, run)

    def _moves(self) -> int:
        return self._held.window.move_count if self._held.window is not None else 0

    def _remembered(self) -> Remembered:
        window = self._held.window
        assert window is not None
        part = f"only the {len(window)} memories nearest to the robot are planned with: raise window_max_count"
        self._health.degrade("window", None if window.is_everything else part)
        return Remembered.of(window.rows(), window.encoder_id, window.frame_id)

    def _show(self, run: _Run, located: Located) -> None:
        run.located, run.memory_id = located, run.memory_id or located.memory_id
        run.pose = replace(located.goal, confidence=run.pose.confidence if run.pose else located.goal.confidence)
        header = self._header()
        self._field_publisher.publish(field_msg(header, located.field, self._z_m))
        self._route_publisher.publish(route_msg(header, located.way.point_R2, self._z_m))
        self._stops_left = 0

    async def _seen(self, run: _Run, asked: Asked, remembered: Remembered) -> Wish:
        """Return where a picture was seen, or else its latent.

        Raises:
            GoalError: It is not recognised for sure.
        """
        if not len(remembered):
            raise GoalError("empty", "the memory holds nothing yet: drive the robot round first")
        goal = run.handle.request
        request = EncodeImage.Request(image=goal.image, compressed=goal.compressed)
        encoded = await self._ask(run, self._encode, request, Result.NOT_ENCODED, "the picture")
        if not encoded.success:
            raise MessageError("goal", f"the picture cannot be used: {encoded.message}")
        if len(encoded.feature):
            wish = await self._recognised(run, asked, encoded, remembered)
            if wish is not None:
                return wish
        if remembered.encoder_id and encoded.encoder_id != remembered.encoder_id:
            text = f"the picture's latent is of '{encoded.encoder_id}', the memory of '{remembered.encoder_id}'"
            raise MessageError("goal", text)
        latent_D = vector_from_msg(encoded.latent, len(encoded.latent), "latent")
        return replace(asked.wish, latent_D=latent_D)

    async def _recognised(
        self, run: _Run, asked: Asked, encoded: EncodeImage.Response, remembered: Remembered
    ) -> Wish | None:
        """Return where a feature was seen; None where the memory holds no features."""
        request = RecognisePlace.Request(feature=encoded.feature, feature_id=encoded.feature_id)
        found = await self._ask(run, self._recognise, request, Result.MEMORY_LOST, "places that look alike")
        if not found.success or not found.places:
            return None
        best = found.places[0]
        position, quaternion = pose_from_msg(best.pose)
        pose = GoalPose(np.array([position[0], position[1], yaw_of(quaternion)]), float(best.confidence))
        check_alike(float(best.distance), await self._usual_difference(run, remembered), FEATURE_SHARE)
        run.pose, run.memory_id = pose, int(best.id)
        if found.ambiguous and not is_agreed(found.agreement, found.second_ratio):
            raise GoalError("ambiguous", f"places that look alike: {found.ambiguity}")
        least = 0.0 if found.ambiguous else self._params.least_confidence
        check_confidence(pose.confidence, asked.wish.least_confidence or least)
        exactly_3 = await self._refined(run, encoded, pose.pose_3, found.frame_id)
        row = remembered.row(run.memory_id)
        if row >= 0:
            # Of what the window holds: there the memory may have been moved since.
            return replace(asked.wish, memory_id=run.memory_id, beside_3=beside(exactly_3, pose.pose_3))
        run.pose = replace(pose, pose_3=exactly_3)
        return replace(asked.wish, pose=run.pose)

    async def _refined(self, run: _Run, encoded: EncodeImage.Response, pose_3: np.ndarray, frame_id: str) -> np.ndarray:
        """Return where between the memories of a place a feature was seen; its own pose where they tell nothing."""
        request = place_query(encoded.feature, encoded.feature_id, pose_3, frame_id, self._same)
        answer = await self._ask(run, self._query, request, Result.MEMORY_LOST, "the memories of a place")
        records = answer.matches[0].records if answer.success and len(answer.matches) else []
        look_MF, pose_M3 = features_of(records)
        best = [at for at, record in enumerate(records) if int(record.id) == run.memory_id]
        if len(look_MF) != len(records) or not best:
            return pose_3
        wanted_F = np.array(encoded.feature, np.float32)
        return refined(wanted_F / np.linalg.norm(wanted_F), look_MF, pose_M3, best[0], self._same)

    async def _usual_difference(self, run: _Run, remembered: Remembered) -> float:
        """Return by how much places usually differ in feature; infinite where that is not known."""
        answer = await self._ask(
            run, self._query, sample_queries(remembered), Result.MEMORY_LOST, "features of memories"
        )
        look_MF, pose_M3 = features_from_answers(answer.matches)
        return usual_difference(look_MF, pose_M3, self._same) if len(look_MF) else math.inf

    async def _ask(self, run: _Run, client: Any, request: Any, outcome: int, what: str) -> Any:
        """Return a service's answer."""
        run.waits_for = outcome, f"no answer of {client.srv_name} on {what}"
        while not client.service_is_ready():
            await self._tick(run)
        future = client.call_async(request)
        try:
            return await self._answer(run, future)
        finally:
            if not future.done():
                client.remove_pending_request(future)

    async def _answer(self, run: _Run, future: Future[Any]) -> Any:
        """Return what a future holds.

        Raises:
            _OverError: The goal has ended before.
        """
        waiting: Future[Any] = Future(executor=self.executor)
        run.waiting = waiting

        def tell(done: Future[Any]) -> None:
            if not waiting.done():
                waiting.set_result(done)

        future.add_done_callback(tell)
        done = await waiting
        if run.ended.done() or done is None:
            raise _OverError
        return done.result()

    async def _tick(self, run: _Run) -> None:
        """Wait until the next tick."""
        tick: Future[Any] = Future(executor=self.executor)
        self._ticked.append(tick)
        await self._answer(run, tick)

    # ---------------------------------------------------------------- ticks

    def _on_tick(self) -> None:
        pose_3 = self._pursuit.pose_3
        self._held.refresh(None if pose_3 is None else Pose2(pose_3[0], pose_3[1], 0.0, pose_3[2]), self._frame_id)
        ticked, self._ticked = self._ticked, []
        for tick in ticked:
            tick.set_result(None)
        self._health.degrade("poses", *self._poses.complaint())
        run, now_s = self._run, monotonic()
        if run is None:
            if self._stops_left:
                self._send_stop()
            return
        why = self._why_end(run, now_s)
        if why is not None:
            # After a moment in which this process was held up, what came meanwhile is heard before the next tick.
            if run.suspected == why[0]:
                self._end(run, *why)
            run.suspected = why[0]
            return
        run.suspected = 0
        if run.located is None:
            self._feed_back(run, Feedback.LOCATING, now_s)
            return
        self._look_for_moves(run, now_s)
        self._prepare_to_imagine()
        decision, pose_3 = self._pursuit.step(self._watch.lag_s(now_s))
        self._health.sample("decide_ms", (monotonic() - now_s) * 1e3)
        run.left_m = decision.left_m
        if decision.state is State.REACHED:
            self._end(run, Result.REACHED, "")
            return
        self._publish(run, decision, pose_3)
        self._feed_back(run, _STATES[decision.state], now_s, decision.cost)

    def _prepare_to_imagine(self) -> None:
        pose_3, seen = self._pursuit.pose_3, self._seen_last
        if self._imagining is not None and pose_3 is not None and seen is not None and self._pursuit.is_replanning:
            self._imagining.begin(seen[0], pose_3, seen[1], self._held.window)
            self._health.gauge("plans_refused", self._imagining.refused_count)

    def _why_end(self, run: _Run, now_s: float) -> tuple[int, str] | None:
        """Return why a goal cannot go on; None: it can."""
        params = self._params
        lag_s = self._watch.lag_s(now_s)
        if math.isfinite(lag_s) and self._watch.is_stale(now_s):
            return Result.STALE_INPUTS, f"the newest latent with a pose is {lag_s:.2f} s old"
        if run.located is not None:
            if self._held.silence_s > params.memory_timeout_s:
                return Result.MEMORY_LOST, f"the memory has not answered for {self._held.silence_s:.1f} s"
            # None for a moment, while all is told anew.
            if self._held.window is not None and not len(self._held.window):
                return Result.EMPTY_MEMORY, "the memory was cleared"
        elif run.waits_for is not None and now_s - run.begin_s > params.lookup_timeout_s:
            outcome, message = run.waits_for
            return outcome, f"{message}; {self._held.problem}" if self._held.problem else message
        if now_s > run.limit_s:
            return Result.TIMED_OUT, f"not reached within {run.limit_s - run.begin_s:g} s"
        return None

    def _feed_back(self, run: _Run, state: int, now_s: float, cost: float = math.nan) -> None:
        if now_s - run.told_s < _FEEDBACK_S - 0.5 * self._step_s:
            return
        run.told_s = now_s
        msg = Feedback(state=state, cost=cost, distance_left=run.left_m, memory_age_s=self._held.age_s)
        pose_3 = self._pursuit.pose_3
        if pose_3 is not None:
            msg.pose = pose_stamped(self._header(), pose_3, self._z_m)
        msg.input_age_s = self._watch.lag_s(now_s)
        run.handle.publish_feedback(msg)

    def _publish(self, run: _Run, decision: Decision, pose_3: np.ndarray) -> None:
        header = self._header()
        self._command(decision.command_A)
        plan_SA = np.concatenate([decision.command_A[None], decision.plan_SA[:-1]])
        self._plan_publisher.publish(actions_msg(plan_SA))
        self._path_publisher.publish(path_msg(header, np.concatenate([pose_3[None], decision.path_S3]), self._z_m))
        if run.pose is not None and len(decision.sample_BS3) and self._sheet.is_watched:
            self._sheet.show(shapes_of(run.pose.pose_3, decision.sample_BS3, self._z_m), header.frame_id)
        self._health.tick("commands")

    def _command(self, command_A: np.ndarray) -> None:
        if self._command_publisher is not None:
            header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self._params.output_frame)
            self._command_publisher.publish(command_msg(self._params.output, header, command_A))

    def _stop(self) -> None:
        """Tell the robot to stand, now and a few times more."""
        self._pursuit.stop()
        self._stops_left = _STOPS
        self._send_stop()
        self._path_publisher.publish(Path(header=self._header()))
        self._sheet.show([], self._frame_id or "map")

    def _send_stop(self) -> None:
        self._stops_left -= 1
        self._command(np.zeros(ACTIONS))
        self._plan_publisher.publish(actions_msg(np.zeros((1, ACTIONS), np.float32)))

    def _header(self) -> Header:
        return Header(stamp=self.get_clock().now().to_msg(), frame_id=self._frame_id or "map")


def main() -> None:
    """Run the node; exit code 0 after a signal, 2 when it cannot be configured."""
    raise SystemExit(run_node(LatentPlanner, describe=(LatentPlanner, LatentPlannerParams)))
