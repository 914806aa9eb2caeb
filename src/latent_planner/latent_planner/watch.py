"""How old the robot's newest observation is, whatever clock stamps it."""

from __future__ import annotations

import math
from collections import deque

_LOOKED_BACK = 100
# What a frame may take from its exposure until it is here [s]; stamps further off are of a clock set otherwise.
_MOST_DELAY_S = 1.0


class InputWatch:
    """Tells when observations stay away, come late, or are the same again and again.

    Args:
        timeout_s: Age from which they are stale [s].
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._delays_s: deque[float] = deque(maxlen=_LOOKED_BACK)
        self._stamp_ns: int | None = None
        self._heard_s = -math.inf

    def take(self, stamp_ns: int, clock_ns: int, now_s: float) -> None:
        """Take note of an observation.

        Args:
            stamp_ns: Of its frame.
            clock_ns: ROS's time at which it came.
            now_s: The steady clock's.
        """
        if self._stamp_ns is not None and stamp_ns == self._stamp_ns:
            return
        if self._stamp_ns is not None and stamp_ns < self._stamp_ns:
            self._delays_s.clear()
        self._delays_s.append((clock_ns - stamp_ns) * 1e-9)
        self._stamp_ns, self._heard_s = stamp_ns, now_s

    def lag_s(self, now_s: float) -> float:
        """Return for how long the robot has gone on since its newest observation [s]; infinite: there is none."""
        if not self._delays_s:
            return math.inf
        delay_s = self._delays_s[-1]
        believed_s = delay_s if 0.0 <= delay_s <= _MOST_DELAY_S else self._late_s()
        return now_s - self._heard_s + believed_s

    def is_stale(self, now_s: float) -> bool:
        """Return whether there is no observation that is new enough; what all of them take alike does not count."""
        return not self._delays_s or now_s - self._heard_s + self._late_s() > self._timeout_s

    def _late_s(self) -> float:
        """Return by how much the newest came later after its frame than others did [s]."""
        return self._delays_s[-1] - min(self._delays_s)
