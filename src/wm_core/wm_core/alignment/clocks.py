"""The camera's clock beside that of poses and actions, where both are not the same.

A camera's driver may stamp by the device's own clock, by the time since boot, or hours off. The offset is what has to
be added to the camera's stamps to get the other clock. Times are integer nanoseconds. Nothing here reads a clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wm_core.timeline import NS_PER_S

_ENOUGH, _KEPT, _EVERY = 20, 200, 20
# The offset in use moves only where it is off by more than this: clocks drift, single messages are late.
_MOVES_NS = 20_000_000


@dataclass(frozen=True)
class Offset:
    """What is to be added to the camera's stamps to get the clock of poses and actions.

    Attributes:
        ns: It.
        spread_ns: In how wide a range nine of ten messages told it; 0 where it was stated.
    """

    ns: int
    spread_ns: int = 0

    def __str__(self) -> str:
        """Return it in words."""
        text = f"{self.ns / NS_PER_S:+.3f} s"
        return f"{text} (within {self.spread_ns / NS_PER_S:.3f} s)" if self.spread_ns else text


def offset_by_arrival(camera_N2: Sequence[tuple[int, int]], other_N2: Sequence[tuple[int, int]]) -> Offset | None:
    """Return the offset by when both arrived, None where too few did.

    It is right to the difference of the usual delays of both: what is exposed and sent in 50 ms seems 50 ms off.

    Args:
        camera_N2: Stamp and arrival of frames.
        other_N2: Stamp and arrival of poses, or of actions; by one and the same steady clock.
    """
    if min(len(camera_N2), len(other_N2)) < _ENOUGH:
        return None
    # Whole numbers first: nanoseconds since 1970 are too large for a float.
    base_ns = [int(pairs[0][0] - pairs[0][1]) for pairs in (camera_N2, other_N2)]
    camera_N, other_N = (
        np.array([stamp - arrival - base for stamp, arrival in pairs], np.float64)
        for pairs, base in zip((camera_N2, other_N2), base_ns)
    )
    (low, middle, high), (other_low, other_middle, other_high) = (
        np.percentile(each, [5.0, 50.0, 95.0]) for each in (camera_N, other_N)
    )
    ns = base_ns[1] - base_ns[0] + round(float(other_middle - middle))
    return Offset(ns, max(round(float(high - low)), round(float(other_high - other_low)), 1))


class CameraClock:
    """The offset of the camera's clock, as stated or as arrivals tell it.

    By arrival it is known after twenty frames and twenty poses (or stamped actions, where no poses come); it follows a
    drift, and begins anew where the frames' time jumps.

    Args:
        offset_s: As stated [s].
        by_arrival: Let arrivals tell it.
    """

    def __init__(self, offset_s: float = 0.0, by_arrival: bool = False) -> None:
        self._stated, self._by_arrival = Offset(round(offset_s * NS_PER_S)), by_arrival
        self._poses: deque[tuple[int, int]] = deque(maxlen=_KEPT)
        self._actions: deque[tuple[int, int]] = deque(maxlen=_KEPT)
        self.restart()

    def restart(self) -> None:
        """Forget the frames: their time jumped."""
        self._frames: deque[tuple[int, int]] = deque(maxlen=_KEPT)
        self._found: Offset | None = None if self._by_arrival else self._stated
        self._count = 0

    @property
    def offset(self) -> Offset | None:
        """What is to be added to the camera's stamps; None: not known yet."""
        return self._found

    def on_cameras(self, stamp_ns: int) -> int | None:
        """Return a time of the other clock on the camera's; None: not known yet."""
        return None if self._found is None else stamp_ns - self._found.ns

    def frame(self, stamp_ns: int, steady_ns: int) -> None:
        """Take note of a frame."""
        if self._by_arrival:
            self._frames.append((stamp_ns, steady_ns))
            self._look()

    def pose(self, stamp_ns: int, steady_ns: int) -> None:
        """Take note of a pose."""
        if self._by_arrival:
            self._poses.append((stamp_ns, steady_ns))
            self._look()

    def action(self, stamp_ns: int, steady_ns: int) -> None:
        """Take note of an action that carries a stamp."""
        if self._by_arrival and not self._poses:
            self._actions.append((stamp_ns, steady_ns))
            self._look()

    def _look(self) -> None:
        self._count += 1
        if self._found is not None and self._count % _EVERY:
            return
        found = offset_by_arrival(self._frames, self._poses or self._actions)
        if found is not None and (self._found is None or abs(found.ns - self._found.ns) > _MOVES_NS):
            self._found = found
