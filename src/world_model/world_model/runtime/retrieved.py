"""What is asked of the memory and what came of it, and both as the arrays the network reads.

Arrays go by the names of the fields of ``world_model.runtime.tensors.Retrieved``, with a batch of one.

Shape suffixes: D = latent size, A = action size, H = horizons, K = memories, F = features, 3 = (forward, left, turn).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wm_core.memory.successors import stands_for
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
_ALIKE = 0.15
_FEW = 4


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


def anticipated_arrays(
    neighbours: Sequence[Sequence[Memory]],
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
        if not found or pose is None:
            continue
        count = len(found)
        latent[0, row, :count] = [memory.latent_D for memory in found]
        feature[0, row, :count] = anticipated_features(_offsets(found, pose), _ages_s(found, present), retrieval)
        valid[0, row, :count] = True
    return {"anticipated_latent": latent, "anticipated_feature": feature, "anticipated_valid": valid}


def appearance_arrays(
    neighbours: Sequence[Memory], present: Present, width: int, latent_dim: int, retrieval: Retrieval
) -> dict[str, np.ndarray]:
    """Return latents [1, K, D], features [1, K, F] and which are real [1, K] of appearance neighbours.

    Args:
        neighbours: Memories.
        present: What they are compared with; without a pose none counts.
        width: Least K.
        latent_dim: D.
        retrieval: Settings of the artifact.
    """
    width = max(width, len(neighbours))
    latent = np.zeros((1, width, latent_dim), np.float32)
    feature = np.zeros((1, width, APPEARANCE_FEATURES), np.float32)
    valid = np.zeros((1, width), bool)
    if neighbours and present.pose is not None:
        count = len(neighbours)
        latent[0, :count] = [memory.latent_D for memory in neighbours]
        difference_K = np.array([_action_difference(memory, present.action_A) for memory in neighbours])
        offset_K3, age_s_K = _offsets(neighbours, present.pose), _ages_s(neighbours, present)
        feature[0, :count] = appearance_features(offset_K3, age_s_K, difference_K, retrieval)
        valid[0, :count] = True
    return {"appearance_latent": latent, "appearance_feature": feature, "appearance_valid": valid}


def successor_arrays(
    neighbours: Sequence[Memory],
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
    width = max(width, len(neighbours))
    latent = np.zeros((1, len(horizons_s), width, latent_dim), np.float32)
    valid = np.zeros((1, len(horizons_s), width), bool)
    for column, memory in enumerate(neighbours if present.pose is not None else ()):
        for row, horizon_s in enumerate(horizons_s):
            found = _successor(memory, horizon_s, step_s)
            if found is not None:
                latent[0, row, column] = found
                valid[0, row, column] = True
    return {"successor_latent": latent, "successor_valid": valid}


def count_successors(memories: Sequence[Memory], spans_s: Sequence[tuple[float, float]]) -> tuple[int, int]:
    """Return how many successors of some memories stand for one of the horizons, and how many for none.

    Args:
        memories: With what followed them, whoever stored it.
        spans_s: Usable real time differences of each horizon that is asked for, as ``usable_span_s`` gives them [s].
    """
    every = [dt_s for memory in memories for _, dt_s, _ in memory.successors]
    used = 0
    for dt_s in every:
        for least_s, largest_s in spans_s:
            if least_s <= dt_s <= largest_s:
                used += 1
                break
    return used, len(every) - used


def plain_copy(found: Sequence[Memory], expected: Pose2, std_3: np.ndarray, retrieval: Retrieval) -> np.ndarray:
    """Return the mean of some memories, each counting by how likely the robot will see what it saw, [D].

    Args:
        found: At least one memory.
        expected: Where the robot will be.
        std_3: Standard errors of that (forward [m], left [m], turn [rad]).
        retrieval: Settings of the artifact.
    """
    return _weights(found, expected, std_3, retrieval) @ np.array([memory.latent_D for memory in found])


def _weights(found: Sequence[Memory], expected: Pose2, std_3: np.ndarray, retrieval: Retrieval) -> np.ndarray:
    offset_K3 = _offsets(found, expected) / retrieval.scale_3
    spread_3 = _ALIKE**2 + np.square(std_3 / retrieval.scale_3)
    far_K = 0.5 * np.sum(np.square(offset_K3) / spread_3, axis=1)
    weight_K = np.exp(far_K.min() - far_K)
    share_K: np.ndarray = weight_K / weight_K.sum()
    return share_K


def plain_copies(found: Sequence[Memory], expected: Pose2, std_3: np.ndarray, retrieval: Retrieval) -> np.ndarray:
    """Return what memories say without any network: ``plain_copy``, mean of the first four, and the first, [3, D].

    Args:
        found: At least one memory, nearest first.
        expected: Where the robot will be.
        std_3: Standard errors of that (forward [m], left [m], turn [rad]).
        retrieval: Settings of the artifact.
    """
    latent_KD = np.array([memory.latent_D for memory in found])
    # One product: each of the three is a weighed mean.
    share_3K = np.zeros((3, len(found)))
    share_3K[0] = _weights(found, expected, std_3, retrieval)
    share_3K[1, :_FEW] = 1.0 / min(len(found), _FEW)
    share_3K[2, 0] = 1.0
    return share_3K @ latent_KD


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
