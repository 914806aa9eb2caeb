"""From what is asked for to a pose: image, latent, memory or pose, with how sure that is.

Shape suffixes: N = memories, D = latent size, 3 = (x, y, yaw).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wm_core.memory.recognition import Ranked, SamePlace, recognise

REFINING = 64
"""So many memories of a place, nearest in look, say where exactly something looks as wanted."""
_RIDGE = 0.1
"""Share of a look's variance that is noise; 0.03 and 0.3 give the same within a centimetre."""

_AGREED, _ALIKE_RATIO = 0.8, 0.93
"""Of 500 lookups in seven buildings, 38 were not sure: the 10 whose five agreed were right, 11 of the others not."""


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
    if wanted_D.shape != look_ND.shape[1:]:
        sizes = f"{wanted_D.size} numbers, those of the memories have {look_ND.shape[1]}"
        raise GoalError("foreign", f"the goal's latent has {sizes}")
    if not np.isfinite(wanted_D).all():
        raise GoalError("foreign", "the goal's latent holds a number that is not finite")
    distance_N = np.linalg.norm(look_ND - wanted_D, axis=1)

    def nearest(k: int) -> Ranked:
        some = np.argpartition(distance_N, k)[:k] if k < len(distance_N) else np.arange(len(distance_N))
        first = some[np.argsort(distance_N[some], kind="stable")]
        x_K, y_K, yaw_K = pose_N3[first].T
        order.append(first)
        return Ranked(x_K, y_K, yaw_K, None, distance_N[first], k >= len(distance_N))

    order: list[np.ndarray] = []
    found = recognise(nearest, same=same or SamePlace())
    if found.ambiguity and not is_agreed(found.agreement, found.second_ratio):
        raise GoalError("ambiguous", f"the goal is not sure: {found.ambiguity}")
    best = int(order[-1][found.places[0].at])
    pose_3 = refined(wanted_D, look_ND, pose_N3, best, same or SamePlace())
    return GoalPose(pose_3, found.places[0].confidence, best)


def is_agreed(agreement: float, second_ratio: float) -> bool:
    """Return whether the five memories nearest in look agree so well that a place that looks alike does not count.

    A change of light or a person in the picture takes it away from every memory, and so brings the second place nearer
    to the best; the five nearest then still lie at one place. Where two places are alike, they do not, or the second
    looks as much like it as the first.

    Args:
        agreement: Share of the five that lie at the best place.
        second_ratio: Distance of the best place over that of the second.
    """
    return agreement >= _AGREED and second_ratio <= _ALIKE_RATIO


def refined(wanted_D: np.ndarray, look_ND: np.ndarray, pose_N3: np.ndarray, best: int, same: SamePlace) -> np.ndarray:
    """Return the pose from which the memories of one place say that something looks as wanted: x, y [m], yaw [rad].

    Kernel ridge regression of the pose on the look, over the memories nearest in look at the place of the best one.
    Where that one alone fits, as where no other lies near, it is its own pose.

    Args:
        wanted_D: Latent or feature.
        look_ND: The same of every memory.
        pose_N3: Where the memories were made.
        best: Row of the memory that looks most like it.
        same: What lies at its place.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), the mean of equation 2.25.
    """
    offset_N3 = pose_N3 - pose_N3[best]
    offset_N3[:, 2] = (offset_N3[:, 2] + np.pi) % (2.0 * np.pi) - np.pi
    is_near_N = np.hypot(offset_N3[:, 0], offset_N3[:, 1]) <= same.radius_m
    near_N = np.flatnonzero(is_near_N & (np.abs(offset_N3[:, 2]) <= same.rotation_rad))
    distance2_N = ((look_ND[near_N] - wanted_D) ** 2).sum(axis=1)
    near_K = near_N[np.argsort(distance2_N, kind="stable")[:REFINING]]
    look_KD, offset_K3 = look_ND[near_K].astype(np.float64), offset_N3[near_K]
    between_KK = np.maximum(_squares(look_KD, look_KD), 0.0)
    scale = 2.0 * float(np.median(between_KK[~np.eye(len(near_K), dtype=bool)])) if len(near_K) > 1 else 0.0
    if not scale > 0.0:
        return np.array(pose_N3[best], float)
    kernel_KK = np.exp(-between_KK / scale) + _RIDGE * np.eye(len(near_K))
    kernel_K = np.exp(-_squares(wanted_D[None].astype(np.float64), look_KD)[0] / scale)
    middle_3 = offset_K3.mean(axis=0)
    pose_3 = pose_N3[best] + middle_3 + kernel_K @ np.linalg.solve(kernel_KK, offset_K3 - middle_3)
    pose_3[2] = (pose_3[2] + np.pi) % (2.0 * np.pi) - np.pi
    return np.asarray(pose_3)


def _squares(first_MD: np.ndarray, second_ND: np.ndarray) -> np.ndarray:
    """Return squared distances, [M, N]."""
    squares_MN = (first_MD**2).sum(1)[:, None] + (second_ND**2).sum(1) - 2.0 * first_MD @ second_ND.T
    return np.asarray(squares_MN)
