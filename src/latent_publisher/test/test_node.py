"""The node in process: what goes in, what comes out, and what bad input does."""

from __future__ import annotations

import array
import math
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, Twist
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float32MultiArray, Header

from latent_publisher.node import LatentPublisher
from latent_publisher.params import LatentPublisherParams
from wm_core.errors import FrameError
from wm_core.se3 import quaternion_of
from wm_interfaces.msg import LatentState
from wm_ros import ParameterError, float_array_msg, image_to_msg, own_domain_id, pose_to_msg, qos, stamp_msg, stamp_ns
from wm_testing.artifacts import make_random_artifact
from wm_testing.nodes import assert_file_sets_every_parameter, ros_context, spin_until  # noqa: F401
from world_model.errors import ArtifactError

CONFIG = Path(__file__).parents[3] / "config" / "latent_publisher.yaml"
START_NS = 1_000_000_000_000_000_000


class MeanColour:
    """Stands for an encoder: the latent is the mean colour, and black cannot be used."""

    encoder_id, z_dim, action_dim, step_s, wants_depth, proprioception_dim = "mean", 3, 2, 0.05, False, 0
    takes_any_actions = False
    fixed = None
    horizons_s, top_k, motion = (0.05, 1.0), 7, None

    def encode(self, image_HW3, depth_HW=None, proprioception_P=None):
        if not image_HW3.any():
            raise FrameError("black")
        return image_HW3.mean((0, 1)).astype(np.float32)

    def unlike(self, image_HW3, latent_D):
        return "" if image_HW3.std() else "it shows one colour"


class World:
    """A node under test, a peer that talks to it, and what the peer heard."""

    def __init__(
        self,
        image_type: type = Image,
        image_topic: str = "/camera/image_raw",
        encoder: object = None,
        action_type: type = Float32MultiArray,
        **given,
    ) -> None:
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        self.node = LatentPublisher(encoder or MeanColour(), parameter_overrides=overrides)
        self.peer = Node("peer")
        self.latents: list[Float32MultiArray] = []
        self.states: list[LatentState] = []
        self.peer.create_subscription(Float32MultiArray, "/latent", self.latents.append, qos.STREAM)
        self.peer.create_subscription(LatentState, "/latent/state", self.states.append, qos.STREAM)
        self.images = self.peer.create_publisher(image_type, image_topic, 10)
        self.poses = self.peer.create_publisher(PoseStamped, "/pose", 10)
        self.actions = self.peer.create_publisher(action_type, "/actions", 10)
        publishers = (self.images, self.poses, self.actions)
        self.until(lambda: all(publisher.get_subscription_count() for publisher in publishers))
        self.until(lambda: self.peer.count_publishers("/latent/state") > 0 and self.matched())

    def matched(self) -> bool:
        return self.node._state_publisher.get_subscription_count() > 0

    def until(self, predicate) -> None:
        spin_until(predicate, self.node, self.peer)

    def send_frame(self, ns: int, colour=(10, 20, 30), **changes) -> None:
        msg = image_to_msg(np.full((4, 6, 3), colour, np.uint8), stamp_msg(ns), "camera")
        for name, value in changes.items():
            setattr(msg, name, value)
        self.images.publish(msg)

    def send_pose(self, ns: int, x: float, yaw_rad: float = 0.0) -> None:
        msg = PoseStamped()
        msg.header.stamp, msg.header.frame_id = stamp_msg(ns), "map"
        msg.pose = pose_to_msg((x, 0.0, 0.0), quaternion_of(yaw_rad))
        self.poses.publish(msg)

    def dropped(self, reason: str) -> int:
        return self.node._health.counted(f"dropped/{reason}")

    def close(self) -> None:
        self.node.destroy_node()
        self.peer.destroy_node()


