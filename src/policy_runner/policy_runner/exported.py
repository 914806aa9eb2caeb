"""A policy that was trained and exported, as one that the runner asks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from policy_runner.chunks import Chunk
from policy_runner.nearest_drive import NOTHING, STEERING_ANGLE, YAW_RATE, NearestDriveSettings
from policy_runner.policies import MEMORIES, Frame, Memories, Observation, PolicyError
from wm_core.se2 import Pose2, wrap_angle
from wm_policy.errors import InputError
from wm_policy.runtime import Observation as Observed
from wm_policy.runtime import PolicyManifest, Proposal, Trail, load_policy
from wm_policy.runtime.manifest import TRAJECTORY

_LEAST_SPEED_M_S = 0.1


class ExportedPolicy:
    """Feeds a policy all frames, and gives what it proposes as the robot's commands.

    Args:
        folder: Of the policy.
        action_dim: Action size A of the robot.
        robot: What the robot's commands mean, for a policy that gives a trajectory.

    Raises:
        wm_policy.errors.PolicyFileError: No policy there, or a damaged one.
        ValueError: What it gives is nothing that this robot takes.
    """

    takes = frozenset({MEMORIES})

    def __init__(self, folder: Path, action_dim: int, robot: NearestDriveSettings) -> None:
        self._policy, self._robot = load_policy(folder, action_dim), robot
        manifest: PolicyManifest = self._policy.manifest
        self._encoder_id, self._is_trajectory = manifest.encoder_id, manifest.output == TRAJECTORY
        self.action_dim, self.step_s = manifest.action_dim, manifest.step_s
        if self._is_trajectory and (action_dim != 2 or robot.steering == NOTHING):
            raise ValueError("the policy gives a trajectory: a robot with two actions that steer can drive it")

    def act(self, observation: Observation) -> Chunk:
        """Return what the policy proposes.

        Raises:
            PolicyError: The frames are of another encoder, or it refuses them.
        """
        try:
            for frame in observation.frames:
                self._observe(frame)
            proposal = self._policy.propose(_trail(observation.memories))
        except InputError as error:
            raise PolicyError(str(error)) from error
        if not self._is_trajectory:
            return Chunk(proposal.stamp_ns, proposal.step_s, np.array(proposal.action_KA, float))
        return self._driven(proposal, self._policy.observer.pose_3)

    def _driven(self, proposal: Proposal, pose_3: np.ndarray | None) -> Chunk:
        """Return the commands of a trajectory: each is given as long before its time as the robot takes to do it."""
        twist_KA, step_s = np.array(proposal.action_KA, float), proposal.step_s
        late = min(round(self._robot.response_s / step_s), len(twist_KA) - 1)
        action_HA = twist_KA[late:].copy()
        if self._robot.steering == STEERING_ANGLE:
            speed_H = np.maximum(action_HA[:, 0], _LEAST_SPEED_M_S)
            action_HA[:, 1] = np.arctan(self._robot.wheelbase_m * action_HA[:, 1] / speed_H)
        path_H3 = None
        if pose_3 is not None and proposal.path_K2 is not None and self._robot.steering == YAW_RATE:
            path_H3 = _path(pose_3, proposal.path_K2, twist_KA[:, 1] * step_s)[: len(action_HA)]
        return Chunk(proposal.stamp_ns, step_s, action_HA, path_H3)

    def _observe(self, frame: Frame) -> None:
        if frame.encoder_id and frame.encoder_id != self._encoder_id:
            raise PolicyError(f"latents of encoder {frame.encoder_id}, the policy reads those of {self._encoder_id}")
        pose = None
        if frame.pose_3 is not None and math.isfinite(float(frame.pose_3.sum())):
            pose = Pose2(float(frame.pose_3[0]), float(frame.pose_3[1]), 0.0, float(frame.pose_3[2]))
        self._policy.observe(Observed(frame.stamp_ns, np.asarray(frame.latent_D, np.float32), pose, frame.action_A))


def _trail(memories: Memories | None) -> Trail | None:
    """Return memories in the order of their stamps; None: what the policy itself observed has to do."""
    if memories is None or memories.latent_ND is None or not len(memories):
        return None
    order = np.argsort(memories.stamp_N, kind="stable")
    columns = (memories.stamp_N, memories.session_N, memories.pose_N3, memories.action_NA, memories.latent_ND)
    return Trail(*(column[order] for column in columns))


def _path(pose_3: np.ndarray, path_K2: np.ndarray, turn_K: np.ndarray) -> np.ndarray:
    """Return the poses [K + 1, 3] at a trajectory's beginning and after each step, from what is seen from there."""
    x, y, yaw = pose_3
    way_X2 = np.concatenate([np.zeros((1, 2)), path_K2])
    forward_X, left_X = way_X2.T
    yaw_X = wrap_angle(yaw + np.concatenate([[0.0], np.cumsum(turn_K)]))
    x_X = x + np.cos(yaw) * forward_X - np.sin(yaw) * left_X
    y_X = y + np.sin(yaw) * forward_X + np.cos(yaw) * left_X
    return np.column_stack([x_X, y_X, yaw_X])
