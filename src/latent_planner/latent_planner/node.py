"""The node ``latent_planner``: goals by action in, commands, path and field out."""

from __future__ import annotations

import math
from time import monotonic
from typing import Any

from rclpy.action.server import CancelResponse, GoalResponse
from rclpy.clock import Clock, ClockType
from rclpy.task import Future

from latent_planner.blocked import Blocked
from latent_planner.finding.node import GoalFinder
from latent_planner.goals import GoalError
from latent_planner.inputs.node import Inputs
from latent_planner.judging import SurpriseJudge
from latent_planner.locate import Located
from latent_planner.messages import (
    NAMES,
    Asked,
    asked_from_goal,
    check_encoder,
    check_frame,
    check_size,
    outcome_of,
    pose_stamped,
)
from latent_planner.output.node import PlannerOutput
from latent_planner.params import LatentPlannerParams
from latent_planner.planner import Judge, State
from latent_planner.pursuit import ACTIONS, Pursuit, PursuitSettings, stepwise
from latent_planner.running.node import GoalOverError, Run, Waiter
from latent_planner.watch import Beat
from wm_core.se2 import Pose2
from wm_interfaces.action import Plan
from wm_interfaces.msg import LatentState
from wm_ros import ConfigurationError, ManagedNode, MessageError, clipped, run_node
from wm_ros.memory_window import HeldMemories, WindowSettings
from world_model.errors import ProfileError
from world_model.runtime.artifacts import Artifact
from world_model.runtime.calibration import STATE_VERSION
from world_model.runtime.motion_model import MotionModel
from world_model.runtime.own_motion import OwnMotion
from world_model.runtime.profile import MOTION, Profile, profile_folder

