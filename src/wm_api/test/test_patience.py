"""Connections on which a request does not come whole are closed, and nobody else waits for them."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from contextlib import ExitStack, closing, suppress

import httpx
import pytest

from wm_api import patience
from wm_api.client import events_of
from wm_api.patience import MOST_CONNECTIONS
from wm_api.server import _BACKLOG
from wm_api.testing import observe, running
from wm_testing.system import wait_until

_HEAD = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
_BODY = b'{"latent": "now"}'
_WHOLE = _HEAD + b"Content-Length: %d\r\n\r\n" % len(_BODY) + _BODY
_DEADLINE_S = 60.0


def connected(served) -> closing:
    return closing(socket.create_connection(("127.0.0.1", served.port), _DEADLINE_S))


def said_until_closed(connection: socket.socket) -> bytes:
    """Returns all that comes before the server closes; none of these wait for the keep-alive."""
    connection.settimeout(_DEADLINE_S)
    return said_so_far(connection)


def said_so_far(connection: socket.socket) -> bytes:
    said = b""
    while part := connection.recv(65_536):
        said += part
    return said


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HTTP/1.1\r\nHost: 127", _HEAD, _HEAD + b"Content-Length: 40\r\n\r\n{", _WHOLE + b"GET / HT"],
    ids=["nothing", "half a line", "half a head", "half a body", "half of another"],
)
def test_who_does_not_end_a_request_is_let_go(served, monkeypatch, sent):
    monkeypatch.setattr(patience, "PATIENCE_S", 0.3)
    observe(served.world)
    with connected(served) as connection:
        connection.sendall(sent)
        begin_s = time.monotonic()
        said = said_until_closed(connection)
        assert time.monotonic() - begin_s < 15.0, "uvicorn itself closes after 20 s where nothing comes"
    assert said.startswith(b"HTTP/1.1 200" if sent.startswith(_WHOLE) else b"")


def test_a_byte_at_a_time_is_no_request_and_much_at_a_time_is(served, monkeypatch):
    monkeypatch.setattr(patience, "PATIENCE_S", 1.0)
    monkeypatch.setattr(patience, "LEAST_BYTES", 20)
    observe(served.world)
    for size, is_answered in ((1, False), (20, True)):
        padded = _BODY.ljust(400)
        with connected(served) as connection:
            connection.sendall(_HEAD + b"Connection: close\r\nContent-Length: 400\r\n\r\n")
            try:
                for at in range(0, 400, size):
                    connection.sendall(padded[at : at + size])
                    time.sleep(0.1)
                said = said_until_closed(connection)
            except (BrokenPipeError, ConnectionResetError):
                said = b""
        assert said.startswith(b"HTTP/1.1 200") is is_answered


@pytest.mark.parametrize("path", ["/stream-live", "/openapi.json"])
def test_who_does_not_take_an_answer_is_cut_off(world, monkeypatch, path):
    monkeypatch.setattr(patience, "PATIENCE_S", 0.5)
    with running(world) as service, closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        before = files_open()
        connection.connect(("127.0.0.1", service.port))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode() * 400)
        wait_until(lambda: files_open() > before)
        end_s = time.monotonic() + _DEADLINE_S
        while files_open() > before:
            assert time.monotonic() < end_s, "it is held for as long as the caller wants"
            world.live.publish({"padding": "x" * 200_000})
            time.sleep(0.02)
        assert service.service.streams.open_count == 0


def test_who_takes_an_answer_slowly_gets_all_of_it(served, monkeypatch):
    monkeypatch.setattr(patience, "PATIENCE_S", 0.5)
    monkeypatch.setattr(patience, "LEAST_BYTES", 20_000)
    whole = served.http.get("/openapi.json").content
    with closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", served.port))
        last = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 59 + last)
        connection.settimeout(_DEADLINE_S)
        said = b""
        while part := connection.recv(65_536):
            said += part
            time.sleep(0.01)
    assert said.count(whole) == 60


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_with_tls_answers_and_streams_come_as_without(world, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    name = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make, *name], check=True, capture_output=True)
    world.live.publish({"padding": "x" * 200_000})
    trusting = ssl.create_default_context(cafile=str(certificate))
    with (
        running(world, tls_certificate=certificate, tls_key=key) as service,
        httpx.Client(base_url=f"https://localhost:{service.port}", verify=trusting, trust_env=False) as http,
    ):
        assert [len(http.get("/openapi.json").content) > 50_000 for _ in range(2)] == [True] * 2
        with http.stream("GET", "/stream-live") as answer:
            assert next(events_of(answer.iter_lines())).data["padding"] == "x" * 200_000


def files_open() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_stream_goes_on_however_long(served, monkeypatch):
    monkeypatch.setattr(patience, "PATIENCE_S", 0.2)
    with connected(served) as connection:
        connection.sendall(b"GET /stream-live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        time.sleep(1.0)
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            said_so_far(connection)


def test_one_connection_too_many_is_closed_and_the_others_go_on(served, monkeypatch):
    monkeypatch.setattr(patience, "MOST_CONNECTIONS", 4)
    with connected(served) as first, connected(served), connected(served), connected(served):
        time.sleep(0.1)
        with connected(served) as another, suppress(ConnectionResetError):
            assert said_until_closed(another) == b""
        first.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert first.recv(15) == b"HTTP/1.1 200 OK"


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_crowd_takes_few_files_beside_those_it_may_hold(served, monkeypatch):
    monkeypatch.setattr(patience, "MOST_CONNECTIONS", 4)
    loops, files = [], []
    made = patience.PatientProtocol.connection_made

    def counting(self, transport):
        loops.append(self.loop)
        files.append(open_files())
        made(self, transport)

    monkeypatch.setattr(patience.PatientProtocol, "connection_made", counting)
    with connected(served) as first, ExitStack() as crowd:
        wait_until(lambda: bool(loops))
        callers = [crowd.enter_context(socket.socket()) for _ in range(400)]
        before = open_files()
        loops[0].call_soon_threadsafe(time.sleep, 0.5)  # they all come before the server looks again
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(("127.0.0.1", served.port))
        wait_until(lambda: len(files) > 60)
        assert max(files) - before <= 4 * _BACKLOG + 4
        first.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert first.recv(15) == b"HTTP/1.1 200 OK"
    assert 4 * _BACKLOG + MOST_CONNECTIONS < 800, "a process may usually open 1024"
