"""Each recording through the live node and through conversion: the same frames, poses, actions and faults.

What the node published at once and what the memory would have joined later is what a set tells of the recording.
"""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import Image
from std_msgs.msg import Float32MultiArray

from latent_publisher import node as node_module
from latent_publisher.node import LatentPublisher
from wm_core.alignment import PoseStatus, awaits_measured
from wm_core.bags import Bag
from wm_core.memory.joining import PoseJoin
from wm_core.se3 import yaw_of
from wm_ros import stamp_ns
from wm_testing.nodes import ros_context  # noqa: F401
from world_model.data.account import Fate
from world_model.data.bags import BagOptions, read_recording
from world_model.data.known import replayed
from world_model.runtime.motion_model import MotionModel
from world_model.runtime.pose_ahead import PoseAhead

T0, STEP, COUNT = 1_700_000_000 * 10**9, 50_000_000, 120
KINDS = {"/camera/image_raw": Image, "/pose": PoseStamped, "/actions": Float32MultiArray}
NAMES = {
    "/camera/image_raw": "sensor_msgs/msg/Image",
    "/pose": "geometry_msgs/msg/PoseStamped",
    "/actions": "std_msgs/msg/Float32MultiArray",
}
# Forward by the first action, turn by the second, and a share of what was measured.
MOVES = MotionModel(weights=((0.05, 0.0, 0.0, 0.0), (0.0,) * 4, (0.0, 0.02, 0.0, 0.0)), error_horizons_s=(0.05, 1.0),
                    error_std=((0.01, 0.01, 0.01), (0.1, 0.1, 0.1)))  # fmt: skip
STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = STORE.types


def motion():
    return PoseAhead(MOVES, 0.05, 2)


class MeanColour:
    encoder_id, z_dim, action_dim, step_s, wants_depth, proprioception_dim = "mean", 3, 2, 0.05, False, 0
    takes_any_actions = False
    fixed = None
    horizons_s, top_k = (0.05, 1.0), 7

    def __init__(self):
        self.motion = motion()

    def encode(self, image_HW3, depth_HW=None, proprioception_P=None):
        return image_HW3.mean((0, 1)).astype(np.float32)


