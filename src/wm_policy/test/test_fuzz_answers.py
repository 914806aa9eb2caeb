"""Whatever a policy's server answers ends as a chunk of finite actions or as an error by name, and in time.

A few answers are tried with the tests, thousands with ``scripts/fuzz`` (``WM_FUZZ_EXAMPLES``).
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from time import monotonic

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("msgpack")

from wm_policy.adapters import wire
from wm_policy.adapters.remote import RemotePolicy
from wm_policy.errors import RemotePolicyError

EXAMPLES = int(os.environ.get("WM_FUZZ_EXAMPLES", "40"))
CHUNK = {"actions": np.arange(12.0, dtype=np.float32).reshape(6, 2), "more": [1, "two", {"three": None}]}
WHOLE = wire.pack(CHUNK)


class Said:
    """A channel over which a server says what it likes."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def ask(self, message: object) -> object:
        return wire.unpack(self._content)

    def close(self) -> None:
        pass


def edited(edits: list[tuple[int, int]], cut: int) -> bytes:
    content = bytearray(WHOLE)
    for at, value in edits:
        content[at % len(content)] = value
    return bytes(content[: len(content) - cut])


ANSWERS = (
    st.builds(edited, st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), max_size=6), st.integers(0, 9))
    | st.binary(max_size=200)
    | st.text(max_size=5000).map(wire.pack)
)


@settings(max_examples=EXAMPLES, deadline=5000)
@given(content=ANSWERS)
def test_any_answer_is_a_chunk_or_an_error_by_name(content):
    policy = RemotePolicy.__new__(RemotePolicy)
    policy._where, policy._channel, said = "server", Said(content), ""
    try:
        action_KA = policy.act({})
    except RemotePolicyError as error:
        said = str(error)
    else:
        assert action_KA.ndim == 2
        assert np.isfinite(action_KA).all()
    assert len(said) < 1000


@pytest.mark.parametrize("size", [2**20 + 2, 2**22])
def test_a_chunk_that_no_robot_can_execute_is_refused(size):
    policy = RemotePolicy.__new__(RemotePolicy)
    policy._where, policy._channel = "server", Said(wire.pack({"actions": np.zeros((size // 2, 2), np.float32)}))
    with pytest.raises(RemotePolicyError, match="actions at once"):
        policy.act({})


def trickling(content: bytes, ready: threading.Event, ports: list[int]) -> None:
    """Serve one client, a byte now and then, for as long as it listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ports.append(listener.getsockname()[1])
        ready.set()
        connection, _ = listener.accept()
        with connection:
            try:
                for at in range(len(content)):
                    connection.sendall(content[at : at + 1])
                    threading.Event().wait(0.02)
            except OSError:
                return


def test_who_sends_a_byte_now_and_then_is_not_waited_for():
    ready, ports = threading.Event(), list[int]()
    content = struct.pack(">I", 10_000) + bytes(10_000)
    threading.Thread(target=trickling, args=(content, ready, ports), daemon=True).start()
    assert ready.wait(30)
    begin_s = monotonic()
    with pytest.raises(RemotePolicyError, match="did not come in time"):
        RemotePolicy("127.0.0.1", ports[0], timeout_s=0.3)
    # All of it would take minutes.
    assert monotonic() - begin_s < 60.0