@pytest.fixture
def make_world(ros_context):  # noqa: F811
    worlds = []

    def make(**given) -> World:
        worlds.append(World(**given))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def test_one_latent_per_frame_under_its_own_stamp(make_world):
    world = make_world()
    world.send_frame(START_NS)
    world.until(lambda: world.states)
    state = world.states[0]
    assert (state.header.stamp, state.header.frame_id) == (stamp_msg(START_NS), "camera")
    assert state.encoder_id == "mean"
    np.testing.assert_allclose(state.latent, [10, 20, 30])
    np.testing.assert_allclose(world.latents[0].data, [10, 20, 30])
    assert [(dim.label, dim.size, dim.stride) for dim in world.latents[0].layout.dim] == [("z", 3, 3)]
    assert (state.step_s, list(state.horizons_s), state.top_k) == (0.05, [0.05, 1.0], 7)
    assert not state.has_pose
    assert state.pose_status == LatentState.POSE_ABSENT
    assert not state.has_action


class AlwaysAhead:
    """A motion that goes 0.1 m forward and says that it may err by 0.02 m."""

    def reset(self):
        pass

    def observe(self, stamp_ns, pose, action_A):
        pass

    def ahead(self, actions, span_s):
        return np.array([0.1, 0.0, 0.0]), np.array([0.02, 0.01, 0.005])


def test_the_state_goes_out_at_once_with_the_expected_pose_and_the_measured_one_follows(make_world):
    encoder = MeanColour()
    encoder.motion = AlwaysAhead()
    world = make_world(encoder=encoder, action_wait_s=0.0)
    poses = []
    world.peer.create_subscription(PoseWithCovarianceStamped, "/latent/pose", poses.append, qos.STREAM)
    world.until(lambda: world.node._pose_publisher.get_subscription_count() > 0)
    world.send_pose(START_NS, x=1.0)
    world.until(lambda: world.node._health.counted("poses_received"))
    world.send_frame(START_NS + 50_000_000)
    world.until(lambda: world.states)
    state = world.states[0]
    assert (state.has_pose, state.pose_status) == (True, LatentState.POSE_PREDICTED)
    assert state.pose.position.x == pytest.approx(1.1)
    assert state.pose_std[0] == pytest.approx(0.02)
    assert state.pose_std[5] == pytest.approx(0.005)
    assert not poses
    world.send_pose(START_NS + 100_000_000, x=1.5)
    world.until(lambda: poses)
    assert poses[0].header.stamp == state.header.stamp
    assert poses[0].header.frame_id == "map"
    assert poses[0].pose.pose.position.x == pytest.approx(1.25)
    # One that is there already: known at once, and told there too.
    world.send_frame(START_NS + 75_000_000 + 10_000_000)
    world.until(lambda: len(world.states) == 2 and len(poses) == 2)
    assert world.states[1].pose_status == LatentState.POSE_INTERPOLATED
    assert poses[1].header.stamp == world.states[1].header.stamp


def test_pose_and_action_are_brought_to_the_frame(make_world):
    world = make_world(pose_wait_s=1.0)
    world.send_frame(START_NS)  # from here on, actions are timed by the frames
    world.until(lambda: world.states)
    world.send_pose(START_NS, x=1.0)
    world.actions.publish(float_array_msg(np.array([0.5, -0.5]), "action"))
    world.until(lambda: world.node._health.counted("poses_received") and world.node._health.counted("actions_received"))
    world.send_frame(START_NS + 50_000_000)
    world.until(lambda: len(world.latents) == 2)
    world.actions.publish(float_array_msg(np.array([0.25, -0.25]), "action"))
    world.send_pose(START_NS + 100_000_000, x=2.0)
    world.until(lambda: len(world.states) == 2)
    state = world.states[1]
    assert state.pose_status == LatentState.POSE_INTERPOLATED
    assert state.pose_frame_id == "map"
    assert state.pose.position.x == pytest.approx(1.5)
    assert state.action_status == LatentState.ACTION_HELD
    assert list(state.action) in ([0.5, -0.5], [0.25, -0.25])


