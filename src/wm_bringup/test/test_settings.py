"""Every setting of an artifact reaches every node: one with other sizes, step and horizons runs as the shipped one."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Float32MultiArray

from latent_publisher.node import LatentPublisher
from spatial_memory.node import SpatialMemory
from transition_predictor.node import TransitionPredictor
from wm_core.se3 import quaternion_of
from wm_interfaces.msg import LatentPrediction, LatentState, PredictionError, VisualHistory
from wm_ros import floats, image_to_msg, pose_to_msg, qos, stamp_msg
from wm_testing.artifacts import make_random_artifact
from wm_testing.nodes import ros_context, spin_until
from world_action.node import WorldAction
from world_model.models.world_action import WorldActionConfig
from world_model.runtime.conditioning import Retrieval

__all__ = ["ros_context"]

START_NS, STEP_NS = 10**12, 200_000_000
FRAMES = 160
SLOW = WorldActionConfig(width=8, hidden=24, embedding_dim=40, history=6, future=3, tick_s=0.8)


class Graph:
    """All nodes, and one that drives them in a circle and hears what they say."""

    def __init__(self, path: Path) -> None:
        own = {"model_path": str(path), "z_dim": 0}
        only = {"db_path": ":memory:"}
        # Driven faster than real time, a window would be older than the whole drive: the memory is asked each time.
        predictor = {**own, "use_history": True, "memory_deadline_s": 1.0, "window_radius_m": 0.0}
        self.memory = SpatialMemory(parameter_overrides=_overrides(only))
        self.slow = WorldAction(parameter_overrides=_overrides(own))
        self.predictor = TransitionPredictor(parameter_overrides=_overrides(predictor))
        self.publisher = LatentPublisher(parameter_overrides=_overrides({**own, "pose_max_age_s": 1.0}))
        self.peer = Node("peer")
        self.heard: dict[type, list] = {}
        for kind, topic in (
            (LatentState, "/latent/state"),
            (LatentPrediction, "/latent_next/state"),
            (PredictionError, "/prediction_error"),
            (VisualHistory, "/visual_history/state"),
        ):
            self.heard[kind] = []
            self.peer.create_subscription(kind, topic, self.heard[kind].append, qos.STREAM)
        self.images = self.peer.create_publisher(Image, "/camera/image_raw", 10)
        self.poses = self.peer.create_publisher(PoseStamped, "/pose", 10)
        self.actions = self.peer.create_publisher(Float32MultiArray, "/actions", 10)
        self.nodes = [self.publisher, self.memory, self.predictor, self.slow, self.peer]
        self.until(lambda: self.images.get_subscription_count() == 2 and self.poses.get_subscription_count() == 1)
        self.until(lambda: self.predictor._remembering.client.service_is_ready())
        self.until(lambda: self.memory.count_publishers("/latent/state") == 1)

    def until(self, predicate) -> None:
        spin_until(predicate, *self.nodes)

    def drive(self, frames: int) -> None:
        rng = np.random.default_rng(0)
        for number in range(frames):
            ns, angle = START_NS + number * STEP_NS, 0.2 * number
            pose = PoseStamped()
            pose.header.stamp, pose.header.frame_id = stamp_msg(ns), "odom"
            pose.pose = pose_to_msg((math.sin(angle), 1.0 - math.cos(angle), 0.0), quaternion_of(angle))
            self.poses.publish(pose)
            self.actions.publish(Float32MultiArray(data=floats([1.0, 0.0, 1.0])))
            pixels = rng.integers(0, 255, (8, 8, 3), np.uint8)
            self.images.publish(image_to_msg(pixels, stamp_msg(ns), "camera"))
            self.until(lambda n=number: len(self.heard[LatentPrediction]) > n)

    def close(self) -> None:
        for node in self.nodes:
            node.destroy_node()


def _overrides(given: dict[str, object]) -> list[Parameter]:
    return [Parameter(name, value=value) for name, value in given.items()]


@pytest.fixture
def graph(ros_context, tmp_path: Path):
    memory = Retrieval(anticipated_k=5).to_manifest()
    sizes = {"z_dim": 16, "action_dim": 3, "image_size": 32, "slow": SLOW}
    make_random_artifact(tmp_path, **sizes, step_s=0.2, horizon_s=2.0, top_k=5, memory=memory)
    graph = Graph(tmp_path)
    yield graph
    graph.close()


@pytest.mark.slow
def test_every_setting_of_an_artifact_reaches_every_node(graph):
    graph.drive(FRAMES)
    state, prediction = graph.heard[LatentState][-1], graph.heard[LatentPrediction][-1]
    assert (state.step_s, list(state.horizons_s), state.top_k) == (0.2, [0.2, 2.0], 5)
    assert (len(state.latent), len(state.action), state.pose_frame_id) == (16, 3, "odom")
    assert [forecast.horizon_s for forecast in prediction.forecasts] == pytest.approx([0.2, 2.0])
    assert (prediction.step_s, prediction.pose_frame_id, prediction.degraded) == (0.2, "odom", False)
    assert [len(forecast.memory_ids) for forecast in prediction.forecasts] == [5, 5]
    assert sorted({round(error.horizon_s, 3) for error in graph.heard[PredictionError]}) == [0.2, 2.0]
    graph.until(lambda: any(each.count == 6 for each in graph.heard[VisualHistory]))
    history = graph.heard[VisualHistory][-1]
    assert (history.capacity, history.embedding_dim, history.future) == (6, 40, 3)
    assert history.tick_s == pytest.approx(0.8)
    assert (len(history.history), len(history.predicted)) == (240, 120)
    assert any(each.history_used for each in graph.heard[LatentPrediction])
    graph.until(lambda: graph.memory._standing._count_successors() or graph.memory._standing._fit.usable > FRAMES)
    assert graph.memory._standing._fit.horizons_s == (0.2, 2.0)
    assert graph.memory._standing._fit.unusable == 0
