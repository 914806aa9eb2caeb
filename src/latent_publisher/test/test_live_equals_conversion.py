"""Each recording through the live node and through conversion: the same frames, poses, actions and faults."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import Image
from std_msgs.msg import Float32MultiArray

from latent_publisher import node as node_module
from latent_publisher.node import LatentPublisher
from wm_core.bags import Bag
from wm_core.se3 import yaw_of
from wm_testing.nodes import ros_context  # noqa: F401
from world_model.data.account import Fate
from world_model.data.bags import BagOptions, read_recording
from world_model.data.stream import POSE_WAIT_S

T0, STEP, COUNT = 1_700_000_000 * 10**9, 50_000_000, 120
KINDS = {"/camera/image_raw": Image, "/pose": PoseStamped, "/actions": Float32MultiArray}
NAMES = {
    "/camera/image_raw": "sensor_msgs/msg/Image",
    "/pose": "geometry_msgs/msg/PoseStamped",
    "/actions": "std_msgs/msg/Float32MultiArray",
}
STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = STORE.types


class MeanColour:
    encoder_id, z_dim, action_dim, step_s, wants_depth, proprioception_dim = "mean", 3, 2, 0.05, False, 0
    fixed = None
    horizons_s, top_k, motion = (0.05, 1.0), 7, None

    def encode(self, image_HW3, depth_HW=None, proprioception_P=None):
        return image_HW3.mean((0, 1)).astype(np.float32)


def header(ns, frame_id):
    return TYPES["std_msgs/msg/Header"](TYPES["builtin_interfaces/msg/Time"](ns // 10**9, ns % 10**9), frame_id)


def drive(count=COUNT, camera_ns=STEP, stamp=lambda i, ns: ns, encoding=lambda i: "rgb8"):
    """Frames, poses 3 ms and actions 5 ms after them at 20 Hz; ``stamp`` is what the robot's clock says."""
    events = []
    for i in range(count):
        ns, said = T0 + i * camera_ns, stamp(i, T0 + i * camera_ns)
        pixels = np.full(192, i % 251, np.uint8)
        image = TYPES[NAMES["/camera/image_raw"]](header(said, "camera"), 8, 8, encoding(i), 0, 24, pixels)
        events.append(("/camera/image_raw", ns, image))
    for i in range(count * camera_ns // STEP):
        ns, said = T0 + i * STEP, stamp(i, T0 + i * STEP)
        point = TYPES["geometry_msgs/msg/Point"](0.05 * i, 0.0, 0.0)
        turn = TYPES["geometry_msgs/msg/Quaternion"](0.0, 0.0, float(np.sin(0.01 * i)), float(np.cos(0.01 * i)))
        pose = TYPES[NAMES["/pose"]](header(said, "map"), TYPES["geometry_msgs/msg/Pose"](point, turn))
        events.append(("/pose", ns + 3_000_000, pose))
        layout = TYPES["std_msgs/msg/MultiArrayLayout"]([], 0)
        events.append(("/actions", ns + 5_000_000, TYPES[NAMES["/actions"]](layout, np.float32([i, -i]))))
    return events


def write(path, events):
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        to = {topic: writer.add_connection(topic, kind, typestore=STORE) for topic, kind in NAMES.items()}
        for topic, ns, message in sorted(events, key=lambda event: event[1]):
            writer.write(to[topic], ns, STORE.serialize_cdr(message, NAMES[topic]))
    return path


class Live:
    """The node with the recording's clock for a steady one, hearing each message when it was recorded."""

    def __init__(self, monkeypatch) -> None:
        # As conversion: a measured pose is waited for.
        waits = [Parameter("pose_wait_s", value=POSE_WAIT_S)]
        self.node, self.now_ns, self.states = LatentPublisher(MeanColour(), parameter_overrides=waits), 0, []
        self.drops: Counter[str] = Counter()
        self.skips = 0
        monkeypatch.setattr(node_module, "monotonic_ns", lambda: self.now_ns)
        clock = SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=self.now_ns))
        monkeypatch.setattr(self.node, "get_clock", lambda: clock)
        monkeypatch.setattr(self.node, "_publish_state", self.states.append)
        monkeypatch.setattr(self.node._health, "drop", lambda reason, detail="": self.drops.update([reason]))
        monkeypatch.setattr(self.node._health, "skip", self._skip)

    def _skip(self, reason: str) -> None:
        self.skips += 1

    def play(self, bag: Bag) -> None:
        hears = {
            "/camera/image_raw": self.node._on_image,
            "/pose": self.node._pose_input._on_pose,
            "/actions": self.node._action_input._on_action,
        }
        for message in bag.messages(list(NAMES)):
            self._pass_to(message.steady_ns)
            hears[message.topic](deserialize_message(message.data, KINDS[message.topic]))
        self._pass_to(bag.end_ns + 10**9)
        self.node.destroy_node()

    def _pass_to(self, time_ns: int) -> None:
        while (deadline_ns := self.node._aligner.next_deadline_ns()) is not None and deadline_ns <= time_ns:
            self.now_ns = deadline_ns
            self.node._publish_ready()
        self.now_ns = time_ns


