"""From what is asked for to a pose: image, latent, memory or pose, with how sure that is.

Shape suffixes: N = memories, D = latent size, 3 = (x, y, yaw).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wm_core.memory.recognition import Ranked, SamePlace, recognise


class GoalError(ValueError):
    """A goal that cannot be planned for; ``reason`` is one word, the message says why."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class GoalPose:
    """Where to go.

    Attributes:
        pose_3: x, y [m], yaw [rad].
        confidence: 0..1.
        memory: Row of the memory that looks most like it; -1 where the pose itself was given.
    """

    pose_3: np.ndarray
    confidence: float
    memory: int = -1


def look_up(wanted_D: np.ndarray, look_ND: np.ndarray, pose_N3: np.ndarray, same: SamePlace | None = None) -> GoalPose:
    """Return the pose at which the memories look like what is wanted.

    Args:
        wanted_D: Latent or feature of the goal's picture.
        look_ND: The same of every memory.
        pose_N3: Where the memories were made.
        same: When two memories lie at one place.

    Raises:
        GoalError: ``empty``: no memories; ``foreign``: of another length or not finite; ``ambiguous``: places that
            look alike.
    """
    if not len(look_ND):
        raise GoalError("empty", "the memory is empty, so no picture can be looked up")
    if wanted_D.shape != look_ND.shape[1:] or not np.isfinite(wanted_D).all():
        raise GoalError(
            "foreign", f"the goal is {wanted_D.shape}, the memories {look_ND.shape[1:]}, or it is not finite"
        )
    distance_N = np.linalg.norm(look_ND - wanted_D, axis=1)

    def nearest(k: int) -> Ranked:
        some = np.argpartition(distance_N, k)[:k] if k < len(distance_N) else np.arange(len(distance_N))
        first = some[np.argsort(distance_N[some], kind="stable")]
        x_K, y_K, yaw_K = pose_N3[first].T
        order.append(first)
        return Ranked(x_K, y_K, yaw_K, None, distance_N[first], k >= len(distance_N))

    order: list[np.ndarray] = []
    found = recognise(nearest, same=same or SamePlace())
    if found.ambiguity:
        raise GoalError("ambiguous", f"the goal is not sure: {found.ambiguity}")
    best = int(order[-1][found.places[0].at])
    return GoalPose(pose_N3[best].copy(), found.places[0].confidence, best)
