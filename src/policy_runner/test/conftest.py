"""The node under test, a robot that obeys it, a memory of a round drive, and a client of the action."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rclpy.parameter import Parameter
from std_msgs.msg import Float32MultiArray

from policy_runner.node import PolicyRunner
from wm_core.memory.journal import Area, WindowUpdate
from wm_core.memory.packed import Packed
from wm_core.memory.record import MemoryRecord
from wm_interfaces.action import ExecutePolicy
from wm_ros import qos
from wm_testing.goals import STEP_S, ServedRobot
from wm_testing.nodes import ros_context

__all__ = ["ros_context"]

Z_DIM, RADIUS_M, SPEED = 4, 2.0, 1.0


class RoundDrive:
    """A memory in the same process: a bit more than one round to the left about (0, RADIUS_M)."""

    def __init__(self):
        times = np.arange(0.0, 2.05 * math.pi * RADIUS_M / SPEED, 0.1)
        self.records = [
            MemoryRecord(
                round(time_s * 1e9), np.zeros(Z_DIM, np.float32), RADIUS_M * math.sin(angle),
                RADIUS_M * (1.0 - math.cos(angle)), id=at + 1, yaw=math.remainder(angle, 2 * math.pi),
                encoder_id="it", session="one", action_A=np.array([SPEED, SPEED / RADIUS_M], np.float32),
            )
            for at, (time_s, angle) in enumerate(zip(times, times * SPEED / RADIUS_M))
        ]  # fmt: skip

    def window(self, ask):
        is_whole = ask.epoch != 5
        packed = Packed.of(self.records if is_whole else [], "it", "map", Z_DIM, 2)
        area, newest_ns = Area(ask.area.x, ask.area.y, ask.area.radius_m), self.records[-1].stamp_ns
        return WindowUpdate(5, 1, is_whole, "first", area, newest_ns, None, True, packed, np.empty(0, int))


class World(ServedRobot):
    """The runner, and a peer that is robot and client at once; the robot does at once what it is told."""

    def __init__(self, make_policy=None, **given):
        # A machine that has much else to do is slow for all in this process alike.
        given = {"stale_s": 5.0, "patience_s": 20.0, "shadow": False, **given}
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        node = PolicyRunner(make_policy, RoundDrive(), parameter_overrides=overrides)
        super().__init__(node, ExecutePolicy, "/policy_runner/execute", (0.0, 0.0, 0.0), Z_DIM)
        self.proposed = []
        self.peer.create_subscription(Float32MultiArray, "/actions", self.obey, qos.INPUT)
        self.peer.create_subscription(
            Float32MultiArray, "/policy_runner/proposed", lambda msg: self.proposed.append(tuple(msg.data)), qos.STREAM
        )
        self.spin()

    def status(self):
        return self.on_executor(lambda: {each.key: each.value for each in self.node._health.status().values})

    def obey(self, msg):
        self.action = tuple(msg.data)
        self.commands.append(self.action)

    def advance(self):
        speed, turn = self.action
        middle = self.yaw + 0.5 * turn * STEP_S
        self.x += speed * math.cos(middle) * STEP_S
        self.y += speed * math.sin(middle) * STEP_S
        self.yaw += turn * STEP_S

    def off_m(self):
        return abs(math.hypot(self.x, self.y - RADIUS_M) - RADIUS_M)

    def drive(self, **goal):
        """Returns the handle and result of a goal once the robot moves."""
        return super().drive(faster_than=0.5, **goal)


@pytest.fixture
def make_world(ros_context):
    worlds = []

    def make(make_policy=None, **given):
        worlds.append(World(make_policy, **given))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()
