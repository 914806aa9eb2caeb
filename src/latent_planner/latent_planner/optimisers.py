"""Plans by sampling: random shooting, CEM, iCEM and MPPI, and the straight line they have to beat; one interface.

Source: Rubinstein, The Cross-Entropy Method (1999); Pinneri et al., Sample-efficient Cross-Entropy Method for Real-time
Planning (2020): coloured noise, elites kept within and between decisions, fewer samples each iteration, the best sample
carried out; Williams et al., Information Theoretic MPC (2017).

Shape suffixes: B = plans, S = steps, A = action size, E = elites, 3 = (x, y [m], yaw [rad]).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from latent_planner.limits import Limits
from latent_planner.mppi import coloured, weights

Evaluate = Callable[[np.ndarray], np.ndarray]
"""From plans [B, S, A] to what each costs [B]."""


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How plans are sampled and chosen.

    Attributes:
        plans: Sampled in the first iteration, B.
        steps: Decisions of each, S.
        step_s: Time of one [s].
        iterations: How often the distribution is fitted anew.
        elites: Best plans that it is fitted to, E.
        spread: Standard deviation at first, as a share of each action's range.
        least_spread: Standard deviation below which it does not fall, likewise.
        smoothing: Share of the former mean and standard deviation that is kept.
        colour: Exponent of the noise's spectrum (iCEM, MPPI): 0 white, 2 a random walk.
        kept: Share of the elites that the next iteration, and the next decision, begin with (iCEM).
        decay: By how much fewer plans each iteration samples (iCEM); 1: as many.
        temperature: Share of the costs' spread by which a worse plan loses weight by e (MPPI).
    """

    plans: int = 256
    steps: int = 10
    step_s: float = 0.2
    iterations: int = 5
    elites: int = 32
    spread: float = 0.35
    least_spread: float = 0.01
    smoothing: float = 0.1
    colour: float = 2.0
    kept: float = 0.3
    decay: float = 1.25
    temperature: float = 0.1

    def __post_init__(self) -> None:
        """Refuse numbers that no search can use."""
        if not 1 <= self.elites <= self.plans or min(self.steps, self.iterations) < 1:
            raise ValueError(
                f"{self.plans} plans, {self.elites} elites, {self.steps} steps, {self.iterations} iterations: expected "
                "at least 1 of each and no more elites than plans"
            )
        if not (0.0 <= self.smoothing < 1.0 and 0.0 <= self.kept <= 1.0 and self.decay >= 1.0 and self.step_s > 0.0):
            raise ValueError("smoothing and kept are shares, decay is at least 1 and step_s more than 0")


@dataclass(frozen=True)
class Chosen:
    """What a search found.

    Attributes:
        plan_SA: Commands to carry out.
        cost: Of the best plan that was evaluated; NaN where none was.
        elite_ESA: The best plans evaluated, the best first.
        cost_E: What they cost.
    """

    plan_SA: np.ndarray
    cost: float
    elite_ESA: np.ndarray
    cost_E: np.ndarray


class Optimiser(Protocol):
    """Whatever makes a plan from what plans cost."""

    def plan(self, evaluate: Evaluate, pose_3: np.ndarray, before_A: np.ndarray) -> Chosen:
        """Return the plan to carry out.

        Args:
            evaluate: What plans cost.
            pose_3: Where the robot is.
            before_A: The last command.
        """

    def advance(self) -> None:
        """Note that the first step of the plan is carried out: the next search begins with what is left of it."""

    def reset(self) -> None:
        """Forget former plans."""


