"""Model-predictive path integral control over a field of costs.

Source: Williams et al., Information Theoretic MPC for Model-Based Reinforcement Learning (2017), one iteration a
step with a warm start. Samples are coloured in time (Pinneri et al., Sample-efficient Cross-Entropy Method, 2020).

Shape suffixes: B = plans, S = steps, A = action size, 3 = (x, y, yaw).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from latent_planner.limits import Limits
from latent_planner.vehicle import Vehicle

Cost = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Cost of each step of plans: poses [B, S, 3] and commands [B, S, A] to [B, S]."""
Judged = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""From the samples' commands [B, S, A], poses [B, S, 3] and costs [B] to the costs that count, [B]."""
STANDING = 1
"""Which of the samples stands still; the one before is the present plan."""

_SPLIT = 0.05
"""Share of the samples that cost less than their mean above which they are of two minds."""


@dataclass(frozen=True, kw_only=True)
class MppiSettings:
    """How plans are sampled and weighed.

    Attributes:
        plans: How many are sampled each time, B.
        steps: How far each reaches, S.
        spread: Standard deviation of the noise, as a share of each action's range.
        colour: Exponent of the noise's spectrum: 0 white, 2 a random walk.
        temperature: Share of the costs' spread by which a worse plan loses weight by e.
        discount: Weight of a step's cost over that of the step before.
    """

    plans: int = 1000
    steps: int = 56
    spread: float = 0.35
    colour: float = 2.0
    temperature: float = 0.1
    discount: float = 0.99


