"""What the recorder writes is what was published, and a conversion reads it as any other recording."""

from __future__ import annotations

import subprocess
import sys
from threading import Event

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float32MultiArray

from bag_player import live, recording
from bag_player.recording import BagRecorder, Inputs, record
from bag_player.type_text import store_with
from wm_core.bags import Bag, BagError
from wm_ros import ConfigurationError, message_class, stamp_msg
from wm_testing.nodes import ros_context, spin_until

__all__ = ["ros_context"]

pytestmark = pytest.mark.usefixtures("ros_context")
STEP_NS, USUAL = 50_000_000, Inputs()


def refusing(missing: str):
    def find(kind: str, asker: str) -> type:
        if kind == missing:
            raise ConfigurationError(f"{kind} is not here")
        return message_class(kind, asker)

    return find


class Robot(Node):
    """Publishes made-up inputs, one of each a step."""

    def __init__(self, **topics: type) -> None:
        super().__init__("robot")
        self.publishers_by_topic = {name: self.create_publisher(kind, name, 10) for name, kind in topics.items()}
        self.sent: dict[str, list[object]] = {name: [] for name in topics}

    def send(self, step: int) -> None:
        stamp = stamp_msg(10**18 + step * STEP_NS)
        for name, publisher in self.publishers_by_topic.items():
            msg = publisher.msg_type()
            if hasattr(msg, "header"):
                msg.header.stamp = stamp
            if isinstance(msg, Image):
                msg.height, msg.width, msg.step, msg.encoding = 2, 2, 6, "rgb8"
                msg.data = np.full(12, step % 256, np.uint8).tobytes()
            elif isinstance(msg, CompressedImage):
                msg.format, msg.data = "jpeg", bytes([step % 256])
            elif isinstance(msg, Float32MultiArray):
                msg.data = [float(step), -1.0]
            publisher.publish(msg)
            self.sent[name].append(msg)


def recorded(tmp_path, robot: Robot, frames: int, topics: Inputs = USUAL) -> tuple[Bag, BagRecorder]:
    recorder, step = BagRecorder(tmp_path / "bag", topics), iter(range(10**6))

    def enough() -> bool:
        robot.send(next(step))
        return recorder.frame_count >= frames and len(recorder.counts) == len(robot.sent)

    try:
        spin_until(enough, recorder, robot)
    finally:
        recorder.close()
        recorder.destroy_node()
        robot.destroy_node()
    return Bag(tmp_path / "bag"), recorder


def test_the_graph_s_inputs_are_written_as_they_came(tmp_path):
    names = {"camera/image_raw": Image, "camera/camera_info": CameraInfo, "pose": PoseStamped}
    robot = Robot(**names, actions=Float32MultiArray)
    bag, recorder = recorded(tmp_path, robot, frames=5)
    assert bag.types == {
        "/camera/image_raw": "sensor_msgs/msg/Image",
        "/camera/camera_info": "sensor_msgs/msg/CameraInfo",
        "/pose": "geometry_msgs/msg/PoseStamped",
        "/actions": "std_msgs/msg/Float32MultiArray",
    }
    assert dict(bag.counts) == dict(recorder.counts)
    frames = [bag.decode(m) for m in bag.messages(["/camera/image_raw"])]
    sent = {msg.header.stamp.nanosec: bytes(msg.data) for msg in robot.sent["camera/image_raw"]}
    assert [bytes(frame.data) for frame in frames] == [sent[frame.header.stamp.nanosec] for frame in frames]
    assert not bag.damages


def test_compressed_pictures_odometry_and_other_names_are_taken(tmp_path):
    robot = Robot(**{"front/image/compressed": CompressedImage, "odom": Odometry})
    bag, recorder = recorded(tmp_path, robot, frames=3, topics=Inputs("front/image", "odom", "actions"))
    assert bag.types == {
        "/front/image/compressed": "sensor_msgs/msg/CompressedImage",
        "/odom": "nav_msgs/msg/Odometry",
    }
    assert recorder.frame_count == bag.counts["/front/image/compressed"] >= 3


