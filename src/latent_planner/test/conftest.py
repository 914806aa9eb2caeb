"""The node under test, a robot that obeys it, a memory, and a client of the action."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from latent_planner.messages import COMMANDS
from latent_planner.node import LatentPlanner
from latent_planner.params import ARRAY
from rclpy.action import ActionClient
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import Float32MultiArray

from wm_core.memory.journal import Area, WindowUpdate
from wm_core.memory.packed import Packed
from wm_core.memory.record import MemoryRecord
from wm_core.se3 import quaternion_of
from wm_interfaces.action import Plan
from wm_interfaces.msg import LatentState
from wm_interfaces.srv import MemoryWindow
from wm_ros import floats, pose_to_msg, qos, stamp_msg
from wm_ros.dispatcher import dispatching_executor
from wm_ros.memory_arrays import ask_from_request, update_to_response
from wm_testing.nodes import ros_context
from wm_testing.system import wait_until
from world_model.runtime.artifacts import load_artifact

__all__ = ["ros_context"]

STEP_S, Z_DIM = 0.05, 32
STEADY = Clock(clock_type=ClockType.STEADY_TIME)


def lane(count=40, spacing_m=0.25):
    """Returns poses along x, looking ahead."""
    return [(spacing_m * at, 0.0, 0.0) for at in range(count)]


class FakeMemory:
    """Serves a window of memories, each of which looks like nothing else."""

    def __init__(self, node, encoder_id, poses):
        looks = np.random.default_rng(0).normal(size=(len(poses), Z_DIM)).astype(np.float32)
        self.encoder_id, self.frame_id = encoder_id, "map"
        self.records = [
            MemoryRecord(at * 10**9, look_D, x, y, id=at + 1, yaw=yaw, encoder_id=encoder_id, session="one")
            for at, ((x, y, yaw), look_D) in enumerate(zip(poses, looks))
        ]
        self.epoch, self.is_everything = 5, True
        self.service = node.create_service(MemoryWindow, "/spatial_memory/window", self.answer)

    def answer(self, request, response):
        ask = ask_from_request(request)
        is_whole = ask.epoch != self.epoch
        packed = Packed.of(self.records if is_whole else [], self.encoder_id, self.frame_id, Z_DIM, 0)
        area = Area(ask.area.x, ask.area.y, ask.area.radius_m)
        newest_ns = self.records[-1].stamp_ns if self.records else 0
        update = WindowUpdate(
            self.epoch, 1, is_whole, "first", area, newest_ns, None, self.is_everything, packed, np.empty(0, int)
        )
        return update_to_response(update, response)

    def clear(self):
        self.records, self.epoch = [], self.epoch + 1


class World:
    """The planner, and a peer that is robot, encoder and client at once; the robot does at once what it is told."""

    def __init__(self, artifact, poses, robot=(0.0, 0.0, 0.0), **given):
        # A machine that has much else to do is slow for all in this process alike.
        given = {"input_timeout_s": 5.0, "memory_timeout_s": 20.0, **given}
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        self.node = LatentPlanner(artifact, parameter_overrides=overrides)
        self.peer = Node("peer")
        self.x, self.y, self.yaw = robot
        self.action, self.commands, self.plans, self.heard = (0.0, 0.0), [], [], {}
        self.feedback, self.is_sending = [], True
        self.changes = {}
        self.states = self.peer.create_publisher(LatentState, "/latent/state", qos.STREAM)
        self.memory = FakeMemory(self.peer, artifact.manifest.encoder_id, poses) if poses is not None else None
        self.peer.create_subscription(COMMANDS[given.get("output", ARRAY)], "/actions", self.obey, qos.INPUT)
        self.peer.create_subscription(Float32MultiArray, "/planned_actions", self.plans.append, qos.STREAM)
        self.client = ActionClient(self.peer, Plan, "/latent_planner/plan")
        self.peer.create_timer(STEP_S, self.move, clock=STEADY)
        self.executor = dispatching_executor()
        for node in (self.node, self.peer):
            self.executor.add_node(node)
        self.pool = ThreadPoolExecutor(1)
        self.spinning = self.pool.submit(self.executor.spin)
        self.until(lambda: self.client.server_is_ready() and self.states.get_subscription_count())

    def until(self, predicate, timeout_s=30.0):
        wait_until(lambda: predicate() or self.spinning.done(), timeout_s)
        assert not self.spinning.done(), self.spinning.result()

    def on_executor(self, work):
        """Returns what something returns that only the nodes' own thread may do."""
        return self.wait(self.executor.create_task(work))

    def obey(self, msg):
        self.told = msg
        twist = getattr(msg, "twist", msg)
        self.action = tuple(msg.data) if isinstance(msg, Float32MultiArray) else (twist.linear.x, twist.angular.z)
        self.commands.append(self.action)

    def move(self):
        speed, turn = self.action
        self.yaw += turn * STEP_S
        self.x += speed * math.cos(self.yaw) * STEP_S
        self.y += speed * math.sin(self.yaw) * STEP_S
        if self.is_sending:
            self.send()

    def send(self):
        msg = LatentState(latent=floats(np.zeros(Z_DIM)), pose_frame_id="map")
        msg.header.stamp = stamp_msg(self.peer.get_clock().now().nanoseconds)
        msg.has_pose, msg.pose = True, pose_to_msg((self.x, self.y, 0.0), quaternion_of(self.yaw))
        msg.has_action, msg.action = True, floats(self.action)
        for name, value in self.changes.items():
            setattr(msg, name, value)
        self.states.publish(msg)

    def hear(self, kind, topic, profile=qos.LATCHED):
        self.heard[topic] = []
        self.peer.create_subscription(kind, topic, self.heard[topic].append, profile)
        return self.heard[topic]

    def start(self, **goal):
        """Returns the handle of a goal that was accepted, and the future of its result."""
        sent = self.client.send_goal_async(
            Plan.Goal(**goal), feedback_callback=lambda msg: self.feedback.append(msg.feedback)
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
        """Returns the handle and result of a goal once the robot moves to it."""
        started = self.start(**goal)
        self.until(lambda: self.commands and self.commands[-1][0] > 0.1)
        return started

    def close(self):
        self.executor.shutdown()
        self.pool.shutdown()
        self.client.destroy()
        self.node.destroy_node()
        self.peer.destroy_node()


@pytest.fixture(scope="session")
def artifact():
    """The simulator's: its motion is that of a robot with a forward speed and a yaw rate."""
    return load_artifact("artifact://tiny")


@pytest.fixture
def make_world(ros_context, artifact):
    worlds = []

    def make(poses=None, **given):
        worlds.append(World(artifact, lane() if poses is None else poses, **given))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()
