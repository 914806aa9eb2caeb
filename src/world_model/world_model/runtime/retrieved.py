"""What is asked of the memory and what came of it, and both as the arrays the network reads.

Shape suffixes: D = latent size, A = action size, H = horizons, K = memories, F = features, 3 = (forward, left, turn).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wm_core.memory.successors import STEP_S, stands_for
from wm_core.se2 import Pose2
from world_model.runtime.conditioning import (
    SPOT_FEATURES,
    TWIN_FEATURES,
    Retrieval,
    offsets_in_frame,
    spot_features,
    twin_features,
)

# Views are alike over about this distance: metres (scaled as the artifact scales lengths) and radians.
_ALIKE = 0.15


@dataclass(frozen=True, kw_only=True)
class MemoryRequest:
    """What the predictor wants to know of the memory. ``rank`` is ``pose`` or ``latent``."""

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


def spot_arrays(
    spots: Sequence[Sequence[Memory]],
    expected: Sequence[Pose2 | None],
    present: Present,
    width: int,
    latent_dim: int,
    retrieval: Retrieval,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return latents [1, H, K, D], features [1, H, K, F] and which are real [1, H, K] of memories near expected poses.

    Args:
        spots: Memories per horizon.
        expected: Where the robot will be, per horizon.
        present: Whose stamp tells the memories' age.
        width: Least K.
        latent_dim: D.
        retrieval: Settings of the artifact.
    """
    width = max(width, max(len(found) for found in spots))
    latent = np.zeros((1, len(spots), width, latent_dim), np.float32)
    feature = np.zeros((1, len(spots), width, SPOT_FEATURES), np.float32)
    valid = np.zeros((1, len(spots), width), bool)
    for row, (found, pose) in enumerate(zip(spots, expected)):
        if not found or pose is None:
            continue
        count = len(found)
        latent[0, row, :count] = [memory.latent_D for memory in found]
        feature[0, row, :count] = spot_features(_offsets(found, pose), _ages_s(found, present), retrieval)
        valid[0, row, :count] = True
    return latent, feature, valid


def twin_arrays(
    twins: Sequence[Memory],
    present: Present,
    horizons_s: Sequence[float],
    width: int,
    latent_dim: int,
    retrieval: Retrieval,
    step_s: float = STEP_S,
) -> tuple[np.ndarray, ...]:
    """Return memories that resemble the present and their successors.

    Args:
        twins: Memories.
        present: What they are compared with.
        horizons_s: Times ahead [s], of the successors.
        width: Least K.
        latent_dim: D.
        retrieval: Settings of the artifact.
        step_s: Step of the artifact [s]; tells which successors are near enough to a horizon.

    Returns:
        Latents [1, K, D], features [1, K, F], which are real [1, K]; successors [1, H, K, D], which are real [1, H, K].
    """
    width = max(width, len(twins))
    latent = np.zeros((1, width, latent_dim), np.float32)
    feature = np.zeros((1, width, TWIN_FEATURES), np.float32)
    valid = np.zeros((1, width), bool)
    following = np.zeros((1, len(horizons_s), width, latent_dim), np.float32)
    following_valid = np.zeros((1, len(horizons_s), width), bool)
    if twins and present.pose is not None:
        count = len(twins)
        latent[0, :count] = [memory.latent_D for memory in twins]
        difference_K = np.array([_action_difference(memory, present.action_A) for memory in twins])
        offset_K3, age_s_K = _offsets(twins, present.pose), _ages_s(twins, present)
        feature[0, :count] = twin_features(offset_K3, age_s_K, difference_K, retrieval)
        valid[0, :count] = True
        for column, memory in enumerate(twins):
            for row, horizon_s in enumerate(horizons_s):
                found = _successor(memory, horizon_s, step_s)
                if found is not None:
                    following[0, row, column] = found
                    following_valid[0, row, column] = True
    return latent, feature, valid, following, following_valid


def count_successors(memories: Sequence[Memory], horizons_s: Sequence[float], step_s: float) -> tuple[int, int]:
    """Return how many successors of some memories stand for one of the horizons, and how many for none.

    Args:
        memories: With what followed them, whoever stored it.
        horizons_s: Times ahead that are asked for [s].
        step_s: Step of the artifact [s].
    """
    every = [dt_s for memory in memories for _, dt_s, _ in memory.successors]
    used = sum(any(stands_for(dt_s, horizon_s, step_s) for horizon_s in horizons_s) for dt_s in every)
    return used, len(every) - used


def plain_copy(found: Sequence[Memory], expected: Pose2, std_3: np.ndarray, retrieval: Retrieval) -> np.ndarray:
    """Return the mean of some memories, each counting by how likely the robot will see what it saw, [D].

    Args:
        found: At least one memory.
        expected: Where the robot will be.
        std_3: Standard errors of that (forward [m], left [m], turn [rad]).
        retrieval: Settings of the artifact.
    """
    offset_K3 = _offsets(found, expected) / retrieval.scale_3
    spread_3 = _ALIKE**2 + np.square(std_3 / retrieval.scale_3)
    far_K = 0.5 * np.sum(np.square(offset_K3) / spread_3, axis=1)
    weight_K = np.exp(far_K.min() - far_K)
    latent_KD = np.array([memory.latent_D for memory in found])
    return (weight_K / weight_K.sum()) @ latent_KD


def _offsets(memories: Sequence[Memory], frame: Pose2) -> np.ndarray:
    pose_K3 = np.array([(m.pose.x, m.pose.y, m.pose.yaw) for m in memories])
    return offsets_in_frame(pose_K3, np.array([frame.x, frame.y, frame.yaw]))


def _ages_s(memories: Sequence[Memory], present: Present) -> np.ndarray:
    return np.array([(present.stamp_ns - memory.stamp_ns) * 1e-9 for memory in memories])


def _action_difference(memory: Memory, action_A: np.ndarray | None) -> float:
    if action_A is None or memory.action_A is None or memory.action_A.shape != action_A.shape:
        return float("nan")
    return float(np.linalg.norm(memory.action_A - action_A))


def _successor(memory: Memory, horizon_s: float, step_s: float) -> np.ndarray | None:
    nearest = min(memory.successors, key=lambda each: abs(each[1] - horizon_s), default=None)
    return nearest[2] if nearest is not None and stands_for(nearest[1], horizon_s, step_s) else None
