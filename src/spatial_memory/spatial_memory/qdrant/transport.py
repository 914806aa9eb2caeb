"""HTTP to a server of which nothing is known: an answer has bounds, in bytes and in time, whatever it is made of."""

from __future__ import annotations

import ssl
from time import monotonic
from typing import Any

import httpcore
import httpx

MOST_BYTES = 256 * 2**20
"""Of one answer; a page of 1000 records with features has some 10 MB."""
_TIMES_TIMEOUT = 3
_KEPT_S = 5.0


class BoundedTransport(httpx.BaseTransport):
    """Asks, and reads the answer while it comes in time and is not endless; compressed ones are left as they came.

    Args:
        timeout_s: Longest that nothing may come; the whole answer has three times that.
        most_bytes: Of one answer.
        keeps: Whether connections are kept for the next question.
    """

    def __init__(self, timeout_s: float, most_bytes: int, *, keeps: bool) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_keepalive_connections=None if keeps else 0,
            keepalive_expiry=_KEPT_S,
            network_backend=_Backend(_TIMES_TIMEOUT * timeout_s, most_bytes),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer, read to its end.

        Raises:
            httpcore.TimeoutException: It does not come in time.
            httpcore.NetworkError: It is too large, or the connection broke.
            httpcore.ProtocolError: It is no answer.
        """
        # What is small when it is packed may be anything when it is not.
        request.headers["Accept-Encoding"] = "identity"
        url = request.url
        answer = self._pool.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        try:
            content = answer.read()
        finally:
            answer.close()
        headers = [(name, value) for name, value in answer.headers if name.lower() != b"content-encoding"]
        return httpx.Response(answer.status, headers=headers, content=content)

    def close(self) -> None:
        """Let go of all connections."""
        self._pool.close()


class _Backend(httpcore.NetworkBackend):
    """Connects as usual.

    Args:
        longest_s: From the last of a question to the last of its answer [s].
        most_bytes: Of an answer.
    """

    def __init__(self, longest_s: float, most_bytes: int) -> None:
        self._usual = httpcore.SyncBackend()
        self._bounds = longest_s, most_bytes

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Stream(self._usual.connect_tcp(*args, **kwargs), *self._bounds)

    def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Stream(self._usual.connect_unix_socket(*args, **kwargs), *self._bounds)

    def sleep(self, seconds: float) -> None:
        self._usual.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    """A connection on which questions are written and answers are read in turn."""

    def __init__(self, usual: httpcore.NetworkStream, longest_s: float, most_bytes: int) -> None:
        self._usual = usual
        self._longest_s, self._most_bytes = longest_s, most_bytes
        self._end_s, self._left = monotonic() + longest_s, most_bytes

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._usual.write(buffer, timeout)
        self._end_s, self._left = monotonic() + self._longest_s, self._most_bytes

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left_s = self._end_s - monotonic()
        content = b""
        if left_s > 0.0:
            try:
                content = self._usual.read(max_bytes, left_s if timeout is None else min(timeout, left_s))
            except httpcore.ReadTimeout:
                if monotonic() < self._end_s:
                    raise
        if monotonic() >= self._end_s:
            raise httpcore.ReadTimeout(f"the answer does not end within {self._longest_s:g} s")
        self._left -= len(content)
        if self._left < 0:
            raise httpcore.ReadError(f"the answer has more than {self._most_bytes} bytes")
        return content

    def close(self) -> None:
        self._usual.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secure = self._usual.start_tls(ssl_context, server_hostname, timeout)
        return _Stream(secure, self._longest_s, self._most_bytes)

    def get_extra_info(self, info: str) -> Any:
        return self._usual.get_extra_info(info)
