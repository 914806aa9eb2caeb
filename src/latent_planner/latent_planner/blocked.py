"""Whether a robot that is to drive stands: something is in its way, or nobody obeys."""

from __future__ import annotations

import math

_WITHIN_M = 0.15
_SHARE = 0.25


class Blocked:
    """Watches where a robot is while it is to drive.

    Args:
        timeout_s: Standing for so long is too long [s]; 0: it never is.
        max_speed_m_s: As fast as the robot may drive [m/s]; a slow one has less way to go in that time.
    """

    def __init__(self, timeout_s: float, max_speed_m_s: float) -> None:
        self._timeout_s = timeout_s
        self._within_m = min(_WITHIN_M, _SHARE * max_speed_m_s * timeout_s)
        self._begun: tuple[float, float, float] | None = None

    def restart(self) -> None:
        """Begin anew: it has just been told to drive, or not to."""
        self._begun = None

    def take(self, now_s: float, x: float, y: float) -> str:
        """Take note of where it is while it is to drive; return why it is no use to go on, or nothing.

        Args:
            now_s: By the clock that the robot moves by.
            x: Where the robot is [m].
            y: The same.
        """
        if not self._timeout_s:
            return ""
        if self._begun is None or math.hypot(x - self._begun[1], y - self._begun[2]) > self._within_m:
            self._begun = now_s, x, y
        stood_s = now_s - self._begun[0]
        if stood_s < self._timeout_s:
            return ""
        text = f"told to drive for {stood_s:.0f} s, the robot has not moved {self._within_m:.2f} m"
        return f"{text}: something is in its way, or it does not obey"
