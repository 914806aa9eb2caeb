"""Conversion of what robots record beside pictures and PoseStamped: tf, odometry, joysticks, depth, video, ROS 1."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import cv2
import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Writer1
from rosbags.typesys import Stores, get_typestore

from wm_core.bags import Bag
from wm_core.bags.survey import Wishes
from wm_testing.recorder import ACKERMANN, CAMERA, COUNT, IMAGE, PACKET, STEP, T0, VIDEO, Recorder
from world_model.data.bags import BagOptions, read_recording
from world_model.data.events import camera_info_topic
from world_model.data.inspection import inspect_bag

COMPRESSED = "sensor_msgs/msg/CompressedImage"


def test_the_pose_is_looked_up_in_tf(tmp_path):
    """Odometry at 50 Hz within a map that the localisation moves at 5 Hz; the robot drives 1 m/s along odom's x."""
    recorder, kind = Recorder(tmp_path / "bag"), "tf2_msgs/msg/TFMessage"
    recorder.say("/tf_static", kind, T0, [recorder.transform("base_link", "camera", T0, x=0.3)])
    for i in range(COUNT):
        recorder.picture(T0 + i * STEP, i)
    for i in range(COUNT * 5 // 2):
        ns = T0 + i * 20_000_000
        recorder.say("/tf", kind, ns + 1000, [recorder.transform("odom", "base_link", ns, x=i * 0.02)])
        if i % 10 == 0:
            recorder.say("/tf", kind, ns + 500, [recorder.transform("map", "odom", ns, x=5.0, yaw=math.pi / 2)])
    recording = read_recording(recorder.write(), BagOptions(image_size=8))
    (episode,), account = recording.episodes, recording.account
    assert (account.poses.topic, account.poses.type) == ("/tf", kind)
    known = np.isfinite(episode.pose_T4[:, 0])
    assert known.sum() >= COUNT - 1
    second = (episode.stamp_T - T0) * 1e-9
    np.testing.assert_allclose(episode.pose_T4[known, 0], 5.0, atol=1e-6)
    np.testing.assert_allclose(episode.pose_T4[known, 1], second[known], atol=1e-6)
    np.testing.assert_allclose(episode.pose_T4[known, 3], math.pi / 2, atol=1e-6)


@pytest.mark.parametrize("has_poses", [False, True])
def test_what_is_no_pose_is_named_with_what_makes_one_of_it(tmp_path, has_poses):
    recorder, kind = Recorder(tmp_path / "bag"), "sensor_msgs/msg/NavSatFix"
    for i in range(COUNT):
        ns = T0 + i * STEP
        status = recorder.types["sensor_msgs/msg/NavSatStatus"](0, 1)
        recorder.say("/fix", kind, ns, recorder.header(ns), status, 48.0, 11.0 + 1e-6 * i, 500.0, np.zeros(9), 0)
        recorder.picture(ns, i)
        if has_poses:
            recorder.say("/tf", "tf2_msgs/msg/TFMessage", ns, [recorder.transform("map", "base_link", ns, x=0.1 * i)])
    account = read_recording(recorder.write(), BagOptions(image_size=8)).account
    assert account.poses.topic == ("/tf" if has_poses else None)
    assert ("navsat_transform_node of robot_localization" in account.poses.why) != has_poses


def test_tf_that_does_not_connect_says_so(tmp_path):
    recorder, kind = Recorder(tmp_path / "bag"), "tf2_msgs/msg/TFMessage"
    for i in range(COUNT):
        recorder.picture(T0 + i * STEP, i)
        recorder.say("/tf", kind, T0 + i * STEP, [recorder.transform("base_link", "wheel", T0 + i * STEP, yaw=0.1 * i)])
    account = read_recording(recorder.write(), BagOptions(image_size=8, pose_topic="/tf")).account
    assert any("tf does not connect map" in note for note in account.notes)
    chosen = read_recording(tmp_path / "bag", BagOptions(image_size=8)).account
    assert chosen.poses.topic is None
    assert chosen.poses.why.startswith("/tf: tf does not connect map")


def test_a_type_without_a_wheel_is_read_by_the_recordings_own_definition(tmp_path):
    recorder = Recorder(tmp_path / "bag", ackermann_msgs_AckermannDriveStamped=ACKERMANN)
    for i in range(COUNT):
        ns = T0 + i * STEP
        recorder.picture(ns, i)
        drive = recorder.types["ackermann_msgs/msg/AckermannDrive"](-0.01 * i, 0.0, 0.1 * i, 0.0, 0.0)
        # Stamped, and here 60 ms after its frame: it counts from the second frame after that on.
        recorder.events.append(
            (ns + 60_000_000, "/drive", "ackermann_msgs/msg/AckermannDriveStamped",
             recorder.types["ackermann_msgs/msg/AckermannDriveStamped"](recorder.header(ns - 45_000_000), drive))
        )  # fmt: skip
    (episode,) = read_recording(recorder.write(), BagOptions(image_size=8)).episodes
    np.testing.assert_allclose(episode.action_TA[5:, 0], 0.1 * np.arange(3, COUNT - 2), rtol=1e-5)
    np.testing.assert_allclose(episode.action_TA[5:, 1], -0.01 * np.arange(3, COUNT - 2), rtol=1e-5)


@pytest.mark.parametrize(("has_states", "chosen"), [(False, "/arm/trajectory"), (True, "/joint_states")])
def test_commands_of_arms_and_wheel_controllers_are_actions(tmp_path, has_states, chosen):
    """A trajectory controller's commands, alone and beside the joints' states; then those of a velocity controller."""
    recorder, stopped = Recorder(tmp_path / "bag"), np.zeros(0)
    layout, never = (
        recorder.types["std_msgs/msg/MultiArrayLayout"]([], 0),
        recorder.types["builtin_interfaces/msg/Duration"](0, 0),
    )
    for i in range(COUNT):
        ns, values = T0 + i * STEP, np.array([0.1 * i, -0.1 * i])
        recorder.picture(ns, i)
        point = recorder.types["trajectory_msgs/msg/JointTrajectoryPoint"](values, stopped, stopped, stopped, never)
        kind = "trajectory_msgs/msg/JointTrajectory"
        recorder.say("/arm/trajectory", kind, ns - 1000, recorder.header(ns), ["a", "b"], [point])
        if has_states:
            header = recorder.header(ns)
            recorder.say(
                "/joint_states", "sensor_msgs/msg/JointState", ns, header, ["a", "b"], values, stopped, stopped
            )
    account = read_recording(recorder.write(), BagOptions(image_size=8)).account
    assert (account.actions.topic, account.actions.known) == (chosen, COUNT)
    recorder.path = tmp_path / "wheeled"
    for i in range(COUNT):
        recorder.say(
            "/wheels/commands", "std_msgs/msg/Float64MultiArray", T0 + i * STEP, layout, np.array([1.0, 0.1 * i])
        )
    wheeled = read_recording(recorder.write(), BagOptions(image_size=8))
    assert wheeled.account.actions.topic == "/wheels/commands"
    np.testing.assert_allclose(wheeled.episodes[0].action_TA[2:, 1], 0.1 * np.arange(2, COUNT), rtol=1e-5, atol=0.11)


def twisting(path, aside):
    """A recording with twists, whose speed aside goes up to ``aside``, 45 ms before their frames."""
    recorder, vector = Recorder(path), "geometry_msgs/msg/Vector3"
    for i in range(COUNT):
        ns = T0 + i * STEP
        linear = recorder.types[vector](1.0, aside * math.sin(i), 0.0)
        recorder.say("/cmd_vel", "geometry_msgs/msg/Twist", ns - 45_000_000, linear, recorder.types[vector](0, 0, 0.5))
        recorder.picture(ns, i)
    return recorder.write()


def test_the_speed_aside_is_an_action_of_a_robot_that_moves_so(tmp_path):
    path = twisting(tmp_path / "bag", aside=0.4)
    (episode,) = read_recording(path, BagOptions(image_size=8, own_actions=2)).episodes
    np.testing.assert_allclose(episode.action_TA[:, 1], 0.4 * np.sin(np.arange(COUNT)), rtol=1e-5)
    np.testing.assert_allclose(episode.action_TA[:, [0, 2]], [[1.0, 0.5]] * COUNT)
    asked = read_recording(path, BagOptions(image_size=8, action_dim=3)).episodes[0]
    np.testing.assert_array_equal(asked.action_TA, episode.action_TA)
    for options in (BagOptions(image_size=8), BagOptions(image_size=8, action_dim=2)):
        recording = read_recording(path, options)
        assert recording.episodes[0].action_TA.shape == (COUNT, 2)
        assert any("speed aside (linear.y) of up to 0.4 m/s" in note for note in recording.account.notes)


def test_inspection_tells_how_many_values_actions_have_and_a_speed_aside(tmp_path):
    told = {}
    for aside in (0.4, 0.0):
        lines = inspect_bag(Bag(twisting(tmp_path / f"bag{aside}", aside)), Wishes()).lines
        told[aside] = next(line for line in lines if line.startswith("  /cmd_vel"))
    assert "2 values, speed aside (linear.y) up to 0.4 m/s" in told[0.4]
    assert "aside" not in told[0.0]


def test_a_speed_aside_that_is_none_is_no_action(tmp_path):
    recording = read_recording(twisting(tmp_path / "bag", aside=0.02), BagOptions(image_size=8, own_actions=2))
    assert recording.episodes[0].action_TA.shape == (COUNT, 2)
    assert not any("aside" in note for note in recording.account.notes)


@pytest.mark.parametrize(("count", "taken"), [(4, 4), (0, 2)])
def test_an_artifact_that_takes_any_actions_takes_those_that_there_are(tmp_path, count, taken):
    recorder = Recorder(tmp_path / "bag")
    layout = recorder.types["std_msgs/msg/MultiArrayLayout"]([], 0)
    for i in range(COUNT):
        recorder.picture(T0 + i * STEP, i)
        if count:
            values = np.arange(count, dtype=np.float32)
            recorder.say("/motors", "std_msgs/msg/Float32MultiArray", T0 + i * STEP, layout, values)
    (episode,) = read_recording(recorder.write(), BagOptions(image_size=8, own_actions=2)).episodes
    assert episode.action_TA.shape == (COUNT, taken)


def test_depth_proprioception_and_the_camera_come_along(tmp_path):
    recorder, array = Recorder(tmp_path / "bag"), "std_msgs/msg/Float32MultiArray"
    layout = recorder.types["std_msgs/msg/MultiArrayLayout"]([], 0)
    roi = recorder.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    for i in range(COUNT):
        ns = T0 + i * STEP
        recorder.say("/wheels", array, ns - 1000, layout, np.float32([i, 2 * i]))
        millimetres = np.full((8, 8), 1000 + i, "<u2").view(np.uint8).ravel()
        recorder.say("/depth", IMAGE, ns - 500, recorder.header(ns), 8, 8, "16UC1", 0, 16, millimetres)
        recorder.picture(ns, i)
    k = np.array([50.0, 0, 4, 0, 50, 4, 0, 0, 1])
    recorder.say(
        "/camera/camera_info", "sensor_msgs/msg/CameraInfo", T0, recorder.header(T0, "camera"), 8, 8, "plumb_bob",
        np.array([0.1, 0, 0, 0, 0]), k, np.eye(3).ravel(), np.zeros(12), 0, 0, roi,
    )  # fmt: skip
    options = BagOptions(image_size=8, depth_topic="/depth", proprioception_topic="/wheels", action_topic="none")
    recording = read_recording(recorder.write(), options)
    (episode,) = recording.episodes
    assert episode.depth_T1SS.shape == (COUNT, 1, 8, 8)
    np.testing.assert_allclose(episode.depth_T1SS[:, 0, 3, 3], 1.0 + 0.001 * np.arange(COUNT), atol=1e-3)
    assert episode.proprio_TP[:, 1].tolist() == [2.0 * i for i in range(COUNT)]
    assert recording.account.camera_info["k"] == k.tolist()
    assert recording.account.actions.why == "as asked for"


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_compressed_depth_converts_as_it_arrives_live(tmp_path, encoding):
    """As image_transport records it: a header of 12 bytes, then a PNG; of 32FC1 it stores A / depth + B."""
    recorder, topic = Recorder(tmp_path / "bag"), "/depth/compressedDepth"
    depths, (a, b) = 1.0 + 0.1 * np.arange(COUNT), (100.0, 10.0)
    for i, depth in enumerate(depths):
        ns = T0 + i * STEP
        code = round(depth * 1000) if encoding == "16UC1" else round(a / depth + b)
        body = cv2.imencode(".png", np.full((8, 8), code, np.uint16))[1].tobytes()
        data = np.frombuffer(struct.pack("<iff", 0, a, b) + body, np.uint8)
        recorder.say(topic, COMPRESSED, ns - 500, recorder.header(ns), f"{encoding}; compressedDepth png", data)
        recorder.picture(ns, i)
    options = BagOptions(image_size=8, depth_topic=topic, action_topic="none")
    (episode,) = read_recording(recorder.write(), options).episodes
    np.testing.assert_allclose(episode.depth_T1SS[:, 0, 3, 3], depths, rtol=0.05 if encoding == "32FC1" else 1e-3)


@pytest.mark.parametrize("kind", ["foxglove_msgs/msg/CompressedVideo", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"])
@pytest.mark.parametrize("tune", ["zerolatency", "default"])
def test_each_picture_of_a_video_has_its_own_stamp(tmp_path, kind, tune):
    av = pytest.importorskip("av", reason="PyAV is not installed")
    recorder = Recorder(
        tmp_path / "bag", foxglove_msgs_CompressedVideo=VIDEO, ffmpeg_image_transport_msgs_FFMPEGPacket=PACKET
    )
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width = encoder.height = 64
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 20)
    encoder.options = {"tune": "zerolatency"} if tune == "zerolatency" else {"bf": "0"}
    packets = []
    for i in range(COUNT):
        level = 40 + 3 * i
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), level, np.uint8), format="rgb24")
        frame.pts = i
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    for i, packet in enumerate(packets):
        ns, data = T0 + i * STEP, np.frombuffer(bytes(packet), np.uint8)
        if "Video" in kind:
            recorder.say("/video", kind, ns, recorder.time(ns), "camera", data, "h264")
        else:
            recorder.say("/video", kind, ns, recorder.header(ns), 64, 64, "libx264", i, 0, False, data)
    (episode,) = read_recording(recorder.write(), BagOptions(image_size=8)).episodes
    assert episode.stamp_T.tolist() == [T0 + i * STEP for i in range(COUNT)]
    levels = episode.image_TSSC[:, 4, 4, 1].astype(int)
    np.testing.assert_allclose(levels, 40 + 3 * np.arange(COUNT), atol=4)


