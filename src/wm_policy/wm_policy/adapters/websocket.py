"""As much of a web socket as a client of openpi needs: one message after the other, in both directions.

Source: RFC 6455.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct

from wm_policy.adapters.wire import MOST_BYTES, WireError, deadline, read

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUED, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_LONGEST_HEADER = 16384


class WebSocket:
    """A connection to a server.

    Args:
        host: Where it listens.
        port: At which port.
        timeout_s: Longest wait [s].

    Raises:
        WireError: What answers is no web socket.
        OSError: Nothing answers.
    """

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self._connection = socket.create_connection((host, port), timeout_s)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._shake_hands(f"{host}:{port}")
        except (OSError, WireError):
            self._connection.close()
            raise

    def _shake_hands(self, host: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self._connection.sendall(request.encode())
        header, end_s = b"", deadline(self._connection)
        while not header.endswith(b"\r\n\r\n"):
            if len(header) > _LONGEST_HEADER:
                raise WireError("the answer to a web socket's greeting has no end")
            header += read(self._connection, 1, end_s)
        lines = header.decode("latin-1").split("\r\n")
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if " 101 " not in f"{lines[0]} " or fields.get("sec-websocket-accept") != accept_of(key):
            raise WireError(f"no web socket answers, but '{lines[0][:200]}'")

    def send(self, content: bytes) -> None:
        """Write a message of bytes."""
        self._write(_BINARY, content)

    def receive(self) -> bytes | str:
        """Return the next message: bytes, or a text.

        Raises:
            WireError: The server closed it, or broke the protocol.
        """
        kind, parts, end_s = -1, b"", deadline(self._connection)
        while True:
            is_last, code, content = self._frame(end_s)
            if code == _CLOSE:
                raise WireError("the server closed the web socket")
            if code == _PING:
                self._write(_PONG, content)
            if code in (_PING, _PONG):
                continue
            if (code == _CONTINUED) == (kind < 0) or code not in (_CONTINUED, _TEXT, _BINARY):
                raise WireError(f"a frame of kind {code} has no place here")
            kind, parts = (code if kind < 0 else kind), parts + content
            if len(parts) > MOST_BYTES:
                raise WireError(f"message is longer than {MOST_BYTES} bytes")
            if is_last:
                return parts.decode("utf-8", "replace") if kind == _TEXT else parts

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _frame(self, end_s: float) -> tuple[bool, int, bytes]:
        first, second = read(self._connection, 2, end_s)
        if second & 0x80 or first & 0x70:
            raise WireError("a server's frame is masked, or of an extension that was not agreed on")
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", read(self._connection, 2, end_s))
        elif length == 127:
            (length,) = struct.unpack(">Q", read(self._connection, 8, end_s))
        if length > MOST_BYTES:
            raise WireError(f"a frame has {length} bytes, at most {MOST_BYTES}")
        return bool(first & 0x80), first & 0x0F, read(self._connection, length, end_s)

    def _write(self, code: int, content: bytes) -> None:
        length, mask = len(content), os.urandom(4)
        if length < 126:
            head = struct.pack(">BB", 0x80 | code, 0x80 | length)
        elif length < 65536:
            head = struct.pack(">BBH", 0x80 | code, 0x80 | 126, length)
        else:
            head = struct.pack(">BBQ", 0x80 | code, 0x80 | 127, length)
        self._connection.sendall(head + mask + masked(content, mask))


def accept_of(key: str) -> str:
    """Return what a server answers to the key of a greeting."""
    return base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()


def masked(content: bytes, mask: bytes) -> bytes:
    """Return the content with a mask of four bytes laid over it, again and again; twice gives it back."""
    if not content:
        return b""
    whole = (mask * (len(content) // 4 + 1))[: len(content)]
    return (int.from_bytes(content, "big") ^ int.from_bytes(whole, "big")).to_bytes(len(content), "big")
