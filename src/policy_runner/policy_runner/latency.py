"""How long inference takes, as measured."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

_REMEMBERED, _FEW = 64, 3


class Latency:
    """The last latencies, and the one that few exceed.

    Args:
        guess_s: Taken until something was measured [s].
        share: Share of latencies that shall not exceed what is reckoned with.
    """

    def __init__(self, guess_s: float, share: float = 0.95) -> None:
        self._guess_s, self._share = guess_s, share
        self._measured: deque[float] = deque(maxlen=_REMEMBERED)

    def add(self, latency_s: float) -> None:
        """Take a measured latency [s]."""
        self._measured.append(max(latency_s, 0.0))

    @property
    def last_s(self) -> float:
        """The last one measured [s]; NaN: none was."""
        return self._measured[-1] if self._measured else math.nan

    @property
    def usual_s(self) -> float:
        """The median of the last few [s]; the guess, as long as none was measured."""
        return float(np.median(list(self._measured)[-_FEW:])) if self._measured else self._guess_s

    @property
    def reckoned_s(self) -> float:
        """What few exceed [s]; while few were measured, the guess counts as one of them."""
        measured = list(self._measured)
        if len(measured) < round(1.0 / (1.0 - self._share)):
            measured.append(self._guess_s)
        return float(np.quantile(measured, self._share, method="higher"))
