"""The node under test and one that talks to it: what its tests share."""

from __future__ import annotations

import numpy as np
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter

from spatial_memory.node import SpatialMemory
from wm_interfaces.msg import LatentState, MemoryQuery, PredictionError
from wm_ros import floats, qos, stamp_msg
from wm_testing.nodes import spin_until

STEP_NS = 50_000_000

OPEN = {"db_path": ":memory:", "allow_destructive": True, "allow_restore": True}


class Graph:
    """The node under test and one that talks to it."""

    def __init__(self, **params: object) -> None:
        self.talker = Node("talker")
        self.states = self.talker.create_publisher(LatentState, "/latent/state", qos.STREAM)
        self.errors = self.talker.create_publisher(PredictionError, "/prediction_error", qos.STREAM)
        overrides = [Parameter(name, value=value) for name, value in {**OPEN, **params}.items()]
        self.memory = SpatialMemory(parameter_overrides=overrides)
        spin_until(lambda: self.states.get_subscription_count() == 1, self.talker, self.memory)

    def counted(self, name: str) -> int:
        return self.memory._health.counted(name)

    def drive(self, count: int, start_ns: int = 10**9, **fields: object) -> None:
        """Publish states 0.2 m apart, one step after the other, and wait until all arrived."""
        wanted = self.counted("states_received") + count
        for at in range(count):
            self.states.publish(state(start_ns + at * STEP_NS, 0.2 * at, value=float(at), **fields))
            reached = self.counted("states_received") + 1
            spin_until(lambda reached=reached: self.counted("states_received") >= reached, self.talker, self.memory)
        assert self.counted("states_received") == wanted

    def call(self, kind: type, name: str, request: object):
        client = self.talker.create_client(kind, f"/spatial_memory/{name}")
        spin_until(client.service_is_ready, self.talker, self.memory)
        future = client.call_async(request)
        spin_until(future.done, self.talker, self.memory)
        self.talker.destroy_client(client)
        return future.result()

    def close(self) -> None:
        self.memory.destroy_node()
        self.talker.destroy_node()


def state(
    stamp_ns: int, x: float, value: float = 1.0, encoder_id: str = "e1", has_pose: bool = True, pose_status: int = 0
) -> LatentState:
    msg = LatentState(encoder_id=encoder_id, has_pose=has_pose, pose_frame_id="map", pose_status=pose_status)
    msg.header.stamp = stamp_msg(stamp_ns)
    msg.latent = floats(np.full(4, value))
    msg.pose.position.x = x
    msg.pose.orientation.w = 1.0
    msg.has_action, msg.action = True, floats([value, 0.0])
    return msg


def at(x: float, **fields: object) -> MemoryQuery:
    msg = MemoryQuery(has_pose=True, **fields)
    msg.pose.position.x = x
    msg.pose.orientation.w = 1.0
    return msg


@pytest.fixture
def graph(ros_context, monkeypatch, tmp_path):
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    graph = Graph()
    yield graph
    graph.close()


def turned(msg: LatentState, frame_id: str) -> LatentState:
    msg.pose_frame_id = frame_id
    return msg
