"""The node in process, through its topics, with a model whose numbers are known."""

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float32, Float32MultiArray

from wm_interfaces.msg import VisualHistory
from wm_ros import ParameterError, image_to_msg, qos, stamp_msg, stamp_ns
from wm_testing.nodes import ros_context, spin_until  # noqa: F401
from world_action import SlowBranch
from world_action.node import WorldAction
from world_action.params import WorldActionParams
from world_model.errors import ArtifactError
from world_model.runtime.history import VisualHistory as Fifo

MS = 1_000_000
SIZES = {"image_size": 4, "embedding_dim": 2, "history": 3, "future": 2, "tick_s": 1.0}


class MeanColour:
    def embed(self, image_BVHWC: np.ndarray, valid_BV: np.ndarray) -> np.ndarray:
        mean_BV3 = image_BVHWC.mean((2, 3), dtype=np.float32)
        weight_BV1 = valid_BV.astype(np.float32)[..., None]
        return ((mean_BV3 * weight_BV1).sum(1) / weight_BV1.sum(1))[:, :2]

    def foresee(self, history_BNE: np.ndarray, count_B: np.ndarray) -> np.ndarray:
        return history_BNE[:, -1:].repeat(2, axis=1)


class Bench:
    """The node, a camera or two, and what came out."""

    def __init__(self, topics: tuple[str, ...] = ("/camera/image_raw",), kind: type = Image) -> None:
        overrides = [Parameter("image_topics", Parameter.Type.STRING_ARRAY, list(topics))]
        self.node = WorldAction(SlowBranch(MeanColour(), SIZES), "0123456789abcdef", parameter_overrides=overrides)
        self.world = Node("bench")
        suffix = "" if kind is Image else "/compressed"
        self.cameras = {topic: self.world.create_publisher(kind, topic + suffix, qos.SENSOR) for topic in topics}
        self.states: list[VisualHistory] = []
        self.arrays: list[Float32MultiArray] = []
        self.surprises: list[Float32] = []
        for kind_out, topic, into in (
            (VisualHistory, "/visual_history/state", self.states),
            (Float32MultiArray, "/visual_history", self.arrays),
            (Float32, "/visual_history/surprise", self.surprises),
        ):
            self.world.create_subscription(kind_out, topic, into.append, qos.STREAM)
        if kind is not Image:
            self.spin(lambda: all(camera.topic.endswith("/compressed") for camera in self.node._cameras))
        self.spin(lambda: all(camera.get_subscription_count() for camera in self.cameras.values()))
        self.spin(lambda: self.node.count_subscribers("/visual_history/surprise") == 1)

    def spin(self, predicate: Any) -> None:
        spin_until(predicate, self.node, self.world)

    def show(self, stamp_ms: int, red: int, topic: str = "/camera/image_raw", **changes: Any) -> None:
        msg = image_to_msg(np.full((6, 8, 3), (red, 0, 0), np.uint8), stamp_msg(stamp_ms * MS), "camera")
        for field, value in changes.items():
            setattr(msg, field, value)
        self.cameras[topic].publish(msg)

    def tick(self, stamp_ms: int, red: int, **changes: Any) -> VisualHistory:
        """Show one frame that makes a tick; return the state it gave."""
        before = len(self.states)
        self.node._open_gate()
        self.show(stamp_ms, red, **changes)
        self.spin(lambda: len(self.states) > before and len(self.arrays) > before)
        return self.states[-1]

    def close(self) -> None:
        self.node.destroy_node()
        self.world.destroy_node()


@pytest.fixture
def bench(ros_context: None) -> Any:  # noqa: F811
    made: list[Bench] = []

    def make(*args: Any, **kwargs: Any) -> Bench:
        made.append(Bench(*args, **kwargs))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_publishes_a_growing_history_under_the_frames_stamp(bench: Any) -> None:
    b = bench()
    b.tick(5_000, 10)
    state = b.tick(6_000, 20)
    assert stamp_ns(state.header.stamp) == 6_000 * MS
    assert (state.encoder_id, state.embedding_dim, state.capacity, state.count) == ("0123456789abcdef", 2, 3, 2)
    assert list(state.history) == [0, 0, 10, 0, 20, 0]
    assert list(state.predicted) == [20, 0, 20, 0]
    assert state.surprise == pytest.approx(50.0)  # 10 was foreseen: (10^2 + 0) / 2
    assert list(state.missing_views) == []
    layout = b.arrays[-1].layout.dim
    assert [(dim.label, dim.size, dim.stride) for dim in layout] == [("tick", 3, 6), ("embedding", 2, 2)]
    assert list(b.arrays[-1].data) == list(state.history)
    b.spin(lambda: len(b.surprises) == 1)
    assert b.surprises[0].data == pytest.approx(50.0)
    assert math.isnan(b.states[0].surprise)


