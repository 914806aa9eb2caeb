"""Poses and actions of every type: found on the topic or as configured, said, and the same as conversion reads."""

from __future__ import annotations

import math

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, TransformStamped, Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import JointState, Joy, NavSatFix
from std_msgs.msg import Float32MultiArray, Float64MultiArray

from wm_interfaces.msg import LatentState
from wm_ros import ConfigurationError, message_class, own_domain_id
from wm_testing.inputs import START_NS, STEP_NS, acted, posed

POSES = [
    ("pose", PoseStamped),
    ("pose_with_covariance", PoseWithCovarianceStamped),
    ("odometry", Odometry),
    ("transform", TransformStamped),
]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["auto", "named"])
@pytest.mark.parametrize(("name", "kind"), POSES)
def test_a_pose_of_any_type_is_taken_and_said(make_robot, source, name, kind):
    robot = make_robot(pose_source="auto" if source == "auto" else name)
    poses = robot.publisher(kind, "/pose")
    sent = posed(kind, START_NS, 1.0, 0.2), posed(kind, START_NS + 2 * STEP_NS, 2.0, 0.4)
    robot.deliver(poses, *sent, counter="poses_received")
    robot.frame(START_NS + STEP_NS)
    robot.until(lambda: robot.states)
    state = robot.states[0]
    assert state.pose_status == LatentState.POSE_INTERPOLATED
    assert (state.pose.position.x, state.pose.position.y) == pytest.approx((1.5, 2.0))
    assert 2.0 * math.atan2(state.pose.orientation.z, state.pose.orientation.w) == pytest.approx(0.3)
    told = robot.status()["pose_source"]
    assert kind.__name__ in told
    assert ("found" if source == "auto" else "as configured") in told
    if kind in (PoseWithCovarianceStamped, Odometry):
        std = list(state.pose_std)
        assert std[:2] == pytest.approx([0.3, 0.3])  # the larger of x and y
        assert std[5] == pytest.approx(0.1)
        assert np.isnan(std[2:5]).all()
    else:
        assert len(state.pose_std) == 0


ACTIONS = [
    ("float32_multi_array", Float32MultiArray),
    ("twist", Twist),
    ("twist_stamped", TwistStamped),
    ("joy", Joy),
    ("float64_multi_array", Float64MultiArray),
    ("joint_state", JointState),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), ACTIONS)
def test_an_action_of_any_type_is_taken_by_its_stamp(make_robot, name, kind):
    robot = make_robot()
    robot.frame(START_NS)  # from here on, what has no stamp is timed by the frames
    robot.until(lambda: robot.states)
    actions = robot.publisher(kind, "/actions")
    is_stamped = hasattr(kind, "header")
    # Sent in one go: only their stamps tell that the first was in force at the frame.
    sent = [acted(kind, START_NS + STEP_NS, (0.5, -0.25))]
    sent += [acted(kind, START_NS + 10 * STEP_NS, (7.0, 7.0))] if is_stamped else []
    robot.deliver(actions, *sent, counter="actions_received")
    robot.frame(START_NS + 2 * STEP_NS)
    robot.until(lambda: len(robot.states) == 2)
    if is_stamped:
        assert list(robot.states[1].action) == [0.5, -0.25]
    assert f"{kind.__name__} on /actions, found" in robot.status()["action_source"]


@pytest.mark.slow
def test_two_types_on_one_topic_are_refused_until_one_is_named(make_robot):
    robot = make_robot()
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=own_domain_id())
    other = Node("other", context=context)
    odometry = other.create_publisher(Odometry, "/pose", 10)
    poses = robot.publisher(PoseStamped, "/pose")
    robot.until(lambda: "name one with pose_source" in robot.node._health.status().message)
    poses.publish(posed(PoseStamped, START_NS, 1.0, 0.0))
    robot.frame(START_NS)
    robot.until(lambda: robot.states)
    assert not robot.states[0].has_pose
    other.destroy_publisher(odometry)
    robot.until(lambda: robot.node.count_publishers("/pose") == 1)
    robot.deliver(poses, posed(PoseStamped, START_NS, 1.0, 0.0), counter="poses_received")
    assert "pose_source" not in robot.node._health.status().message
    other.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.slow
def test_another_type_than_configured_is_named(make_robot):
    robot = make_robot(pose_source="transform")
    robot.peer.create_publisher(Odometry, "/pose", 10)
    robot.until(
        lambda: (
            "nobody publishes geometry_msgs/msg/TransformStamped on /pose, but nav_msgs/msg/Odometry"
            in robot.node._health.status().message
        )
    )


def test_what_carries_no_pose_is_named(make_robot):
    robot = make_robot()
    robot.peer.create_publisher(Twist, "/pose", 10)
    robot.until(
        lambda: "nothing on /pose carries a pose: geometry_msgs/msg/Twist" in robot.node._health.status().message
    )


def test_where_no_topic_carries_poses_what_is_there_instead_is_named(make_robot):
    robot = make_robot()
    robot.publisher(NavSatFix, "/gps/fix", 0)
    robot.until(lambda: "navsat_transform_node" in (robot.node._pose_input.why_silent() or ""))
    assert "/gps/fix (sensor_msgs/msg/NavSatFix)" in robot.node._pose_input.why_silent()


@pytest.mark.slow
def test_poses_of_another_frame_never_mix(make_robot):
    robot = make_robot()
    poses = robot.publisher(PoseStamped, "/pose")
    sent = [posed(PoseStamped, START_NS + 2 * index * STEP_NS, 100.0 * index, 0.0) for index in range(2)]
    sent[0].header.frame_id = "odom"
    robot.deliver(poses, *sent, counter="poses_received")
    robot.frame(START_NS + STEP_NS)
    robot.until(lambda: robot.states)
    state = robot.states[0]
    assert (state.pose_frame_id, state.pose.position.x) == ("map", 100.0)  # not 50 between the two
    assert state.pose_status == LatentState.POSE_EXTRAPOLATED


def test_a_type_that_is_not_installed_is_refused_by_name(ros_context):
    with pytest.raises(
        ConfigurationError, match=r"pose_source needs nowhere_msgs/msg/Pose.*ros-.ROS_DISTRO-nowhere-msgs"
    ):
        message_class("nowhere_msgs/msg/Pose", "pose_source")
