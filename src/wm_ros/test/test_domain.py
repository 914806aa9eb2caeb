"""Domains of processes that want to be alone."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from wm_ros import domain, own_domain_id

PROGRAM = """
import os, sys
os.getpid = lambda: 41
from wm_ros.domain import own_domain_id
print(own_domain_id(), own_domain_id(), flush=True)
sys.stdin.read()
"""


def test_processes_that_would_choose_alike_are_apart() -> None:
    with (
        subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=-1, stdout=-1, text=True) as one,
        subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=-1, stdout=-1, text=True) as other,
    ):
        assert one.stdout is not None
        assert other.stdout is not None
        chosen = [process.stdout.readline().split() for process in (one, other)]
        one.communicate()
        other.communicate()
    (first, again), (second, _) = chosen
    assert first == again
    assert first != second


def test_a_domain_where_somebody_is_is_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    free = own_domain_id.__wrapped__()
    monkeypatch.setattr(domain, "_take", lambda _: True)
    monkeypatch.setattr(domain.os, "getpid", lambda: free - 1)
    assert own_domain_id.__wrapped__() == free
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inhabitant:
        inhabitant.bind(("", 7400 + 250 * free + 10))
        assert own_domain_id.__wrapped__() != free


def test_where_all_are_taken_there_is_still_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain, "_is_inhabited", lambda _: True)
    assert 1 <= own_domain_id.__wrapped__() <= 100
