"""Unexpected errors of one node: said once, counted, and when they are too many for the node to go on as it is."""

from __future__ import annotations

from collections import deque
from time import monotonic

from wm_ros.saying import Seldom, place_of

MINUTE_S = 60.0
_LONGEST_WAIT_S = 60.0
_FORGOTTEN_S = 600.0


class FaultCounter:
    """Counts errors over the last minute, and tells when to restart and how long to wait before.

    Args:
        most: Errors in a minute from which on a node is made anew; 0: never.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._times: deque[float] = deque(maxlen=max(most, 1))
        self._restarts: deque[float] = deque()
        self._seldom = Seldom()

    def take(self, error: BaseException) -> tuple[int, bool]:
        """Takes note of an error.

        Returns:
            How often it came since it was said last (0: keep quiet), and whether the errors are too many now.
        """
        now = monotonic()
        self._times.append(now)
        count = self._seldom.count(f"{type(error).__name__} {place_of(error)}")
        too_many = 0 < self._most <= len(self._times) and now - self._times[0] <= MINUTE_S
        if too_many:
            self._times.clear()
        return count, too_many

    def next_wait_s(self) -> float:
        """Returns how long to wait before the next restart [s]: none the first time, longer the more there were."""
        now = monotonic()
        while self._restarts and now - self._restarts[0] > _FORGOTTEN_S:
            self._restarts.popleft()
        wait_s = min(2.0 ** len(self._restarts) - 1.0, _LONGEST_WAIT_S)
        self._restarts.append(now)
        return wait_s
