"""The visual history that conditions a forecast, as long as it is fresh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class UsableHistory:
    """What the fast path gets of the slow one: values and count, or the reason for none (empty when there is one)."""

    values_N: np.ndarray | None = None
    count: int = 0
    reason: str = ""


class HistoryKeeper:
    """Keeps the newest visual history and tells whether it may be used.

    Args:
        enabled: Whether it is wanted at all.
        max_age_s: Older is stale, by the frames' time [s]; the same holds for one from the future (time jumped back).
    """

    def __init__(self, enabled: bool, max_age_s: float) -> None:
        self._enabled, self._max_age_ns = enabled, int(max_age_s * 1e9)
        self._newest: tuple[int, np.ndarray, int] | None = None

    def insert(self, stamp_ns: int, values_N: np.ndarray, count: int) -> None:
        """Takes a history, oldest first, with its number of real embeddings."""
        self._newest = (stamp_ns, values_N, count)

    def clear(self) -> None:
        """Forgets what came: it belongs to another timeline."""
        self._newest = None

    def at(self, stamp_ns: int) -> UsableHistory:
        """Returns what may be used for a latent of this time."""
        if not self._enabled:
            return UsableHistory(reason="disabled")
        if self._newest is None or self._newest[2] == 0:
            return UsableHistory(reason="absent")
        newest_ns, values_N, count = self._newest
        if abs(stamp_ns - newest_ns) > self._max_age_ns:
            return UsableHistory(reason="stale")
        return UsableHistory(values_N, count)
