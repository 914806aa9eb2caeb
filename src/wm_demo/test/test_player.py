"""What a recording of any type becomes in the graph: the same values under the same stamps, installed or not."""

from __future__ import annotations

from fractions import Fraction
from time import sleep

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped, Twist
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, Joy, LaserScan

from bag_player.node import BagPlayer, choose_topics, with_all_others
from bag_player.senders import installed
from bag_player.sent_log import SentLog
from wm_core.bags import Bag
from wm_ros import own_domain_id, stamp_ns
from wm_testing.nodes import ros_context, spin_until  # noqa: F401
from wm_testing.recorder import ACKERMANN, CAMERA, STEP, T0, VIDEO, Recorder

COUNT = 20
pytestmark = [pytest.mark.usefixtures("ros_context"), pytest.mark.slow]


@pytest.fixture
def hear():
    """Listens from a participant of its own, as a node of the graph would."""
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=own_domain_id())
    listener = Node("graph", context=context)
    heard: dict[str, list] = {}
    qos = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)

    def listen(**kinds: type) -> dict[str, list]:
        for name, kind in kinds.items():
            topic = CAMERA if name == "camera" else f"/{name}"
            of = QoSProfile(depth=200, reliability=ReliabilityPolicy.BEST_EFFORT) if name == "camera" else qos
            listener.create_subscription(kind, topic, heard.setdefault(name, []).append, of)
        return heard

    listen.node = listener
    yield listen
    listener.destroy_node()
    rclpy.shutdown(context=context)


def play(path, hear, everything: bool = False, count: int = COUNT) -> list[str]:
    bag = Bag(path)
    topics, _ = choose_topics(bag, {})
    missing: list[str] = []
    if everything:
        topics, missing = with_all_others(bag, topics)
    player = BagPlayer(bag, topics, rate=10.0)
    assert player.wait_for_subscribers(20.0)
    spin_until(lambda: hear.node.count_publishers(CAMERA) > 0, hear.node)
    player.play()
    assert not player.unusable
    player.destroy_node()
    return missing


def recorder(path, **definitions) -> Recorder:
    made = Recorder(path, **definitions)
    for i in range(COUNT):
        made.picture(T0 + i * STEP, i)
    return made


def odometry(made: Recorder, topic: str, i: int) -> None:
    def of(kind: str, *fields: object) -> object:
        return made.types[f"geometry_msgs/msg/{kind}"](*fields)

    pose = of("Pose", of("Point", 0.1 * i, 0.0, 0.0), of("Quaternion", 0.0, 0.0, 0.0, 1.0))
    still, ns = of("Vector3", 0.0, 0.0, 0.0), T0 + i * STEP
    told = of("PoseWithCovariance", pose, np.full(36, 0.25))
    twist = of("TwistWithCovariance", of("Twist", still, still), np.zeros(36))
    made.say(topic, "nav_msgs/msg/Odometry", ns, made.header(ns), "base_link", told, twist)


def test_what_is_installed_is_handed_on_as_it_is_recorded(tmp_path, hear):
    made = recorder(tmp_path / "bag")
    for i in range(COUNT):
        odometry(made, "/odom", i)
        vector = made.types["geometry_msgs/msg/Vector3"]
        made.say(
            "/cmd_vel", "geometry_msgs/msg/Twist", T0 + i * STEP, vector(0.1 * i, 0.0, 0.0), vector(0.0, 0.0, -0.1 * i)
        )
    heard = hear(camera=Image, pose=Odometry, actions=Twist)
    play(made.write(), hear)
    spin_until(lambda: all(len(messages) == COUNT for messages in heard.values()), hear.node)
    assert [stamp_ns(msg.header.stamp) for msg in heard["pose"]] == [T0 + i * STEP for i in range(COUNT)]
    assert heard["pose"][3].pose.pose.position.x == pytest.approx(0.3)
    assert heard["pose"][3].pose.covariance[0] == 0.25
    assert heard["actions"][5].angular.z == pytest.approx(-0.5)


