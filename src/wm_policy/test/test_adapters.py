"""Policies across a process boundary, against fake servers; what comes from a socket never runs."""

from __future__ import annotations

import contextlib
import pickle
import queue
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("msgpack")
import msgpack

from wm_policy.adapters import server
from wm_policy.adapters.remote import RemotePolicy
from wm_policy.adapters.websocket import accept_of, masked
from wm_policy.adapters.wire import WireError, pack, read, receive, send, unpack
from wm_policy.errors import RemotePolicyError

OBSERVATION = {"image": np.arange(12, dtype=np.uint8).reshape(2, 2, 3), "state": np.array([0.5, -1.0]), "prompt": "go"}


def doubled(observation):
    return np.stack([2 * observation["state"], observation["state"]])


def started(work: Callable[[Callable[[int], None]], None]) -> int:
    """Starts a server in a thread and returns its port."""
    ports: queue.Queue[int] = queue.Queue()
    threading.Thread(target=work, args=(ports.put,), daemon=True).start()
    return ports.get(timeout=30)


def served(infer=doubled) -> int:
    return started(lambda ready: server.serve(infer, {"policy": "fake"}, ready=ready, connections=1))


def raw(*answers: bytes) -> int:
    """Returns the port of a server that says bytes, whatever it is asked."""

    def work(ready):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ready(listener.getsockname()[1])
            connection, _ = listener.accept()
            with connection:
                for answer in answers:
                    connection.sendall(answer)
                    connection.recv(65536)

    return started(work)


def framed(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def test_a_policy_in_another_thread_answers():
    with RemotePolicy("127.0.0.1", served()) as policy:
        assert policy.metadata == {"policy": "fake"}
        for _ in range(3):
            assert policy.act(OBSERVATION).tolist() == [[1.0, -2.0], [0.5, -1.0]]


def test_a_policy_in_another_process_answers():
    """The server's file alone, as it runs in another environment: this package is not to be found there."""
    folder = Path(server.__file__).parent
    code = (
        "import sys; sys.modules['wm_policy'] = None\n"
        f"sys.path.insert(0, {str(folder)!r})\n"
        "import numpy as np, server\n"
        "server.serve(lambda o: np.outer([1.0, 2.0], o['state']), {'policy': 'alone'}, connections=1,\n"
        "             ready=lambda port: print(port, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with RemotePolicy("127.0.0.1", int(process.stdout.readline())) as policy:
            assert policy.metadata == {"policy": "alone"}
            assert policy.act(OBSERVATION).tolist() == [[0.5, -1.0], [1.0, -2.0]]
        assert process.wait(timeout=30) == 0


def test_an_error_over_there_is_told_and_the_server_goes_on():
    with RemotePolicy("127.0.0.1", served()) as policy:
        with pytest.raises(RemotePolicyError, match="failed: KeyError: 'state'"):
            policy.act({"prompt": "go"})
        assert len(policy.act(OBSERVATION)) == 2


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"actions": np.zeros(3)}, "no chunk"),
        ({"actions": np.array([[np.nan]])}, "not finite"),
        ({"action": np.zeros((1, 1))}, "without actions"),
        ({"actions": [[1.0]]}, "no chunk"),
    ],
)
def test_answers_that_are_no_chunk_are_refused(answer, text):
    port = raw(framed(pack({})), framed(pack(answer)))
    with RemotePolicy("127.0.0.1", port) as policy, pytest.raises(RemotePolicyError, match=text):
        policy.act(OBSERVATION)


def test_nobody_there_and_no_answer_are_told():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(RemotePolicyError, match="does not answer"):
            RemotePolicy("127.0.0.1", port, timeout_s=0.2)
    with pytest.raises(RemotePolicyError, match="does not answer"):
        RemotePolicy("127.0.0.1", port, timeout_s=0.2)
    with pytest.raises(RemotePolicyError, match="protocol is 'http'"):
        RemotePolicy("127.0.0.1", port, "http")


class _Trap:
    def __reduce__(self):
        return (pytest.fail, ("something from a socket was run",))


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(_Trap()),
        msgpack.packb({b"__ndarray__": True, b"data": pickle.dumps(_Trap()), b"dtype": "|O", b"shape": (1,)}),
        msgpack.packb(msgpack.ExtType(5, pickle.dumps(_Trap()))),
        msgpack.packb({b"__ndarray__": True, b"data": b"1234", b"dtype": "<f4", b"shape": (2, -1)}),
        msgpack.packb({b"__ndarray__": True, b"data": b"1234", b"dtype": "<f4", b"shape": (2**62, 4)}),
        msgpack.packb({b"__ndarray__": True, b"data": b"1234", b"dtype": "V4", b"shape": (1,)}),
        msgpack.packb({b"__ndarray__": True, b"data": b"1234"}),
        b"\xc1",
        b"",
    ],
)
def test_what_is_no_message_is_refused_and_never_run(content):
    with pytest.raises(WireError):
        unpack(content)
    with pytest.raises(RemotePolicyError):
        RemotePolicy("127.0.0.1", raw(framed(content)), timeout_s=30)


