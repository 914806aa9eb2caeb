"""tf, Ackermann and video live: their messages have no wheel; where missing, this file builds them and runs itself."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile

from wm_core.se3 import quaternion_of
from wm_interfaces.msg import LatentState
from wm_ros import ConfigurationError, message_class, pose_to_msg, stamp_msg, stamp_ns
from wm_testing.inputs import START_NS, STEP_NS

BUILD_S = 300
PACKAGES = {
    "tf2_msgs": {"TFMessage": "geometry_msgs/TransformStamped[] transforms\n"},
    "ackermann_msgs": {
        "AckermannDrive": "float32 steering_angle\nfloat32 steering_angle_velocity\nfloat32 speed\n"
        "float32 acceleration\nfloat32 jerk\n",
        "AckermannDriveStamped": "std_msgs/Header header\nAckermannDrive drive\n",
    },
    "foxglove_msgs": {
        "CompressedVideo": "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n"
    },
}
CMAKE = """cmake_minimum_required(VERSION 3.16)
project({name})
find_package(ament_cmake REQUIRED)
find_package(builtin_interfaces REQUIRED)
find_package(geometry_msgs REQUIRED)
find_package(rosidl_default_generators REQUIRED)
rosidl_generate_interfaces({name} {files} DEPENDENCIES builtin_interfaces geometry_msgs)
ament_package()
"""
MANIFEST = """<package format="3"><name>{name}</name><version>0.0.1</version><description>Of a test.</description>
<maintainer email="maintainers@example.com">Maintainers</maintainer><license>Apache-2.0</license>
<buildtool_depend>ament_cmake</buildtool_depend><buildtool_depend>rosidl_default_generators</buildtool_depend>
<depend>builtin_interfaces</depend><depend>geometry_msgs</depend><member_of_group>rosidl_interface_packages</member_of_group>
<export><build_type>ament_cmake</build_type></export></package>
"""
MISSING = [name for name in PACKAGES if find_spec(name) is None]
needs_packages = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (built and run below)")


def write_packages(source: Path) -> None:
    for name, messages in PACKAGES.items():
        (source / name / "msg").mkdir(parents=True)
        files = " ".join(f'"msg/{message}.msg"' for message in messages)
        (source / name / "CMakeLists.txt").write_text(CMAKE.format(name=name, files=files))
        (source / name / "package.xml").write_text(MANIFEST.format(name=name))
        for message, text in messages.items():
            (source / name / "msg" / f"{message}.msg").write_text(text)


@pytest.mark.slow
@pytest.mark.skipif(not MISSING, reason="installed: the tests below run as they are")
def test_with_message_packages_built_for_it(tmp_path):
    if shutil.which("cmake") is None or find_spec("colcon_core") is None:
        pytest.skip(f"{', '.join(MISSING)}: neither installed nor can they be built here")
    write_packages(tmp_path / "src")
    build = [sys.executable, "-m", "colcon", "build", "--cmake-args", f"-DPython3_EXECUTABLE={sys.executable}"]
    built = subprocess.run(
        [*build, "-DBUILD_TESTING=OFF"], cwd=tmp_path, capture_output=True, text=True, timeout=BUILD_S, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    # tf is not for this package alone.
    files = [__file__, str(Path(__file__).parents[2] / "wm_view" / "test" / "test_node.py")]
    again = f"source {tmp_path}/install/local_setup.bash && exec {sys.executable} -m pytest -q -rs {' '.join(files)}"
    done = subprocess.run(
        ["bash", "-c", again],
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    video = find_spec("av") is not None
    assert f"{8 + video} passed, {4 - video} skipped" in done.stdout


def transform(parent: str, child: str, ns: int, x: float, quaternion=(0.0, 0.0, 0.0, 1.0)) -> TransformStamped:
    msg = TransformStamped(child_frame_id=child)
    msg.header.stamp, msg.header.frame_id = stamp_msg(ns), parent
    msg.transform.translation.x = x
    msg.transform.rotation = pose_to_msg((0.0, 0.0, 0.0), quaternion).orientation
    return msg


@needs_packages
@pytest.mark.parametrize("source", ["auto", "tf"])
def test_the_pose_is_looked_up_in_tf(make_robot, source):
    """The robot is at 1 m in odom, then at 2 m; odom lies 5 m ahead in the map and is turned by a quarter."""
    TFMessage = message_class("tf2_msgs/msg/TFMessage", "the test")
    robot = make_robot(pose_source=source)
    moving = robot.publisher(TFMessage, "/tf")
    turned = transform("map", "odom", START_NS, 5.0, quaternion_of(math.pi / 2))
    for ns, x in ((START_NS, 1.0), (START_NS + 2 * STEP_NS, 2.0)):
        sent = TFMessage(transforms=[turned, transform("odom", "base_link", ns, x)])
        robot.deliver(moving, sent, counter="poses_received")
    robot.frame(START_NS + STEP_NS)
    robot.until(lambda: robot.states)
    state = robot.states[0]
    assert (state.pose_status, state.pose_frame_id) == (LatentState.POSE_INTERPOLATED, "map")
    assert (state.pose.position.x, state.pose.position.y) == pytest.approx((5.0, 1.5))
    assert "tf2_msgs/msg/TFMessage on /tf" in robot.status()["pose_source"]


@needs_packages
def test_an_optical_frame_is_turned_to_the_body(make_robot):
    """A camera that looks along the map's x: its optical axes are turned, the robot's pose is not."""
    TFMessage = message_class("tf2_msgs/msg/TFMessage", "the test")
    robot = make_robot(pose_source="tf", tf_map_frame="map", tf_body_frame="camera_optical_frame")
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    static = robot.peer.create_publisher(TFMessage, "/tf_static", latched)
    optical = (-0.5, 0.5, -0.5, 0.5)
    static.publish(TFMessage(transforms=[transform("base_link", "camera_optical_frame", START_NS, 0.0, optical)]))
    moving = robot.publisher(TFMessage, "/tf")
    robot.until(lambda: "tf does not connect" in robot.node._health.status().message)
    robot.until(lambda: "base_link -> camera_optical_frame" in robot.node._health.status().message)
    sent = TFMessage(transforms=[transform("map", "base_link", START_NS, 3.0)])
    robot.deliver(moving, sent, counter="poses_received")
    robot.frame(START_NS)
    robot.until(lambda: robot.states)
    pose = robot.states[0].pose
    assert pose.position.x == pytest.approx(3.0)
    assert abs(pose.orientation.w) == pytest.approx(1.0)


@needs_packages
def test_an_ackermann_drive_is_an_action(make_robot):
    AckermannDriveStamped = message_class("ackermann_msgs/msg/AckermannDriveStamped", "the test")
    robot = make_robot()
    drives = robot.publisher(AckermannDriveStamped, "/actions")
    msg = AckermannDriveStamped()
    msg.header.stamp, msg.drive.speed, msg.drive.steering_angle = stamp_msg(START_NS), 2.0, -0.25
    robot.deliver(drives, msg, counter="actions_received")
    robot.frame(START_NS)
    robot.until(lambda: robot.states)
    assert list(robot.states[0].action) == [2.0, -0.25]


@needs_packages
def test_video_packets_are_frames_with_their_own_stamps(make_robot):
    av = pytest.importorskip("av")
    CompressedVideo = message_class("foxglove_msgs/msg/CompressedVideo", "the test")
    robot = make_robot(has_camera=False, image_transport="foxglove_video")
    camera = robot.publisher(CompressedVideo, "/camera/image_raw")
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width = encoder.height = 64
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 20)
    encoder.options = {"tune": "zerolatency", "preset": "ultrafast"}
    broken = CompressedVideo(data=b"\x00\x00\x01\x65broken", format="h264")
    robot.deliver(camera, broken, counter="frames_received")
    for i in range(5):
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 40 * i, np.uint8), format="rgb24")
        frame.pts = i
        for packet in encoder.encode(frame):
            msg = CompressedVideo(data=bytes(packet), format="h264", frame_id="front")
            msg.timestamp = stamp_msg(START_NS + i * STEP_NS)
            robot.deliver(camera, msg, counter="frames_encoded")
    robot.until(lambda: len(robot.states) == 5)
    assert [stamp_ns(state.header.stamp) for state in robot.states] == [START_NS + i * STEP_NS for i in range(5)]
    assert {state.header.frame_id for state in robot.states} == {"front"}
    assert robot.counted("dropped/image-truncated") >= 1


@pytest.mark.skipif("foxglove_msgs" not in MISSING, reason="foxglove_msgs is installed")
def test_video_whose_package_is_missing_is_refused_by_name(make_robot):
    with pytest.raises(ConfigurationError, match=r"image_transport needs foxglove_msgs.*not installed"):
        make_robot(image_transport="foxglove_video")
