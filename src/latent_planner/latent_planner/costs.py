"""What a plan costs, by name: terms over imagined futures, summed over the steps, later steps counting less.

Shape suffixes: B = plans, S = steps, A = action size, D = latent size, 3 = (x, y, yaw).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from latent_planner.ground import Field


class CostError(ValueError):
    """A cost that cannot be made: no such name, or what it needs is not there; the message names both."""


@dataclass(frozen=True)
class Imagined:
    """What would come of some plans.

    Attributes:
        plan_BSA: Commands of each step.
        pose_BS3: Pose after each step: x, y [m], yaw [rad].
        latent_BSD: What would be seen there; None where only the motion was rolled out.
        surprise_BS: How little the memories have to say there, 0..1; None as above.
        reward_BS: What the reward head says; None without one.
    """

    plan_BSA: np.ndarray
    pose_BS3: np.ndarray
    latent_BSD: np.ndarray | None = None
    surprise_BS: np.ndarray | None = None
    reward_BS: np.ndarray | None = None


class Cost(Protocol):
    """Cost of each step of each plan."""

    def __call__(self, imagined: Imagined) -> np.ndarray:
        """Return the costs, [B, S].

        Raises:
            CostError: What it reads was not imagined.
        """


def _needed(values: np.ndarray | None, name: str) -> np.ndarray:
    if values is None:
        raise CostError(f"cost '{name}' reads what was not imagined")
    return values


@dataclass(frozen=True)
class GoalLatent:
    """Squared difference from the goal's latent over the latents' variance (NMSE).

    Args:
        latent_D: What is to be seen.
        variance_D: Unit of each dimension.
    """

    latent_D: np.ndarray
    variance_D: np.ndarray

    def __call__(self, imagined: Imagined) -> np.ndarray:
        """Return the costs, [B, S]."""
        scale_D = 1.0 / np.sqrt(self.variance_D)
        less_BSD = (_needed(imagined.latent_BSD, "goal_latent") - self.latent_D) * scale_D.astype(np.float32)
        return np.asarray(np.einsum("bsd,bsd->bs", less_BSD, less_BSD) / len(self.latent_D))


@dataclass(frozen=True)
class GoalPose:
    """Distance from a pose [m], a radian counting ``yaw_weight_m``.

    Args:
        pose_3: x, y [m], yaw [rad].
        yaw_weight_m: Metres that one radian counts.
    """

    pose_3: np.ndarray
    yaw_weight_m: float = 0.3

    def __call__(self, imagined: Imagined) -> np.ndarray:
        """Return the costs, [B, S]."""
        away_BS2 = imagined.pose_BS3[..., :2] - np.asarray(self.pose_3)[:2]
        turn_BS = (imagined.pose_BS3[..., 2] - self.pose_3[2] + math.pi) % (2 * math.pi) - math.pi
        return np.asarray(np.hypot(away_BS2[..., 0], away_BS2[..., 1]) + self.yaw_weight_m * np.abs(turn_BS))


@dataclass(frozen=True)
class Reward:
    """What the artifact's reward head says, less being dearer."""

    def __call__(self, imagined: Imagined) -> np.ndarray:
        """Return the costs, [B, S]."""
        return -_needed(imagined.reward_BS, "reward")


@dataclass(frozen=True)
class Smoothness:
    """Squared change of the commands from step to step, each action over its range; the first from the last command.

    Args:
        before_A: The last command.
        range_A: Range of each action.
    """

    before_A: np.ndarray
    range_A: np.ndarray

    def __call__(self, imagined: Imagined) -> np.ndarray:
        """Return the costs, [B, S]."""
        plan_BSA = imagined.plan_BSA
        first_B1A = np.broadcast_to(np.asarray(self.before_A, plan_BSA.dtype), (len(plan_BSA), 1, plan_BSA.shape[2]))
        change_BSA = np.diff(plan_BSA, axis=1, prepend=first_B1A) / np.asarray(self.range_A, plan_BSA.dtype)
        return np.asarray((change_BSA**2).sum(axis=2))


@dataclass(frozen=True)
class Surprise:
    """How little the memories have to say at each step, 0..1."""

    def __call__(self, imagined: Imagined) -> np.ndarray:
        """Return the costs, [B, S]."""
        return _needed(imagined.surprise_BS, "surprise")


@dataclass(frozen=True)
class KnownGround:
    """Metres of known ground left to the goal, dearer beside the robot's track and beyond it.

    Args:
        field: Of the goal.
    """

    field: Field

    def __call__(self, imagined: Imagined) -> np.ndarray:
        """Return the costs, [B, S]."""
        return self.field.at(imagined.pose_BS3[..., :2])


COSTS: dict[str, Callable[..., Cost]] = {
    "goal_latent": GoalLatent,
    "goal_pose": GoalPose,
    "known_ground": KnownGround,
    "reward": Reward,
    "smoothness": Smoothness,
    "surprise": Surprise,
}
"""Every cost by name."""


def make_cost(name: str, *, has_reward: bool = False, **settings: Any) -> Cost:
    """Return a cost by name.

    Args:
        name: One of ``COSTS``.
        has_reward: Whether the artifact has a trained reward head.
        **settings: What that cost takes.

    Raises:
        CostError: No such cost, a setting that it does not take or lacks, or a reward without a trained head.
    """
    if name not in COSTS:
        raise CostError(f"no cost '{name}', expected one of {', '.join(COSTS)}")
    if name == "reward" and not has_reward:
        raise CostError("cost 'reward' needs a trained reward head, and the artifact has none")
    try:
        return COSTS[name](**settings)
    except TypeError as error:
        raise CostError(f"cost '{name}': {error}") from error


class TotalCost:
    """Weighed terms, summed over the steps, each step counting ``discount`` times the one before.

    Args:
        terms: Weight and cost of each.
        discount: More than 0, at most 1.

    Raises:
        CostError: No terms, a weight that is not finite, or a discount out of range.
    """

    def __init__(self, terms: Sequence[tuple[float, Cost]], discount: float = 0.99) -> None:
        if not terms or not all(math.isfinite(weight) for weight, _ in terms):
            raise CostError("a plan's cost needs at least one term, each of a finite weight")
        if not 0.0 < discount <= 1.0:
            raise CostError(f"discount is {discount}, expected more than 0 and at most 1")
        self._terms, self._discount = list(terms), discount

    def __call__(self, imagined: Imagined) -> np.ndarray:
        """Return the cost of each plan, [B]."""
        share_S = self._discount ** np.arange(imagined.plan_BSA.shape[1])
        total_B = np.zeros(len(imagined.plan_BSA))
        for weight, cost in self._terms:
            total_B += weight * (np.asarray(cost(imagined), np.float64) @ share_S)
        return total_B

    @classmethod
    def named(
        cls, weights: Mapping[str, float], settings: Mapping[str, Mapping[str, Any]], *, discount: float = 0.99,
        has_reward: bool = False,
    ) -> TotalCost:  # fmt: skip
        """Return the total of costs by name.

        Args:
            weights: Weight of each cost.
            settings: What each takes; one that takes nothing may be left out.
            discount: As above.
            has_reward: As for ``make_cost``.

        Raises:
            CostError: As for ``make_cost`` and above.
        """
        made = ((w, make_cost(name, has_reward=has_reward, **settings.get(name, {}))) for name, w in weights.items())
        return cls(list(made), discount)