def header(ns, frame_id):
    return TYPES["std_msgs/msg/Header"](TYPES["builtin_interfaces/msg/Time"](ns // 10**9, ns % 10**9), frame_id)


def drive(count=COUNT, camera_ns=STEP, stamp=lambda i, ns: ns, encoding=lambda i: "rgb8", poses=None):
    """Frames, poses 3 ms and actions 4 ms after them at 20 Hz; ``stamp`` is what the robot's clock says.

    ``poses``: (stamp, arrival) [ns] of others.
    """
    events = []
    for i in range(count):
        ns, said = T0 + i * camera_ns, stamp(i, T0 + i * camera_ns)
        pixels = np.full(192, i % 251, np.uint8)
        image = TYPES[NAMES["/camera/image_raw"]](header(said, "camera"), 8, 8, encoding(i), 0, 24, pixels)
        events.append(("/camera/image_raw", ns, image))
    for i in range(count * camera_ns // STEP):
        ns, said = T0 + i * STEP, stamp(i, T0 + i * STEP)
        if poses is None:
            events.append(("/pose", ns + 3_000_000, pose_msg(said, 0.05 * i, 0.02 * i)))
        layout = TYPES["std_msgs/msg/MultiArrayLayout"]([], 0)
        events.append(("/actions", ns + 4_000_000, TYPES[NAMES["/actions"]](layout, np.float32([i % 40, -i % 40]))))
    for ns, arrival_ns in poses or ():
        second = (ns - T0) * 1e-9
        events.append(("/pose", arrival_ns, pose_msg(ns, second, np.sin(second))))
    return events


def pose_msg(ns, x, yaw):
    point = TYPES["geometry_msgs/msg/Point"](x, 0.1 * x * x, 0.0)
    turn = TYPES["geometry_msgs/msg/Quaternion"](0.0, 0.0, float(np.sin(yaw / 2)), float(np.cos(yaw / 2)))
    return TYPES[NAMES["/pose"]](header(ns, "map"), TYPES["geometry_msgs/msg/Pose"](point, turn))


def disturbed(rate_hz, late_ms, seed):
    """Stamps and arrivals of poses at a rate, late by so much with jitter; gaps, repeats and stamps out of order."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(round(COUNT * STEP * 1e-9 * rate_hz)):
        ns = T0 + round(i / rate_hz * 1e9) + int(rng.integers(-2_000_000, 2_000_001))
        arrival_ns = ns + round(max(late_ms * (1.0 + 0.5 * rng.normal()), 0.0) * 1e6) + 1
        if 2.0e9 < ns - T0 < 2.4e9 or 4.0e9 < ns - T0 < 4.9e9:
            continue
        found.append((ns, arrival_ns))
        if rng.random() < 0.05:
            found.append((ns, arrival_ns + 30_000_000))
    return found


def write(path, events):
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        to = {topic: writer.add_connection(topic, kind, typestore=STORE) for topic, kind in NAMES.items()}
        for topic, ns, message in sorted(events, key=lambda event: event[1]):
            writer.write(to[topic], ns, STORE.serialize_cdr(message, NAMES[topic]))
    return path


class Live:
    """The node with the recording's clock for a steady one, hearing each message when it was recorded."""

    def __init__(self, monkeypatch) -> None:
        self.node, self.now_ns, self.states = LatentPublisher(MeanColour()), 0, []
        self.drops: Counter[str] = Counter()
        self.skips = 0
        self.join, self.kept, self.late = PoseJoin(), [], 0
        monkeypatch.setattr(node_module, "monotonic_ns", lambda: self.now_ns)
        clock = SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=self.now_ns))
        monkeypatch.setattr(self.node, "get_clock", lambda: clock)
        monkeypatch.setattr(self.node, "_publish_state", self._on_state)
        monkeypatch.setattr(self.node._pose_publisher, "publish", self._on_measured)
        monkeypatch.setattr(self.node._health, "drop", lambda reason, detail="": self.drops.update([reason]))
        monkeypatch.setattr(self.node._health, "skip", self._skip)

    def _on_state(self, state) -> None:
        self.states.append(state)
        waits = awaits_measured(state.pose.status, are_coming=self.join.are_coming(self.now_ns))
        self.join.push(state.stamp_ns, state, waits=waits, steady_ns=self.now_ns)
        self._keep(self.now_ns)

    def _on_measured(self, msg) -> None:
        self.join.pose(stamp_ns(msg.header.stamp), msg.pose.pose, self.now_ns)
        self._keep(self.now_ns)

    def _keep(self, steady_ns: int) -> None:
        """As the memory does: the pose that followed, else the one that was measured already, else none."""
        for state, pose, is_late in self.join.ready(steady_ns):
            self.late += is_late
            known = (state.pose.position, state.pose.quaternion)
            if pose is not None:
                turn = pose.orientation
                known = (pose.position.x, pose.position.y, pose.position.z), (turn.x, turn.y, turn.z, turn.w)
            elif state.pose.status is not PoseStatus.INTERPOLATED:
                known = None, None
            self.kept.append((state.stamp_ns, *known))

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
        self._keep(2**62)
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
    **{
        f"poses at {rate} Hz, {late} ms late": {"poses": disturbed(rate, late, rate + late)}
        for rate in (7, 50, 200)
        for late in (0, 50, 100)
    },
    "poses at 7 Hz, 200 ms late": {"poses": disturbed(7, 200, 207)},
    "poses at 50 Hz, 350 ms late": {"poses": disturbed(50, 350, 400)},
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

    faults = Counter(reason for _, fate, reason in account.frames if fate in (Fate.BAD_STAMP, Fate.UNUSABLE))
    assert {reason: count for reason, count in live.drops.items() if reason.startswith(("frame", "image"))} == faults
    assert live.skips == account.counts[Fate.THINNED]
    assert len(live.states) == len(live.kept) == account.counts[Fate.KEPT]
    if case == "a short recording, looped":
        return  # each stamp comes once a round
    known, kept, late = {}, {}, 0
    for episode in recording.episodes:
        told, action_TA = replayed(episode.arrivals, episode.stamp_T, 2, 0.05, motion())
        np.testing.assert_array_equal(action_TA, episode.action_TA)
        np.testing.assert_array_equal(told.kept_T4, episode.pose_T4)
        late += told.late
        for row, ns in enumerate(episode.stamp_T.tolist()):
            known[ns] = told.pose_T4[row], told.status_T[row], told.std_T2[row], action_TA[row]
            kept[ns] = told.kept_T4[row]
    # A single frame makes no episode.
    states = [state for state in live.states if state.stamp_ns in known]
    assert len(states) == len(live.states) or case == "no stamps"
    for state in states:
        pose_4, status, std_2, action_A = known[state.stamp_ns]
        assert state.pose.status == status
        same(pose_4, state.pose.position, state.pose.quaternion)
        np.testing.assert_allclose(std_2, (np.nan, np.nan) if state.pose.position is None else state.pose.errors)
        values = np.full(2, np.nan) if state.action.values is None else state.action.values
        np.testing.assert_array_equal(action_A, values)
    for ns, position, quaternion in live.kept:
        if ns in kept:
            same(kept[ns], position, quaternion)
    assert late == live.late or case == "no stamps"
    if "poses" in CASES[case]:
        assert PoseStatus.PREDICTED in {status for _, status, _, _ in known.values()}
        # Behind the long gap the measured pose comes too late for those that were told one.
        assert late >= 4
        assert 0.5 * COUNT < sum(np.isfinite(pose_4).all() for pose_4 in kept.values()) <= COUNT - late


def same(pose_4, position, quaternion) -> None:
    if position is None:
        assert np.isnan(pose_4).all()
        return
    np.testing.assert_allclose(pose_4[:3], position, atol=1e-9)
    assert pose_4[3] == pytest.approx(yaw_of(quaternion), abs=1e-9)
