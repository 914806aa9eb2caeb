"""Side streams of the camera: depth and proprioception, found by a frame's stamp."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from wm_core.timeline import NS_PER_S

ValueT = TypeVar("ValueT")


class NearestInTime(Generic[ValueT]):
    """The last few values of a side stream, to find the one nearest to a frame.

    Args:
        tolerance_s: Furthest that one may lie from the frame [s].
    """

    def __init__(self, tolerance_s: float) -> None:
        self._tolerance_ns = int(tolerance_s * NS_PER_S)
        self._values: deque[tuple[int, ValueT]] = deque(maxlen=30)

    def insert(self, stamp_ns: int, value: ValueT) -> None:
        """Adds a value."""
        self._values.append((stamp_ns, value))

    def clear(self) -> None:
        """Forgets all values."""
        self._values.clear()

    def at(self, stamp_ns: int) -> ValueT | None:
        """Returns the value nearest to a time, or None when none is near enough."""
        nearest, least_ns = None, self._tolerance_ns + 1
        for value_ns, value in self._values:
            off_ns = value_ns - stamp_ns if value_ns > stamp_ns else stamp_ns - value_ns
            if off_ns < least_ns:
                nearest, least_ns = value, off_ns
        return nearest
