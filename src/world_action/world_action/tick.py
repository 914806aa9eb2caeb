"""When to look: ticks that follow the frames' own stamps, and the frames of several cameras that belong to one tick."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from wm_core.timeline import tick_early_ns

NANOSECONDS = 1_000_000_000
_GAPS, _LEAST_GAPS = 8, 3
FrameT = TypeVar("FrameT")


@dataclass(frozen=True)
class Tick(Generic[FrameT]):
    """One look at the world.

    Attributes:
        stamp_ns: Stamp of the newest frame in it [ns].
        frames: One entry per view, None where the view has no frame for this tick.
        missing: Names of those views.
    """

    stamp_ns: int
    frames: tuple[FrameT | None, ...]
    missing: tuple[str, ...]


class ViewMatcher(Generic[FrameT]):
    """Keep the newest frame per view and form a tick every period of the frames' time.

    A tick is due when a frame reaches the next point of a grid anchored at the first frame; of a camera that is hardly
    faster than the ticks, also a little before it. It is formed at once when
    every view has a frame within the tolerance; otherwise it waits for the others until the frames' time is
    ``wait_s`` further, and then names those that are missing. Nothing here reads a clock, so a recording played at any
    rate gives the ticks that its drive gave.

    Args:
        views: Names of the views, in the order in which the frames are handed on.
        period_s: Time between ticks [s].
        tolerance_s: Largest difference between the stamps of one tick's frames [s].
        wait_s: How long a due tick waits for late views [s].

    Raises:
        ValueError: No view, a view named twice, or a time that is not positive.
    """

    def __init__(
        self, views: Sequence[str], period_s: float = 1.0, tolerance_s: float = 0.1, wait_s: float = 0.1
    ) -> None:
        if not views or len(set(views)) != len(views):
            raise ValueError(f"views are {list(views)}, expected one or more different names")
        if not (period_s > 0.0 and tolerance_s > 0.0 and wait_s >= 0.0):
            raise ValueError(f"period {period_s}, tolerance {tolerance_s} and wait {wait_s} s must be positive")
        self._views = tuple(views)
        self._period_ns = round(period_s * NANOSECONDS)
        self._tolerance_ns = round(tolerance_s * NANOSECONDS)
        self._wait_ns = round(wait_s * NANOSECONDS)
        self.reset()

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the views."""
        return self._views

    def reset(self) -> None:
        """Forget all frames; the next frame is a tick's first."""
        self._newest: dict[str, tuple[int, FrameT]] = {}
        self._late_ns: dict[str, int] = {}
        self._gaps_ns: deque[int] = deque(maxlen=_GAPS)
        self._early_ns = 0
        self._due_ns: int | None = None

    def offer(self, view: str, stamp_ns: int, frame: FrameT) -> Tick[FrameT] | None:
        """Take a frame; return the tick that it completes, if any.

        A frame slightly older than the view's newest is late and ignored; one older by a period or more means that
        time went back (a recording that loops), and starts afresh. So does a second late one that follows the first: a
        recording shorter than a period that loops.
        """
        held = self._newest.get(view)
        if held is not None and stamp_ns < held[0]:
            late_ns = self._late_ns.get(view)
            self._late_ns[view] = stamp_ns
            if held[0] - stamp_ns < self._period_ns and (late_ns is None or stamp_ns <= late_ns):
                return None
            self.reset()
        self._late_ns.pop(view, None)
        self._measure(view, stamp_ns)
        self._newest[view] = (stamp_ns, frame)
        newest_ns = max(stamp for stamp, _ in self._newest.values())
        if self._due_ns is None:
            self._due_ns = newest_ns
        if newest_ns < self._due_ns - self._early_ns:
            return None
        matched = {
            name: frame for name, (stamp, frame) in self._newest.items() if newest_ns - stamp <= self._tolerance_ns
        }
        if len(matched) < len(self._views) and newest_ns - self._due_ns < self._wait_ns:
            return None
        return self._form(newest_ns, matched)

    def _measure(self, view: str, stamp_ns: int) -> None:
        """Learns how fast the cameras are: by the shortest gap of late, since frames between two ticks stay unread."""
        if view in self._newest and stamp_ns > self._newest[view][0]:
            self._gaps_ns.append(stamp_ns - self._newest[view][0])
            if len(self._gaps_ns) >= _LEAST_GAPS:
                self._early_ns = tick_early_ns(min(self._gaps_ns), self._period_ns)

    def _form(self, stamp_ns: int, matched: dict[str, FrameT]) -> Tick[FrameT]:
        assert self._due_ns is not None
        self._due_ns += self._period_ns
        # Ticks were missed, or the camera's own frames are the ticks: a new grid starts here.
        if self._due_ns <= stamp_ns or self._early_ns:
            self._due_ns = stamp_ns + self._period_ns
        return Tick(
            stamp_ns=stamp_ns,
            frames=tuple(matched.get(name) for name in self._views),
            missing=tuple(name for name in self._views if name not in matched),
        )


class FrameGate:
    """How long to leave the frames between two ticks unread.

    Reading a message costs 0.1-0.8 ms on the thread that also carries the fast path, and 19 of 20 frames are not
    needed. The gate learns how fast the frames' time runs against the steady clock (a recording may be played at
    another rate) and closes for most of the time to the next tick.

    Args:
        period_s: Time between ticks in the frames' time [s].
        early: Part of the period by which the gate opens before the tick is due.

    Raises:
        ValueError: ``period_s`` is not positive or ``early`` is outside 0..1.
    """

    def __init__(self, period_s: float, early: float = 0.1) -> None:
        if not (period_s > 0.0 and 0.0 < early < 1.0):
            raise ValueError(f"period is {period_s} s and early {early}, expected a positive time and a part of 1")
        self._period_s = period_s
        self._early = early
        self._last: tuple[int, float] | None = None

    def closed_for_s(self, stamp_ns: int, steady_s: float) -> float:
        """Time to stay closed after a tick [s]; 0 keeps the gate open.

        Args:
            stamp_ns: Stamp of the tick [ns].
            steady_s: Steady clock at its arrival [s].
        """
        last, self._last = self._last, (stamp_ns, steady_s)
        if last is None:
            return 0.0
        data_s = (stamp_ns - last[0]) / NANOSECONDS
        elapsed_s = steady_s - last[1]
        if data_s <= 0.0 or elapsed_s <= 0.0:
            return 0.0
        # Never longer than real time allows: a recording that was paused must not shut the gate for long.
        pace = max(data_s / elapsed_s, 1.0)
        return (1.0 - self._early) * self._period_s / pace
