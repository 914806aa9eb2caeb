"""How much real time passes between two commands: more than their period where the clock that is followed is slow."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from statistics import median
from time import monotonic

_REMEMBERED, _FEW, _LONGEST_S = 25, 5, 1.0


class Pace:
    """The time from command to command, as it was lately.

    Args:
        period_s: What it is by the clock that is followed [s].
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._at_s: deque[float] = deque(maxlen=_REMEMBERED)

    def tick(self) -> None:
        """Take note of a command."""
        self._at_s.append(monotonic())

    @property
    def period_s(self) -> float:
        """The usual one [s], for who commands while the clock cannot be heard."""
        if len(self._at_s) < _FEW:
            return self._period_s
        return min(median(after - before for before, after in pairwise(self._at_s)), _LONGEST_S)
