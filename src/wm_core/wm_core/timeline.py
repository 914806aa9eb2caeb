"""Which frames come, at which rate, and which stamps jump: one rule for live, player and conversion.

Times are integer nanoseconds of the data's own clock. Nothing here reads a clock.
"""

from __future__ import annotations

import enum

from wm_core.errors import AlignmentError

NS_PER_S = 1_000_000_000


class Pacer:
    """Lets at most ``rate_hz`` frames a second through, by their own stamps, without making any wait.

    A frame passes when it is within half a period of its turn, so a camera at the very rate loses none to jitter and a
    30 Hz camera gives 20 Hz on average. Time that goes backwards starts anew.

    Args:
        rate_hz: Most frames per second of data time.
    """

    def __init__(self, rate_hz: float) -> None:
        if not rate_hz > 0:
            raise AlignmentError(f"rate {rate_hz} Hz, expected more than 0")
        self._period_ns = NS_PER_S / rate_hz
        self._last_ns: int | None = None
        self._turn_ns = 0.0

    def is_due(self, stamp_ns: int) -> bool:
        """Returns whether this frame passes; if so the next one's turn is a period later."""
        if self._last_ns is None or stamp_ns < self._last_ns or stamp_ns > self._turn_ns + self._period_ns:
            self._turn_ns = float(stamp_ns)
        self._last_ns = stamp_ns
        if stamp_ns < self._turn_ns - self._period_ns / 2:
            return False
        self._turn_ns += self._period_ns
        return True


class Passage(enum.Enum):
    """What a ``Timeline`` says of a frame's stamp."""

    FOLLOWS = "follows"
    REPEATED = "repeated"
    OUT_OF_ORDER = "out-of-order"
    JUMPS_BACK = "jumps-back"
    JUMPS_AHEAD = "jumps-ahead"
    AHEAD = "ahead"


class Timeline:
    """Tells a stamp that follows from one that jumps.

    A jump back starts a new timeline at once (a bag that loops). A jump ahead is held for an error (``AHEAD``) until
    the next frame agrees with it (``JUMPS_AHEAD``): one frame with a broken stamp must not end a timeline.

    Args:
        ahead_s: Furthest that stamps may run ahead of the time that passed between frames [s].
        back_s: How far back is a jump; less is a frame out of order [s].
    """

    def __init__(self, ahead_s: float = 5.0, back_s: float = 1.0) -> None:
        self._ahead_ns, self._back_ns = int(ahead_s * NS_PER_S), int(back_s * NS_PER_S)
        self._last: tuple[int, int] | None = None
        self._doubted: tuple[int, int] | None = None

    def check(self, stamp_ns: int, steady_ns: int) -> Passage:
        """Returns what the stamp of a frame received at ``steady_ns`` (a steady clock) does."""
        passage = self._judge(stamp_ns, steady_ns)
        if passage is Passage.AHEAD:
            self._doubted = (stamp_ns, steady_ns)
        elif passage not in (Passage.REPEATED, Passage.OUT_OF_ORDER):
            self._last, self._doubted = (stamp_ns, steady_ns), None
        return passage

    def _judge(self, stamp_ns: int, steady_ns: int) -> Passage:
        if self._last is None:
            return Passage.FOLLOWS
        if stamp_ns < self._last[0] - self._back_ns:
            return Passage.JUMPS_BACK
        if stamp_ns <= self._last[0]:
            return Passage.REPEATED if stamp_ns == self._last[0] else Passage.OUT_OF_ORDER
        if not self._is_ahead(self._last, stamp_ns, steady_ns):
            return Passage.FOLLOWS
        doubted = self._doubted
        if doubted and stamp_ns >= doubted[0] and not self._is_ahead(doubted, stamp_ns, steady_ns):
            return Passage.JUMPS_AHEAD
        return Passage.AHEAD

    def _is_ahead(self, before: tuple[int, int], stamp_ns: int, steady_ns: int) -> bool:
        return (stamp_ns - before[0]) - (steady_ns - before[1]) > self._ahead_ns
