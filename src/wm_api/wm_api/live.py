"""What is happening now, as whoever watches may see it: the newest frame, and events that none of them misses.

A source (a node, a recording) writes from its own thread; streams read on the event loop. A watcher costs a cursor:
frames it is too slow for are skipped, and events stay in one ring that all share.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from time import time_ns
from typing import Any

_MOST_EVENTS = 4096
_NS_PER_MS = 1_000_000


@dataclass(frozen=True)
class Event:
    """Something that happened, such as a node that became degraded.

    Attributes:
        id: Ascending, and never that of an event before the service was started anew.
        kind: What of; the event's name in the stream.
        data: JSON-ready.
    """

    id: int
    kind: str
    data: Mapping[str, Any]


@dataclass
class Cursor:
    """How far one watcher has come.

    Attributes:
        frame: Number of the last frame seen.
        event: Id of the last event seen.
        is_new: Whether it has seen none.
    """

    frame: int = 0
    event: int = 0
    is_new: bool = True


@dataclass(frozen=True)
class News:
    """What a watcher has not seen yet.

    Attributes:
        events: In their order.
        frame: The newest frame, if it is new to the watcher.
        skipped_count: Frames before it that the watcher was too slow for.
        lost_count: Events that had left the ring before the watcher came for them.
    """

    events: tuple[Event, ...] = ()
    frame: Mapping[str, Any] | None = None
    skipped_count: int = 0
    lost_count: int = 0


class Live:
    """The newest frame and the recent events; written by any thread, read by any number of watchers.

    Args:
        most_events: Events that are kept for those who are slow or come back.
    """

    def __init__(self, most_events: int = _MOST_EVENTS) -> None:
        self._lock = threading.Lock()
        self._events: deque[Event] = deque(maxlen=most_events)
        # Who watched the process before comes back with the id of one of its events.
        self._began = self._newest = time_ns() // _NS_PER_MS
        self._frame: Mapping[str, Any] | None = None
        self._frame_count = 0
        self._standing: dict[tuple[str, str], Event] = {}
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def publish(self, frame: Mapping[str, Any]) -> None:
        """Take the place of the frame before."""
        with self._lock:
            self._frame_count += 1
            self._frame = frame
            self._wake()

    def happened(self, kind: str, data: Mapping[str, Any], about: str | None = None) -> None:
        """Add an event.

        Args:
            kind: The event's name.
            data: JSON-ready.
            about: What stands like this from now on, such as a node; None: it happened and is over.
        """
        with self._lock:
            self._newest += 1
            event = Event(self._newest, kind, data)
            self._events.append(event)
            if about is not None:
                self._standing[kind, about] = event
            self._wake()

    @property
    def newest(self) -> Mapping[str, Any] | None:
        """The newest frame."""
        return self._frame

    @property
    def frame_count(self) -> int:
        """Frames published so far."""
        return self._frame_count

    def cursor(self, last_event_id: int | None = None) -> Cursor:
        """Return where a watcher begins.

        Args:
            last_event_id: The last event it has seen; None, or of another service: it has seen none and wants those
                to come.
        """
        with self._lock:
            if last_event_id is None or not self._began < last_event_id <= self._newest:
                return Cursor(event=self._newest)
            return Cursor(event=last_event_id, is_new=False)

    def standing(self, cursor: Cursor) -> list[Event]:
        """Return how things stood where a watcher begins that has seen none: the newest event about each of them."""
        if not cursor.is_new:
            return []
        with self._lock:
            events = sorted(self._standing.values(), key=lambda event: event.id)
            return [event for event in events if event.id <= cursor.event]

    def take(self, cursor: Cursor) -> News:
        """Return what is new to a watcher and move its cursor on."""
        with self._lock:
            oldest = self._newest - len(self._events)
            lost = max(oldest - cursor.event, 0)
            fresh = min(self._newest - cursor.event - lost, len(self._events))
            events = tuple(self._events[at] for at in range(len(self._events) - fresh, len(self._events)))
            cursor.event = self._newest
            is_new = self._frame_count > cursor.frame
            skipped = max(self._frame_count - cursor.frame - 1, 0) if cursor.frame else 0
            cursor.frame = self._frame_count
            return News(events, self._frame if is_new else None, skipped, lost)

    async def changed(self, cursor: Cursor, timeout_s: float) -> bool:
        """Return once there is something new to a watcher; False where nothing came in time."""
        signal = asyncio.Event()
        with self._lock:
            if self._frame_count > cursor.frame or self._newest > cursor.event:
                return True
            self._waiting[signal] = asyncio.get_running_loop()
        try:
            await asyncio.wait_for(signal.wait(), timeout_s)
        except (asyncio.TimeoutError, TimeoutError):
            return False
        finally:
            with self._lock:
                self._waiting.pop(signal, None)
        return True

    def _wake(self) -> None:
        for signal, loop in self._waiting.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(signal.set)
        self._waiting.clear()
