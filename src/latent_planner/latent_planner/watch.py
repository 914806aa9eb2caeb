"""How old the robot's newest observation is, whatever clock stamps it, and when the time of a step has come."""

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
        self._clock_ns, self._heard_s = 0, -math.inf

    def take(self, stamp_ns: int, clock_ns: int, now_s: float) -> None:
        """Take note of an observation.

        Args:
            stamp_ns: Of its frame.
            clock_ns: ROS's time at which it came.
            now_s: By the clock that ages are asked for by.
        """
        if self._stamp_ns is not None and stamp_ns == self._stamp_ns:
            return
        # As of a simulator that was started anew, whose first frame may come before its clock.
        was_set = abs((clock_ns - self._clock_ns) * 1e-9 - (now_s - self._heard_s)) > _MOST_DELAY_S
        if was_set or (self._stamp_ns is not None and stamp_ns < self._stamp_ns):
            self._delays_s.clear()
        self._delays_s.append((clock_ns - stamp_ns) * 1e-9)
        self._stamp_ns, self._clock_ns, self._heard_s = stamp_ns, clock_ns, now_s

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


class Beat:
    """Tells when it is time for a step, by a clock that may be slower than who asks, such as a simulator's.

    Args:
        step_s: Time between two steps [s].
    """

    def __init__(self, step_s: float) -> None:
        self._step_s, self._owed_s, self._asked_s = step_s, 0.0, -math.inf

    def is_due(self, now_s: float) -> bool:
        """Return whether a step is to be taken now; to be asked about once a step, or more often."""
        passed_s, self._asked_s = now_s - self._asked_s, now_s
        # A tick that is late makes the next one no less due; who was held up for longer owes the step that begins now.
        is_late = passed_s >= 2.0 * self._step_s
        self._owed_s = self._step_s if is_late else min(self._owed_s + passed_s, 2.0 * self._step_s)
        if self._owed_s < 0.5 * self._step_s:
            return False
        self._owed_s -= self._step_s
        return True
