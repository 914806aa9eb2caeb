"""Chunks for the node ``policy_runner``: the policy is asked ahead of time, with what is remembered around the robot.

Shape suffixes: A = action size, P = actions already decided, N = memories.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from policy_runner.chunks import Chunk, ChunkError
from policy_runner.inference.worker import Answer, InferenceWorker
from policy_runner.job import Job
from policy_runner.params import PolicyRunnerParams
from policy_runner.policies import MEMORIES, Memories, Observation, Policy
from policy_runner.situation import Seen, Situation
from wm_core.memory.errors import QueryError
from wm_core.memory.keyframes import EXCLUDE_RECENT_S
from wm_core.memory.query import Place, Query
from wm_ros import Health
from wm_ros.memory_window import HeldMemories
from wm_ros.present import Present


class Inference:
    """Asks the policy for one job at a time, and hands its chunks to that job.

    Args:
        params: Of the node.
        health: Where it tells how that goes.
        logger: Of the node.
        policy: One like those that are asked: tells what it takes.
        make_policy: Makes those that are asked.
        held: The memories around the robot.
        present: Tells how long ago it was asked, by the clock that latency is measured by.
    """

    def __init__(
        self,
        params: PolicyRunnerParams,
        health: Health,
        logger: Any,
        policy: Policy,
        make_policy: Callable[[], Policy],
        held: HeldMemories,
        present: Present,
    ) -> None:
        self._params, self._health, self._logger = params, health, logger
        self._policy, self._held, self._present = policy, held, present
        self._worker = InferenceWorker(make_policy)
        self.begin()

    def begin(self) -> None:
        """Listen to nothing that was asked for before."""
        self._asked_for: Job | None = None
        self._asked_ns, self._asked_at = 0, self._present.now()

    def stop(self) -> None:
        """End the thread."""
        self._worker.stop()

    def ask(self, job: Job, situation: Situation, told_A: np.ndarray | None, now_ns: int) -> None:
        """Ask for a chunk where one is due and the policy is free.

        Args:
            job: For what.
            situation: Of the robot.
            told_A: Command that the runner has in force; None: somebody else commands the robot.
            now_ns: The present [ns].
        """
        seen = situation.seen
        if seen is None or not self._worker.can_ask or not job.execution.wants_chunk(now_ns):
            return
        frame = seen.frame
        job.execution.asked(frame.stamp_ns)
        observation = Observation(
            stamp_ns=frame.stamp_ns,
            latent_D=frame.latent_D,
            pose_3=situation.pose_3,
            speed_m_s=situation.speed_m_s,
            action_A=frame.action_A if told_A is None else told_A,
            decided_PA=self._decided(job, frame.stamp_ns, told_A, now_ns),
            memories=self._memories(job, seen, told_A) if MEMORIES in self._policy.takes else None,
            instruction=job.wish.instruction,
            goal_latent_D=job.wish.goal_latent_D,
            frames=situation.taken_frames(),
            begun_ns=job.begin_ns,
        )
        self._asked_for, self._asked_ns, self._asked_at = job, now_ns, self._present.now()
        self._worker.ask(observation)

    def _decided(self, job: Job, stamp_ns: int, told_A: np.ndarray | None, now_ns: int) -> np.ndarray:
        """Return what is commanded in any case; what is only proposed is not."""
        if told_A is None:
            return np.empty((0, len(self._params.low)))
        return job.execution.decided(stamp_ns, self._policy.step_s, now_ns)

    def _memories(self, job: Job, seen: Seen, told_A: np.ndarray | None) -> Memories | None:
        """Return what is remembered around the robot; what a policy does itself teaches it nothing."""
        place, params = seen.place, self._params
        if place is None:
            return None
        query = Query(
            k=params.most_memories,
            place=Place(place.x, place.y, place.z, place.yaw),
            rank_by="pose",
            radius_m=params.memory_radius_m,
            time_max_ns=None if told_A is None else job.begin_ns,
            exclude_recent_s=EXCLUDE_RECENT_S if told_A is None else 0.0,
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

    def collect(self, current: Job | None, now_ns: int) -> None:
        """Take an answer where there is one, and give up waiting for one that takes too long.

        Args:
            current: The job that is being executed: chunks for another are dropped.
            now_ns: The present [ns].
        """
        worker = self._worker
        self._present.look()
        answer = worker.collect()
        if answer is not None:
            self._take(answer, current, now_ns)
        elif worker.is_busy and self._present.elapsed_s(self._asked_at) > self._params.patience_s:
            worker.kill()
            self._health.count("inference_given_up")
            self._health.degrade("inference", f"no answer for {self._params.patience_s:g} s; the policy is made anew")
        self._health.gauge("policy_restarts", worker.restarts)

    def _take(self, answer: Answer, current: Job | None, now_ns: int) -> None:
        latency_s = max(0.0, (now_ns - self._asked_ns) * 1e-9)
        self._health.sample("inference_ms", latency_s * 1e3)
        why, job = answer.why, self._asked_for
        if answer.error is not None:
            self._health.count("policy_errors")
            self._logger.error(f"the policy failed and is made anew: {why}", throttle_duration_sec=5.0)
        if answer.chunk is not None and job is not None and job is current:
            try:
                if not job.execution.offer(answer.chunk, latency_s, now_ns):
                    self._health.skip("late-chunk")
                    why = _why_late(answer.chunk, job, now_ns)
            except ChunkError as error:
                why = str(error)
        self._health.degrade("inference", f"no chunk: {why}" if why else None, cause=why)


def _why_late(chunk: Chunk, job: Job, now_ns: int) -> str:
    """Return what there is to say of a chunk that was left; nothing, where another is executed."""
    is_alone = job.execution.newest_chunk is None
    return "it was over before it came" if is_alone and chunk.end_ns <= now_ns else ""