class Mppi:
    """Receding-horizon control by sampled plans.

    Args:
        vehicle: Rolls plans out.
        limits: Kept by every sample.
        settings: How plans are sampled.
        seed: Seed of the noise.
    """

    def __init__(self, vehicle: Vehicle, limits: Limits, settings: MppiSettings, seed: int = 0) -> None:
        self._vehicle, self._limits, self._settings = vehicle, limits, settings
        self._rng = np.random.default_rng(seed)
        self._discount_S = (settings.discount ** np.arange(settings.steps)).astype(np.float32)
        range_A = np.subtract(limits.high, limits.low)
        self._std_A = (settings.spread * range_A).astype(np.float32)
        self.reset()

    def reset(self) -> None:
        """Begin from standing still."""
        actions = len(self._limits.low)
        self._plan_SA = np.zeros((self._settings.steps, actions), np.float32)
        self._before_A, self._change_A = np.zeros(actions), np.zeros(actions)

    @property
    def present(self) -> np.ndarray:
        """The present plan: commands of the coming steps, [S, A]."""
        return self._plan_SA

    def follow(self, action_A: np.ndarray) -> None:
        """Go on from a command that came from elsewhere, and has not changed lately."""
        self._before_A, self._change_A = np.array(action_A, float), np.zeros(len(action_A))

    def plan(
        self, pose_3: np.ndarray, cost: Cost, judged: Judged | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the samples' commands [B, S, A], poses [B, S, 3] and costs [B]; the plan becomes their weighted mean.

        Where many of them cost less than their mean, it becomes the best of them.

        Args:
            pose_3: Where the robot is: x, y [m], yaw [rad].
            cost: Of each step.
            judged: Returns the costs that the mean is weighed by, infinite where a sample shall not count; None: as
                they are.
        """
        plan_SBA = self._samples()
        plan_BSA = np.ascontiguousarray(plan_SBA.transpose(1, 0, 2))
        pose_BS3 = self._vehicle.roll_out(pose_3, plan_BSA)
        cost_B = cost(pose_BS3, plan_BSA) @ self._discount_S
        weighed_B = cost_B if judged is None else judged(plan_BSA, pose_BS3, cost_B)
        weight_B = weights(weighed_B, self._settings.temperature)
        mean_SA = np.einsum("b,bsa->sa", weight_B, plan_BSA)
        # Half of the good samples pass on the left, half on the right, or turn round either way: then their mean does
        # neither, and costs more than many of them. Elsewhere it costs less than nearly all, and is smoother than any.
        both_2SA = self._within(np.stack([mean_SA, plan_BSA[_dearest(weighed_B).argmin()]]))
        cost_2 = cost(self._vehicle.roll_out(pose_3, both_2SA), both_2SA) @ self._discount_S
        is_split = cost_2[1] < cost_2[0] and np.mean(cost_B < cost_2[0]) > _SPLIT
        self._plan_SA = both_2SA[int(is_split)]
        return plan_BSA, pose_BS3, cost_B

    def _within(self, plan_BSA: np.ndarray) -> np.ndarray:
        """Return plans as the limits let them follow the last command, [B, S, A]."""
        plan_SBA = plan_BSA.transpose(1, 0, 2)
        bounded_SBA = self._limits.bounded(plan_SBA, self._before_A, self._change_A, self._vehicle.step_s)
        return np.ascontiguousarray(bounded_SBA.transpose(1, 0, 2))

    def bounded(self, command_A: np.ndarray) -> np.ndarray:
        """Return a command as the limits let it follow the last one."""
        wanted_1BA = np.asarray(command_A, float)[None, None]
        bounded = self._limits.bounded(wanted_1BA, self._before_A, self._change_A, self._vehicle.step_s)
        return np.asarray(bounded[0, 0])

    def advance(self, command_A: np.ndarray) -> None:
        """Note the command of the step that begins now, and move the plan on by it."""
        self._change_A, self._before_A = command_A - self._before_A, np.array(command_A, float)
        self._plan_SA = np.concatenate([self._plan_SA[1:], self._plan_SA[-1:]])

    def _samples(self) -> np.ndarray:
        """Return noisy plans within the limits, [S, B, A]; the first is the present plan, the second stands still."""
        settings = self._settings
        shape = (settings.steps, settings.plans, len(self._std_A))
        plan_SBA = self._plan_SA[:, None] + self._std_A * coloured(self._rng, shape, settings.colour)
        plan_SBA[:, 0] = self._plan_SA
        plan_SBA[:, STANDING] = 0.0
        return self._limits.reachable(plan_SBA, self._before_A, self._vehicle.step_s)


def coloured(rng: np.random.Generator, shape: tuple[int, ...], colour: float) -> np.ndarray:
    """Return noise of unit variance along the first axis with a spectrum of 1 / f ** ``colour``, float32.

    White noise is filtered, and scaled by what the filter leaves of its variance: right at any length, 1 and 2 too.
    """
    white = rng.standard_normal(shape, np.float32)
    steps = shape[0]
    frequency = np.maximum(np.fft.rfftfreq(steps), 1.0 / steps)
    gain = frequency ** (-0.5 * colour)
    twice = np.full(len(gain), 2.0)
    twice[0] = 1.0
    if steps % 2 == 0:
        twice[-1] = 1.0
    gain /= math.sqrt(float((twice * gain**2).sum()) / steps)
    kernel = np.fft.irfft(gain, steps)
    # As a product with a circulant matrix: for so few steps cheaper than transforms.
    index = (np.arange(steps)[:, None] - np.arange(steps)) % steps
    filtered = kernel[index].astype(np.float32) @ white.reshape(steps, -1)
    return np.asarray(filtered.reshape(shape))


def weights(cost_B: np.ndarray, temperature: float) -> np.ndarray:
    """Return the share of each plan in their mean, by what it costs, [B]; none of what is not finite, if any is."""
    cost_B = _dearest(cost_B)
    is_finite_B = np.isfinite(cost_B)
    if not is_finite_B.any():
        # Nothing tells one from another; a mean that is no number would stay one for ever.
        return np.full(len(cost_B), 1.0 / len(cost_B), np.float32)
    best = cost_B.min()
    spread = max(float(np.median(cost_B[is_finite_B]) - best), 1e-6)
    weight_B = np.exp((best - cost_B) / (temperature * spread))
    weighed: np.ndarray = (weight_B / weight_B.sum()).astype(np.float32)
    return weighed


def _dearest(cost_B: np.ndarray) -> np.ndarray:
    """Return costs, those infinite that are not finite."""
    return np.where(np.isfinite(cost_B), cost_B, np.inf)
