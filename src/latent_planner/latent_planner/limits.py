"""What has the last word on a command: speed, turning, and how fast either may change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of commands; in order: forward speed [m/s], yaw rate [rad/s], or what the robot's actions are.

    Attributes:
        low: Least value of each action.
        high: Greatest value of each action.
        rate: Greatest change of each action in a second (acceleration).
        jerk: Greatest change of that change in a second.
    """

    low: tuple[float, ...] = (0.0, -2.0)
    high: tuple[float, ...] = (1.0, 2.0)
    rate: tuple[float, ...] = (3.0, 12.0)
    jerk: tuple[float, ...] = (60.0, 240.0)

    def __post_init__(self) -> None:
        """Refuse bounds of different lengths, and such that leave nothing."""
        if len({len(self.low), len(self.high), len(self.rate), len(self.jerk)}) != 1:
            raise ValueError("limits must have one value for each action")
        if any(low > high for low, high in zip(self.low, self.high)):
            raise ValueError(f"limits leave nothing between {list(self.low)} and {list(self.high)}")
        if any(not value > 0.0 for value in (*self.rate, *self.jerk)):
            raise ValueError("limits of acceleration and jerk must be more than 0")

    def reachable(self, plan_SBA: np.ndarray, before_A: np.ndarray, step_s: float) -> np.ndarray:
        """Return plans within range and acceleration, for what is only imagined; as ``bounded``, without the jerk."""
        bounded_SBA = np.clip(plan_SBA, *(np.asarray(value, plan_SBA.dtype) for value in (self.low, self.high)))
        rate = (np.asarray(self.rate) * step_s).astype(plan_SBA.dtype)
        before = np.broadcast_to(before_A.astype(plan_SBA.dtype), plan_SBA.shape[1:])
        for step in range(len(plan_SBA)):
            before = bounded_SBA[step] = np.clip(bounded_SBA[step], before - rate, before + rate)
        return bounded_SBA

    def bounded(self, plan_SBA: np.ndarray, before_A: np.ndarray, change_A: np.ndarray, step_s: float) -> np.ndarray:
        """Return plans within the limits, step by step from the last command, [S, B, A] (steps first).

        Args:
            plan_SBA: Commands.
            before_A: The last command.
            change_A: How it differed from the one before.
            step_s: Time between commands [s].
        """
        low, high = (np.asarray(value, plan_SBA.dtype) for value in (self.low, self.high))
        rate, jerk = (np.asarray(value, plan_SBA.dtype) * step_s for value in (self.rate, self.jerk))
        jerk = jerk * step_s
        bounded_SBA = np.empty_like(plan_SBA)
        before = np.broadcast_to(before_A.astype(plan_SBA.dtype), plan_SBA.shape[1:])
        change = np.broadcast_to(change_A.astype(plan_SBA.dtype), plan_SBA.shape[1:])
        for step, wanted in enumerate(plan_SBA):
            most = np.minimum(np.minimum(rate, change + jerk), _stoppable(high - before, jerk))
            least = np.maximum(np.maximum(-rate, change - jerk), -_stoppable(before - low, jerk))
            change = np.clip(wanted - before, np.minimum(least, most), most)
            before = bounded_SBA[step] = np.clip(before + change, low, high)
        return bounded_SBA


def _stoppable(room: np.ndarray, jerk: np.ndarray) -> np.ndarray:
    """Return the greatest change of a step that can die away, by ``jerk`` a step, before the room is used up."""
    return np.asarray(0.5 * (np.sqrt(jerk * jerk + 8.0 * jerk * np.maximum(room, 0.0)) - jerk))
