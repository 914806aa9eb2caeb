"""The lookout: what is ready is told once, and calling it back ends every wait."""

from __future__ import annotations

import threading

import pytest
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.utilities import get_default_context

from wm_ros.lookout import Lookout
from wm_testing.nodes import ros_context  # noqa: F401

LONGEST_S = 60.0


@pytest.fixture
def called():
    return threading.Semaphore(0)


@pytest.fixture
def lookout(ros_context, called):  # noqa: F811
    made = Lookout(get_default_context(), called.release)
    yield made
    made.close()


def wait_for_back(back) -> list[str]:
    """Waits until the lookout is called back."""
    context = get_default_context()
    with context.handle:
        wait_set = rclpy_implementation.WaitSet(0, 1, 0, 0, 0, 0, context.handle)
    wait_set.clear_entities()
    wait_set.add_guard_condition(back)
    wait_set.wait(-1)
    return []


def test_what_is_ready_is_told_once(lookout, called):
    lookout.send(lambda _back: ["it"])
    assert called.acquire(timeout=LONGEST_S)
    assert lookout.hear() == ["it"]
    assert not lookout.is_out
    assert lookout.hear() == []


def test_it_is_called_back_from_its_wait_and_sent_again(lookout, called):
    for _ in range(3):
        lookout.send(wait_for_back)
        assert lookout.hear() == []
        lookout.call_back()
        assert not lookout.is_out
    assert not called.acquire(blocking=False), "nothing was ready"


def test_an_error_of_its_wait_is_raised_where_it_is_heard(lookout, called):
    def fail(_back) -> list[str]:
        raise RuntimeError("no wait set")

    lookout.send(fail)
    assert called.acquire(timeout=LONGEST_S)
    with pytest.raises(RuntimeError, match="no wait set"):
        lookout.hear()


def test_closing_ends_its_thread(ros_context, called):  # noqa: F811
    made = Lookout(get_default_context(), called.release)
    made.send(wait_for_back)
    made.close()
    assert not any(thread.name == "lookout" for thread in threading.enumerate())
