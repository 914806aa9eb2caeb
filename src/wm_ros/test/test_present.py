"""How much time has passed for a node, by whichever clock it follows."""

from __future__ import annotations

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock

from wm_ros import stamp_msg
from wm_ros.present import Present
from wm_testing.nodes import ros_context, spin_until

__all__ = ["ros_context"]


class Lived:
    """A node's present, with real time and a clock that the test sets."""

    def __init__(self, monkeypatch, *, follows: bool) -> None:
        self.real_s = 50.0
        monkeypatch.setattr("wm_ros.present.monotonic", lambda: self.real_s)
        self.node = Node("tested", parameter_overrides=[Parameter("use_sim_time", value=follows)])
        self.peer = Node("simulation")
        self._clock = self.peer.create_publisher(Clock, "/clock", 1)
        if follows:
            spin_until(self._clock.get_subscription_count, self.node, self.peer)
        self.present = Present(self.node)

    def passes(self, real_s: float, time_s: float | None = None) -> float:
        """Returns what has passed by real time and a new time of the clock."""
        self.real_s += real_s
        if time_s is not None:
            self._clock.publish(Clock(clock=stamp_msg(round(time_s * 1e9))))
            spin_until(lambda: self.node.get_clock().now().nanoseconds == round(time_s * 1e9), self.node, self.peer)
        return self.present.lived_s()


def test_who_follows_no_clock_lives_in_real_time(ros_context, monkeypatch):
    lived = Lived(monkeypatch, follows=False)
    assert lived.passes(0.5) == pytest.approx(0.5)
    assert lived.passes(3.0) == pytest.approx(3.5)


def test_time_passes_as_the_clock_goes_that_is_followed(ros_context, monkeypatch):
    lived = Lived(monkeypatch, follows=True)
    assert lived.passes(1.0) == pytest.approx(1.0), "before it has begun real time counts"
    before_s = lived.passes(0.0, 1000.0)
    assert lived.passes(5.0, 1001.0) - before_s == pytest.approx(1.0)
    assert lived.passes(1.0, 1006.0) - before_s == pytest.approx(6.0)
    assert lived.passes(0.5, 3.0) - before_s == pytest.approx(6.5), "set back, it tells nothing"
    assert lived.passes(0.5, 3.1) - before_s == pytest.approx(6.6)


def test_of_a_clock_that_stands_still_real_time_counts_from_then_on(ros_context, monkeypatch):
    lived = Lived(monkeypatch, follows=True)
    begin_s = lived.passes(0.0, 1000.0)
    passed = [lived.passes(0.5) - begin_s for _ in range(8)]
    assert passed[:4] == pytest.approx([0.0] * 4)
    assert passed[4:] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert lived.passes(0.5, 1000.1) - begin_s == pytest.approx(2.1)