def test_a_recording_of_ros_1_converts(tmp_path):
    store = get_typestore(Stores.ROS1_NOETIC)
    types, path = store.types, tmp_path / "old.bag"
    pictures = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 3), np.uint8)
    with Writer1(path) as writer:
        kinds = {
            CAMERA: IMAGE,
            "/jpeg": "sensor_msgs/msg/CompressedImage",
            "/odom": "nav_msgs/msg/Odometry",
            "/cmd_vel": "geometry_msgs/msg/Twist",
        }
        to = {topic: writer.add_connection(topic, kind, typestore=store) for topic, kind in kinds.items()}
        vector = types["geometry_msgs/msg/Vector3"]
        for i in range(COUNT):
            ns = T0 + i * STEP
            header = types["std_msgs/msg/Header"](
                i, types["builtin_interfaces/msg/Time"](ns // 10**9, ns % 10**9), "odom"
            )
            pose = types["geometry_msgs/msg/Pose"](
                types["geometry_msgs/msg/Point"](0.05 * i, 0.0, 0.0),
                types["geometry_msgs/msg/Quaternion"](0, 0, 0, 1.0),
            )
            twist = types["geometry_msgs/msg/Twist"](vector(0.01 * i, 0.0, 0.0), vector(0.0, 0.0, 0.2))
            said = {
                "/odom": types[kinds["/odom"]](
                    header, "base_link", types["geometry_msgs/msg/PoseWithCovariance"](pose, np.zeros(36)),
                    types["geometry_msgs/msg/TwistWithCovariance"](twist, np.zeros(36)),
                ),
                "/cmd_vel": twist,
                CAMERA: types[IMAGE](header, 8, 8, "rgb8", 0, 24, pictures[i].ravel()),
                "/jpeg": types[kinds["/jpeg"]](header, "png", cv2.imencode(".png", pictures[i])[1].ravel()),
            }  # fmt: skip
            for topic, message in said.items():
                writer.write(to[topic], ns, store.serialize_ros1(message, kinds[topic]))
    (episode,) = read_recording(path, BagOptions(image_size=8)).episodes
    assert episode.name == "old"
    np.testing.assert_array_equal(episode.image_TSSC, pictures)
    np.testing.assert_allclose(episode.pose_T4[:, 0], 0.05 * np.arange(COUNT), atol=1e-9)
    np.testing.assert_allclose(episode.action_TA[:, 0], 0.01 * np.arange(COUNT), atol=1e-6)
    (compressed,) = read_recording(path, BagOptions(image_size=8, image_topic="/jpeg")).episodes
    np.testing.assert_array_equal(compressed.image_TSSC, pictures[..., ::-1])


@pytest.mark.parametrize(
    ("camera", "info"),
    [("/front/image_raw", "/front/camera_info"), ("/front/image_raw/compressed", "/front/camera_info"),
     ("/front/image_raw/ffmpeg", "/front/camera_info"), ("/image", "/camera_info"), ("/other/image_raw", None)],
)  # fmt: skip
def test_the_calibration_is_found_beside_whatever_transport(camera, info):
    topics = {str(info): "sensor_msgs/msg/CameraInfo", "/other/camera_info": "std_msgs/msg/String"}
    assert camera_info_topic(camera, topics) == info


def test_inspection_says_that_the_calibration_is_kept(tmp_path):
    recorder = Recorder(tmp_path / "bag")
    roi = recorder.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    for i in range(COUNT):
        recorder.picture(T0 + i * STEP, i)
    for topic in ("/camera/camera_info", "/rear/camera_info"):
        recorder.say(
            topic, "sensor_msgs/msg/CameraInfo", T0, recorder.header(T0, "camera"), 8, 8, "plumb_bob",
            np.zeros(5), np.eye(3).ravel(), np.eye(3).ravel(), np.zeros(12), 0, 0, roi,
        )  # fmt: skip
    lines = inspect_bag(Bag(recorder.write()), Wishes()).lines
    assert [line.rpartition(", ")[2] for line in lines if "CameraInfo" in line] == ["kept with the set", "not used"]
