"""Server-sent events that cost no more than their watcher takes, and end when the watcher goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from wm_api.errors import UnavailableError

PING_S = 10.0
"""A comment is sent after so long a silence [s], so that whoever is between does not hang up."""
RETRY_MS = 1000
"""After this time a browser connects again [ms]."""
_AGAIN_S = 0.1


def event(data: Any, *, name: str = "", number: int | None = None) -> bytes:
    """Return one event as it is sent.

    Args:
        data: JSON-ready.
        name: Of the event; empty: ``message``.
        number: Its id, by which a stream is resumed; None: as before.
    """
    lines = [f"id: {number}"] if number is not None else []
    lines += [f"event: {name}"] if name else []
    lines.append(f"data: {json.dumps(data, separators=(',', ':'), allow_nan=False)}")
    return ("\n".join(lines) + "\n\n").encode()


def comment(text: str) -> bytes:
    """Return a comment, which clients pass over."""
    return f": {text}\n\n".encode()


def retry() -> bytes:
    """Return after what time to connect again."""
    return f"retry: {RETRY_MS}\n\n".encode()


class Streams:
    """Counts open streams and refuses those beyond a limit.

    Args:
        most: Streams open at a time.

    Attributes:
        open_count: Streams that are open.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.open_count = 0
        self._ends = asyncio.Event()

    @property
    def ends(self) -> asyncio.Event:
        """Set when the service ends."""
        return self._ends

    def require_room(self) -> None:
        """Refuse one more stream where there are as many as may be.

        Raises:
            UnavailableError: There are.
        """
        if self.open_count >= self._most:
            raise UnavailableError(f"{self.open_count} streams are open, at most {self._most} are", 5)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Count a stream while it is open."""
        self.open_count += 1
        try:
            yield
        finally:
            self.open_count -= 1


class EventStream(Response):
    """A response of server-sent events.

    What it sends waits for the watcher, so nothing piles up; see ``patience`` for one that takes nothing.

    Args:
        streams: Where it is counted.
        events: Encoded events; closed when the watcher goes.
    """

    media_type = "text/event-stream"

    def __init__(self, streams: Streams, events: AsyncGenerator[bytes, None]) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        # Its length is not known.
        self.raw_headers = [pair for pair in self.raw_headers if pair[0] != b"content-length"]
        self._streams, self._events = streams, events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until there is no more, the watcher goes or the service ends."""
        async with self._streams.one():
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            tasks = [
                asyncio.create_task(self._send(send)),
                asyncio.create_task(_gone(receive)),
                asyncio.create_task(self._streams.ends.wait()),
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _end(tasks)
                await self._events.aclose()
            sending = tasks[0]
            if sending.done() and not sending.cancelled() and (error := sending.exception()) is not None:
                if not isinstance(error, (OSError, TimeoutError, asyncio.TimeoutError)):
                    raise error
                return
            if self._streams.ends.is_set() or not sending.cancelled():
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send) -> None:
        async for chunk in self._events:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended: before Python 3.12 ``wait_for`` loses a cancellation now and then."""
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=_AGAIN_S)


async def _gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
