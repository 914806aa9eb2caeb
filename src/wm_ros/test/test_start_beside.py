"""A node that is prepared while others are served already: it comes later, or ends the process by name."""

from __future__ import annotations

import threading

import pytest
from rclpy.node import Node

from wm_ros import ConfigurationError, ManagedNode, ManagedParams
from wm_ros.runner import EXIT_CONFIGURATION, run_nodes
from wm_testing.nodes import ros_context, spin_until

__all__ = ["ros_context"]


class Slow(ManagedNode[ManagedParams]):
    """Prepared when it may, and fails with what it is given."""

    def __init__(self, may: threading.Event, failure: Exception | None = None) -> None:
        super().__init__("slow", ManagedParams)
        self._may, self._failure_of_prepare = may, failure
        self.threads: list[int] = []
        self.start_beside()

    def prepare(self) -> None:
        self.threads.append(threading.get_ident())
        self._may.wait()
        if self._failure_of_prepare is not None:
            raise self._failure_of_prepare

    def configure(self) -> None:
        self.threads.append(threading.get_ident())


def test_others_are_served_while_it_is_prepared(ros_context):
    may, ticks = threading.Event(), []
    slow, other = Slow(may), Node("other")
    other.create_timer(0.01, lambda: ticks.append(slow.is_active))
    spin_until(lambda: len(ticks) > 3, slow, other)
    assert not any(ticks)
    may.set()
    spin_until(lambda: slow.is_active, slow, other)
    assert slow.threads[0] != threading.get_ident() == slow.threads[1], "only what takes long is done elsewhere"
    for node in (slow, other):
        node.destroy_node()


@pytest.mark.slow
@pytest.mark.parametrize("failure", [ConfigurationError("this cannot work"), KeyError("a bug")])
def test_what_it_cannot_start_with_ends_the_process(failure, monkeypatch, capfd):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    may = threading.Event()
    may.set()
    if isinstance(failure, ConfigurationError):
        assert run_nodes(lambda: [Slow(may, failure)], []) == EXIT_CONFIGURATION
        assert "this cannot work" in capfd.readouterr().err
    else:
        with pytest.raises(KeyError, match="a bug"):
            run_nodes(lambda: [Slow(may, failure)], [])
