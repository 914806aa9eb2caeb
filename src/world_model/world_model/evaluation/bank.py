"""A plain exact memory in numpy that answers the predictor's requests: the slow reference beside the ROS memory.

Shape suffixes: N = stored states, D = latent size, 4 = (x, y, z, yaw).
"""

import math
from collections import deque

import numpy as np

from wm_core.memory.keyframes import Spacing
from wm_core.se2 import Pose2
from world_model.runtime.predictor import Observation
from world_model.runtime.retrieved import SUCCESSOR_TOLERANCE_S, Memory, MemoryRequest

SUCCESSOR_HORIZONS_S = (0.05, 1.0)


class MemoryBank:
    """Stores observations at a spacing, links their successors when they arrive, and searches by brute force.

    Args:
        spacing: Which observations are kept.
        successor_horizons_s: Times after a state at which its successors are taken [s].
    """

    def __init__(
        self, spacing: Spacing | None = None, successor_horizons_s: tuple[float, ...] = SUCCESSOR_HORIZONS_S
    ) -> None:
        self._spacing = spacing or Spacing()
        self._horizons_s = successor_horizons_s
        self._capacity = 1024
        self._size = 0
        self._pose_N4 = np.zeros((self._capacity, 4))
        self._stamp_N = np.zeros(self._capacity, np.int64)
        self._latent_ND: np.ndarray | None = None
        self._action: list[np.ndarray | None] = []
        self._successors: list[dict[float, tuple[float, np.ndarray]]] = []
        self._recent: deque[int] = deque()
        self._last: tuple[int, Pose2] | None = None

    def __len__(self) -> int:
        return self._size

    def observe(self, observation: Observation) -> None:
        """Take one observation of the dense stream: link it to earlier states, and keep it if the spacing says so."""
        self._link(observation)
        pose = observation.pose
        if pose is None or not self._spacing.is_due(self._last, observation.stamp_ns, pose):
            return
        self._last = (observation.stamp_ns, pose)
        self._append(observation, pose)

    def answer(self, requests: list[MemoryRequest]) -> list[list[Memory]]:
        """Return the exact nearest states of each request, nearest first."""
        return [self._search(request) for request in requests]

    def _append(self, observation: Observation, pose: Pose2) -> None:
        if self._latent_ND is None:
            self._latent_ND = np.zeros((self._capacity, len(observation.latent_D)), np.float32)
        if self._size == self._capacity:
            self._capacity *= 2
            self._pose_N4 = np.resize(self._pose_N4, (self._capacity, 4))
            self._stamp_N = np.resize(self._stamp_N, self._capacity)
            self._latent_ND = np.resize(self._latent_ND, (self._capacity, self._latent_ND.shape[1]))
        row = self._size
        self._pose_N4[row] = (pose.x, pose.y, pose.z, pose.yaw)
        self._stamp_N[row] = observation.stamp_ns
        self._latent_ND[row] = observation.latent_D
        self._action.append(observation.action_A)
        self._successors.append({})
        self._recent.append(row)
        self._size += 1

    def _link(self, observation: Observation) -> None:
        furthest_s = max(self._horizons_s) + SUCCESSOR_TOLERANCE_S
        while self._recent and not 0 <= (observation.stamp_ns - self._stamp_N[self._recent[0]]) * 1e-9 <= furthest_s:
            self._recent.popleft()
        for row in self._recent:
            elapsed_s = float(observation.stamp_ns - self._stamp_N[row]) * 1e-9
            for horizon_s in self._horizons_s:
                distance_s = abs(elapsed_s - horizon_s)
                known = self._successors[row].get(horizon_s)
                if (
                    elapsed_s > 0
                    and distance_s <= SUCCESSOR_TOLERANCE_S
                    and (known is None or distance_s < abs(known[0] - horizon_s))
                ):
                    self._successors[row][horizon_s] = (elapsed_s, observation.latent_D)

    def _search(self, request: MemoryRequest) -> list[Memory]:
        if self._latent_ND is None:
            return []
        pose_N4 = self._pose_N4[: self._size]
        pose = request.pose
        planar_N = (pose_N4[:, 0] - pose.x) ** 2 + (pose_N4[:, 1] - pose.y) ** 2
        turn_N = pose_N4[:, 3] - pose.yaw
        turn_N = np.abs(turn_N - 2 * math.pi * np.round(turn_N / (2 * math.pi)))
        oldest_ns = request.stamp_ns - int(request.exclude_recent_s * 1e9)
        allowed_N = (planar_N <= request.radius_m**2) & (turn_N <= request.yaw_tolerance_rad)
        row_M = np.flatnonzero(allowed_N & (self._stamp_N[: self._size] <= oldest_ns))
        if request.latent_D is None:
            rank_M = planar_N[row_M] + (request.yaw_weight_m * turn_N[row_M]) ** 2
        else:
            rank_M = np.sum((self._latent_ND[row_M] - request.latent_D) ** 2, axis=1)
        best_M = row_M[np.argsort(rank_M, kind="stable")[: request.k]]
        return [self._memory(int(row), request.successors) for row in best_M]

    def _memory(self, row: int, with_successors: bool) -> Memory:
        assert self._latent_ND is not None
        found = self._successors[row] if with_successors else {}
        successors = tuple((horizon_s, dt_s, latent_D) for horizon_s, (dt_s, latent_D) in sorted(found.items()))
        pose = Pose2(*(float(value) for value in self._pose_N4[row]))
        return Memory(row, int(self._stamp_N[row]), self._latent_ND[row].copy(), pose, self._action[row], successors)
