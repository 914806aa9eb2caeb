"""How long a stage may take, and learning rates by the share of that time that is gone.

Source: Li et al. 2020, "Budgeted Training": a schedule that ends with the budget beats one that is cut off.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch

from world_model.training.config import StageConfig, TrainConfig

_LEAST = 0.02
"""Share of the highest rate that is left at the end."""
_LEAST_GRANTED = 0.25
_DEADLINE_NAME, _GRANTED_NAME = "deadline.json", "granted.json"


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


def budget_of(config: TrainConfig, part: str, folder: Path | None = None) -> Budget | None:
    """Return the time that a run gives to a part of ``TimeShares``; None where it goes by steps.

    Args:
        config: The run.
        part: Which.
        folder: The part's, in that of the run.
    """
    return Budget(granted_s(config, part, folder)) if config.minutes else None


def begin_run(config: TrainConfig, out: Path, used_s: float) -> None:
    """Note in a run's folder when it is to be over.

    Args:
        config: The run, with minutes.
        out: Its folder.
        used_s: What earlier calls used of them [s].
    """
    deadline_s = time.time() + max(60.0 * config.minutes - used_s, 0.0)
    (out / _DEADLINE_NAME).write_text(json.dumps({"deadline_s": round(deadline_s, 3)}) + "\n")


def granted_s(config: TrainConfig, part: str, folder: Path | None) -> float:
    """Return what a part may take [s]: its share, or less where the parts before it took more than theirs.

    Then what is left is divided among this part and those after it. However late, it has a quarter of its share. What a
    part was granted stays in its folder: an interrupted run goes on with that.
    """
    share_s = config.seconds_of(part)
    if folder is None or not (folder.parent / _DEADLINE_NAME).is_file():
        return share_s
    noted = folder / _GRANTED_NAME
    if not noted.is_file():
        deadline_s = float(json.loads((folder.parent / _DEADLINE_NAME).read_text())["deadline_s"])
        left_s = deadline_s - time.time()
        seconds = max(min(share_s, left_s * config.time.of_the_rest(part)), _LEAST_GRANTED * share_s)
        folder.mkdir(parents=True, exist_ok=True)
        noted.write_text(json.dumps({"seconds": round(seconds, 3)}) + "\n")
    return float(json.loads(noted.read_text())["seconds"])
