"""What has the last word on a command: its range, and how fast it, its change and the change of that may change.

Shape suffixes: S = steps, B = plans, A = action size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_MOST_BRAKING_STEPS = 5000
_HALVINGS = 12
_STANDS = 1e-9


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
        for row_BA in bounded_SBA:
            # Of a few hundred numbers ``clip`` takes longer than the two comparisons that it makes.
            np.maximum(row_BA, before - rate, out=row_BA)
            np.minimum(row_BA, before + rate, out=row_BA)
            before = row_BA
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
    room = np.maximum(room, 0.0)
    # So many steps it takes: n of them, each by jerk less than the one before, fill n (n + 1) / 2 jerk at most.
    steps = np.maximum(np.ceil(0.5 * (np.sqrt(1.0 + 8.0 * room / jerk) - 1.0)), 1.0)
    return np.asarray(room / steps + 0.5 * jerk * (steps - 1.0))


class Limiter:
    """Holds one command after another to limits, whatever is wanted; it remembers what it let through.

    Where commands are speeds, the limits' range, rate and jerk are those of speed, acceleration and jerk. Where they
    are positions, these are range, speed and acceleration, and ``third`` is the jerk; then each command leaves room to
    brake within the range. What is wanted is neared without swinging past it, where the limits allow.

    Args:
        limits: Of the commands.
        step_s: Time between commands [s].
        third: Greatest change of each action's second derivative in a second; empty: any.

    Raises:
        ValueError: The step is not positive, or ``third`` does not fit the limits.
    """

    def __init__(self, limits: Limits, step_s: float, third: Sequence[float] = ()) -> None:
        if not step_s > 0.0:
            raise ValueError(f"the step of a limiter is {step_s} s, expected more than 0 s")
        if len(third) and (len(third) != len(limits.low) or any(not value > 0.0 for value in third)):
            raise ValueError(f"limits of the third derivative are {list(third)}, expected {len(limits.low)} above 0")
        self._limits, self._step_s = limits, step_s
        self._third_A = np.asarray(third, float)
        self.start(np.clip(np.zeros(len(limits.low)), limits.low, limits.high))

    def start(self, value_A: np.ndarray) -> None:
        """Begin at a command that has been in force for a while; what lies out of range is taken as its end."""
        self._value_A = np.clip(np.asarray(value_A, float), self._limits.low, self._limits.high)
        self._change_A, self._bend_A = np.zeros_like(self._value_A), np.zeros_like(self._value_A)

    @property
    def value(self) -> np.ndarray:
        """The last command."""
        return np.array(self._value_A)

    @property
    def speeds(self) -> tuple[float, float]:
        """Least and greatest value of the first action."""
        return self._limits.low[0], self._limits.high[0]

    @property
    def is_steady(self) -> bool:
        """Whether the last command was as the one before it."""
        return bool((np.abs(self._change_A) < _STANDS).all())

    def step(self, wanted_A: np.ndarray) -> np.ndarray:
        """Return the command that comes nearest to what is wanted; a value that is not finite wants what is."""
        wanted_A = np.where(np.isfinite(wanted_A), wanted_A, self._value_A)
        value_A = self._with_room_to_brake(wanted_A) if self._third_A.size else self._bounded(wanted_A)
        change_A = value_A - self._value_A
        self._value_A, self._bend_A, self._change_A = value_A, change_A - self._change_A, change_A
        return np.array(value_A)

    def together(self, wanted_A: np.ndarray) -> np.ndarray:
        """Return what to want now so that all commands come to what is wanted at one time, each at most at its rate.

        A robot that brakes in a bend so stays in it: its speed and its yaw rate keep their ratio.
        """
        gap_A = np.asarray(wanted_A, float) - self._value_A
        steps = float((np.abs(gap_A) / (np.asarray(self._limits.rate) * self._step_s)).max())
        return np.asarray(self._value_A + gap_A / max(steps, 1.0))

    def _bounded(self, wanted_A: np.ndarray) -> np.ndarray:
        jerk_A = np.asarray(self._limits.jerk) * self._step_s**2
        gap_A = wanted_A - self._value_A
        reach_A = _stoppable(np.abs(gap_A), jerk_A)
        neared_A = self._value_A + np.clip(gap_A, -reach_A, reach_A)
        plan_SBA = self._limits.bounded(neared_A[None, None], self._value_A, self._change_A, self._step_s)
        return np.asarray(plan_SBA[0, 0])

    def _with_room_to_brake(self, wanted_A: np.ndarray) -> np.ndarray:
        limits, step_s = self._limits, self._step_s
        orders = [np.asarray(each) * step_s**n for n, each in enumerate((limits.rate, limits.jerk, self._third_A), 1)]
        axes = [_Axis(*each) for each in np.array([limits.low, limits.high, *orders]).T.tolist()]
        state = np.array([self._value_A, self._change_A, self._bend_A, wanted_A]).T.tolist()
        sent = [axis.next(*now) for axis, now in zip(axes, state)]
        return np.array(sent)


class _Axis(NamedTuple):
    """The limits of one position, each for a step: range, change, change of that, and of that again."""

    low: float
    high: float
    rate: float
    jerk: float
    third: float

    def next(self, value: float, change: float, bend: float, wanted: float) -> float:
        """Return the next position: as near to the wanted one as leaves room to brake."""
        wanted = min(max(wanted, self.low), self.high)
        brake = self._pace(change, bend, 0.0)
        best = self._pace(change, bend, wanted - value)
        # Braking that ends short of what is wanted, too, nears it without swinging past.
        near = self._replace(high=wanted) if wanted > value else self._replace(low=wanted)
        axis = near if near._leaves_room(value, change, brake) else self
        if not axis._leaves_room(value, change, best):
            far, best = best, brake
            for _ in range(_HALVINGS):
                middle = 0.5 * (best + far)
                best, far = (middle, far) if axis._leaves_room(value, change, middle) else (best, middle)
        return min(max(value + best, self.low), self.high)

    def _pace(self, change: float, bend: float, wanted: float) -> float:
        """Return the next change on the way to a wanted one, within its own bounds; see ``Limits.bounded``."""
        gap = wanted - change
        reach = _stoppable_within(abs(gap), self.third)
        most = min(self.jerk, bend + self.third, _stoppable_within(self.rate - change, self.third))
        least = max(-self.jerk, bend - self.third, -_stoppable_within(change + self.rate, self.third))
        return change + min(max(math.copysign(reach, gap), min(least, most)), most)

    def _leaves_room(self, value: float, before: float, change: float) -> bool:
        """Return whether braking after a change ends within the range."""
        value, bend = value + change, change - before
        for _ in range(_MOST_BRAKING_STEPS):
            if not self.low - _STANDS <= value <= self.high + _STANDS:
                return False
            if abs(change) < _STANDS and abs(bend) < _STANDS:
                return True
            following = self._pace(change, bend, 0.0)
            value, bend, change = value + following, following - change, following
        return False


def _stoppable_within(room: float, jerk: float) -> float:
    """Return ``_stoppable`` of one number."""
    steps = max(math.ceil(0.5 * (math.sqrt(1.0 + 8.0 * max(room, 0.0) / jerk) - 1.0)), 1)
    return max(room, 0.0) / steps + 0.5 * jerk * (steps - 1)