def test_is_paced_by_the_frames_own_time(make_world):
    world = make_world()
    for index in range(12):  # 60 Hz
        world.send_frame(START_NS + round(index * 1e9 / 60))
        world.until(lambda n=index + 1: world.node._health.counted("frames_received") == n)
    world.until(lambda: len(world.states) + world.node._health.counted("skipped/paced") == 12)
    kept_ms = [round((stamp_ns(state.header.stamp) - START_NS) / 1e6) for state in world.states]
    assert kept_ms == [0, 33, 83, 133, 183]  # each the first within half a period of its turn


def test_compressed_images_are_found(make_world):
    world = make_world(image_type=CompressedImage, image_topic="/camera/image_raw/compressed")
    _, data = cv2.imencode(".png", np.full((4, 6, 3), (30, 20, 10), np.uint8))
    msg = CompressedImage(format="png", data=array.array("B", data.tobytes()))
    msg.header.stamp = stamp_msg(START_NS)
    world.images.publish(msg)
    world.until(lambda: world.states)
    np.testing.assert_allclose(world.states[0].latent, [10, 20, 30])


def test_compressed_images_on_the_raw_topic_are_found(make_world):
    world = make_world()
    # A participant of its own: within one, a topic has one type.
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=own_domain_id())
    camera = Node("camera", context=context)
    world.peer.destroy_publisher(world.images)
    images = camera.create_publisher(CompressedImage, "/camera/image_raw", 10)
    world.until(lambda: images.get_subscription_count() == 1)
    _, data = cv2.imencode(".png", np.full((4, 6, 3), (30, 20, 10), np.uint8))
    msg = CompressedImage(format="png", data=array.array("B", data.tobytes()))
    msg.header.stamp = stamp_msg(START_NS)
    images.publish(msg)
    world.until(lambda: world.states)
    camera.destroy_node()
    rclpy.shutdown(context=context)


BAD_FRAMES = [
    ("image-encoding", {"encoding": "rgb9"}),
    ("image-truncated", {"data": array.array("B", bytes(10))}),
    ("image-empty", {"width": 0}),
    ("impossible-stamp", {"header": Header(stamp=Time(sec=2**31 - 1))}),
    ("impossible-stamp", {"header": Header(stamp=Time(sec=-5))}),
    ("impossible-stamp", {"header": Header(stamp=Time(sec=5, nanosec=10**9))}),
    ("image-step", {"step": 3}),
    ("frame-unusable", {"colour": (0, 0, 0)}),
]


@pytest.mark.parametrize(("reason", "changes"), BAD_FRAMES)
def test_a_bad_frame_is_named_counted_and_survived(make_world, reason, changes):
    world = make_world()
    world.send_frame(START_NS, **changes)
    world.until(lambda: world.dropped(reason) == 1)
    world.send_frame(START_NS + 50_000_000)
    world.until(lambda: world.states)
    status = world.node._health.status()
    assert {item.key: item.value for item in status.values}[f"dropped/{reason}"] == "1"


def test_a_recording_that_loops_fast_is_said_once(make_world, monkeypatch):
    world, said = make_world(), []
    health = world.node._health
    monkeypatch.setattr(world.node, "get_logger", lambda: SimpleNamespace(warning=said.append, info=lambda _: None))
    for loop in range(4):
        for ns in (START_NS, START_NS + 2_000_000_000):
            count = health.counted("frames_received")
            world.send_frame(ns)
            world.until(lambda count=count: health.counted("frames_received") > count)
        assert health.counted("time_jumps-back") == loop
    assert [text for text in said if "jumps-back" in text] == [
        f"the frames' time jumps-back to {START_NS * 1e-9:.3f} s: starting anew"
    ]


def test_stamps_that_jump_are_survived(make_world):
    world = make_world()
    health = world.node._health
    stamps = [0, 50, 3_600_000, 100, 100, 60, 150, -50_000, -49_950]  # ms
    for index, ms in enumerate(stamps):
        world.send_frame(START_NS + ms * 1_000_000)
        world.until(lambda n=index + 1: health.counted("frames_received") == n)
    world.until(lambda: len(world.states) == 6)
    assert world.dropped("frame-ahead") == 1
    assert world.dropped("frame-repeated") == 1
    assert world.dropped("frame-out-of-order") == 1
    assert health.counted("time_jumps-back") == 1


