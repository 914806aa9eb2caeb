"""How long a stage may take, and learning rates by the share of that time that is gone.

Source: Li et al. 2020, "Budgeted Training": a schedule that ends with the budget beats one that is cut off.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

from world_model.training.config import StageConfig, TrainConfig

_LEAST = 0.02
"""Share of the highest rate that is left at the end."""


class Budget:
    """Time for one stage; what an interrupted call has used counts.

    Args:
        seconds: How long the stage may take [s].
        clock: Seconds that only grow.

    Raises:
        ValueError: No time at all.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        if not seconds > 0.0:
            raise ValueError(f"a stage of {seconds} s cannot learn anything, expected more than 0 s")
        self.seconds = seconds
        self._clock, self._start = clock, clock()

    def start(self, used_s: float = 0.0) -> None:
        """Count from now on, after what was used before [s]."""
        self._start = self._clock() - used_s

    @property
    def used_s(self) -> float:
        """Time used so far [s]."""
        return self._clock() - self._start

    @property
    def share(self) -> float:
        """Share of the time that is gone, at most 1."""
        return min(self.used_s / self.seconds, 1.0)


def rate_by_time(step: int, share: float, settings: StageConfig) -> float:
    """Return the learning rate at a share of the time: linear warm-up by steps, and a cosine down to 2 % by time."""
    warm = min((step + 1) / settings.warm_up, 1.0) if settings.warm_up else 1.0
    return settings.learning_rate * warm * (_LEAST + (1.0 - _LEAST) * 0.5 * (1.0 + math.cos(math.pi * share)))


def set_rates(optimiser: torch.optim.Optimizer, step: int, share: float, settings: StageConfig) -> None:
    """Set the rates of a step as ``rate_by_time`` says, faster for the gates."""
    for group in optimiser.param_groups:
        group["lr"] = rate_by_time(step, share, settings) * group["factor"]


def budget_of(config: TrainConfig, part: str) -> Budget | None:
    """Return the time that a run gives to a part of ``TimeShares``; None where it goes by steps."""
    return Budget(config.seconds_of(part)) if config.minutes else None
