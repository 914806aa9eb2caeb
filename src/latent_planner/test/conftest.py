"""The node under test, a robot that obeys it, a memory, and a client of the action."""

from __future__ import annotations

import math

import numpy as np
import pytest
from latent_planner.messages import COMMANDS
from latent_planner.node import LatentPlanner
from latent_planner.params import ARRAY
from rclpy.parameter import Parameter
from std_msgs.msg import Float32MultiArray

from wm_core.memory.journal import Area, WindowUpdate
from wm_core.memory.packed import Packed
from wm_core.memory.record import MemoryRecord
from wm_interfaces.action import Plan
from wm_interfaces.srv import MemoryWindow
from wm_ros import qos
from wm_ros.memory_arrays import ask_from_request, update_to_response
from wm_testing.goals import STEP_S, ServedRobot
from wm_testing.nodes import ros_context
from world_model.runtime.artifacts import load_artifact

__all__ = ["ros_context"]

Z_DIM = 32


def lane(count=40, spacing_m=0.25):
    """Returns poses along x, looking ahead."""
    return [(spacing_m * at, 0.0, 0.0) for at in range(count)]


class FakeMemory:
    """Serves a window of memories, each of which looks like nothing else."""

    def __init__(self, node, encoder_id, poses):
        self.encoder_id, self.frame_id = encoder_id, "map"
        self.epoch, self.is_everything = 5, True
        self.remember(poses)
        self.service = node.create_service(MemoryWindow, "/spatial_memory/window", self.answer)

    def remember(self, poses):
        """Hold these instead of others; where they go on as those did, so do the looks."""
        looks = np.random.default_rng(0).normal(size=(len(poses), Z_DIM)).astype(np.float32)
        self.records = [
            MemoryRecord(at * 10**9, look_D, x, y, id=at + 1, yaw=yaw, encoder_id=self.encoder_id, session="one")
            for at, ((x, y, yaw), look_D) in enumerate(zip(poses, looks))
        ]
        self.epoch += 1

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


class World(ServedRobot):
    """The planner, and a peer that is robot, encoder and client at once; the robot does at once what it is told."""

    def __init__(self, artifact, poses, robot=(0.0, 0.0, 0.0), **given):
        # A machine that has much else to do is slow for all in this process alike.
        given = {"input_timeout_s": 5.0, "memory_timeout_s": 20.0, **given}
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        node = LatentPlanner(artifact, parameter_overrides=overrides)
        super().__init__(node, Plan, "/latent_planner/plan", robot, Z_DIM)
        self.plans, self.heard = [], {}
        self.memory = FakeMemory(self.peer, artifact.manifest.encoder_id, poses) if poses is not None else None
        self.peer.create_subscription(COMMANDS[given.get("output", ARRAY)], "/actions", self.obey, qos.INPUT)
        self.peer.create_subscription(Float32MultiArray, "/planned_actions", self.plans.append, qos.STREAM)
        self.spin()

    def obey(self, msg):
        self.told = msg
        twist = getattr(msg, "twist", msg)
        self.action = tuple(msg.data) if isinstance(msg, Float32MultiArray) else (twist.linear.x, twist.angular.z)
        self.commands.append(self.action)

    def advance(self):
        speed, turn = self.action
        self.yaw += turn * STEP_S
        self.x += speed * math.cos(self.yaw) * STEP_S
        self.y += speed * math.sin(self.yaw) * STEP_S

    def hear(self, kind, topic, profile=qos.LATCHED):
        self.heard[topic] = []
        self.peer.create_subscription(kind, topic, self.heard[topic].append, profile)
        return self.heard[topic]

    def drive(self, **goal):
        """Returns the handle and result of a goal once the robot moves to it."""
        return super().drive(faster_than=0.1, **goal)


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
