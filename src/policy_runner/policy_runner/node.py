"""The node: latents in, commands out at their rate; inference on a thread of its own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.action.server import CancelResponse, GoalResponse
from rclpy.task import Future

from policy_runner.accepting.node import Reception, RefusedError, other_frame
from policy_runner.choice import UnknownPolicyError, Wanted, policy_maker
from policy_runner.chunks import ChunkBuffer, Combining
from policy_runner.drift import DriftSettings, Known
from policy_runner.estimate import Estimate, EstimateSettings, twist_of
from policy_runner.execution import AHEAD_NS, Execution, ExecutionSettings, Step
from policy_runner.goals import Fence, Goal
from policy_runner.inference.node import Inference
from policy_runner.job import Job, Wish
from policy_runner.localised import Localised
from policy_runner.messages import Output, feedback_msg, result_msg, seen_from_msg
from policy_runner.nearest_drive import NearestDriveSettings
from policy_runner.outcomes import Mode, Outcome
from policy_runner.pace import Pace
from policy_runner.params import PolicyRunnerParams
from policy_runner.policies import MEMORIES, Policy
from policy_runner.situation import Seen, Situation
from wm_core.limits import Limiter
from wm_core.memory.journal import WindowSource
from wm_interfaces.action import ExecutePolicy
from wm_interfaces.msg import LatentState
from wm_ros import ConfigurationError, ManagedNode, MessageError, qos, run_node
from wm_ros.memory_window import HeldMemories, WindowSettings
from wm_ros.one_stream import OneStream
from wm_ros.present import Moment, Present
from wm_ros.silence import why_silent

_FEEDBACK_S = 0.1
_WINDOW_PERIOD_S = 0.5
# Longer than any limits that a robot can be driven by take to bring it to a stand.
_LONGEST_BRAKING_S = 20.0
_NEVER_NS = 2**62


class PolicyRunner(ManagedNode[PolicyRunnerParams]):
    """Execute a policy: ask it for chunks of actions, and command what they say for now, within the limits.

    Serves the action ``~/execute`` (wm_interfaces/action/ExecutePolicy). Subscribes ``/latent/state``
    (wm_interfaces/LatentState); holds the memories around the robot by ``/spatial_memory/window``; asks
    ``/latent_publisher/encode`` and ``/spatial_memory/recognise`` where the picture of a goal was taken. Publishes
    ``~/proposed`` and, unless ``shadow``, the command itself: ``/actions`` (std_msgs/Float32MultiArray), ``/cmd_vel``,
    ``/ackermann_cmd`` or ``/joint_trajectory``, at ``rate_hz``.

    Args:
        make_policy: Makes the policy; default: as the parameter ``policy`` says.
        window_source: A memory in the same process; default: the service.
    """

    _inference: Inference | None = None
    commands_robot = True

    def __init__(
        self,
        make_policy: Callable[[], Policy] | None = None,
        window_source: WindowSource | None = None,
        **node_options: Any,
    ) -> None:
        self._given, self._window_source = make_policy, window_source
        super().__init__("policy_runner", PolicyRunnerParams, **node_options)
        self.start()

    # ---------------------------------------------------------------- life

    def prepare(self) -> None:
        """Make the policy once, so that one that cannot be made is refused by name."""
        self._known = Known()
        make = self._given or self._maker()
        try:
            self._policy = make()
        except ValueError as error:
            raise ConfigurationError(f"{self.get_name()}: {error}") from error
        params, size = self._params, len(self._params.low)
        if self._policy.action_dim != size:
            raise ConfigurationError(f"the policy gives {self._policy.action_dim} actions, the limits are of {size}")
        self._limiter = self._new_limiter()
        self._make_policy = make
        if params.drift_m and MEMORIES in self._policy.takes:
            drift = DriftSettings(most_m=params.drift_m)
            self._make_policy = lambda: Localised(make(), drift, self._known)

    def _maker(self) -> Callable[[], Policy]:
        params = self._params
        drive = NearestDriveSettings(
            steps=params.chunk_steps, step_s=params.chunk_step_s, most_m=params.drive_within_m,
            steering=params.steering, wheelbase_m=params.wheelbase_m, response_s=params.response_s,
            most_speed=params.high[0], most_rate=params.rate[0],
        )  # fmt: skip
        try:
            return policy_maker(params.policy, Wanted(len(params.low), drive), self._known)
        except UnknownPolicyError as error:
            raise ConfigurationError(f"{self.get_name()}: {error}") from error

    def configure(self) -> None:
        """Open what is published, and the ways to memory and encoder."""
        params = self._params
        self._output = Output(params)
        self._proposed = self.create_publisher(self._output.message, "~/proposed", qos.STREAM)
        self._commanded = None
        if not params.shadow:
            self._commanded = self.create_publisher(self._output.message, self._output.topic, qos.STREAM)
        window = WindowSettings(params.window_radius_m, 0.0, 0, _WINDOW_PERIOD_S)
        self._held = HeldMemories(self, self._health, window, self._window_source)
        self._reception = Reception(self, params, self._policy)
        self._present = Present(self)
        self._inference = Inference(
            params, self._health, self.get_logger(), self._policy, self._make_policy, self._held, self._present
        )
        # Lives on while nothing is executed, so that who waits for the end of a goal is told of it.
        self.create_action_server(
            ExecutePolicy,
            "~/execute",
            self._execute,
            goal_callback=lambda _: GoalResponse.ACCEPT if self.is_active else GoalResponse.REJECT,
            cancel_callback=self._on_cancel,
        )
        self._health.expect("latents", 2.0, self._why_silent)
        self._health.gauge("policy", params.policy)
        self._health.gauge("shadow", params.shadow)

    def activate(self) -> None:
        """Listen, and begin to execute."""
        corners = self._params.keep_in if len(self._params.keep_in) == 4 else ()
        self._situation = Situation(self._new_estimate(), Fence(corners, self._params.brake_m_s2))
        self._job: Job | None = None
        self._fed_back_ns, self._commanded_ns = 0, -_NEVER_NS
        self._pace = Pace(1.0 / self._params.rate_hz)
        if self._inference is not None:
            self._inference.begin()
        stream = OneStream(self, "latent/state", self._health)
        self.create_subscription(LatentState, "latent/state", stream.of(self._on_state), qos.STREAM)
        self._timer = self.create_timer(1.0 / self._params.rate_hz, self._on_time)
        # Undone first, while there is still something to brake with.
        self._noted(self, lambda _: self._brake())

    def release(self) -> None:
        """End the thread."""
        if self._inference is not None:
            self._inference.stop()

    def _new_limiter(self) -> Limiter:
        params = self._params
        return Limiter(params.limits, 1.0 / params.rate_hz, params.third if params.has_third else ())

    def _new_estimate(self) -> Estimate:
        params = self._params
        settings = EstimateSettings(
            response_s=params.response_s, position_std_m=params.pose_std_m, yaw_std_rad=params.pose_std_rad
        )
        return Estimate(settings, twist_of(params.steering, params.wheelbase_m))

    def _why_silent(self) -> str:
        topic = self.resolve_topic_name("latent/state")
        return why_silent(self, (topic,), ("wm_interfaces/msg/LatentState",), "latents")

    def _brake(self) -> None:
        """Bring the robot to a stand before nobody commands it any more."""
        job, self._job = self._job, None
        if job is None:
            return
        if self._commanded is not None:
            job.execution.end(Outcome.STOPPED)
            # The clock that is followed does not go on while this is called.
            period_s = self._pace.period_s
            for _ in range(int(_LONGEST_BRAKING_S * self._params.rate_hz)):
                self._publish(job.execution.step(self._now_ns()))
                if job.execution.is_over:
                    break
                time.sleep(period_s)
        # What it had ended with before that it has ended with.
        self._finish(job, job.execution.outcome or Outcome.STOPPED, job.message or "the node was deactivated")

    # ---------------------------------------------------------------- what comes in

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _on_state(self, msg: LatentState) -> None:
        self._health.tick("latents")
        self._health.count("states")
        try:
            seen = seen_from_msg(msg, len(self._params.low))
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            return
        if seen.frame.stamp_ns > self._now_ns() + AHEAD_NS:
            ahead_s = (seen.frame.stamp_ns - self._now_ns()) * 1e-9
            self._health.drop("ahead-of-the-clock", f"a state stamped {ahead_s:.1f} s ahead of this node's clock")
            return
        # Of a robot that somebody else drives, only states tell what it is told.
        if not self._situation.see(seen, is_driven=self._commanded is None):
            self._health.skip("no-newer-state")
            return
        self._held.refresh(seen.place, seen.frame_id)
        if self._job is not None:
            self._look(self._job, seen)

    def _look(self, job: Job, seen: Seen) -> None:
        now_ns, here_3 = self._now_ns(), self._situation.pose_3
        soon_ns = now_ns + round(self._params.response_s * 1e9)
        soon_3 = self._situation.at(soon_ns, job.execution.planned(now_ns, soon_ns))
        if self._situation.may_go_on:
            job.execution.see(seen.frame.stamp_ns, soon_3, soon_ns)
        if not job.wish.is_of(seen.frame_id):
            # Asked for before any pose was known, or the poses are of another frame since.
            job.message = job.message or other_frame(job.wish, seen.frame_id)
            job.execution.end(Outcome.REFUSED)
        elif here_3 is not None and job.wish.goal.see(here_3):
            job.execution.end(Outcome.REACHED)

    # ---------------------------------------------------------------- what goes out

    def _on_time(self) -> None:
        now_ns = self._now_ns()
        inference = self._inference
        assert inference is not None
        inference.collect(self._job, now_ns)
        if self._job is None and self._params.shadow:
            # Nobody asked: what would be done is of interest all the same.
            self._job = self._begin(Wish(Goal((), 1.0, math.pi)), now_ns, self._present.now())
        job = self._job
        if job is None:
            return
        # Under a clock that had not begun nothing but now is its beginning.
        job.begin_ns = job.begin_ns or now_ns
        if job.handle is not None and self._present.elapsed_s(job.begun) > job.wish.time_limit_s:
            job.execution.time_out(now_ns)
        step = job.execution.step(now_ns)
        self._pace.tick()
        self._publish(step)
        self._tell(job, step, now_ns)
        told_A = None if self._commanded is None else self._limiter.value
        inference.ask(job, self._situation, told_A, now_ns)
        if job.execution.is_over:
            outcome = job.execution.outcome
            assert outcome is not None
            self._finish(job, outcome, job.message or step.reason)

    def _publish(self, step: Step) -> None:
        msg = self._output.msg(step.command_A, self._now_ns())
        self._proposed.publish(msg)
        if self._commanded is not None:
            self._commanded.publish(msg)
            self._commanded_ns = self._now_ns()
            self._situation.commanded(self._commanded_ns, step.command_A)
        self._health.tick("commands")

    def _tell(self, job: Job, step: Step, now_ns: int) -> None:
        health = self._health
        health.gauge("mode", step.mode.value)
        health.count("starved_steps", int(step.is_starved))
        health.count("limited_steps", int(step.is_limited))
        # Who waits for its first chunk is told by inference why there is none.
        is_told = step.mode in (Mode.HOLDING, Mode.STOPPING) or (step.mode is Mode.WAITING and job.execution.is_blind)
        reason = step.reason if is_told and job.execution.outcome is None else None
        health.degrade("execution", reason, cause=step.mode.value if reason else "")
        chunk = job.execution.newest_chunk
        health.gauge("chunk_age_s", "none" if chunk is None else f"{(now_ns - chunk.stamp_ns) * 1e-9:.3f}")
        health.gauge("drift", self._known.text)
        health.gauge("latency_p95_s", f"{job.execution.latency.reckoned_s:.3f}")
        if job.handle is not None and abs(now_ns - self._fed_back_ns) >= _FEEDBACK_S * 1e9:
            self._fed_back_ns = now_ns
            job.handle.publish_feedback(feedback_msg(job.execution, job.wish.goal, step, now_ns))

    # ---------------------------------------------------------------- goals

    def _begin(self, wish: Wish, begin_ns: int, begun: Moment) -> Job:
        now_ns, params, size = self._now_ns(), self._params, len(self._params.low)
        settings = ExecutionSettings(
            period_s=1.0 / params.rate_hz, stale_s=params.stale_s, hold_s=params.hold_s, give_up_s=params.give_up_s,
            replan_s=params.replan_s, margin_s=2.0 / params.rate_hz, latency_guess_s=params.latency_guess_s,
            response_s=params.response_s, turns_by_rate=params.turns_by_rate,
        )  # fmt: skip
        combining = Combining(params.combine, params.ensemble_decay, params.blend_new, params.seam_s)
        safe_A = None if params.has_third else np.zeros(size)
        seen = self._situation.seen
        frame = None if seen is None else seen.frame
        if frame is not None and frame.action_A is not None and self._job is None:
            # Positions go on from where they are, and speeds from what somebody else has the robot do.
            is_fresh = now_ns - frame.stamp_ns <= params.stale_s * 1e9
            if params.has_third or (is_fresh and self._commanded_ns < frame.stamp_ns):
                self._limiter.start(frame.action_A)
        execution = Execution(settings, ChunkBuffer(combining), self._limiter, safe_A, self._why_not)
        if frame is not None and self._situation.may_go_on:
            execution.see(frame.stamp_ns)
        return Job(execution, wish, begin_ns, begun, Future())

    def _why_not(self) -> str | None:
        return self._situation.why_not(self._now_ns())

    def _on_cancel(self, handle: Any) -> CancelResponse:
        if self._job is not None and self._job.handle is handle:
            self._job.execution.end(Outcome.CANCELLED)
        return CancelResponse.ACCEPT

    async def _execute(self, handle: Any) -> Any:
        begin_ns, begun, shadow = self._now_ns(), self._present.now(), self._params.shadow
        try:
            wish = await self._reception.wish(
                handle.request, self._situation.frame_id, lambda: self.is_active and not handle.is_cancel_requested
            )
            self._check_begin(handle)
        except RefusedError as refusal:
            outcome, why = self._why_unwanted(handle) or (refusal.outcome, str(refusal))
            (handle.canceled if outcome is Outcome.CANCELLED else handle.abort)()
            return result_msg(outcome, why, None, 0.0, shadow=shadow)
        job = self._take_over(handle, self._begin(wish, begin_ns, begun))
        ended: Any = await job.done
        if ended is Outcome.CANCELLED:
            handle.canceled()
        elif ended is Outcome.REACHED or (ended is Outcome.TIMED_OUT and job.wish.is_open_ended):
            handle.succeed()
        else:
            handle.abort()
        time_s = self._present.elapsed_s(begun)
        return result_msg(ended, job.message, job.execution, time_s, shadow=shadow)

    def _why_unwanted(self, handle: Any) -> tuple[Outcome, str] | None:
        """Return with what a goal ends that nobody wants any more, and why; None: it is wanted."""
        if handle.is_cancel_requested:
            return Outcome.CANCELLED, "cancelled before it began"
        return None if self.is_active else (Outcome.STOPPED, "the node was deactivated before it began")

    def _check_begin(self, handle: Any) -> None:
        """Raise where a goal that was read is not to begin."""
        if unwanted := self._why_unwanted(handle):
            raise RefusedError(*unwanted)
        seen, params = self._situation.seen, self._params
        if not params.has_third or self._commanded is None or (self._job is not None and self._job.handle):
            return
        age_s = math.inf if seen is None else (self._now_ns() - seen.frame.stamp_ns) * 1e-9
        if seen is None or seen.frame.action_A is None or age_s > params.stale_s:
            # Commanding positions from anywhere else would be a jump.
            text = f"where the {len(params.low)} positions are is not known: no state in {params.stale_s:g} s tells"
            raise RefusedError(Outcome.STALE_INPUTS, text)

    def _take_over(self, handle: Any, job: Job) -> Job:
        """Return the job of a goal, begun; the former one ends."""
        before = self._job
        if before is not None:
            job.execution.go_on_from(before.execution)
            # Of one that only brakes any more it is known how it has ended.
            outcome = before.execution.outcome or Outcome.PREEMPTED
            self._finish(before, outcome, before.message or "another goal came")
        job.handle = handle
        self._job = job
        return job

    def _finish(self, job: Job, outcome: Outcome, message: str) -> None:
        if job is self._job:
            self._job = None
        job.message = message
        self._health.degrade("execution", None)
        if job.handle is not None:
            self._health.count(f"goals/{outcome.value}")
        job.done.set_result(outcome)


def main() -> None:
    """Run the node; exit code 0 after a signal, 2 when it cannot be configured."""
    raise SystemExit(run_node(PolicyRunner, describe=(PolicyRunner, PolicyRunnerParams)))
