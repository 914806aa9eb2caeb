"""What is asked of the memory and what came of it, and both as the arrays the network reads.

Arrays go by the names of the fields of ``world_model.runtime.tensors.Retrieved``, with a batch of one.

Shape suffixes: D = latent size, A = action size, H = horizons, K = memories, M = successors of one, F = features,
3 = (forward, left, turn).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wm_core.memory.packed import Neighbours
from wm_core.memory.query import Place, Query
from wm_core.memory.successors import nearest_usable
from wm_core.se2 import Pose2
from world_model.runtime.conditioning import (
    ANTICIPATED_FEATURES,
    APPEARANCE_FEATURES,
    Retrieval,
    anticipated_features,
    appearance_features,
    offsets_in_frame,
)

# Views are alike over about this distance: metres (scaled as the artifact scales lengths) and radians.
ALIKE = 0.15
FEW = 4


@dataclass(frozen=True, kw_only=True)
class MemoryRequest:
    """What the predictor wants to know of the memory.

    ``rank`` is ``pose`` or ``latent``; ``orientation`` is the pose's whole rotation where it is more than a yaw.
    """

    horizon_s: float
    pose: Pose2
    latent_D: np.ndarray | None
    rank: str
    radius_m: float
    yaw_tolerance_rad: float
    yaw_weight_m: float
    k: int
    exclude_recent_s: float
    stamp_ns: int
    successors: bool
    orientation: tuple[float, float, float, float] | None = None

    def to_query(self, encoder_id: str, frame_id: str = "") -> Query:
        """Return the same as a query.

        Args:
            encoder_id: Whose latents the memories have to be.
            frame_id: Frame of the pose; empty: whatever the memory's is.
        """
        pose = self.pose
        return Query(
            k=self.k, place=Place(pose.x, pose.y, pose.z, pose.yaw), latent_D=self.latent_D, rank_by=self.rank,
            encoder_id=encoder_id, frame_id=frame_id, radius_m=self.radius_m,
            # A tolerance of half a turn or more is none.
            yaw_tolerance_rad=self.yaw_tolerance_rad if self.yaw_tolerance_rad < math.pi else 0.0,
            yaw_weight_m=self.yaw_weight_m, exclude_recent_s=self.exclude_recent_s, stamp_ns=self.stamp_ns,
            successors=self.successors, orientation=self.orientation,
        )  # fmt: skip


@dataclass(frozen=True)
class Memory:
    """One remembered state. ``successors`` holds (horizon_s, real dt_s, latent)."""

    id: int
    stamp_ns: int
    latent_D: np.ndarray
    pose: Pose2
    action_A: np.ndarray | None = None
    successors: tuple[tuple[float, float, np.ndarray], ...] = ()


@dataclass(frozen=True)
class Present:
    """From where memories are looked at: stamp, pose (``None``: not known) and action (``None``: not known)."""

    stamp_ns: int
    pose: Pose2 | None
    action_A: np.ndarray | None


def gathered(memories: Sequence[Memory] | Neighbours, latent_dim: int, action_dim: int) -> Neighbours:
    """Return memories as arrays; arrays stay as they are.

    Args:
        memories: Nearest first.
        latent_dim: D.
        action_dim: A; an action of another size counts as not known.
    """
    if isinstance(memories, Neighbours):
        return memories
    if not memories:
        return Neighbours.none(latent_dim, action_dim)
    count, width = len(memories), max(len(memory.successors) for memory in memories)
    action_KA = np.full((count, action_dim), np.nan, np.float32)
    horizon_KM, dt_KM = np.full((count, width), np.nan), np.full((count, width), np.nan)
    successor_KMD = np.zeros((count, width, latent_dim), np.float32)
    for row, memory in enumerate(memories):
        if memory.action_A is not None and memory.action_A.shape == (action_dim,):
            action_KA[row] = memory.action_A
        for column, (horizon_s, dt_s, latent_D) in enumerate(memory.successors):
            horizon_KM[row, column], dt_KM[row, column], successor_KMD[row, column] = horizon_s, dt_s, latent_D
    pose_K4 = np.array([(memory.pose.x, memory.pose.y, memory.pose.z, memory.pose.yaw) for memory in memories])
    latent_KD = np.array([memory.latent_D for memory in memories])
    stamp_K = np.array([memory.stamp_ns for memory in memories], np.int64)
    id_K = np.array([memory.id for memory in memories], np.int64)
    return Neighbours(id_K, stamp_K, pose_K4, latent_KD, action_KA, horizon_KM, dt_KM, successor_KMD)


def anticipated_arrays(
    neighbours: Sequence[Neighbours],
    expected: Sequence[Pose2 | None],
    present: Present,
    width: int,
    latent_dim: int,
    retrieval: Retrieval,
) -> dict[str, np.ndarray]:
    """Return latents [1, H, K, D], features [1, H, K, F] and which are real [1, H, K] of anticipated-pose neighbours.

    Args:
        neighbours: Memories per horizon.
        expected: Where the robot will be, per horizon.
        present: Whose stamp tells the memories' age.
        width: Least K.
        latent_dim: D.
        retrieval: Settings of the artifact.
    """
    width = max(width, max(len(found) for found in neighbours))
    latent = np.zeros((1, len(neighbours), width, latent_dim), np.float32)
    feature = np.zeros((1, len(neighbours), width, ANTICIPATED_FEATURES), np.float32)
    valid = np.zeros((1, len(neighbours), width), bool)
    for row, (found, pose) in enumerate(zip(neighbours, expected)):
        count = len(found)
        if not count or pose is None:
            continue
        latent[0, row, :count] = found.latent_KD
        feature[0, row, :count] = anticipated_features(_offsets(found, pose), _ages_s(found, present), retrieval)
        valid[0, row, :count] = True
    return {"anticipated_latent": latent, "anticipated_feature": feature, "anticipated_valid": valid}


def appearance_arrays(
    neighbours: Neighbours, present: Present, width: int, latent_dim: int, retrieval: Retrieval
) -> dict[str, np.ndarray]:
    """Return latents [1, K, D], features [1, K, F] and which are real [1, K] of appearance neighbours.

    Args:
        neighbours: Memories.
        present: What they are compared with; without a pose none counts.
        width: Least K.
        latent_dim: D.
        retrieval: Settings of the artifact.
    """
    count = len(neighbours)
    width = max(width, count)
    latent = np.zeros((1, width, latent_dim), np.float32)
    feature = np.zeros((1, width, APPEARANCE_FEATURES), np.float32)
    valid = np.zeros((1, width), bool)
    if count and present.pose is not None:
        latent[0, :count] = neighbours.latent_KD
        difference_K = _action_differences(neighbours, present.action_A)
        offset_K3, age_s_K = _offsets(neighbours, present.pose), _ages_s(neighbours, present)
        feature[0, :count] = appearance_features(offset_K3, age_s_K, difference_K, retrieval)
        valid[0, :count] = True
    return {"appearance_latent": latent, "appearance_feature": feature, "appearance_valid": valid}


def successor_arrays(
    neighbours: Neighbours,
    present: Present,
    horizons_s: Sequence[float],
    step_s: float,
    width: int,
    latent_dim: int,
) -> dict[str, np.ndarray]:
    """Return what followed appearance neighbours [1, H, K, D] and which of that is known [1, H, K].

    Args:
        neighbours: Memories.
        present: What they resemble; without a pose none counts.
        horizons_s: Times ahead [s].
        step_s: Step of the artifact [s]; tells which successors are near enough to a horizon.
        width: Least K.
        latent_dim: D.
    """
    count = len(neighbours)
    width = max(width, count)
    latent = np.zeros((1, len(horizons_s), width, latent_dim), np.float32)
    valid = np.zeros((1, len(horizons_s), width), bool)
    if count and present.pose is not None and neighbours.dt_KM.shape[1]:
        for row, horizon_s in enumerate(horizons_s):
            at_K, usable_K = nearest_usable(neighbours.dt_KM, horizon_s, step_s)
            latent[0, row, :count][usable_K] = neighbours.successor_KMD[usable_K, at_K[usable_K]]
            valid[0, row, :count] = usable_K
    return {"successor_latent": latent, "successor_valid": valid}


def count_successors(memories: Neighbours, spans_s: Sequence[tuple[float, float]]) -> tuple[int, int]:
    """Return how many successors of some memories stand for one of the horizons, and how many for none.

    Args:
        memories: With what followed them, whoever stored it.
        spans_s: Usable real time differences of each horizon that is asked for, as ``usable_span_s`` gives them [s].
    """
    dt_S = memories.dt_KM[~np.isnan(memories.dt_KM)]
    is_used_S = np.zeros(len(dt_S), bool)
    for least_s, largest_s in spans_s:
        is_used_S |= (dt_S >= least_s) & (dt_S <= largest_s)
    used = int(np.count_nonzero(is_used_S))
    return used, len(dt_S) - used


def plain_copy(found: Neighbours, expected: Pose2, std_3: np.ndarray, retrieval: Retrieval) -> np.ndarray:
    """Return the mean of some memories, each counting by how likely the robot will see what it saw, [D].

    Args:
        found: At least one memory.
        expected: Where the robot will be.
        std_3: Standard errors of that (forward [m], left [m], turn [rad]).
        retrieval: Settings of the artifact.
    """
    copy_D: np.ndarray = _weights(found, expected, std_3, retrieval) @ found.latent_KD
    return copy_D


def _weights(found: Neighbours, expected: Pose2, std_3: np.ndarray, retrieval: Retrieval) -> np.ndarray:
    offset_K3 = _offsets(found, expected) / retrieval.scale_3
    spread_3 = ALIKE**2 + np.square(std_3 / retrieval.scale_3)
    far_K = 0.5 * np.sum(np.square(offset_K3) / spread_3, axis=1)
    weight_K = np.exp(far_K.min() - far_K)
    share_K: np.ndarray = weight_K / weight_K.sum()
    return share_K


def plain_copies(found: Neighbours, expected: Pose2, std_3: np.ndarray, retrieval: Retrieval) -> np.ndarray:
    """Return what memories say without any network: ``plain_copy``, mean of the first four, and the first, [3, D].

    Args:
        found: At least one memory, nearest first.
        expected: Where the robot will be.
        std_3: Standard errors of that (forward [m], left [m], turn [rad]).
        retrieval: Settings of the artifact.
    """
    # One product: each of the three is a weighed mean.
    share_3K = np.zeros((3, len(found)))
    share_3K[0] = _weights(found, expected, std_3, retrieval)
    share_3K[1, :FEW] = 1.0 / min(len(found), FEW)
    share_3K[2, 0] = 1.0
    copies_3D: np.ndarray = share_3K @ found.latent_KD
    return copies_3D


def _offsets(memories: Neighbours, frame: Pose2) -> np.ndarray:
    return offsets_in_frame(memories.pose_K4[:, [0, 1, 3]], np.array([frame.x, frame.y, frame.yaw]))


def _ages_s(memories: Neighbours, present: Present) -> np.ndarray:
    age_s_K: np.ndarray = (present.stamp_ns - memories.stamp_K) * 1e-9
    return age_s_K


def _action_differences(memories: Neighbours, action_A: np.ndarray | None) -> np.ndarray:
    """Return how far the actions taken there are from one; NaN where either is not known."""
    if action_A is None or memories.action_KA.shape[1] != len(action_A):
        return np.full(len(memories), np.nan)
    difference_K: np.ndarray = np.linalg.norm(memories.action_KA - action_A, axis=1)
    return difference_K