@pytest.mark.parametrize("wrong_ns", [2_140_000_000 * 10**9, 5 * 10**9])
def test_poses_and_frames_of_another_age_are_named_and_change_nothing_for_the_others(make_world, wrong_ns):
    world = make_world(action_wait_s=0.0)
    health = world.node._health
    for step in range(6):
        at_ns, count = START_NS + step * 50_000_000, health.counted("poses_received")
        if step == 3:
            world.send_pose(wrong_ns, x=77.0)
            world.until(lambda: world.dropped("pose-off-time") == 1)
            count += 1
        world.send_pose(at_ns, x=0.1 * step)
        world.until(lambda count=count: health.counted("poses_received") == count + 1)
        world.send_frame(at_ns)
        world.until(lambda step=step: len(world.states) == step + 1)
    assert [state.pose_status for state in world.states] == [LatentState.POSE_INTERPOLATED] * 6
    np.testing.assert_allclose([state.pose.position.x for state in world.states], 0.1 * np.arange(6), atol=1e-9)
    told = {item.key: item.value for item in health.status().values}
    assert f"stamp {wrong_ns * 1e-9:.3f} s lies far off the poses before it" in told["degraded/pose_stamps"]
    world.send_frame(wrong_ns)
    is_future = wrong_ns > START_NS
    world.until(lambda: world.dropped("frame-ahead") if is_future else health.counted("time_jumps-back"))
    told = {item.key: item.value for item in health.status().values}
    assert f"{wrong_ns * 1e-9:.3f} s" in told["degraded/frame_stamps" if is_future else "degraded/frame_time"]


def test_a_stamp_that_is_none_is_refused_by_name(make_world):
    world = make_world()
    msg = PoseStamped()
    msg.pose.orientation.w, msg.header.stamp.sec = 1.0, -5
    world.poses.publish(msg)
    world.until(lambda: world.dropped("impossible-stamp") == 1)


def test_bad_poses_and_actions_are_named_and_survived(make_world):
    world = make_world()
    world.send_pose(START_NS, x=math.nan)
    world.until(lambda: world.dropped("pose-not-finite") == 1)
    msg = PoseStamped()
    msg.pose.orientation.w = 2.0
    world.poses.publish(msg)
    world.until(lambda: world.dropped("quaternion-not-unit") == 1)
    world.actions.publish(float_array_msg(np.zeros(3)))
    world.until(lambda: world.dropped("action-length") == 1)
    world.actions.publish(float_array_msg(np.array([math.nan, 0.0])))
    world.until(lambda: world.dropped("action-not-finite") == 1)
    world.send_frame(START_NS)
    world.until(lambda: world.states)


@pytest.mark.parametrize(("is_open", "way_out"), [(True, "ACTION_DIM=4"), (False, "it was trained so")])
def test_actions_of_another_size_are_named_with_the_way_to_take_them(make_world, is_open, way_out):
    encoder = MeanColour()
    encoder.takes_any_actions = is_open
    world = make_world(encoder=encoder)
    world.actions.publish(float_array_msg(np.zeros(4)))
    world.until(lambda: world.dropped("action-length") == 1)
    told = {item.key: item.value for item in world.node._health.status().values}["degraded/action_size"]
    assert "actions on /actions have 4 values, the artifact takes 2" in told
    assert way_out in told


@pytest.mark.parametrize(("size", "values", "named"), [(2, [0.5, 0.1], True), (3, [0.5, -0.25, 0.1], False)])
def test_a_twists_speed_aside_is_taken_where_three_are_wanted_and_else_named(make_world, size, values, named):
    encoder = MeanColour()
    encoder.action_dim = size
    world = make_world(encoder=encoder, action_type=Twist, action_source="twist")
    msg = Twist()
    msg.linear.x, msg.linear.y, msg.angular.z = 0.5, -0.25, 0.1
    at_ns = START_NS

    def heard() -> bool:
        nonlocal at_ns
        world.actions.publish(msg)
        at_ns += 50_000_000
        world.send_frame(at_ns)
        return any(state.has_action for state in world.states)

    world.until(heard)
    np.testing.assert_allclose(next(state.action for state in world.states if state.has_action), values, rtol=1e-6)
    told = {item.key: item.value for item in world.node._health.status().values}
    assert ("linear.y" in told.get("degraded/action_size", "")) == named


