"""Times, poses and vectors there and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose
from rclpy.serialization import deserialize_message, serialize_message

from wm_core.se3 import quaternion_of, yaw_of
from wm_ros import MessageError, float_array_msg, pose_from_msg, pose_to_msg, stamp_msg, stamp_ns, vector_from_msg


@pytest.mark.parametrize("time_ns", [0, 1, 999_999_999, 1_000_000_000, 1_700_000_000_123_456_789])
def test_stamps(time_ns):
    assert stamp_ns(stamp_msg(time_ns)) == time_ns


@pytest.mark.parametrize(
    ("time_ns", "kept_ns"),
    [
        (2**31 * 10**9 - 1, 2**31 * 10**9 - 1),
        (2**31 * 10**9, 2**31 * 10**9 - 1),
        (2**63 - 1, 2**31 * 10**9 - 1),
        (-(2**31) * 10**9, -(2**31) * 10**9),
        (-(2**63), -(2**31) * 10**9),
    ],
)
def test_times_beyond_a_stamp_do_not_wrap(time_ns, kept_ns):
    assert stamp_ns(deserialize_message(serialize_message(stamp_msg(time_ns)), Time)) == kept_ns


@pytest.mark.parametrize("yaw_rad", [-3.1, -0.5, 0.0, 1.2, math.pi])
def test_heading(yaw_rad):
    assert yaw_of(quaternion_of(yaw_rad)) == pytest.approx(yaw_rad)


def test_pose_there_and_back():
    position, quaternion = pose_from_msg(pose_to_msg([1.0, -2.0, 0.5], quaternion_of(0.7)))
    np.testing.assert_allclose(position, [1.0, -2.0, 0.5])
    assert yaw_of(quaternion) == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("position.x", math.nan, "pose-not-finite"),
        ("position.z", -math.inf, "pose-not-finite"),
        ("orientation.w", math.nan, "pose-not-finite"),
        ("orientation.w", 0.0, "quaternion-not-unit"),
        ("orientation.w", 1.2, "quaternion-not-unit"),
    ],
)
def test_bad_poses_are_named(field, value, reason):
    pose = Pose()
    part, name = field.split(".")
    setattr(getattr(pose, part), name, value)
    with pytest.raises(MessageError) as caught:
        pose_from_msg(pose)
    assert caught.value.reason == reason


def test_float_array_has_one_labelled_dimension():
    msg = float_array_msg(np.arange(32, dtype=np.float32))
    assert [(dim.label, dim.size, dim.stride) for dim in msg.layout.dim] == [("z", 32, 32)]
    np.testing.assert_array_equal(vector_from_msg(msg.data, 32, "latent"), np.arange(32))


@pytest.mark.parametrize(
    ("values", "reason"), [([1.0], "latent-length"), ([], "latent-length"), ([1.0, math.nan], "latent-not-finite")]
)
def test_bad_vectors_are_named(values, reason):
    with pytest.raises(MessageError) as caught:
        vector_from_msg(values, 2, "latent")
    assert caught.value.reason == reason
