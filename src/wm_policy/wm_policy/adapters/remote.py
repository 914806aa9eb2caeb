"""The robot's side: a policy in another process, asked over a socket.

Shape suffixes: K = steps of a chunk, A = action size.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from wm_policy.adapters.websocket import WebSocket
from wm_policy.adapters.wire import WireError, pack, receive, send, unpack
from wm_policy.errors import RemotePolicyError

_MOST_SAID, _MOST_ACTIONS = 500, 2**20


class Channel(Protocol):
    """Messages to a server and back."""

    def ask(self, message: object) -> Any:
        """Return the answer to a message; None asks for what the server says first."""

    def close(self) -> None:
        """End it."""


class RemotePolicy:
    """A policy behind a socket, by our protocol or by openpi's.

    Args:
        host: Where its server listens.
        port: At which port.
        protocol: ``msgpack``: of ``wm_policy.adapters.server``; ``openpi``: of ``scripts/serve_policy.py`` there.
        timeout_s: Longest wait for an answer [s].

    Attributes:
        metadata: What the server says of itself.

    Raises:
        RemotePolicyError: Nobody answers, or with nonsense.
    """

    def __init__(self, host: str, port: int, protocol: str = "msgpack", timeout_s: float = 10.0) -> None:
        if protocol not in _CHANNELS:
            raise RemotePolicyError(f"protocol is '{protocol}', expected one of {', '.join(sorted(_CHANNELS))}")
        self._where = f"{host}:{port}"
        self._channel = self._guarded(lambda: _CHANNELS[protocol](host, port, timeout_s))
        metadata = self._guarded(lambda: self._channel.ask(None))
        if not isinstance(metadata, dict):
            self.close()
            raise RemotePolicyError(f"{self._where} says a {type(metadata).__name__} of itself, expected entries")
        self.metadata: dict[str, Any] = metadata

    def act(self, observation: Mapping[str, Any]) -> np.ndarray:
        """Return a chunk of actions, float64 [K, A].

        Args:
            observation: What the policy takes, by name: arrays, numbers and texts.

        Raises:
            RemotePolicyError: No answer in time, an error over there, or no finite chunk.
        """
        answer = self._guarded(lambda: self._channel.ask(dict(observation)))
        if isinstance(answer, str):
            last = answer[-_MOST_SAID:].strip().splitlines()
            raise RemotePolicyError(f"{self._where} failed: {last[-1] if last else ''}")
        if not isinstance(answer, dict) or "actions" not in answer:
            raise RemotePolicyError(f"{self._where} answers without actions")
        action_KA = answer["actions"]
        if not isinstance(action_KA, np.ndarray) or action_KA.ndim != 2 or not action_KA.size:
            raise RemotePolicyError(f"{self._where} answers actions that are no chunk [K, A]")
        if action_KA.size > _MOST_ACTIONS:
            raise RemotePolicyError(f"{self._where} answers {len(action_KA)} actions at once")
        action_KA = action_KA.astype(np.float64)
        if not np.isfinite(action_KA).all():
            raise RemotePolicyError(f"{self._where} answers actions that are not finite")
        return np.asarray(action_KA)

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def __enter__(self) -> RemotePolicy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _guarded(self, work: Any) -> Any:
        try:
            return work()
        except (OSError, WireError) as error:
            # An answer that comes late would be taken for that of the next question.
            if hasattr(self, "_channel"):
                self._channel.close()
            raise RemotePolicyError(f"{self._where} does not answer: {error}") from error


class _Plain:
    """Our protocol: messages with their length in front."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self._connection = socket.create_connection((host, port), timeout_s)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, message: object) -> Any:
        if message is not None:
            send(self._connection, message)
        return receive(self._connection)

    def close(self) -> None:
        self._connection.close()


class _OpenPi:
    """openpi's protocol: the same messages over a web socket."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self._socket = WebSocket(host, port, timeout_s)

    def ask(self, message: object) -> Any:
        if message is not None:
            self._socket.send(pack(message))
        answer = self._socket.receive()
        return answer if isinstance(answer, str) else unpack(answer)

    def close(self) -> None:
        self._socket.close()


_CHANNELS: dict[str, type[_Plain] | type[_OpenPi]] = {"msgpack": _Plain, "openpi": _OpenPi}
