"""Messages between processes: msgpack with arrays in it, and nothing that could run code.

This file stands alone (numpy and msgpack): a server copies it into another environment. Arrays are written as openpi
writes them, so that both protocols share one encoding.
"""

from __future__ import annotations

import math
import socket
import struct
from time import monotonic
from typing import Any

import msgpack
import numpy as np

MOST_BYTES = 64 * 2**20
"""Longest message."""
_KINDS, _LENGTH = "biuf", struct.Struct(">I")
_ARRAY, _SCALAR = b"__ndarray__", b"__npgeneric__"


class WireError(ValueError):
    """A message is none, too long, or holds something that is not to be read."""


def pack(message: object) -> bytes:
    """Return a message as bytes.

    Raises:
        WireError: It holds something that has no place in a message, or is too long.
    """
    try:
        content: bytes = msgpack.packb(message, default=_packed)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"message cannot be written: {error}") from error
    if len(content) > MOST_BYTES:
        raise WireError(f"message has {len(content)} bytes, at most {MOST_BYTES}")
    return content


def unpack(content: bytes) -> Any:
    """Return what ``pack`` was given: plain values, lists, maps and arrays of numbers.

    Raises:
        WireError: It is no message, or an array of it is none.
    """
    if len(content) > MOST_BYTES:
        raise WireError(f"message has {len(content)} bytes, at most {MOST_BYTES}")
    try:
        return msgpack.unpackb(content, object_hook=_unpacked, ext_hook=_no_extension, strict_map_key=True)
    except WireError:
        raise
    except (msgpack.exceptions.UnpackException, ValueError, TypeError, RecursionError) as error:
        raise WireError(f"message cannot be read: {error}") from error


def send(connection: socket.socket, message: object) -> None:
    """Write a message to a connection, its length first."""
    content = pack(message)
    connection.sendall(_LENGTH.pack(len(content)) + content)


def receive(connection: socket.socket) -> Any:
    """Return the next message of a connection.

    Raises:
        WireError: It ended, or what came is no message.
    """
    end_s = deadline(connection)
    (length,) = _LENGTH.unpack(read(connection, _LENGTH.size, end_s))
    if length > MOST_BYTES:
        raise WireError(f"message has {length} bytes, at most {MOST_BYTES}")
    return unpack(read(connection, length, end_s))


def deadline(connection: socket.socket) -> float:
    """Return when a whole message must have come, by the connection's timeout [s on the steady clock]."""
    timeout_s = connection.gettimeout()
    return math.inf if timeout_s is None else monotonic() + timeout_s


def read(connection: socket.socket, count: int, end_s: float = math.inf) -> bytes:
    """Return so many bytes.

    Args:
        connection: Where they come from.
        count: How many.
        end_s: When they must have come, on the steady clock [s]; who sends one now and then is not waited for.

    Raises:
        WireError: The connection ended before, or the time.
        OSError: Nothing comes.
    """
    parts, left = [], count
    while left:
        if monotonic() > end_s:
            raise WireError(f"{left} bytes did not come in time")
        part = connection.recv(min(left, 2**20))
        if not part:
            raise WireError(f"connection ended {left} bytes early")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _packed(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in _KINDS:
        raise WireError(f"arrays of {value.dtype} have no place in a message")
    if isinstance(value, np.ndarray):
        return {_ARRAY: True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic):
        return {_SCALAR: True, b"data": value.item(), b"dtype": value.dtype.str}
    raise WireError(f"a {type(value).__name__} has no place in a message")


def _unpacked(entries: dict[Any, Any]) -> Any:
    if _ARRAY not in entries and _SCALAR not in entries:
        return entries
    try:
        kind, data = np.dtype(str(entries[b"dtype"])), entries[b"data"]
        if kind.kind not in _KINDS:
            raise WireError(f"an array of {kind} is not to be read")
        if _SCALAR in entries:
            return kind.type(data)
        shape = tuple(int(size) for size in entries[b"shape"])
        if min(shape, default=0) < 0 or math.prod(shape) * kind.itemsize != len(data):
            raise WireError(f"an array of shape {shape} and {kind} has {len(data)} bytes")
        return np.frombuffer(data, kind).reshape(shape).copy()
    except (KeyError, TypeError, OverflowError) as error:
        raise WireError(f"an array cannot be read: {error}") from error


def _no_extension(code: int, data: bytes) -> object:
    raise WireError(f"extension {code} of {len(data)} bytes is not to be read")
