"""The node: latents in, commands out at their rate; inference on a thread of its own."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rclpy.action.server import CancelResponse, GoalResponse
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

from policy_runner.choice import UnknownPolicyError, Wanted, policy_maker
from policy_runner.chunks import ChunkBuffer, ChunkError, Combining
from policy_runner.estimate import Estimate, EstimateSettings, twist_of
from policy_runner.execution import Execution, ExecutionSettings, Mode, Outcome, Step
from policy_runner.goals import Fence, Goal, Track
from policy_runner.messages import (
    LONGEST_INSTRUCTION,
    Output,
    Seen,
    feedback_msg,
    places_from_msg,
    result_msg,
    seen_from_msg,
)
from policy_runner.nearest_drive import NearestDriveSettings
from policy_runner.params import PolicyRunnerParams
from policy_runner.policies import INSTRUCTION, MEMORIES, PICTURE, Frame, Memories, Observation, Policy
from policy_runner.worker import Answer, InferenceWorker
from wm_core.limits import Limiter
from wm_core.memory.errors import QueryError
from wm_core.memory.journal import WindowSource
from wm_core.memory.keyframes import EXCLUDE_RECENT_S
from wm_core.memory.query import Place, Query
from wm_core.se3 import yaw_of
from wm_interfaces.action import ExecutePolicy
from wm_interfaces.msg import LatentState
from wm_interfaces.srv import EncodeImage, RecognisePlace
from wm_ros import ConfigurationError, ManagedNode, MessageError, clipped, pose_from_msg, qos, run_node, vector_from_msg
from wm_ros.memory_window import HeldMemories, WindowSettings
from wm_ros.silence import why_silent

_FEEDBACK_S = 0.1
_WINDOW_PERIOD_S = 0.5
_MOST_FRAMES = 64
_LONGEST_BRAKING_S = 3.0
_LEAST_CONFIDENCE = 0.5
_ANSWER_S = 10.0


@dataclass
class _Job:
    """One goal on its way; without a handle it is only proposed for."""

    execution: Execution
    goal: Goal
    begin_ns: int
    instruction: str = ""
    goal_latent_D: np.ndarray | None = None
    time_limit_s: float = math.inf
    handle: Any = None
    is_open_ended: bool = True
    message: str = ""
    done: Future[Outcome] = field(default_factory=Future)


class _RefusedError(Exception):
    """A goal that cannot be executed; the text says why."""

    def __init__(self, outcome: Outcome, why: str) -> None:
        super().__init__(why)
        self.outcome = outcome


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

    _worker: InferenceWorker | None = None

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
        self._make_policy = self._given or self._maker()
        try:
            self._policy = self._make_policy()
        except ValueError as error:
            raise ConfigurationError(f"{self.get_name()}: {error}") from error
        size = len(self._params.low)
        if self._policy.action_dim != size:
            raise ConfigurationError(f"the policy gives {self._policy.action_dim} actions, the limits are of {size}")
        self._limiter = self._new_limiter()

    def _maker(self) -> Callable[[], Policy]:
        params = self._params
        drive = NearestDriveSettings(
            steps=params.chunk_steps, step_s=params.chunk_step_s, most_m=params.drive_within_m,
            steering=params.steering, wheelbase_m=params.wheelbase_m, response_s=params.response_s,
            most_speed=params.high[0], most_rate=params.rate[0],
        )  # fmt: skip
        try:
            return policy_maker(params.policy, Wanted(len(params.low), drive))
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
        self._encode = self.create_client(EncodeImage, "latent_publisher/encode")
        self._recognise = self.create_client(RecognisePlace, "spatial_memory/recognise")
        self._worker = InferenceWorker(self._make_policy)
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
        self._fence, self._track = Fence(corners, self._params.brake_m_s2), Track()
        self._estimate = self._new_estimate()
        self._seen: Seen | None = None
        self._pose_3: np.ndarray | None = None
        self._frames: deque[Frame] = deque(maxlen=_MOST_FRAMES)
        self._job: _Job | None = None
        self._asked_for: _Job | None = None
        self._fed_back_ns = self._asked_ns = 0
        self.create_subscription(LatentState, "latent/state", self._on_state, qos.STREAM)
        self._timer = self.create_timer(1.0 / self._params.rate_hz, self._on_time)
        # Undone first, while there is still something to brake with.
        self._noted(self, lambda _: self._brake())

    def release(self) -> None:
        """End the thread."""
        if self._worker is not None:
            self._worker.stop()

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
            period_s = 1.0 / self._params.rate_hz
            for _ in range(int(_LONGEST_BRAKING_S / period_s)):
                self._publish(job.execution.step(self._now_ns()))
                if job.execution.is_over:
                    break
                time.sleep(period_s)
        self._finish(job, Outcome.STOPPED, "the node was deactivated")

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
        self._seen = seen
        if self._frames and seen.frame.stamp_ns <= self._frames[-1].stamp_ns:
            self._frames.clear()
        self._frames.append(seen.frame)
        self._locate(seen)
        self._held.refresh(seen.place, seen.frame_id)
        if self._job is not None:
            self._look(self._job, seen)

    def _locate(self, seen: Seen) -> None:
        """Tell the estimate where the robot was measured, and keep where it was by that."""
        frame = seen.frame
        if self._commanded is None and frame.action_A is not None:
            # Somebody else drives: what it is told is only heard of with what is seen.
            self._estimate.commanded(frame.stamp_ns, frame.action_A)
        self._pose_3 = None
        if frame.pose_3 is not None:
            self._pose_3 = self._estimate.measured(frame.stamp_ns, frame.pose_3, seen.std_3)
            self._track.add(frame.stamp_ns, self._pose_3)

    def _look(self, job: _Job, seen: Seen) -> None:
        now_ns, stamp_ns = self._now_ns(), seen.frame.stamp_ns
        soon_ns = now_ns + round(self._params.response_s * 1e9)
        soon_3 = None
        if self._pose_3 is not None:
            soon_3 = self._estimate.at(soon_ns, job.execution.planned(now_ns, soon_ns))
        job.execution.see(stamp_ns, soon_3, soon_ns)
        if self._pose_3 is not None and job.goal.see(self._pose_3):
            job.execution.end(Outcome.REACHED)

    def _may_be(self) -> str | None:
        last = self._track.last
        if last is None:
            return None
        velocity_2 = np.nan_to_num(self._track.velocity_2)
        return self._fence.why_not(last[1], velocity_2, max(0.0, (self._now_ns() - last[0]) * 1e-9))

    # ---------------------------------------------------------------- what goes out

    def _on_time(self) -> None:
        now_ns = self._now_ns()
        self._collect(now_ns)
        if self._job is None and self._params.shadow:
            # Nobody asked: what would be done is of interest all the same.
            self._job = self._begin(Goal((), 1.0, math.pi), now_ns)
        job = self._job
        if job is None:
            return
        if job.handle is not None and (now_ns - job.begin_ns) * 1e-9 > job.time_limit_s:
            job.execution.end(Outcome.TIMED_OUT)
        step = job.execution.step(now_ns)
        self._publish(step)
        self._tell(job, step, now_ns)
        self._ask(job, now_ns)
        if job.execution.is_over:
            outcome = job.execution.outcome
            assert outcome is not None
            self._finish(job, outcome, job.message or step.reason)

    def _publish(self, step: Step) -> None:
        msg = self._output.msg(step.command_A, self._now_ns())
        self._proposed.publish(msg)
        if self._commanded is not None:
            self._commanded.publish(msg)
            self._estimate.commanded(self._now_ns(), step.command_A)
        self._health.tick("commands")

    def _tell(self, job: _Job, step: Step, now_ns: int) -> None:
        health = self._health
        health.gauge("mode", step.mode.value)
        health.count("starved_steps", int(step.is_starved))
        health.count("limited_steps", int(step.is_limited))
        reason = step.reason if step.mode in (Mode.HOLDING, Mode.STOPPING) and job.execution.outcome is None else None
        health.degrade("execution", reason, cause=step.mode.value if reason else "")
        chunk = job.execution.newest_chunk
        health.gauge("chunk_age_s", "none" if chunk is None else f"{(now_ns - chunk.stamp_ns) * 1e-9:.3f}")
        health.gauge("latency_p95_s", f"{job.execution.latency.reckoned_s:.3f}")
        if job.handle is not None and abs(now_ns - self._fed_back_ns) >= _FEEDBACK_S * 1e9:
            self._fed_back_ns = now_ns
            job.handle.publish_feedback(feedback_msg(job.execution, job.goal, step, now_ns))

    # ---------------------------------------------------------------- inference

    def _ask(self, job: _Job, now_ns: int) -> None:
        worker, seen = self._worker, self._seen
        if worker is None or seen is None or not worker.can_ask or not job.execution.wants_chunk(now_ns):
            return
        frame = seen.frame
        job.execution.asked(frame.stamp_ns)
        observation = Observation(
            stamp_ns=frame.stamp_ns,
            latent_D=frame.latent_D,
            pose_3=self._pose_3,
            speed_m_s=float(np.hypot(*self._track.velocity_2)),
            action_A=self._limiter.value if self._commanded is not None else frame.action_A,
            decided_PA=self._decided(job, frame.stamp_ns, now_ns),
            memories=self._memories(job, seen) if MEMORIES in self._policy.takes else None,
            instruction=job.instruction,
            goal_latent_D=job.goal_latent_D,
            frames=tuple(self._frames),
        )
        self._frames.clear()
        self._asked_for, self._asked_ns = job, now_ns
        worker.ask(observation)

    def _decided(self, job: _Job, stamp_ns: int, now_ns: int) -> np.ndarray:
        """Return what is commanded in any case; what is only proposed is not."""
        if self._commanded is None:
            return np.empty((0, len(self._params.low)))
        return job.execution.decided(stamp_ns, self._policy.step_s, now_ns)

    def _memories(self, job: _Job, seen: Seen) -> Memories | None:
        """Return what is remembered around the robot; what a policy does itself teaches it nothing."""
        place, params = seen.place, self._params
        if place is None:
            return None
        query = Query(
            k=params.most_memories,
            place=Place(place.x, place.y, place.z, place.yaw),
            rank_by="pose",
            radius_m=params.memory_radius_m,
            time_max_ns=None if self._commanded is None else job.begin_ns,
            exclude_recent_s=EXCLUDE_RECENT_S if self._commanded is None else 0.0,
            stamp_ns=seen.frame.stamp_ns,
            session=params.session,
        )
        try:
            found = self._held.answer([query]) or self._held.answer([query], whatever=True)
        except QueryError as error:
            self._health.drop("memory-query", str(error))
            return None
        if not found:
            return None
        near = found[0]
        pose_N3 = np.asarray(near.pose_K4[:, [0, 1, 3]], float)
        action_NA = np.asarray(near.action_KA, float)
        return Memories(near.stamp_K, np.zeros(len(near), int), pose_N3, action_NA, near.latent_KD)

    def _collect(self, now_ns: int) -> None:
        worker, job = self._worker, self._asked_for
        if worker is None:
            return
        answer = worker.collect()
        if answer is not None:
            self._take(answer, job, now_ns)
        elif (worker.busy_s or 0.0) > self._params.patience_s:
            worker.kill()
            self._health.count("inference_given_up")
            self._health.degrade("inference", f"no answer for {self._params.patience_s:g} s; the policy is made anew")
        self._health.gauge("policy_restarts", worker.restarts)

    def _take(self, answer: Answer, job: _Job | None, now_ns: int) -> None:
        latency_s = max(0.0, (now_ns - self._asked_ns) * 1e-9)
        self._health.sample("inference_ms", latency_s * 1e3)
        why = answer.why
        if answer.error is not None:
            self._health.count("policy_errors")
            self.get_logger().error(f"the policy failed and is made anew: {why}", throttle_duration_sec=5.0)
        if answer.chunk is not None and job is not None and job is self._job:
            try:
                if not job.execution.offer(answer.chunk, latency_s, now_ns):
                    self._health.skip("late-chunk")
            except ChunkError as error:
                why = str(error)
        self._health.degrade("inference", f"no chunk: {why}" if why else None, cause=why)

    # ---------------------------------------------------------------- goals

    def _begin(self, goal: Goal, now_ns: int) -> _Job:
        params, size = self._params, len(self._params.low)
        settings = ExecutionSettings(
            period_s=1.0 / params.rate_hz, stale_s=params.stale_s, hold_s=params.hold_s, give_up_s=params.give_up_s,
            replan_s=params.replan_s, margin_s=2.0 / params.rate_hz, latency_guess_s=params.latency_guess_s,
        )  # fmt: skip
        combining = Combining(params.combine, params.ensemble_decay, params.blend_new, params.seam_s)
        safe_A = None if params.has_third else np.zeros(size)
        frame = self._seen.frame if self._seen is not None else None
        if params.has_third and frame is not None and frame.action_A is not None and self._job is None:
            # Positions go on from where they are.
            self._limiter.start(frame.action_A)
        execution = Execution(settings, ChunkBuffer(combining), self._limiter, safe_A, self._may_be)
        if frame is not None:
            execution.see(frame.stamp_ns)
        return _Job(execution, goal, now_ns)

    def _on_cancel(self, handle: Any) -> CancelResponse:
        if self._job is not None and self._job.handle is handle:
            self._job.execution.end(Outcome.CANCELLED)
        return CancelResponse.ACCEPT

    async def _execute(self, handle: Any) -> Any:
        begin_ns, shadow = self._now_ns(), self._params.shadow
        try:
            job = await self._accept(handle, begin_ns)
        except _RefusedError as refusal:
            handle.abort()
            return result_msg(refusal.outcome, str(refusal), None, 0.0, shadow=shadow)
        if handle.is_cancel_requested:
            job.execution.end(Outcome.CANCELLED)
        outcome: Any = await job.done
        if outcome is Outcome.CANCELLED:
            handle.canceled()
        elif outcome is Outcome.REACHED or (outcome is Outcome.TIMED_OUT and job.is_open_ended):
            handle.succeed()
        else:
            handle.abort()
        time_s = (self._now_ns() - begin_ns) * 1e-9
        return result_msg(outcome, job.message, job.execution, time_s, shadow=shadow)

    async def _accept(self, handle: Any, begin_ns: int) -> _Job:
        """Return the job that a goal makes, begun.

        Raises:
            _RefusedError: It cannot be executed.
        """
        request, params = handle.request, self._params
        if not all(
            math.isfinite(each) and each >= 0.0
            for each in (request.reached_m, request.reached_rad, request.time_limit_s)
        ):
            raise _RefusedError(Outcome.REFUSED, "distances and times of a goal are finite and not negative")
        if len(request.instruction) > LONGEST_INSTRUCTION:
            text = f"an instruction of {len(request.instruction)} characters, at most {LONGEST_INSTRUCTION}"
            raise _RefusedError(Outcome.REFUSED, text)
        if request.instruction and INSTRUCTION not in self._policy.takes:
            raise _RefusedError(Outcome.REFUSED, f"the policy {params.policy} takes no instruction")
        try:
            places = places_from_msg(request, self._seen.frame_id if self._seen is not None else "")
        except MessageError as error:
            raise _RefusedError(Outcome.REFUSED, error.detail) from error
        latent_D = None
        if request.goal_image.width:
            latent_D, place_3 = await self._place_of(request.goal_image)
            places = [*places, place_3] if place_3 is not None else places
        goal = Goal(places, request.reached_m or params.reached_m, request.reached_rad or params.reached_rad)
        before, job = self._job, self._begin(goal, begin_ns)
        if before is not None:
            self._finish(before, Outcome.PREEMPTED, "another goal came")
        job.handle, job.instruction, job.goal_latent_D = handle, request.instruction, latent_D
        job.time_limit_s, job.is_open_ended = request.time_limit_s or params.time_limit_s, not places
        self._job = job
        return job

    async def _place_of(self, image: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the latent of a goal's picture and, for a policy that takes none, the place where it was seen.

        Raises:
            _RefusedError: It cannot be told.
        """
        encoded = await self._answer(self._encode, EncodeImage.Request(image=image), "encodes pictures")
        if not encoded.success:
            raise _RefusedError(Outcome.NOT_RECOGNISED, clipped(encoded.message))
        try:
            latent_D = vector_from_msg(encoded.latent, len(encoded.latent), "latent")
            if PICTURE in self._policy.takes:
                return latent_D, None
            request = RecognisePlace.Request(feature=encoded.feature, feature_id=encoded.feature_id)
            found = await self._answer(self._recognise, request, "recognises places")
            if not found.success or not found.places or not found.places[0].confidence >= _LEAST_CONFIDENCE:
                text = clipped(found.message) or "the picture is of no place remembered"
                raise _RefusedError(Outcome.NOT_RECOGNISED, text)
            position, turn = pose_from_msg(found.places[0].pose)
        except MessageError as error:
            raise _RefusedError(Outcome.NOT_RECOGNISED, f"an answer cannot be used: {error}") from error
        return latent_D, np.array([position[0], position[1], yaw_of(turn)])

    async def _answer(self, client: Any, request: Any, does: str) -> Any:
        """Return what a service answers.

        Raises:
            _RefusedError: Nobody serves it, or nobody answers in time.
        """
        if not client.service_is_ready():
            raise _RefusedError(Outcome.NOT_RECOGNISED, f"nobody {does}: nobody serves {client.srv_name}")
        waiting: Future[Any] = Future(executor=self.executor)
        future = client.call_async(request)

        def tell(answer: Any) -> None:
            if not waiting.done():
                waiting.set_result(answer)

        future.add_done_callback(lambda done: tell(done.result()))
        timer = Node.create_timer(self, _ANSWER_S, lambda: tell(None), clock=Clock(clock_type=ClockType.STEADY_TIME))
        try:
            answer = await waiting
        finally:
            self.destroy_timer(timer)
            if not future.done():
                client.remove_pending_request(future)
        if answer is None:
            raise _RefusedError(Outcome.NOT_RECOGNISED, f"no answer of {client.srv_name} within {_ANSWER_S:g} s")
        return answer

    def _finish(self, job: _Job, outcome: Outcome, message: str) -> None:
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
