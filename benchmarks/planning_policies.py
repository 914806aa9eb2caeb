"""Exported policies in closed loop: they drive on as they were taught to, until the recognised goal is near."""

from __future__ import annotations

import math

import numpy as np
from latent_planner.goals import GoalError
from latent_planner.optimisers import towards

from benchmarks.planning_methods import KEPT_EVERY, LIMITS, STEP_S, Lap, Robot, Sight, _ByPose
from policy_runner.chunks import ENSEMBLE, ChunkBuffer, Combining
from policy_runner.estimate import Estimate, EstimateSettings
from policy_runner.execution import Execution, ExecutionSettings
from policy_runner.exported import ExportedPolicy
from policy_runner.nearest_drive import NearestDriveSettings
from policy_runner.policies import Frame, Memories, Observation
from wm_core.limits import Limiter

_NS, _NEAR_M = 1_000_000_000, 0.6
# The lap was an hour ago.
_SINCE_NS = 3600 * _NS


class ByPolicy(_ByPose):
    """A policy that was cloned with its memory, executed as the runner does, inference in no time.

    It is told no goal: it drives on as taught. Where the goal's picture is recognised to be near, the robot drives
    straight there and turns as it asks for, whatever the policy says: with and without memory differ in driving alone.

    Raises:
        GoalError: ``policy``: none of that name was given.
    """

    name = "policy"

    def __init__(self, robot: Robot, lap: Lap, pictures: list[np.ndarray], allowed_s: float) -> None:
        super().__init__(robot, lap, pictures, allowed_s)
        if self.name not in robot.policies:
            raise GoalError("policy", f"no policy was given for {self.name}")
        self._policy = ExportedPolicy(robot.policies[self.name], 2, NearestDriveSettings())
        self._execution = Execution(
            ExecutionSettings(period_s=STEP_S, latency_guess_s=STEP_S, margin_s=0.0),
            ChunkBuffer(Combining(ENSEMBLE)), Limiter(LIMITS, STEP_S), np.zeros(2),
        )  # fmt: skip
        count = len(lap.pose_N3)
        stamp_N = np.round(np.arange(count) * KEPT_EVERY * STEP_S * _NS).astype(np.int64)
        self._memories = Memories(stamp_N, np.zeros(count, int), lap.pose_N3, lap.action_NA, lap.latent_ND)
        self._frames: list[Frame] = []
        self._told_A = np.zeros(2)
        self._estimate, self._soon_ns = Estimate(), round(EstimateSettings().response_s * _NS)

    def command(self, sight: Sight) -> np.ndarray:
        """Return forward speed [m/s] and yaw rate [rad/s]."""
        goal_3, _ = self.goal(sight.pose_3)
        now_ns = _SINCE_NS + round(sight.time_s * _NS)
        latent_D = self.robot.eyes.latent(sight.image())
        self._frames.append(Frame(now_ns, latent_D, "", sight.pose_3, self._told_A))
        here_3, soon_ns = self._estimate.measured(now_ns, sight.pose_3), now_ns + self._soon_ns
        soon_3 = self._estimate.at(soon_ns, self._execution.planned(now_ns, soon_ns))
        self._execution.see(now_ns, soon_3, soon_ns)
        if self._execution.wants_chunk(now_ns):
            self._execution.asked(now_ns)
            seen = Observation(
                now_ns, latent_D, here_3, sight.speed_m_s, self._told_A,
                memories=self._memories, frames=tuple(self._frames),
            )  # fmt: skip
            self._frames.clear()
            self._execution.offer(self._policy.act(seen), 0.0, now_ns)
        is_near = self.at == len(self.goals) - 1 and math.dist(sight.pose_3[:2], goal_3[:2]) < _NEAR_M
        driven_A = self._execution.step(now_ns).command_A
        self._told_A = towards(sight.pose_3, goal_3, goal_3[:2], LIMITS) if is_near else np.asarray(driven_A)
        self._estimate.commanded(now_ns, self._told_A)
        return self._told_A


class ByPolicyWithoutMemory(ByPolicy):
    """The same policy, cloned without memory."""

    name = "policy_without_memory"


class ByPolicyOfImagined(ByPolicy):
    """The same policy, cloned on imagined drives as well."""

    name = "policy_imagined"


class ByPolicyOfFiltered(ByPolicy):
    """The same policy, cloned on those imagined drives as well that are expected to be imagined best."""

    name = "policy_imagined_filtered"


POLICIES = (ByPolicy, ByPolicyWithoutMemory, ByPolicyOfImagined, ByPolicyOfFiltered)
