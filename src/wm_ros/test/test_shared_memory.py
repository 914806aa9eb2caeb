"""Segments of processes that are gone are removed; those in use, young ones and other files stay."""

from __future__ import annotations

import fcntl
import os

import pytest

from wm_ros.shared_memory import clean_shared_memory

LEFT, HELD, YOUNG = (f"fastdds_{digit * 16}" for digit in "0a1")


@pytest.fixture
def folder(tmp_path):
    for name in (LEFT, HELD, YOUNG, "fastdds_port7410", "other_0000000000000000"):
        for path in (tmp_path / name, tmp_path / f"{name}_el"):
            path.write_bytes(b"x")
            if name != YOUNG:
                os.utime(path, (1, 1))
    return tmp_path


def test_only_what_nobody_holds_is_removed(folder):
    before = {path.name for path in folder.iterdir()}
    with open(folder / f"{HELD}_el", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert clean_shared_memory(folder) == 1
    assert before - {path.name for path in folder.iterdir()} == {LEFT, f"{LEFT}_el"}
    assert clean_shared_memory(folder) == 1  # the other one's process has ended, too


def test_a_machine_without_shared_memory_is_nothing_to_clean(tmp_path):
    assert clean_shared_memory(tmp_path / "none") == 0
