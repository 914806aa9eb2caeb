"""The node under test, a robot that obeys it, a memory of a round drive, and a client of the action."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from rclpy.action import ActionClient
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import Float32MultiArray

from policy_runner.node import PolicyRunner
from wm_core.memory.journal import Area, WindowUpdate
from wm_core.memory.packed import Packed
from wm_core.memory.record import MemoryRecord
from wm_core.se3 import quaternion_of
from wm_interfaces.action import ExecutePolicy
from wm_interfaces.msg import LatentState
from wm_ros import floats, pose_to_msg, qos, stamp_msg
from wm_ros.dispatcher import dispatching_executor
from wm_testing.nodes import ros_context
from wm_testing.system import wait_until

__all__ = ["ros_context"]

STEP_S, Z_DIM, RADIUS_M, SPEED = 0.05, 4, 2.0, 1.0
STEADY = Clock(clock_type=ClockType.STEADY_TIME)


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


class World:
    """The runner, and a peer that is robot and client at once; the robot does at once what it is told."""

    def __init__(self, make_policy=None, **given):
        # A machine that has much else to do is slow for all in this process alike.
        given = {"stale_s": 5.0, "patience_s": 20.0, "shadow": False, **given}
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        self.node = PolicyRunner(make_policy, RoundDrive(), parameter_overrides=overrides)
        self.peer = Node("peer")
        self.x = self.y = self.yaw = self.turned = 0.0
        self.action, self.commands, self.proposed, self.feedback = (0.0, 0.0), [], [], []
        self.is_sending = True
        self.states = self.peer.create_publisher(LatentState, "/latent/state", qos.STREAM)
        self.peer.create_subscription(Float32MultiArray, "/actions", self.obey, qos.INPUT)
        self.peer.create_subscription(
            Float32MultiArray, "/policy_runner/proposed", lambda msg: self.proposed.append(tuple(msg.data)), qos.STREAM
        )
        self.client = ActionClient(self.peer, ExecutePolicy, "/policy_runner/execute")
        self.peer.create_timer(STEP_S, self.move, clock=STEADY)
        self.executor = dispatching_executor()
        for node in (self.node, self.peer):
            self.executor.add_node(node)
        self.pool = ThreadPoolExecutor(1)
        self.spinning = self.pool.submit(self.executor.spin)
        self.until(lambda: self.client.server_is_ready() and self.states.get_subscription_count())

    def until(self, predicate, timeout_s=40.0):
        wait_until(lambda: predicate() or self.spinning.done(), timeout_s)
        assert not self.spinning.done(), self.spinning.result()

    def on_executor(self, work):
        """Returns what something returns that only the nodes' own thread may do."""
        return self.wait(self.executor.create_task(work))

    def status(self):
        return self.on_executor(lambda: {each.key: each.value for each in self.node._health.status().values})

    def obey(self, msg):
        self.action = tuple(msg.data)
        self.commands.append(self.action)

    def move(self):
        speed, turn = self.action
        middle = self.yaw + 0.5 * turn * STEP_S
        self.x += speed * math.cos(middle) * STEP_S
        self.y += speed * math.sin(middle) * STEP_S
        self.yaw += turn * STEP_S
        if self.is_sending:
            self.send()

    def off_m(self):
        return abs(math.hypot(self.x, self.y - RADIUS_M) - RADIUS_M)

    def send(self):
        msg = LatentState(latent=floats(np.zeros(Z_DIM)), pose_frame_id="map")
        msg.header.stamp = stamp_msg(self.peer.get_clock().now().nanoseconds)
        msg.has_pose, msg.pose = True, pose_to_msg((self.x, self.y, 0.0), quaternion_of(self.yaw))
        msg.has_action, msg.action = True, floats(self.action)
        self.states.publish(msg)

    def start(self, **goal):
        """Returns the handle of a goal that was accepted, and the future of its result."""
        sent = self.client.send_goal_async(
            ExecutePolicy.Goal(**goal), feedback_callback=lambda msg: self.feedback.append(msg.feedback)
        )
        self.until(sent.done)
        assert sent.result().accepted
        return sent.result(), sent.result().get_result_async()

    def wait(self, future):
        self.until(future.done)
        return future.result()

    def run(self, **goal):
        return self.wait(self.start(**goal)[1])

    def drive(self, **goal):
        """Returns the handle and result of a goal once the robot moves."""
        started = self.start(**goal)
        self.until(lambda: self.commands and self.commands[-1][0] > 0.5)
        return started

    def close(self):
        self.executor.shutdown()
        self.pool.shutdown()
        self.client.destroy()
        self.node.destroy_node()
        self.peer.destroy_node()


@pytest.fixture
def make_world(ros_context):
    worlds = []

    def make(make_policy=None, **given):
        worlds.append(World(make_policy, **given))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()