def test_frames_between_ticks_make_none(bench: Any) -> None:
    b = bench()
    b.tick(0, 10)
    b.show(500, 99)
    b.tick(1_000, 20)
    assert [list(state.history)[-2] for state in b.states] == [10, 20]


def test_frames_are_left_unread_while_the_gate_is_closed_and_the_newest_is_read_after(bench: Any) -> None:
    b = bench()
    b.tick(0, 10)
    b.node._group.is_open = False
    before = b.node._matcher._newest["/camera/image_raw"]
    seen: list[Image] = []
    b.world.create_subscription(Image, "/camera/image_raw", seen.append, qos.SENSOR)
    b.spin(lambda: b.cameras["/camera/image_raw"].get_subscription_count() == 2)
    for n in range(1, 21):
        b.show(50 * n, 100 + n)
    b.spin(lambda: bool(seen) and stamp_ns(seen[-1].header.stamp) == 1_000 * MS)
    assert b.node._matcher._newest["/camera/image_raw"] == before
    b.node._open_gate()
    b.spin(lambda: len(b.states) == 2)
    assert list(b.states[-1].history)[-2] == 120


@pytest.mark.slow
def test_the_gate_closes_after_a_tick_and_opens_again_by_itself(bench: Any) -> None:
    b = bench()
    b.node._gate.closed_for_s = lambda stamp_ns, steady_s: 0.5
    b.tick(0, 10)
    assert not b.node._group.is_open
    b.spin(lambda: b.node._group.is_open)


def test_a_recording_that_loops_begins_a_new_history(bench: Any) -> None:
    b = bench()
    b.tick(60_000, 10)
    state = b.tick(1_000, 20)
    assert list(state.history) == [0, 0, 0, 0, 20, 0]
    assert b.node._health.counted("history_resets/backward-jump") == 1


@pytest.mark.slow
def test_a_missing_view_is_masked_and_named(bench: Any) -> None:
    b = bench(("/front", "/rear"))
    b.show(0, 10, "/front")
    b.show(0, 30, "/rear")
    b.spin(lambda: len(b.states) == 1)
    assert list(b.states[0].history)[-2] == 20
    b.node._open_gate()
    b.show(1_200, 50, "/front")
    b.spin(lambda: len(b.states) == 2)
    assert list(b.states[1].missing_views) == ["/rear"]
    assert list(b.states[1].history)[-2] == 50
    assert "no frame from /rear" in b.node._health.status().message


def test_a_bad_frame_is_counted_and_the_node_goes_on(bench: Any) -> None:
    b = bench()
    b.show(0, 10, encoding="nonsense")
    b.spin(lambda: any(value.key.startswith("dropped/") for value in b.node._health.status().values))
    assert b.states == []
    assert list(b.tick(1_000, 20).history)[-2] == 20


def test_finds_compressed_images_by_itself(bench: Any) -> None:
    b = bench(kind=CompressedImage)
    png = cv2.imencode(".png", np.full((6, 8, 3), (0, 0, 77), np.uint8))[1].tobytes()
    msg = CompressedImage(format="png", data=png)
    b.cameras["/camera/image_raw"].publish(msg)
    b.spin(lambda: len(b.states) == 1)
    assert list(b.states[0].history)[-2] == 77


def test_an_artifact_without_a_slow_branch_is_refused(ros_context: None, tmp_path: Path) -> None:  # noqa: F811
    overrides = [Parameter("model_path", Parameter.Type.STRING, str(tmp_path / "none"))]
    with pytest.raises(ArtifactError, match="does not exist"):
        WorldAction(parameter_overrides=overrides)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.1, 6.0])
def test_a_rate_out_of_range_is_refused(ros_context: None, rate: float) -> None:  # noqa: F811
    with pytest.raises(ParameterError, match="tick_rate"):
        WorldAction(parameter_overrides=[Parameter("tick_rate", Parameter.Type.DOUBLE, rate)])


def test_the_same_view_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="different topics"):
        WorldActionParams(image_topics=["/a", "/a"])


def test_the_file_lists_every_parameter_with_its_default() -> None:
    path = Path(__file__).parents[3] / "config" / "world_action.yaml"
    values = yaml.safe_load(path.read_text())["/**/world_action"]["ros__parameters"]
    assert values == vars(WorldActionParams())


def test_default_history_is_the_contract_size() -> None:
    assert Fifo().vector().size == 896
