"""States that wait for their measured pose before they are kept."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

StateT = TypeVar("StateT")
PoseT = TypeVar("PoseT")
JOIN_S = 0.5
"""How long a state waits for its measured pose [s]."""
_MOST_WAITING = 200
# Measured poses are told of frames between two poses at most this far apart: for longer nobody waits for the next [s].
_COMING_S = 1.0


class Joined(NamedTuple, Generic[StateT, PoseT]):
    """A state that waits no longer.

    Attributes:
        state: The state.
        pose: Its measured pose; None: it needs none, or none came.
        is_late: Its pose did not come in time.
    """

    state: StateT
    pose: PoseT | None
    is_late: bool


class PoseJoin(Generic[StateT, PoseT]):
    """Joins states with poses by stamp, whichever comes first, and keeps the order of the states.

    Args:
        wait_s: Longest that a state waits for its pose, on a steady clock [s].
        most: States that wait at once, at most; beyond it the oldest waits no longer.
    """

    def __init__(self, wait_s: float = JOIN_S, most: int = _MOST_WAITING) -> None:
        self._wait_ns, self._most = round(wait_s * 1e9), most
        self._waiting: deque[tuple[int, StateT, bool, int]] = deque()
        self._poses: OrderedDict[int, PoseT] = OrderedDict()
        self._coming_until_ns: int | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def clear(self) -> None:
        """Forget poses; what waits is handed out as it is."""
        self._poses.clear()

    def push(self, stamp_ns: int, state: StateT, *, waits: bool, steady_ns: int) -> None:
        """Add a state.

        Args:
            stamp_ns: Its stamp.
            state: The state.
            waits: Whether it is to have a measured pose.
            steady_ns: When it came, on a steady clock.
        """
        self._waiting.append((stamp_ns, state, waits, steady_ns + self._wait_ns))

    def are_coming(self, steady_ns: int) -> bool:
        """Return whether measured poses came of late, by a steady clock."""
        return self._coming_until_ns is not None and steady_ns <= self._coming_until_ns

    def pose(self, stamp_ns: int, pose: PoseT, steady_ns: int) -> None:
        """Add a measured pose that came at ``steady_ns``, on a steady clock."""
        self._coming_until_ns = steady_ns + self._wait_ns + round(_COMING_S * 1e9)
        self._poses[stamp_ns] = pose
        while len(self._poses) > self._most:
            self._poses.popitem(last=False)

    def ready(self, steady_ns: int) -> Iterator[Joined[StateT, PoseT]]:
        """Yield the states that wait no longer, in the order in which they came."""
        while self._waiting:
            stamp_ns, state, waits, deadline_ns = self._waiting[0]
            pose = self._poses.pop(stamp_ns, None) if waits else None
            is_due = not waits or pose is not None
            if not is_due and steady_ns < deadline_ns and len(self._waiting) <= self._most:
                return
            self._waiting.popleft()
            yield Joined(state, pose, not is_due)
