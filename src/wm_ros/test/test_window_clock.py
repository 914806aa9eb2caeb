"""How often a window of memories is looked at for changes, by the clock that is followed."""

from __future__ import annotations

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock

from wm_core.se2 import Pose2
from wm_ros import Health, stamp_msg
from wm_ros.memory_window import HeldMemories, WindowSettings
from wm_testing.nodes import ros_context, spin_until

__all__ = ["ros_context"]


class Source:
    """A memory that has nothing new, and counts how often it is asked."""

    asked = 0

    def window(self, ask):
        self.asked += 1


@pytest.mark.parametrize("faster", [0.2, 5.0])
def test_a_window_is_looked_at_as_often_as_the_robot_s_time_goes(ros_context, monkeypatch, faster):
    now_s = [50.0]
    monkeypatch.setattr("wm_ros.present.monotonic", lambda: now_s[0])
    node, peer = Node("tested", parameter_overrides=[Parameter("use_sim_time", value=True)]), Node("simulation")
    clock, source = peer.create_publisher(Clock, "/clock", 1), Source()
    spin_until(clock.get_subscription_count, node, peer)
    held = HeldMemories(node, Health(node), WindowSettings(30.0, 0.0, 0, 0.5), source)
    for number in range(41):
        now_s[0] += 0.1 / faster
        time_ns = round((1000.0 + 0.1 * number) * 1e9)
        clock.publish(Clock(clock=stamp_msg(time_ns)))
        spin_until(lambda time_ns=time_ns: node.get_clock().now().nanoseconds == time_ns, node, peer)
        held.refresh(Pose2(0.0, 0.0, 0.0, 0.0), "map")
    assert 8 <= source.asked <= 10
    node.destroy_node()
    peer.destroy_node()
