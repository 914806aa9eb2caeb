"""How long inference takes, as measured."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

_REMEMBERED, _FEW = 64, 3


class Latency:
    """The last latencies, and the one that few exceed.

    Asked with each command and told with each chunk, so it is reckoned when it is told.

    Args:
        guess_s: Taken until something was measured [s].
        share: Share of latencies that shall not exceed what is reckoned with.

    Attributes:
        last_s: The last one measured [s]; NaN: none was.
        usual_s: The median of the last few [s]; the guess, as long as none was measured.
        reckoned_s: What few exceed [s]; while few were measured, the guess counts as one of them.
    """

    def __init__(self, guess_s: float, share: float = 0.95) -> None:
        self._guess_s, self._share = guess_s, share
        self._measured: deque[float] = deque(maxlen=_REMEMBERED)
        self.last_s, self.usual_s, self.reckoned_s = math.nan, guess_s, guess_s

    def add(self, latency_s: float) -> None:
        """Take a measured latency [s]."""
        self._measured.append(max(latency_s, 0.0))
        measured = list(self._measured)
        self.last_s, self.usual_s = measured[-1], median(measured[-_FEW:])
        if len(measured) < round(1.0 / (1.0 - self._share)):
            measured.append(self._guess_s)
        self.reckoned_s = sorted(measured)[math.ceil(self._share * (len(measured) - 1))]