def test_silence_of_the_camera_shows(make_world):
    world = make_world(image_timeout_s=0.1)
    world.until(lambda: "no images for" in world.node._health.status().message)


@pytest.mark.slow
def test_frames_of_another_clock_show(make_world):
    world, sent = make_world(), []

    def warned() -> bool:
        sent.append(START_NS + len(sent) * 50_000_000)
        world.send_frame(sent[-1])
        return "off this node's clock" in world.node._health.status().message

    # Only where it stays: at the start of a recording, and where it loops, its clock comes a little late.
    assert not warned()
    world.until(warned)


@pytest.mark.slow
def test_a_real_artifact_is_loaded_and_run(ros_context, tmp_path):  # noqa: F811
    manifest = make_random_artifact(tmp_path / "artifact")
    overrides = [Parameter("model_path", value=str(tmp_path / "artifact"))]
    node = LatentPublisher(parameter_overrides=overrides)
    states: list[LatentState] = []
    peer = Node("peer")
    peer.create_subscription(LatentState, "/latent/state", states.append, qos.STREAM)
    images = peer.create_publisher(Image, "/camera/image_raw", 10)
    spin_until(lambda: images.get_subscription_count() and node._state_publisher.get_subscription_count(), node, peer)
    images.publish(image_to_msg(np.full((48, 64, 3), 99, np.uint8), Time(sec=5), "camera"))
    spin_until(lambda: states, node, peer)
    assert len(states[0].latent) == manifest.z_dim
    assert states[0].encoder_id == manifest.encoder_id
    node.destroy_node()
    peer.destroy_node()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"model_path": "/nowhere"}, ArtifactError, "/nowhere"),
        ({"z_dim": 64}, ArtifactError, "z_dim"),
        ({"publish_rat": 5.0}, ParameterError, "publish_rat"),
        ({"publish_rate": -5.0}, ParameterError, "publish_rate"),
        ({"use_tiny_models": False, "model_path": "artifact://tiny"}, ValueError, "WM_CHECKPOINT_PATH"),
    ],
)
def test_what_cannot_work_is_refused_by_name(ros_context, tmp_path, given, error, text):  # noqa: F811
    make_random_artifact(tmp_path / "artifact")
    given = {"model_path": str(tmp_path / "artifact"), **given}
    with pytest.raises(error, match=text):
        LatentPublisher(parameter_overrides=[Parameter(name, value=value) for name, value in given.items()])


def test_config_file_and_parameters_agree():
    assert_file_sets_every_parameter(CONFIG, "latent_publisher", LatentPublisherParams)


def test_the_rate_is_followed_while_running(make_world):
    world = make_world(publish_rate=20.0)

    def encoded_of_a_second(start_ns: int) -> int:
        before = world.node._health.counted("frames_encoded")
        for step in range(20):
            received = world.node._health.counted("frames_received") + 1
            world.send_frame(start_ns + step * 50_000_000)
            world.until(lambda received=received: world.node._health.counted("frames_received") >= received)
        return world.node._health.counted("frames_encoded") - before

    assert encoded_of_a_second(START_NS) == 20
    assert world.node.set_parameters([Parameter("publish_rate", value=5.0)])[0].successful
    # A frame passes up to half a period before its turn: at 0.0, 0.1, 0.3, 0.5, 0.7 and 0.9 s.
    assert encoded_of_a_second(START_NS + 1_000_000_000) == 6
    assert not world.node.set_parameters([Parameter("publish_rate", value=0.0)])[0].successful
    assert not world.node.set_parameters([Parameter("z_dim", value=3)])[0].successful