_FEEDBACK_S = 0.1
_RENEW_S = 1.0
Result, Feedback = Plan.Result, Plan.Feedback
_STATES = {State.DRIVING: Feedback.DRIVING, State.TURNING: Feedback.TURNING, State.REACHED: Feedback.TURNING}


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

    commands_robot = True
    # None as long as it was never configured so far: what fails before leaves it.
    _to_end: GoalFinder | None = None

    def __init__(self, artifact: Artifact | None = None, judge: Judge | None = None, **node_options: Any) -> None:
        super().__init__("latent_planner", LatentPlannerParams, **node_options)
        self._given, self._judge = artifact, judge
        self._run: Run | None = None
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
        self._step_s = manifest.step_s
        self._imagining = None
        if params.imagine and self._judge is None:
            self._imagining = SurpriseJudge(artifact, manifest.step_s, params.surprise_margin)
        self._pursuit = Pursuit(motion, settings, self._judge or self._imagining)
        self._step_beat = Beat(manifest.step_s)
        # Whom nobody commands stands as long as somebody likes.
        self._blocked = Blocked(params.blocked_timeout_s if params.drive else 0.0, params.max_speed_m_s)

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
        self._output = PlannerOutput(self, params)
        settings = WindowSettings(params.window_radius_m, 0.0, params.window_max_count, params.window_period_s)
        self._held = HeldMemories(self, self._health, settings)
        self._inputs = Inputs(self, self._health, params, self._pursuit, self._held if self._imagining else None)
        self._waiter = Waiter(lambda: self.executor)
        self._finder = self._to_end = GoalFinder(self, self._health, params, self._held, self._waiter)
        # Beside configure's other things: whoever's goal a deactivation ends is still told.
        self.create_action_server(
            Plan, "~/plan", self._execute, goal_callback=self._on_goal, cancel_callback=self._on_cancel
        )

    def activate(self) -> None:
        """Open the input and begin to tick."""
        self._inputs.listen(self._on_state)
        self.create_timer(self._step_s, self._on_tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def deactivate(self) -> None:
        """Stop the robot."""
        if self._run is not None:
            self._end(self._run, Result.STOPPED, "the planner was deactivated")

    def finish(self) -> None:
        """Wait for what is under way."""
        if self._to_end is not None:
            self._to_end.shutdown()

    def release(self) -> None:
        """Wait for what is under way."""
        self.finish()

    def fault(self, error: Exception) -> None:
        """Take note of an error that nobody expected, and stop the robot."""
        super().fault(error)
        if self._run is not None:
            self._end(self._run, Result.FAILED, f"unexpected {type(error).__name__}, see the node's log")

    # ---------------------------------------------------------------- inputs

    def _on_state(self, msg: LatentState) -> None:
        pose = self._inputs.take(msg)
        if pose is None:
            return
        frame_id = self._output.frame_id
        if self._run is not None and frame_id and msg.pose_frame_id != frame_id:
            text = f"the robot's poses are in '{msg.pose_frame_id}' now, and were in '{frame_id}'"
            self._end(self._run, Result.REFUSED, text)
        self._output.frame_id, self._output.z_m = msg.pose_frame_id, pose.z

    # ---------------------------------------------------------------- goals

    def _on_goal(self, _: Plan.Goal) -> GoalResponse:
        return GoalResponse.ACCEPT if self.is_active else GoalResponse.REJECT

    def _on_cancel(self, handle: Any) -> CancelResponse:
        if self._run is not None and self._run.handle == handle:
            self._end(self._run, Result.CANCELLED, "cancelled by the client")
        return CancelResponse.ACCEPT

    async def _execute(self, handle: Any) -> Plan.Result:
        limit_s = handle.request.time_limit_s or self._params.time_limit_s or math.inf
        run = Run(handle, Future(executor=self.executor), monotonic(), self._inputs.lived_s(), limit_s)
        self._health.count("goals")
        try:
            asked = self._read(run)
            if self._run is not None:
                self._end(self._run, Result.PREEMPTED, "another goal came")
            self._run = run
            await self._set_out(run, asked)
        except (GoalError, MessageError) as error:
            self._end(run, outcome_of(error), str(error))
        except GoalOverError:
            pass
        finally:
            # Nobody expected what comes by here without an end or a way.
            if run.located is None:
                self._end(run, Result.FAILED, "internal error, see the node's log")
        await run.ended
        outcome, message = run.end
        {Result.REACHED: handle.succeed, Result.CANCELLED: handle.canceled}.get(outcome, handle.abort)()
        return self._result(run, outcome, message)

    def _read(self, run: Run) -> Asked:
        """Return what a goal asks for, before another one is given up for it.

        Raises:
            MessageError: It cannot be one, or is of another frame or encoder than those of the one under way.
            GoalOverError: It has ended already.
        """
        if not self.is_active:
            self._end(run, Result.STOPPED, "the planner was deactivated")
        elif run.handle.is_cancel_requested:
            # Before its turn came, so that nobody could end it.
            self._end(run, Result.CANCELLED, "cancelled by the client")
        if run.ended.done():
            raise GoalOverError
        asked, window = asked_from_goal(run.handle.request), self._held.window
        if self._run is not None and window is not None and len(window):
            check_frame(asked, self._output.frame_id)
            check_encoder(asked, window.encoder_id)
            check_size(asked, window.latent_dim)
        return asked

    def _end(self, run: Run, outcome: int, message: str) -> None:
        """End a goal, if it has not ended, and stop the robot, if it is not on its way to another."""
        if not run.finish(outcome, message):
            return
        if self._run in (None, run):
            self._run = None
            self._stand()
        self._health.count(f"goals/{NAMES[outcome].lower()}")
        self._health.gauge("last_goal", f"{NAMES[outcome]}: {clipped(message)}")
        self.get_logger().info(f"goal {NAMES[outcome]}: {clipped(message)}")

    def _result(self, run: Run, outcome: int, message: str) -> Plan.Result:
        result = Result(outcome=outcome, name=NAMES[outcome], message=message, distance_left=run.left_m)
        result.time_s, result.memory_id = self._inputs.lived_s() - run.lived_s, run.memory_id
        if run.pose is not None:
            result.has_pose, result.confidence = True, run.pose.confidence
            result.pose = pose_stamped(self._output.header(), run.pose.pose_3, self._output.z_m)
        return result

    # ---------------------------------------------------------------- from a goal to a way

    async def _set_out(self, run: Run, asked: Asked) -> None:
        """Locate a goal and begin to drive there.

        Raises:
            GoalError: It cannot be planned for.
            MessageError: It is of another frame or encoder.
            GoalOverError: It has ended meanwhile.
        """
        # Inputs and memory may be just about to come.
        run.waits_for = Result.STALE_INPUTS, "no latent with a pose has come yet"
        while not self._inputs.has_come:
            await self._waiter.tick(run)
        check_frame(asked, self._output.frame_id)
        self._pursuit.check()
        await self._finder.settle(run, asked)
        located = await self._finder.locate(run, self._pursuit.pose_3)
        self._show(run, located)
        self._pursuit.drive_to(located.goal.pose_3, located.field)
        self._blocked.restart()
        self._health.sample("goal_located_ms", (monotonic() - run.begin_s) * 1e3)

    async def _renew(self, run: Run) -> None:
        """Find the way anew: what is remembered was moved, restored or taken away."""
        try:
            located = await self._finder.locate(run, self._pursuit.pose_3)
        except (GoalError, MessageError) as error:
            if outcome_of(error) != Result.UNREACHABLE:
                self._end(run, outcome_of(error), str(error))
            elif run.lose(str(error), monotonic()):
                # Memories and the robot's poses are not moved at the same time.
                self._stand()
            return
        except GoalOverError:
            return
        was_lost = bool(run.lost)
        self._show(run, located)
        lead = self._pursuit.drive_to if was_lost else self._pursuit.lead
        lead(located.goal.pose_3, located.field)
        self._health.count("ways_found_anew")

    def _stand(self) -> None:
        self._pursuit.stop()
        self._output.stop()
        self._blocked.restart()

    def _look_for_moves(self, run: Run, now_s: float) -> None:
        """Begin to find the way anew where memories moved; seldom, since a full memory loses some all the time."""
        if self._held.window is None or now_s - run.found_s < _RENEW_S:
            return
        if self._finder.moves == run.moves and not run.lost:
            return
        run.moves, run.found_s = self._finder.moves, now_s
        assert self.executor is not None
        self.executor.create_task(self._renew, run)

    def _show(self, run: Run, located: Located) -> None:
        run.lies_at(located)
        self._output.show_way(located)

    # ---------------------------------------------------------------- ticks

    def _on_tick(self) -> None:
        pose_3 = self._pursuit.pose_3
        self._held.refresh(
            None if pose_3 is None else Pose2(pose_3[0], pose_3[1], 0.0, pose_3[2]), self._output.frame_id
        )
        self._waiter.tell_tick()
        self._inputs.complain()
        run, now_s = self._run, monotonic()
        if run is None:
            self._output.repeat_stop()
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
        if run.lost:
            self._output.repeat_stop()
            self._feed_back(run, Feedback.LOCATING, now_s)
            return
        if self._step_beat.is_due(self._inputs.lived_s()):
            self._drive_on(run, now_s)

    def _drive_on(self, run: Run, now_s: float) -> None:
        """Take the step that begins now."""
        self._prepare_to_imagine()
        decision, pose_3 = self._pursuit.step(self._inputs.lag_s())
        self._health.sample("decide_ms", (monotonic() - now_s) * 1e3)
        run.left_m = decision.left_m
        if decision.state is State.REACHED:
            self._end(run, Result.REACHED, "")
            return
        why_not = self._why_blocked(decision.state)
        if why_not:
            self._end(run, Result.UNREACHABLE, why_not)
            return
        self._output.send(decision, pose_3, run.pose)
        self._health.tick("commands")
        self._feed_back(run, _STATES[decision.state], now_s, decision.cost)

    def _why_blocked(self, state: State) -> str:
        """Return why it is no use to drive on; empty: it is."""
        pose_3 = self._pursuit.pose_3
        if state is not State.DRIVING or pose_3 is None:
            self._blocked.restart()
            return ""
        return self._blocked.take(self._inputs.lived_s(), float(pose_3[0]), float(pose_3[1]))

    def _prepare_to_imagine(self) -> None:
        pose_3, seen = self._pursuit.pose_3, self._inputs.seen_last
        if self._imagining is not None and pose_3 is not None and seen is not None and self._pursuit.is_replanning:
            self._imagining.begin(seen[0], pose_3, seen[1], self._held.window)
            self._health.gauge("plans_refused", self._imagining.refused_count)

    def _why_end(self, run: Run, now_s: float) -> tuple[int, str] | None:
        """Return why a goal cannot go on; None: it can."""
        params = self._params
        stale_s = self._inputs.stale_s(now_s)
        if stale_s is not None:
            return Result.STALE_INPUTS, f"the newest latent with a pose is {stale_s:.2f} s old"
        if run.located is not None:
            if self._held.silence_s > params.memory_timeout_s:
                return Result.MEMORY_LOST, f"the memory has not answered for {self._held.silence_s:.1f} s"
            # None for a moment, while all is told anew.
            if self._held.window is not None and not len(self._held.window):
                return Result.EMPTY_MEMORY, "the memory was cleared"
            if now_s - run.lost_s > params.lookup_timeout_s:
                return Result.UNREACHABLE, f"{run.lost}, since memories were moved or taken away"
        elif run.waits_for is not None and now_s - run.begin_s > params.lookup_timeout_s:
            outcome, message = run.waits_for
            return outcome, f"{message}; {self._held.problem}" if self._held.problem else message
        if self._inputs.lived_s() - run.lived_s > run.limit_s:
            return Result.TIMED_OUT, f"not reached within {run.limit_s:g} s"
        return None

    def _feed_back(self, run: Run, state: int, now_s: float, cost: float = math.nan) -> None:
        if now_s - run.told_s < _FEEDBACK_S - 0.5 * self._step_s:
            return
        run.told_s = now_s
        msg = Feedback(state=state, cost=cost, distance_left=run.left_m, memory_age_s=self._held.age_s)
        pose_3 = self._pursuit.pose_3
        if pose_3 is not None:
            msg.pose = pose_stamped(self._output.header(), pose_3, self._output.z_m)
        msg.input_age_s = self._inputs.lag_s()
        run.handle.publish_feedback(msg)


def main() -> None:
    """Run the node; exit code 0 after a signal, 2 when it cannot be configured."""
    raise SystemExit(run_node(LatentPlanner, describe=(LatentPlanner, LatentPlannerParams)))
