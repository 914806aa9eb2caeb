"""Segments of processes that are gone and ports half made are removed; those in use, young ones and others stay."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path
from threading import Timer

import pytest
from rclpy.node import Node

from wm_ros.shared_memory import clean_shared_memory
from wm_testing.nodes import ros_context  # noqa: F401

MADE = (2).to_bytes(4, sys.byteorder)
LEFT, HELD, YOUNG = (f"fastdds_{digit * 16}" for digit in "0a1")


@pytest.fixture
def folder(tmp_path):
    for name in (LEFT, HELD, YOUNG, "fastdds_port7410", "other_0000000000000000"):
        for path in (tmp_path / name, tmp_path / f"{name}_el"):
            path.write_bytes(MADE)
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


@pytest.mark.parametrize("begun", [b"", b"\0" * 64, (1).to_bytes(4, sys.byteorder) + b"\0" * 60])
@pytest.mark.parametrize("name", ["fastdds_port7415", "fastrtps_port31665"])
def test_a_port_that_its_maker_did_not_finish_is_removed_with_its_semaphore(tmp_path, name, begun):
    half, made = tmp_path / name, tmp_path / "fastdds_port7413"
    half.write_bytes(begun)
    made.write_bytes(MADE + b"\0" * 60)
    for path in (half, made):
        (tmp_path / f"sem.{path.name}_mutex").touch()
    assert clean_shared_memory(tmp_path) == 1
    assert {path.name for path in tmp_path.iterdir()} == {made.name, f"sem.{made.name}_mutex"}


def test_a_port_that_is_finished_meanwhile_stays(tmp_path):
    port = tmp_path / "fastdds_port7415"
    port.write_bytes(b"")
    maker = Timer(0.3, port.write_bytes, [MADE])
    maker.start()
    assert clean_shared_memory(tmp_path) == 0
    maker.join()
    assert port.exists()


def test_ports_that_ros_made_begin_as_those_that_stay(ros_context):  # noqa: F811
    """Else each start would remove what others are talking through."""
    node = Node("of_a_port")
    try:
        first = 7411 + 250 * node.context.get_domain_id()
        named = [Path(f"/dev/shm/fastdds_port{first + 2 * participant}") for participant in range(8)]
        ports = [port for port in named if port.exists()]
        if not ports:
            pytest.skip("this middleware makes no such ports")
        clean_shared_memory()
        assert all(port.exists() for port in ports)
    finally:
        node.destroy_node()


def test_a_machine_without_shared_memory_is_nothing_to_clean(tmp_path):
    assert clean_shared_memory(tmp_path / "none") == 0
