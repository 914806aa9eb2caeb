"""One goal on its way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from policy_runner.execution import Execution
from policy_runner.goals import Goal


@dataclass(frozen=True, eq=False)
class Wish:
    """What is asked for.

    Attributes:
        goal: Where to.
        instruction: In words; empty: none.
        goal_latent_D: What is to be seen at the goal; None: anything.
        time_limit_s: How long at most [s].
        is_open_ended: Whether no place is asked for: then the end of its time is no failure.
        frame_id: Frame of its places; empty: it has none, or does not say.
    """

    goal: Goal
    instruction: str = ""
    goal_latent_D: np.ndarray | None = None
    time_limit_s: float = math.inf
    is_open_ended: bool = True
    frame_id: str = ""

    def is_of(self, frame_id: str) -> bool:
        """Return whether a robot whose poses are of a frame can tell how far its places are; empty: not known yet."""
        return not (self.frame_id and frame_id) or self.frame_id == frame_id


@dataclass(eq=False)
class Job:
    """A wish that is being executed.

    Attributes:
        execution: How it is done.
        wish: What was asked for.
        begin_ns: Since when, by stamps [ns].
        begun: The same, as ``wm_ros.present`` has it: that tells how long ago.
        done: A future of its outcome.
        handle: Of the action; None: nobody asked, it is only proposed for.
        message: What there is to say of its end.
    """

    execution: Execution
    wish: Wish
    begin_ns: int
    begun: Any
    done: Any
    handle: Any = None
    message: str = ""