def test_tf_is_recorded_where_nobody_publishes_a_pose(tmp_path):
    tf = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed")
    robot = Robot(**{"camera/image_raw": Image, "/tf": tf.TFMessage})
    bag, _ = recorded(tmp_path, robot, frames=3)
    assert bag.types["/tf"] == "tf2_msgs/msg/TFMessage"


def test_a_type_that_is_not_installed_costs_its_topic_only(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "message_class", refusing("nav_msgs/msg/Odometry"))
    robot = Robot(**{"camera/image_raw": Image, "pose": Odometry})
    recorder = BagRecorder(tmp_path / "bag", Inputs())
    spin_until(lambda: (robot.send(1), recorder.frame_count > 3 and recorder.refused)[1], recorder, robot)
    recorder.close()
    assert set(Bag(tmp_path / "bag").types) == {"/camera/image_raw"}
    assert recorder.refused == {"/pose": "nav_msgs/msg/Odometry is not here"}
    for node in (recorder, robot):
        node.destroy_node()


def test_without_a_camera_it_says_why_and_ends_with_2(tmp_path):
    recorder = BagRecorder(tmp_path / "bag", Inputs())
    assert record(recorder, Event(), seconds=1.0, wait_s=0.2, follow_parent=False) == 2
    assert "nobody publishes /camera/image_raw" in recorder.problem
    recorder.destroy_node()


def test_a_folder_that_is_there_is_never_written_to(tmp_path):
    with pytest.raises(BagError, match="nothing can be recorded"):
        BagRecorder(tmp_path, Inputs())


def test_definitions_come_from_packages_where_they_are_no_common_ones():
    kinds = store_with("wm_interfaces/msg/LatentPrediction").fielddefs
    assert {"wm_interfaces/msg/LatentPrediction", "wm_interfaces/msg/LatentForecast"} <= set(kinds)
    with pytest.raises(BagError, match="install package nowhere_msgs"):
        store_with("nowhere_msgs/msg/Nothing")


def test_without_rclpy_the_recorder_is_refused_by_name(tmp_path, monkeypatch):
    command = live.command(tmp_path / "bag", 20.0, "r1", {"pose": "/odom"})
    assert command[2:] == [
        "bag_player.recording", str(tmp_path / "bag"), "--follow-parent", "--pose=/odom", "--seconds=20",
        "--ros-args", "-r", "__ns:=/r1",
    ]  # fmt: skip
    monkeypatch.setattr(live, "find_spec", lambda _: None)
    with pytest.raises(BagError, match="rclpy is not installed"):
        live.command(tmp_path / "bag")


def test_it_ends_when_told_to(tmp_path):
    robot, stop = Robot(**{"camera/image_raw": Image}), Event()
    recorder = BagRecorder(tmp_path / "bag", Inputs())
    robot.create_timer(0.02, lambda: robot.send(len(robot.sent["camera/image_raw"])))
    robot.create_timer(0.02, lambda: stop.set() if recorder.frame_count >= 3 else None)
    executor = rclpy.get_global_executor()
    executor.add_node(robot)
    assert record(recorder, stop, seconds=None, wait_s=60.0, follow_parent=True) == 0
    assert Bag(tmp_path / "bag").counts["/camera/image_raw"] == recorder.frame_count
    executor.remove_node(robot)
    recorder.destroy_node()
    robot.destroy_node()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--camera=bad//topic"], "bad//topic"),
        (["--camera=a{b"], "a{b"),
        (["--ros-args", "-r", "__ns:=9x"], "9x"),
    ],
)
def test_a_name_that_ros_does_not_take_is_said_in_one_line(tmp_path, options, said):
    command = [sys.executable, "-m", "bag_player.recording", str(tmp_path / "bag"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert said in done.stderr.splitlines()[-1]
