"""Which frames come, at which rate, and which stamps jump: one rule for live, player and conversion.

Times are integer nanoseconds of the data's own clock. Nothing here reads a clock.
"""

from __future__ import annotations

import enum
import math

from wm_core.errors import AlignmentError

NS_PER_S = 1_000_000_000
_EARLY = 0.45
"""Share of a period that a frame may come before its turn."""
_HARDLY_FASTER = 0.75
_OVERTAKEN = 4
"""Intervals of a camera that a frame can be overtaken by."""
_FASTEST_PLAYBACK = 20
"""Times that a recording may be played faster than it was made; late frames in one burst are faster still."""


def tick_early_ns(gap_ns: int, period_ns: int) -> int:
    """Returns how much before its turn a tick may take a frame [ns].

    Nearly half a gap of a camera that is hardly faster than the ticks: its next frame would be almost a period late.
    None of a faster one, whose next frame is soon there.

    Args:
        gap_ns: Time between frames.
        period_ns: Time between ticks.
    """
    return int(_EARLY * gap_ns) if gap_ns > _HARDLY_FASTER * period_ns else 0


class Pacer:
    """Lets at most ``rate_hz`` frames a second through, by their own stamps, without making any wait.

    A frame passes when it is within nearly half a period of its turn, so a camera at the very rate loses none to jitter
    and a 30 Hz camera gives 20 Hz on average; by a full half, one at twice the rate would give uneven gaps. Time that
    goes backwards starts anew.

    Args:
        rate_hz: Most frames per second of data time.
    """

    def __init__(self, rate_hz: float) -> None:
        if not rate_hz > 0:
            raise AlignmentError(f"rate {rate_hz} Hz, expected more than 0")
        self._period_ns = NS_PER_S / rate_hz
        self._last_ns: int | None = None
        # Counted from a stamp: nanoseconds since 1970 are too large for a float.
        self._origin_ns, self._turn_ns = 0, 0.0

    def is_due(self, stamp_ns: int) -> bool:
        """Returns whether this frame passes; if so the next one's turn is a period later."""
        since_ns = stamp_ns - self._origin_ns
        if self._last_ns is None or stamp_ns < self._last_ns or since_ns > self._turn_ns + self._period_ns:
            self._origin_ns, self._turn_ns, since_ns = stamp_ns, 0.0, 0
        self._last_ns = stamp_ns
        if since_ns < self._turn_ns - _EARLY * self._period_ns:
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
    BEHIND = "behind"


class Timeline:
    """Tells a stamp that follows from one that jumps: the one rule for frames, poses and actions.

    A jump back starts a new timeline at once (a bag that loops, a clock that is set). A smaller step back is a frame
    out of order, unless it is far beyond the camera's own intervals, or the next frame goes on from there as time
    passes: then it is a jump as well (a recording of less than a second that loops). A jump ahead is held for an error
    (``AHEAD``) until the next frame agrees with it (``JUMPS_AHEAD``): one frame with a broken stamp must not end a
    timeline.

    Args:
        ahead_s: Furthest that stamps may run ahead of the time that passed between frames [s].
        back_s: How far back is a jump; less is a frame out of order [s].
        tells_loops: Whether smaller steps back may be jumps; not for streams whose messages overtake each other.
        doubts_back_s: Jumps back by more than this are held for an error (``BEHIND``), too, until the next one agrees:
            no recording that loops is so long [s].
    """

    def __init__(
        self, ahead_s: float = 5.0, back_s: float = 1.0, tells_loops: bool = True, doubts_back_s: float = math.inf
    ) -> None:
        self._doubts_back_ns = doubts_back_s * NS_PER_S
        self._ahead_ns, self._back_ns = int(ahead_s * NS_PER_S), int(back_s * NS_PER_S)
        self._tells_loops = tells_loops
        self._last: tuple[int, int] | None = None
        self._doubted: tuple[int, int] | None = None
        self._late: tuple[int, int] | None = None
        self._interval_ns = 0

    def check(self, stamp_ns: int, steady_ns: int) -> Passage:
        """Returns what the stamp of a frame received at ``steady_ns`` (a steady clock) does."""
        passage = self._judge(stamp_ns, steady_ns)
        if passage in (Passage.AHEAD, Passage.BEHIND):
            self._doubted = (stamp_ns, steady_ns)
        elif passage is Passage.OUT_OF_ORDER:
            self._late = (stamp_ns, steady_ns)
        elif passage is not Passage.REPEATED:
            if passage is Passage.FOLLOWS and self._last is not None:
                self._interval_ns = stamp_ns - self._last[0]
            self._last, self._doubted, self._late = (stamp_ns, steady_ns), None, None
        return passage

    def restart(self) -> None:
        """Forgets what came before."""
        self._last = self._doubted = self._late = None
        self._interval_ns = 0

    def _judge(self, stamp_ns: int, steady_ns: int) -> Passage:
        if self._last is None:
            return Passage.FOLLOWS
        if stamp_ns < self._last[0] - self._back_ns:
            is_believed = self._last[0] - stamp_ns <= self._doubts_back_ns or self._agrees(stamp_ns, steady_ns)
            return Passage.JUMPS_BACK if is_believed else Passage.BEHIND
        if stamp_ns <= self._last[0]:
            if self._tells_loops and stamp_ns < self._last[0] and self._loops(self._last, stamp_ns, steady_ns):
                return Passage.JUMPS_BACK
            return Passage.REPEATED if stamp_ns == self._last[0] else Passage.OUT_OF_ORDER
        if not self._is_ahead(self._last, stamp_ns, steady_ns):
            return Passage.FOLLOWS
        return Passage.JUMPS_AHEAD if self._agrees(stamp_ns, steady_ns) else Passage.AHEAD

    def _agrees(self, stamp_ns: int, steady_ns: int) -> bool:
        """Return whether a stamp goes on from the one that was held for an error."""
        doubted = self._doubted
        return doubted is not None and stamp_ns >= doubted[0] and not self._is_ahead(doubted, stamp_ns, steady_ns)

    def _loops(self, last: tuple[int, int], stamp_ns: int, steady_ns: int) -> bool:
        """Returns whether a small step back is a new timeline."""
        if 0 < self._interval_ns * _OVERTAKEN < last[0] - stamp_ns:
            return True
        if self._late is None:
            return False
        step_ns, passed_ns = stamp_ns - self._late[0], steady_ns - self._late[1]
        return 0 < step_ns < _FASTEST_PLAYBACK * passed_ns

    def _is_ahead(self, before: tuple[int, int], stamp_ns: int, steady_ns: int) -> bool:
        return (stamp_ns - before[0]) - (steady_ns - before[1]) > self._ahead_ns
