"""Connections on which a request does not come, or an answer is not taken: they end after a while, and are not many."""

from __future__ import annotations

import asyncio
import socket

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE_S = 30.0
"""Longest that a connection waits for the next ``LEAST_BYTES`` of a request that has not come whole [s]."""
LEAST_BYTES = 65_536
"""What has to come in that time, if the request does not end before, and to be taken of an answer."""
MOST_CONNECTIONS = 512
"""Connections at a time: half of the files that a process may usually open."""

_SEND_BUFFER_BYTES = 65_536
_AWAITS_CALLER = (h11.IDLE, h11.SEND_BODY)


class PatientProtocol(H11Protocol):
    """uvicorn's protocol, which by itself waits for the rest of a request, and for who takes no answer, for ever."""

    _limit: asyncio.TimerHandle | None = None
    _untaken: asyncio.TimerHandle | None = None
    _came = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or close it where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        # Whoever does not take all is told of by ``pause_writing``; megabytes that lie in between would hide him, and
        # have a slow watcher see what was live long ago.
        transport.set_write_buffer_limits(high=1)  # with TLS 0 means paused for ever
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._begin()

    def data_received(self, data: bytes) -> None:
        """Take what comes of a request."""
        self._came += len(data)
        if self._came >= LEAST_BYTES:
            self._end()
        super().data_received(data)
        if self.conn.their_state not in _AWAITS_CALLER:
            self._end()
        elif self._limit is None:
            self._begin()

    def pause_writing(self) -> None:
        """Wait for who does not take what is sent."""
        super().pause_writing()
        self._wait_for_taker()

    def resume_writing(self) -> None:
        """Go on with who has taken it."""
        self._end_waiting()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a connection."""
        self._end()
        self._end_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Go on with what came meanwhile of the next request; uvicorn closes a connection on which nothing comes."""
        super().on_response_complete()
        if self.conn.trailing_data[0] and self.conn.their_state in _AWAITS_CALLER and self._limit is None:
            self._begin()

    def _begin(self) -> None:
        self._came = 0
        self._limit = self.loop.call_later(PATIENCE_S, self.transport.close)

    def _end(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _wait_for_taker(self, before: int | None = None) -> None:
        """Cut a connection where too little was taken since ``before`` bytes were left, else wait on."""
        left = self.transport.get_write_buffer_size()
        if before is not None and left > before - LEAST_BYTES:
            # Closed, it would wait until all is taken.
            self.transport.abort()
            return
        self._untaken = self.loop.call_later(PATIENCE_S, self._wait_for_taker, left)

    def _end_waiting(self) -> None:
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None