CASES = {
    "as it should be": {},
    "one frame far ahead": {"stamp": lambda i, ns: ns + (3600 * 10**9 if i == 40 else 0)},
    "a clock that is set late": {"stamp": lambda i, ns: ns + (3600 * 10**9 if i < 60 else 0)},
    "a clock that steps back": {"stamp": lambda i, ns: ns - (3_020_000_000 if i >= 60 else 0)},
    "a clock that steps ahead": {"stamp": lambda i, ns: ns + (20 * 10**9 if i >= 60 else 0)},
    "a short recording, looped": {"stamp": lambda i, ns: T0 + i % 16 * STEP},
    "no stamps": {"stamp": lambda i, ns: 0},
    "each stamp twice": {"stamp": lambda i, ns: T0 + i // 2 * 2 * STEP},
    "an encoding that changes": {"encoding": lambda i: "rgb8" if i < 90 else "rgb9"},
    "60 Hz": {"camera_ns": STEP // 3},
    "10 Hz": {"camera_ns": 2 * STEP},
    "6.7 Hz": {"camera_ns": 3 * STEP},
}


@pytest.mark.slow
@pytest.mark.usefixtures("ros_context")
@pytest.mark.parametrize("case", CASES)
def test_live_and_conversion_agree_frame_by_frame(tmp_path, monkeypatch, case):
    path = write(tmp_path / "bag", drive(**CASES[case]))
    live = Live(monkeypatch)
    live.play(Bag(path))

    recording = read_recording(path, BagOptions(image_size=8, action_dim=2))
    account = recording.account

    converted = {
        int(stamp): (pose, action)
        for episode in recording.episodes
        for stamp, pose, action in zip(episode.stamp_T, episode.pose_T4, episode.action_TA)
    }
    faults = Counter(reason for _, fate, reason in account.frames if fate in (Fate.BAD_STAMP, Fate.UNUSABLE))
    assert {reason: count for reason, count in live.drops.items() if reason.startswith(("frame", "image"))} == faults
    assert live.skips == account.counts[Fate.THINNED]
    assert len(live.states) == account.counts[Fate.KEPT]
    if case == "a short recording, looped":
        return  # each stamp comes once a round
    for state in live.states:
        if state.stamp_ns not in converted:
            assert case == "no stamps"  # a single frame makes no episode
            continue
        pose, action = converted[state.stamp_ns]
        if state.pose.position is None:
            assert np.isnan(pose).all()
        else:
            np.testing.assert_allclose(pose[:3], state.pose.position, atol=1e-6)
            assert pose[3] == pytest.approx(yaw_of(state.pose.quaternion), abs=1e-6)
        if state.action.values is None:
            assert np.isnan(action).all()
        else:
            np.testing.assert_array_equal(action, state.action.values)
