"""One recording through the node and through conversion: the same frames, poses and actions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import Image

from wm_core.bags import Bag
from wm_interfaces.msg import LatentState
from wm_ros import image_to_msg, stamp_msg, stamp_ns
from wm_testing.inputs import COVARIANCE, START_NS, STEP_NS, acted, posed
from world_model.data.bags import BagOptions, read_recording
from world_model.data.known import replayed

COUNT = 40
CAMERA = "/camera/image_raw"
STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = {
    CAMERA: ("sensor_msgs/msg/Image", Image),
    "/pose": ("nav_msgs/msg/Odometry", Odometry),
    "/actions": ("geometry_msgs/msg/TwistStamped", TwistStamped),
}


def events() -> list[tuple[int, str, object]]:
    """Frames at 20 Hz (one repeats its stamp), poses at 50 Hz (one is none, a second is missing), actions at 20 Hz."""
    found: list[tuple[int, str, object]] = []
    for i in range(COUNT):
        ns = START_NS + i * STEP_NS
        stamp = ns if i != 7 else ns - STEP_NS
        found.append((ns, CAMERA, image_to_msg(np.full((4, 4, 3), i, np.uint8), stamp_msg(stamp), "c")))
        found.append((ns - 4_000_000, "/actions", acted(TwistStamped, ns - 5_000_000, (0.1 * i, -0.01 * i))))
    for i in range(COUNT * 5 // 2):
        ns = START_NS + i * 20_000_000 - 9_000_000
        if not 0.5e9 < ns - START_NS < 1.1e9:
            found.append((ns + 1_000_000, "/pose", posed(Odometry, ns, 0.01 * i, 0.02 * i)))
    found[COUNT * 2 + 3][2].pose.pose.position.x = math.nan
    return sorted(found, key=lambda event: event[0])


def record(path) -> None:
    """Writes the events as a recorder would have."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        to = {topic: writer.add_connection(topic, kind, typestore=STORE) for topic, (kind, _) in TYPES.items()}
        for ns, topic, msg in events():
            writer.write(to[topic], ns, serialize_message(msg))


def played(robot, path) -> list[LatentState]:
    """Returns what the node makes of a recording whose messages come one after the other.

    Whatever was recorded later than a frame must not reach it, so its state is awaited first.
    """
    publishers = {topic: robot.publisher(kind, topic) for topic, (_, kind) in TYPES.items() if topic != CAMERA}
    publishers[CAMERA] = robot.images
    sent, frames_ns = dict.fromkeys(TYPES, 0), []
    for message in Bag(path).messages(list(TYPES)):
        due = len(frames_ns)
        robot.until(lambda n=due: len(robot.states) == n)
        encoded = robot.counted("frames_encoded")
        publishers[message.topic].publish(deserialize_message(bytes(message.data), TYPES[message.topic][1]))
        sent[message.topic] += 1
        robot.until(
            lambda: (
                robot.counted("poses_received") + robot.counted("dropped/pose-not-finite") == sent["/pose"]
                and robot.counted("actions_received") == sent["/actions"]
                and robot.counted("frames_encoded") + robot.counted("dropped/frame-repeated") == sent[CAMERA]
            )
        )
        frames_ns += [message.time_ns] * (robot.counted("frames_encoded") - encoded)
    robot.until(lambda: len(robot.states) == len(frames_ns))
    return robot.states


@pytest.mark.slow
def test_the_node_and_conversion_agree_frame_by_frame(make_robot, monkeypatch, tmp_path):
    record(tmp_path / "bag")
    recording = read_recording(tmp_path / "bag", BagOptions(image_size=4))
    (episode,), account = recording.episodes, recording.account
    robot, measured = make_robot(pose_wait_s=0.0), []
    # At its source: a best-effort reader that is spun now and then would miss some.
    monkeypatch.setattr(robot.node._pose_publisher, "publish", measured.append)
    states = played(robot, tmp_path / "bag")
    assert [stamp_ns(state.header.stamp) for state in states] == episode.stamp_T.tolist()
    assert account.reasons["frame-repeated"] == robot.counted("dropped/frame-repeated") == 1
    assert account.poses.unusable["pose-not-finite"] == robot.counted("dropped/pose-not-finite") == 1
    assert account.poses.read == robot.counted("poses_received") + 1
    assert account.actions.read == robot.counted("actions_received")
    told, action_TA = replayed(episode.arrivals, episode.stamp_T, 2, 0.05, None)
    live = [(s.has_pose, s.pose.position.x, 2 * math.atan2(s.pose.orientation.z, s.pose.orientation.w)) for s in states]
    has_pose, x, yaw = map(np.array, zip(*live))
    known = np.isfinite(told.pose_T4[:, 0])
    np.testing.assert_array_equal(has_pose, known)
    assert [state.pose_status for state in states] == told.status_T.tolist()
    assert 4 < (~known).sum() < 10
    np.testing.assert_allclose(x[known], told.pose_T4[known, 0], atol=1e-9)
    np.testing.assert_allclose(yaw[known], told.pose_T4[known, 3], atol=1e-9)
    actions = np.array([state.action if state.has_action else (np.nan, np.nan) for state in states])
    np.testing.assert_allclose(actions, action_TA)
    np.testing.assert_array_equal(action_TA, episode.action_TA)
    assert {len(s.pose_std) for s in states if s.has_pose} == {6}
    stds = [list(s.pose_std) if s.has_pose else [math.nan] * 6 for s in states]
    np.testing.assert_array_equal(np.array(stds)[:, [0, 5]], told.std_T2)
    assert states[0].pose_std[0] == pytest.approx(math.sqrt(max(COVARIANCE)))
    kept = {int(ns): x for ns, x in zip(episode.stamp_T, episode.pose_T4[:, 0]) if np.isfinite(x)}
    assert len(kept) > COUNT // 2
    followed = {stamp_ns(msg.header.stamp): msg.pose.pose.position.x for msg in measured}
    assert {ns: followed[ns] for ns in kept} == pytest.approx(kept)
