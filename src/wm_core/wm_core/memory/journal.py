"""What changed in a memory since a revision, so that who holds a part of it as arrays can keep it current.

A revision counts within an epoch, one run of the memory; whoever holds another epoch's, or one from before what is
remembered here, starts anew.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wm_core.memory.errors import QueryError
from wm_core.memory.packed import Packed

MOST_CHANGES = 20_000
"""Changes remembered; more in one go mean that everything is told anew."""


@dataclass(frozen=True)
class Area:
    """The part of a memory that a window holds: everything in a disc, and of it what is not too old.

    Attributes:
        x: Of the centre [m].
        y: Of the centre [m].
        radius_m: Within this planar distance of the centre [m].
        max_age_s: At most this much older than the newest memory [s]; 0: any.
        max_count: At most so many, else the radius becomes smaller; 0: any.
        frame_id: Frame of the centre; empty, or must be the memory's.
    """

    x: float
    y: float
    radius_m: float
    max_age_s: float = 0.0
    max_count: int = 0
    frame_id: str = ""

    def check(self, frame_id: str) -> None:
        """Refuse an area that makes no sense, or lies in another frame than the memory's.

        Raises:
            QueryError: Names the field.
        """
        if not (np.isfinite((self.x, self.y)).all() and 0 < self.radius_m < float("inf")):
            raise QueryError(
                f"area around {self.x}, {self.y} of {self.radius_m} m: expected finite numbers, radius > 0"
            )
        if not 0 <= self.max_age_s < float("inf") or self.max_count < 0:
            raise QueryError(f"max_age_s {self.max_age_s} or max_count {self.max_count}: expected numbers >= 0")
        if self.frame_id and frame_id and self.frame_id != frame_id:
            raise QueryError(f"the area is in frame {self.frame_id}, the memory's places are in {frame_id}")

    def distance2(self, x_N: np.ndarray, y_N: np.ndarray) -> np.ndarray:
        """Return squared planar distances from the centre [m^2]."""
        dx_N, dy_N = x_N - self.x, y_N - self.y
        distance2_N: np.ndarray = dx_N * dx_N + dy_N * dy_N
        return distance2_N


@dataclass(frozen=True)
class WindowAsk:
    """What a window wants to know: an area, and what it holds of it.

    Attributes:
        area: What to hold.
        epoch: Run of the memory whose revision it holds; 0: it holds nothing of this area.
        revision: What it holds is as of this one.
    """

    area: Area
    epoch: int = 0
    revision: int = 0


@dataclass(frozen=True)
class WindowUpdate:
    """What a window is to do to be as the memory is.

    Attributes:
        epoch: Run of the memory that ``revision`` counts in.
        revision: The memory's.
        is_whole: ``records`` replace everything held; else they are added, or replace those of their ids.
        reason: Why everything is told anew; empty where it is not.
        area: What is complete; its radius may be smaller than asked.
        newest_ns: Stamp of the newest memory of all [ns].
        oldest_ns: Older memories of the area were left out [ns]; None: none were.
        is_everything: No memory lies outside the area; where not whole: none of those that changed does.
        records: New or changed.
        removed_N: Ids that are no longer there, or no longer in the area.
    """

    epoch: int
    revision: int
    is_whole: bool
    reason: str
    area: Area
    newest_ns: int
    oldest_ns: int | None
    is_everything: bool
    records: Packed
    removed_N: np.ndarray


class WindowSource(Protocol):
    """Whatever a window can be filled from: a memory in the same process, or a service."""

    def window(self, ask: WindowAsk) -> WindowUpdate | None:
        """Return what a window is to do to be as the memory is; None: the memory is busy at present.

        Raises:
            QueryError: It cannot be filled as asked.
        """


class LateSource:
    """A memory that may be made anew, or not be there, between two looks at it.

    Args:
        memory: Returns the memory of the moment; None: there is none.
    """

    def __init__(self, memory: Callable[[], object | None]) -> None:
        self._memory = memory

    def window(self, ask: WindowAsk) -> WindowUpdate | None:
        """Return what a window is to do to be as the memory is; None: it is busy, or not there, at present.

        Raises:
            QueryError: It cannot be filled as asked, or this kind of memory does not tell what changes.
        """
        memory = self._memory()
        if memory is None:
            return None
        tells: Callable[[WindowAsk], WindowUpdate | None] | None = getattr(memory, "window", None)
        if tells is None:
            raise QueryError("this kind of memory does not tell what changes: it has to be asked each time")
        return tells(ask)


class Journal:
    """Remembers which records of a memory changed. Not thread-safe: the owner locks.

    Args:
        most: Changes to remember.
        revision: Where to begin to count.

    Attributes:
        epoch: Names this run of the memory; never 0.
        revision: How many changes there were.
        reason: Why everything was last told anew.
    """

    def __init__(self, most: int = MOST_CHANGES) -> None:
        self._most = most
        self.epoch = secrets.randbits(63) | 1
        self.revision = 0
        self.reason = "restarted"
        self._oldest = 0
        self._changes: deque[tuple[int, int]] = deque()

    def changed(self, ids: Iterable[int]) -> None:
        """Note that records came, changed or went."""
        ids = list(ids)
        if not ids:
            return
        self.revision += 1
        if len(ids) > self._most:
            self._forget("too much at once")
            return
        self._changes.extend((self.revision, record_id) for record_id in ids)
        while len(self._changes) > self._most:
            self._oldest = self._changes.popleft()[0]
            self.reason = "too far behind"

    def replaced(self, reason: str) -> None:
        """Note that everything changed, and why."""
        self.revision += 1
        self._forget(reason)

    def _forget(self, reason: str) -> None:
        self._changes.clear()
        self._oldest, self.reason = self.revision, reason

    def since(self, epoch: int, revision: int) -> list[int] | None:
        """Return the ids of what changed after a revision; None: not known, everything has to be told anew."""
        if epoch != self.epoch or not self._oldest <= revision <= self.revision:
            return None
        ids: dict[int, None] = {}
        for at, record_id in reversed(self._changes):
            if at <= revision:
                break
            ids[record_id] = None
        return list(ids)

    def why(self, ask: WindowAsk) -> str:
        """Return why everything is told anew to who asked."""
        if not ask.epoch:
            return "first"
        return "restarted" if ask.epoch != self.epoch else self.reason