def test_a_machine_that_stands_still_makes_playing_longer_and_loses_nothing(tmp_path, hear, monkeypatch):
    heard = hear(camera=Image)
    bag = Bag(recorder(tmp_path / "bag").write())
    recorded = list(bag.prefetched([CAMERA]))

    def held_up(_):
        for at, message in enumerate(recorded):
            if at == COUNT // 2:
                sleep(1.0)
            yield message

    monkeypatch.setattr(bag, "prefetched", held_up)
    sent_ns: list[int] = []
    log = SentLog()
    monkeypatch.setattr(log, "frame", lambda target, stamp_ns, steady_ns: sent_ns.append(steady_ns))
    player = BagPlayer(bag, choose_topics(bag, {})[0], log=log)
    assert player.wait_for_subscribers(20.0)
    player.play()
    spin_until(lambda: len(heard["camera"]) == COUNT, hear.node)
    gap_N = np.diff(sent_ns) / STEP
    assert 0.7 < player.held_up_s < 1.5
    # All that were to go out in that second go out after it, each in its turn.
    assert np.median(gap_N[COUNT // 2 :]) == pytest.approx(1.0, abs=0.3)
    player.destroy_node()


@pytest.mark.skipif(installed("tf2_msgs/msg/TFMessage") is not None, reason="it is there")
def test_tf_becomes_poses_where_its_package_is_missing(tmp_path, hear):
    made, kind = recorder(tmp_path / "bag"), "tf2_msgs/msg/TFMessage"
    made.say("/tf_static", kind, T0, [made.transform("map", "odom", T0, x=5.0)])
    for i in range(COUNT):
        ns = T0 + i * STEP
        made.say("/tf", kind, ns, [made.transform("odom", "base_link", ns, x=0.1 * i)])
    heard = hear(camera=Image, pose=PoseStamped)
    play(made.write(), hear)
    spin_until(lambda: all(len(messages) == COUNT for messages in heard.values()), hear.node)
    assert [msg.pose.position.x for msg in heard["pose"]] == pytest.approx([5.0 + 0.1 * i for i in range(COUNT)])
    assert {msg.header.frame_id for msg in heard["pose"]} == {"map"}
    assert [stamp_ns(msg.header.stamp) for msg in heard["pose"]] == [T0 + i * STEP for i in range(COUNT)]


@pytest.mark.skipif(installed("ackermann_msgs/msg/AckermannDriveStamped") is not None, reason="it is there")
def test_a_command_of_a_missing_type_keeps_its_stamp_and_values(tmp_path, hear):
    kind = "ackermann_msgs/msg/AckermannDriveStamped"
    made = recorder(tmp_path / "bag", ackermann_msgs_AckermannDriveStamped=ACKERMANN)
    for i in range(COUNT):
        ns = T0 + i * STEP
        drive = made.types["ackermann_msgs/msg/AckermannDrive"](-0.01 * i, 0.0, 0.5 * i, 0.0, 0.0)
        made.say("/drive", kind, ns, made.header(ns - 3_000_000), drive)
    heard = hear(camera=Image, actions=Joy)
    play(made.write(), hear)
    spin_until(lambda: all(len(messages) == COUNT for messages in heard.values()), hear.node)
    assert [list(msg.axes) for msg in heard["actions"]] == [pytest.approx([0.5 * i, -0.01 * i]) for i in range(COUNT)]
    assert stamp_ns(heard["actions"][4].header.stamp) == T0 + 4 * STEP - 3_000_000


def test_video_packets_become_pictures_with_their_own_stamps(tmp_path, hear):
    av = pytest.importorskip("av")
    made = Recorder(tmp_path / "bag", foxglove_msgs_CompressedVideo=VIDEO)
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width = encoder.height = 64
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 20)
    encoder.options = {"tune": "zerolatency", "preset": "ultrafast"}
    for i in range(COUNT):
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 10 * i, np.uint8), format="rgb24")
        frame.pts, ns = i, T0 + i * STEP
        for packet in encoder.encode(frame):
            data = np.frombuffer(bytes(packet), np.uint8)
            made.say("/front/video", "foxglove_msgs/msg/CompressedVideo", ns, made.time(ns), "front", data, "h264")
    heard = hear(camera=Image)
    play(made.write(), hear)
    spin_until(lambda: len(heard["camera"]) >= COUNT - 1, hear.node)
    for msg in heard["camera"]:
        i = (stamp_ns(msg.header.stamp) - T0) // STEP
        assert abs(int(np.frombuffer(msg.data, np.uint8).mean()) - 10 * i) <= 4
    assert {(msg.width, msg.height, msg.encoding, msg.header.frame_id) for msg in heard["camera"]} == {
        (64, 64, "rgb8", "front")
    }


def test_all_plays_the_rest_under_its_own_name_and_names_what_it_cannot(tmp_path, hear):
    made = recorder(tmp_path / "bag", odd_msgs_Thing="float32 value\n")
    for i in range(COUNT):
        ns = T0 + i * STEP
        numbers = np.ones(3, np.float32)
        made.say(
            "/scan",
            "sensor_msgs/msg/LaserScan",
            ns,
            made.header(ns),
            0.0,
            1.0,
            0.5,
            0.0,
            0.0,
            0.0,
            9.0,
            numbers,
            numbers,
        )
        made.say("/odd", "odd_msgs/msg/Thing", ns, 1.0)
    heard = hear(camera=Image, scan=LaserScan)
    assert play(made.write(), hear, everything=True) == ["/odd (odd_msgs/msg/Thing)"]
    spin_until(lambda: all(len(messages) == COUNT for messages in heard.values()), hear.node)
