"""Fixtures for tests of nodes: a ROS of their own, and waiting for a condition instead of sleeping."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any
from weakref import WeakSet

import pytest
import rclpy
import yaml
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node

from wm_ros.domain import own_domain_id
from wm_ros.shared_memory import clean_shared_memory


@pytest.fixture
def ros_context(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Initialises rclpy in a domain of this process's own, with discovery kept on this machine."""
    # Nodes of former tests lie in circles of references; until those are found they stay in the graph.
    gc.collect()
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    executors = _noted(monkeypatch)
    # What tests killed while it was starting; a node of this process would wait for it without end.
    clean_shared_memory()
    rclpy.init(args=[], domain_id=own_domain_id())
    yield
    for executor in list(executors):
        executor.shutdown(timeout_sec=0.0)
    rclpy.try_shutdown()


def _noted(monkeypatch: pytest.MonkeyPatch) -> WeakSet[Executor]:
    """Returns the executors that are made from now on.

    One that is collected before it was shut down says so during a later test, where its guard was collected first.
    """
    executors: WeakSet[Executor] = WeakSet()
    initialise = Executor.__init__

    def noted(executor: Executor, *args: Any, **kwargs: Any) -> None:
        initialise(executor, *args, **kwargs)
        executors.add(executor)

    monkeypatch.setattr(Executor, "__init__", noted)
    return executors


def spin_until(predicate: Callable[[], bool], *nodes: Node, timeout_s: float = 60.0) -> None:
    """Spins nodes until ``predicate()`` holds.

    Raises:
        AssertionError: It did not hold in time.
    """
    executor = SingleThreadedExecutor()
    for node in nodes:
        executor.add_node(node)
    deadline = monotonic() + timeout_s
    try:
        while not predicate():
            assert monotonic() < deadline, f"did not come true within {timeout_s} s"
            executor.spin_once(timeout_sec=0.02)
    finally:
        for node in nodes:
            executor.remove_node(node)
        executor.shutdown()


def assert_file_sets_every_parameter(path: Path, node_name: str, params: type) -> None:
    """Asserts that a parameter file sets each parameter of a node, none else, each with a reason beside it."""
    given = yaml.safe_load(path.read_text())[f"/**/{node_name}"]["ros__parameters"]
    assert set(given) == {field.name for field in dataclasses.fields(params)}
    for line in path.read_text().splitlines():
        if line.split(":")[0].strip() in given:
            assert "# " in line, f"{path.name}: no reason beside '{line.strip()}'"