class Cem:
    """Cross-entropy method: samples are drawn, and the distribution is fitted to the best of them, several times.

    Args:
        limits: Kept by every sample.
        settings: How plans are sampled.
        seed: Seed of the noise.
    """

    def __init__(self, limits: Limits, settings: SearchSettings | None = None, seed: int = 0) -> None:
        self._limits, self._settings = limits, settings or SearchSettings()
        self._rng = np.random.default_rng(seed)
        self._range_A = np.subtract(limits.high, limits.low).astype(np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget former plans: the next search begins at standing still."""
        actions = len(self._limits.low)
        still_A = np.clip(np.zeros(actions), self._limits.low, self._limits.high)
        self._mean_SA = np.tile(still_A, (self._settings.steps, 1)).astype(np.float32)
        self._kept_ESA = np.empty((0, *self._mean_SA.shape), np.float32)

    def advance(self) -> None:
        """Shift what was found by one step; the last command is held."""
        self._mean_SA = np.concatenate([self._mean_SA[1:], self._mean_SA[-1:]])
        self._kept_ESA = np.concatenate([self._kept_ESA[:, 1:], self._kept_ESA[:, -1:]], axis=1)

    def plan(self, evaluate: Evaluate, pose_3: np.ndarray, before_A: np.ndarray) -> Chosen:
        """Return the plan to carry out: the mean that the last iteration was fitted to."""
        settings = self._settings
        mean_SA, std_SA = self._mean_SA, np.broadcast_to(settings.spread * self._range_A, self._mean_SA.shape)
        best_ESA, best_E = self._kept_ESA[:0], np.empty(0)
        for number in range(settings.iterations):
            plan_BSA = self._samples(number, mean_SA, std_SA, before_A, best_ESA)
            cost_B = np.asarray(evaluate(plan_BSA), np.float64)
            elite_E = _best(cost_B, settings.elites)
            mean_SA, std_SA = self._fitted(mean_SA, std_SA, plan_BSA[elite_E])
            best_ESA, best_E = _merged((best_ESA, best_E), (plan_BSA[elite_E], cost_B[elite_E]), settings.elites)
        return self._finish(mean_SA, best_ESA, best_E, before_A)

    def _samples(
        self, number: int, mean_SA: np.ndarray, std_SA: np.ndarray, before_A: np.ndarray, best_ESA: np.ndarray
    ) -> np.ndarray:
        """Return the plans of one iteration, [B, S, A]; the first is the mean."""
        shape = (self._settings.steps, self._settings.plans, len(self._range_A))
        plan_SBA = mean_SA[:, None] + std_SA[:, None] * self._rng.standard_normal(shape, np.float32)
        plan_SBA[:, 0] = mean_SA
        return self._within(plan_SBA, before_A)

    def _within(self, plan_SBA: np.ndarray, before_A: np.ndarray) -> np.ndarray:
        kept_SBA = self._limits.reachable(plan_SBA, before_A, self._settings.step_s)
        return np.ascontiguousarray(kept_SBA.transpose(1, 0, 2))

    def _fitted(self, mean_SA: np.ndarray, std_SA: np.ndarray, elite_ESA: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        share, least_A = self._settings.smoothing, self._settings.least_spread * self._range_A
        mean_SA = share * mean_SA + (1.0 - share) * elite_ESA.mean(axis=0)
        return mean_SA, np.maximum(share * std_SA + (1.0 - share) * elite_ESA.std(axis=0), least_A)

    def _finish(self, mean_SA: np.ndarray, best_ESA: np.ndarray, best_E: np.ndarray, before_A: np.ndarray) -> Chosen:
        self._mean_SA = mean_SA
        return Chosen(self._within(mean_SA[:, None].copy(), before_A)[0], float(best_E[0]), best_ESA, best_E)


class Icem(Cem):
    """CEM with coloured noise, elites that are kept, and the best plan carried out instead of the mean."""

    def _samples(
        self, number: int, mean_SA: np.ndarray, std_SA: np.ndarray, before_A: np.ndarray, best_ESA: np.ndarray
    ) -> np.ndarray:
        settings = self._settings
        count = max(int(settings.plans * settings.decay**-number), min(2 * settings.elites, settings.plans))
        shape = (settings.steps, count, len(self._range_A))
        plan_SBA = mean_SA[:, None] + std_SA[:, None] * coloured(self._rng, shape, settings.colour)
        # The mean comes last in the original; as one sample of every iteration it costs as little.
        plan_SBA[:, 0] = mean_SA
        kept_ESA = best_ESA if number else self._kept_ESA
        kept_ESA = kept_ESA[: max(0, min(int(settings.kept * settings.elites), count - 1))]
        plan_SBA[:, 1 : 1 + len(kept_ESA)] = kept_ESA.transpose(1, 0, 2)
        return self._within(plan_SBA, before_A)

    def _finish(self, mean_SA: np.ndarray, best_ESA: np.ndarray, best_E: np.ndarray, before_A: np.ndarray) -> Chosen:
        self._mean_SA, self._kept_ESA = mean_SA, best_ESA
        return Chosen(best_ESA[0], float(best_E[0]), best_ESA, best_E)


class RandomShooting(Cem):
    """The best of as many random plans as the others evaluate in all their iterations; nothing is carried over."""

    def plan(self, evaluate: Evaluate, pose_3: np.ndarray, before_A: np.ndarray) -> Chosen:
        """Return the best plan."""
        settings = self._settings
        low, high = (np.asarray(value, np.float32) for value in (self._limits.low, self._limits.high))
        best_ESA, best_E = self._kept_ESA[:0], np.empty(0)
        for _ in range(settings.iterations):
            shape = (settings.steps, settings.plans, len(low))
            plan_BSA = self._within(self._rng.uniform(low, high, shape).astype(np.float32), before_A)
            cost_B = np.asarray(evaluate(plan_BSA), np.float64)
            elite_E = _best(cost_B, settings.elites)
            best_ESA, best_E = _merged((best_ESA, best_E), (plan_BSA[elite_E], cost_B[elite_E]), settings.elites)
        return Chosen(best_ESA[0], float(best_E[0]), best_ESA, best_E)


class WeighedMean(Cem):
    """MPPI behind the same interface: one iteration of coloured noise, all plans weighed by what they cost."""

    def plan(self, evaluate: Evaluate, pose_3: np.ndarray, before_A: np.ndarray) -> Chosen:
        """Return the weighed mean."""
        settings = self._settings
        shape = (settings.steps, settings.plans, len(self._range_A))
        noise_SBA = settings.spread * self._range_A * coloured(self._rng, shape, settings.colour)
        plan_SBA = self._mean_SA[:, None] + noise_SBA
        plan_SBA[:, 0] = self._mean_SA
        plan_BSA = self._within(plan_SBA, before_A)
        cost_B = np.asarray(evaluate(plan_BSA), np.float64)
        elite_E = _best(cost_B, settings.elites)
        mean_SA = np.einsum("b,bsa->sa", weights(cost_B, settings.temperature), plan_BSA)
        return self._finish(mean_SA, plan_BSA[elite_E], cost_B[elite_E], before_A)


class StraightLine:
    """Turns towards a goal pose, drives straight at it, then turns as it asks for; nothing is evaluated but that.

    Commands are forward speed and yaw rate.

    Args:
        limits: Of the commands.
        goal_3: Where to go.
        settings: Steps and their time.
    """

    def __init__(self, limits: Limits, goal_3: np.ndarray, settings: SearchSettings | None = None) -> None:
        self._limits, self._goal_3, self._settings = limits, np.asarray(goal_3, float), settings or SearchSettings()

    def reset(self) -> None:
        """Nothing is kept."""

    def advance(self) -> None:
        """Nothing is kept."""

    def plan(self, evaluate: Evaluate, pose_3: np.ndarray, before_A: np.ndarray) -> Chosen:
        """Return the straight way."""
        step_s = self._settings.step_s
        pose_3 = np.array(pose_3, float)
        plan_SA = np.empty((self._settings.steps, 2), np.float32)
        for command_A in plan_SA:
            command_A[:] = towards(pose_3, self._goal_3, self._goal_3[:2], self._limits)
            middle_rad = pose_3[2] + 0.5 * step_s * command_A[1]
            moved_m = step_s * command_A[0]
            pose_3 += (moved_m * math.cos(middle_rad), moved_m * math.sin(middle_rad), step_s * command_A[1])
        plan_1SA = self._limits.reachable(plan_SA[:, None].copy(), before_A, step_s).transpose(1, 0, 2)
        cost_1 = np.asarray(evaluate(plan_1SA), np.float64)
        return Chosen(plan_1SA[0], float(cost_1[0]), plan_1SA, cost_1)


def towards(pose_3: np.ndarray, goal_3: np.ndarray, point_2: np.ndarray, limits: Limits) -> np.ndarray:
    """Return forward speed and yaw rate that lead straight to a point, and at the goal turn as it asks for."""
    if math.dist(pose_3[:2], goal_3[:2]) < 0.25:
        turn = math.remainder(goal_3[2] - pose_3[2], 2 * math.pi)
        return np.clip([0.0, 0.0 if abs(turn) < 0.2 else 2.0 * turn], limits.low, limits.high)
    bearing = math.remainder(math.atan2(point_2[1] - pose_3[1], point_2[0] - pose_3[0]) - pose_3[2], 2 * math.pi)
    return np.clip([limits.high[0] if abs(bearing) < 0.5 else 0.0, 2.5 * bearing], limits.low, limits.high)


METHODS: dict[str, Callable[..., Optimiser]] = {
    "cem": Cem,
    "icem": Icem,
    "mppi": WeighedMean,
    "random_shooting": RandomShooting,
    "straight_line": StraightLine,
}
"""Every way of making a plan, by name; ``straight_line`` takes the goal's pose as well."""


def _best(cost_B: np.ndarray, count: int) -> np.ndarray:
    """Return which plans cost least, the least first; what is not finite costs most."""
    cost_B = np.where(np.isfinite(cost_B), cost_B, np.inf)
    some_B = np.argpartition(cost_B, count - 1)[:count] if count < len(cost_B) else np.arange(len(cost_B))
    return np.asarray(some_B[np.argsort(cost_B[some_B], kind="stable")])


def _merged(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best of two lots of plans and their costs; of equal ones those of the first."""
    cost = np.concatenate([first[1], second[1]])
    order = np.argsort(cost, kind="stable")[:count]
    return np.concatenate([first[0], second[0]])[order], cost[order]