def test_a_length_that_is_a_lie_is_refused():
    with pytest.raises(RemotePolicyError, match="at most"):
        RemotePolicy("127.0.0.1", raw(struct.pack(">I", 2**32 - 1)), timeout_s=30)


ARRAYS = st.builds(
    lambda shape, kind, seed: np.random.default_rng(seed).integers(0, 2, shape).astype(kind),
    st.lists(st.integers(0, 3), max_size=3), st.sampled_from(["<f4", "<f8", "|u1", "<i8", "|b1", "<f2"]),
    st.integers(0, 9),
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text(max_size=5) | st.binary(max_size=5) | ARRAYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def same(one, other) -> bool:
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, dict):
        return set(one) == set(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@given(VALUES)
def test_messages_come_back(value):
    assert same(value, unpack(pack(value)))


@given(st.binary(max_size=60))
def test_any_bytes_give_a_value_or_are_refused(content):
    with contextlib.suppress(WireError):
        unpack(content)


def test_numbers_of_numpy_come_back_and_objects_have_no_place():
    found = unpack(pack({"speed": np.float32(1.5)}))["speed"]
    assert found == 1.5
    assert found.dtype == np.float32
    for wrong in (np.array([object()]), {1, 2}, 1j):
        with pytest.raises(WireError):
            pack(wrong)


class _OpenPiServer:
    """As openpi serves: metadata first, then an answer to each observation; a text is an error."""

    def __init__(self, split: int = 0) -> None:
        self.split, self.asked = split, queue.Queue()

    def run(self, ready: Callable[[int], None]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ready(listener.getsockname()[1])
            connection, _ = listener.accept()
            with connection:
                self._greet(connection)
                self._say(connection, 2, pack({"served": "pi0"}))
                while (content := self._hear(connection)) is not None:
                    observation = unpack(content)
                    self.asked.put(observation)
                    if "state" not in observation:
                        self._say(connection, 1, b"Traceback ...\nKeyError: 'state'\n")
                        return
                    # A ping between is answered, not taken for the answer.
                    connection.sendall(bytes([0x89, 2]) + b"hi")
                    self._say(connection, 2, pack({"actions": doubled(observation), "server_timing": {"infer_ms": 3}}))

    def _greet(self, connection: socket.socket) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += read(connection, 1)
        key = next(line.split(b": ")[1] for line in request.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key"))
        connection.sendall(
            f"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {accept_of(key.decode())}\r\n\r\n".encode()
        )

    def _say(self, connection: socket.socket, code: int, content: bytes) -> None:
        parts = [content] if not self.split else [content[: self.split], content[self.split :]]
        for index, part in enumerate(parts):
            first = (0x80 if index == len(parts) - 1 else 0) | (code if index == 0 else 0)
            size = bytes([len(part)]) if len(part) < 126 else bytes([126]) + struct.pack(">H", len(part))
            connection.sendall(bytes([first]) + size + part)

    def _hear(self, connection: socket.socket) -> bytes | None:
        while True:
            try:
                first, second = read(connection, 2)
            except WireError:
                return None
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack(">H", read(connection, 2))
            assert second & 0x80, "a client masks what it says"
            mask = read(connection, 4)
            content = masked(read(connection, length), mask)
            if first & 0x0F == 2:
                return content
            assert content == b"hi"


@pytest.mark.parametrize("split", [0, 7])
def test_openpis_own_protocol(split):
    fake = _OpenPiServer(split)
    with RemotePolicy("127.0.0.1", started(fake.run), "openpi", timeout_s=30) as policy:
        assert policy.metadata == {"served": "pi0"}
        for _ in range(2):
            assert policy.act(OBSERVATION).tolist() == [[1.0, -2.0], [0.5, -1.0]]
        assert np.array_equal(fake.asked.get(timeout=30)["image"], OBSERVATION["image"])
        with pytest.raises(RemotePolicyError, match="failed: KeyError: 'state'"):
            policy.act({"prompt": "go"})


def test_what_is_no_web_socket_is_told():
    with pytest.raises(RemotePolicyError, match=r"no web socket answers, but 'HTTP/1\.1 404 Not Found'"):
        RemotePolicy("127.0.0.1", raw(b"HTTP/1.1 404 Not Found\r\n\r\n"), "openpi", timeout_s=30)


def test_masks_and_greetings_by_the_standard():
    assert accept_of("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert masked(bytes.fromhex("7f9f4d5158"), bytes.fromhex("37fa213d")) == b"Hello"
    assert masked(b"", b"1234") == b""


def test_messages_over_a_socket_keep_their_order():
    one, other = socket.socketpair()
    with one, other:
        for number in range(5):
            send(one, {"n": number})
        assert [receive(other)["n"] for _ in range(5)] == list(range(5))
