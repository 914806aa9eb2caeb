"""The node under test, and a peer that talks to it."""

from __future__ import annotations

import numpy as np
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import Float32MultiArray

from transition_predictor.node import TransitionPredictor
from wm_core.se3 import quaternion_of
from wm_interfaces.msg import (
    LatentPrediction,
    LatentState,
    MemoryMatches,
    MemoryQuery,
    MemoryRecord,
    MemorySuccessor,
    PredictionError,
    VisualHistory,
)
from wm_interfaces.srv import QueryMemoryBatch
from wm_ros import floats, pose_to_msg, qos, stamp_msg, stamp_ns
from wm_testing.artifacts import make_random_artifact
from wm_testing.nodes import ros_context, spin_until
from world_model.runtime.artifacts import load_artifact

__all__ = ["ros_context"]

START_NS = 1_000_000_000_000_000_000
STEP_NS = 50_000_000
Z_DIM = 32


class World:
    """A node under test; a peer that sends latents, hears predictions and can serve a memory.

    The memory is waited for a minute, unless it is said how long: who spins both here is no quick one.
    """

    def __init__(self, artifact, window_source=None, **given) -> None:
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        self.encoder_id = artifact.manifest.encoder_id
        self.node = TransitionPredictor(artifact, window_source, parameter_overrides=overrides)
        if "memory_deadline_s" not in given:
            self.node._remembering.deadline.timer_period_ns = 60_000_000_000
        self.peer = Node("peer")
        self.nexts: list[Float32MultiArray] = []
        self.predictions: list[LatentPrediction] = []
        self.errors: list[PredictionError] = []
        self.queries: list[list[MemoryQuery]] = []
        self.peer.create_subscription(Float32MultiArray, "/latent_next", self.nexts.append, qos.STREAM)
        self.peer.create_subscription(LatentPrediction, "/latent_next/state", self.predictions.append, qos.STREAM)
        self.peer.create_subscription(PredictionError, "/prediction_error", self.errors.append, qos.STREAM)
        self.latents = self.peer.create_publisher(LatentState, "/latent/state", qos.STREAM)
        self.histories = self.peer.create_publisher(VisualHistory, "/visual_history/state", qos.STREAM)
        mine = (self.node._next_publisher, self.node._state_publisher, self.node._scoring.publisher)
        self.until(
            lambda: (
                self.latents.get_subscription_count()
                and self.histories.get_subscription_count()
                and all(publisher.get_subscription_count() for publisher in mine)
            )
        )

    def until(self, predicate) -> None:
        spin_until(predicate, self.node, self.peer)

    def serve(self, answer) -> None:
        self.service = self.peer.create_service(QueryMemoryBatch, "/spatial_memory/query_batch", answer)
        self.until(self.node._remembering.client.service_is_ready)

    def remember(self, request, response):
        """Answers each query with one memory at the very place, whose latent is all ones."""
        self.queries.append(request.queries)
        for query in request.queries:
            record = MemoryRecord(id=7, stamp=stamp_msg(stamp_ns(query.stamp) - 30_000_000_000))
            record.position, record.latent = query.pose.position, floats(np.ones(Z_DIM))
            if query.successors:
                record.successors = [MemorySuccessor(horizon_s=1.0, dt_s=1.0, latent=floats(np.ones(Z_DIM)))]
            response.matches.append(MemoryMatches(records=[record], distances=[0.0]))
        response.success = True
        return response

    def send(self, index: int, value: float = 0.1, **changes) -> None:
        msg = LatentState(encoder_id=self.encoder_id, latent=floats(np.full(Z_DIM, value)))
        msg.header.stamp = stamp_msg(START_NS + index * STEP_NS)
        msg.has_pose, msg.pose = True, pose_to_msg((0.05 * index, 0.0, 0.0), quaternion_of(0.0))
        msg.has_action, msg.action = True, floats([1.0, 0.0])
        for name, value_ in changes.items():
            setattr(msg, name, value_)
        self.latents.publish(msg)

    def predict(self, index: int, **changes) -> LatentPrediction:
        before = len(self.predictions)
        self.send(index, **changes)
        self.until(lambda: len(self.predictions) > before)
        return self.predictions[-1]

    def close(self) -> None:
        self.node.destroy_node()
        self.peer.destroy_node()


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    path = tmp_path_factory.mktemp("artifact")
    make_random_artifact(path)
    return load_artifact(path)


@pytest.fixture
def make_world(ros_context, artifact):
    worlds = []

    def make(**given) -> World:
        worlds.append(World(artifact, **given))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()
