"""The time of a simulated robot: the real one, or one of its own that others follow by ``/clock``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# Finer than any command's period: what follows the clock sees no time but those that are told.
TICK_S = 0.005
_MOST_BEHIND_S = 0.05


class Pace:
    """Seconds since the robot began.

    Args:
        scale: As many of them in a second as this at the most; 0: real time.
        tell: Tells others of each, where they are not the real ones.
        stop: Set to end all waiting.
    """

    def __init__(self, scale: float, tell: Callable[[float], None], stop: threading.Event) -> None:
        self._scale, self._tell, self._stop = scale, tell, stop
        self._now_s = 0.0
        self.begin()

    def begin(self) -> None:
        """Let it be 0 now."""
        self._now_s, self._real_s = 0.0, time.monotonic()
        if self._scale:
            self._tell(0.0)

    @property
    def now_s(self) -> float:
        """The present [s]; may be read by any thread."""
        return self._now_s if self._scale else time.monotonic() - self._real_s

    def wait(self, until_s: float) -> bool:
        """Wait until a time [s]; return whether it came: not where waiting was ended."""
        if not self._scale:
            left_s = until_s - self.now_s
            return not (left_s > 0.0 and self._stop.wait(left_s))
        while self._now_s < until_s:
            then_s = min(self._now_s + TICK_S, until_s)
            # A machine that is too slow makes time slower: nothing is left out to catch up.
            earliest_s = time.monotonic() - _MOST_BEHIND_S
            self._real_s = max(self._real_s, earliest_s) + (then_s - self._now_s) / self._scale
            if self._stop.wait(max(0.0, self._real_s - time.monotonic())):
                return False
            self._now_s = then_s
            self._tell(then_s)
        return not self._stop.is_set()
