"""Poses and actions of every type that robots send, by fields alone, against values worked out by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace as Fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wm_core.errors import MessageError
from wm_core.se3 import compose, rotate, yaw_of
from wm_core.sources import TransformBuffer, action_from_msg, pose_sample_from_msg


def xyz(x, y, z):
    return Fields(x=x, y=y, z=z)


def turn(yaw):
    return Fields(x=0.0, y=0.0, z=math.sin(yaw / 2), w=math.cos(yaw / 2))


def header(time_s, frame_id):
    ns = round(time_s * 1e9)
    return Fields(stamp=Fields(sec=ns // 10**9, nanosec=ns % 10**9), frame_id=frame_id)


def transform(parent, child, time_s, x=0.0, y=0.0, yaw=0.0, rotation=None):
    values = Fields(translation=xyz(x, y, 0.0), rotation=rotation or turn(yaw))
    return Fields(header=header(time_s, parent), child_frame_id=child, transform=values)


def tf(*transforms):
    return Fields(transforms=transforms)


POINT = Fields(position=xyz(1.0, 2.0, 3.0), orientation=turn(0.5))


@pytest.mark.parametrize(
    "msg",
    [
        Fields(header=header(7.5, "map"), pose=POINT),
        Fields(header=header(7.5, "map"), pose=Fields(pose=POINT, covariance=np.zeros(36))),
        Fields(
            header=header(7.5, "/map"),
            child_frame_id="base_link",
            pose=Fields(pose=POINT, covariance=[0.0] * 36),
            twist=Fields(twist=None),
        ),
        Fields(
            header=header(7.5, "map"),
            child_frame_id="base_link",
            transform=Fields(translation=POINT.position, rotation=POINT.orientation),
        ),
    ],
    ids=["PoseStamped", "PoseWithCovarianceStamped", "Odometry", "TransformStamped"],
)
def test_every_type_of_pose_gives_the_same_pose(msg):
    sample = pose_sample_from_msg(msg)
    assert (sample.stamp_ns, sample.frame_id) == (7_500_000_000, "map")
    assert sample.position.tolist() == [1.0, 2.0, 3.0]
    assert yaw_of(sample.quaternion) == pytest.approx(0.5)
    assert math.isnan(sample.position_se_m)
    assert math.isnan(sample.yaw_se_rad)


@pytest.mark.parametrize(
    ("xx", "yy", "yaw", "expected"),
    [
        (0.04, 0.09, 0.01, (0.3, 0.1)),
        (0.04, 0.0, 0.0, (0.2, None)),
        (0.0, 0.0, 0.01, (None, 0.1)),
        (-1.0, 0.0, 0.0, (None, None)),
    ],
)
def test_a_covariance_is_a_standard_error_and_an_unfilled_one_is_none(xx, yy, yaw, expected):
    covariance = np.zeros(36)
    covariance[[0, 7, 35]] = xx, yy, yaw
    sample = pose_sample_from_msg(Fields(header=header(0.0, "map"), pose=Fields(pose=POINT, covariance=covariance)))
    for found, wanted in zip((sample.position_se_m, sample.yaw_se_rad), expected):
        assert math.isnan(found) if wanted is None else found == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("position", "orientation", "reason"),
    [
        (xyz(math.nan, 0.0, 0.0), turn(0.0), "pose-not-finite"),
        (xyz(0.0, 0.0, 0.0), Fields(x=0.0, y=0.0, z=0.0, w=0.0), "quaternion-not-unit"),
    ],
)
def test_half_filled_poses_are_named(position, orientation, reason):
    with pytest.raises(MessageError) as caught:
        pose_sample_from_msg(Fields(header=header(0, "map"), pose=Fields(position=position, orientation=orientation)))
    assert caught.value.reason == reason


def test_a_pose_of_an_optical_frame_is_turned_to_the_body():
    """A camera that looks north (map y): its optical z points north, so the body's yaw is 90 degrees."""
    # Columns: optical x (right = east), y (down), z (ahead = north) in the map.
    optical = Fields(x=-math.sqrt(0.5), y=0.0, z=0.0, w=math.sqrt(0.5))
    ahead = rotate(np.array([optical.x, optical.y, optical.z, optical.w]), np.array([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(ahead, [0.0, 1.0, 0.0], atol=1e-12)
    for child in ("camera_optical_frame", "front_optical"):
        sample = pose_sample_from_msg(transform("map", child, 1.0, rotation=optical))
        assert yaw_of(sample.quaternion) == pytest.approx(math.pi / 2)
        np.testing.assert_allclose(rotate(sample.quaternion, np.array([0.0, 0.0, 1.0])), [0, 0, 1], atol=1e-12)


@given(st.floats(-3.0, 3.0), st.floats(-3.0, 3.0), st.lists(st.floats(-5, 5), min_size=3, max_size=3))
def test_turns_compose_as_they_follow(first, second, vector):
    a, b = (np.array([0.0, math.sin(angle / 2), 0.0, math.cos(angle / 2)]) for angle in (first, second))
    v = np.array(vector)
    np.testing.assert_allclose(rotate(compose(a, b), v), rotate(a, rotate(b, v)), atol=1e-9)


def test_tf_is_composed_and_looked_up_at_the_time_asked_for():
    buffer = TransformBuffer()
    assert buffer.insert(tf(transform("base_link", "camera", 0.0, x=0.3)), is_static=True) == []
    assert buffer.insert(tf(transform("odom", "base_link", 1.0, x=1.0))) != []  # in odom until the map is known
    assert buffer.insert(tf(transform("map", "odom", 1.0, x=10.0, yaw=math.pi / 2))) == []
    (sample,) = buffer.insert(tf(transform("odom", "base_link", 1.1, x=2.0)))
    assert (sample.stamp_ns, sample.frame_id, sample.child_frame_id) == (1_100_000_000, "map", "base_link")
    np.testing.assert_allclose(sample.position, [10.0, 2.0, 0.0], atol=1e-9)
    assert yaw_of(sample.quaternion) == pytest.approx(math.pi / 2)
    between = buffer.lookup(1_050_000_000)
    np.testing.assert_allclose(between.position, [10.0, 1.5, 0.0], atol=1e-9)
    assert buffer.lookup(9_000_000_000) is None  # odometry of 8 s ago holds no more


def test_a_correction_that_comes_rarely_holds_until_the_next_is_overdue():
    """A map told every 10 s, odometry every second: no pose is lost but those before its gap is known."""
    buffer, known = TransformBuffer(), []
    for second in range(60):
        if second % 10 == 0 and second < 40:
            buffer.insert(tf(transform("map", "odom", float(second), x=100.0)))
        if buffer.insert(tf(transform("odom", "base_link", second + 0.5, x=float(second)))):
            known.append(second)
    assert known == [0, 1, *range(10, 50)]  # its last, of 30 s, holds for two of its gaps


def test_the_pose_of_an_optical_frame_in_tf_is_the_bodys():
    buffer = TransformBuffer(child="cam_optical_frame")
    look = Fields(x=-0.5, y=0.5, z=-0.5, w=0.5)  # REP-103: body to optical
    buffer.insert(tf(transform("base_link", "cam_optical_frame", 0.0, x=0.2, rotation=look)), is_static=True)
    (sample,) = buffer.insert(tf(transform("map", "base_link", 1.0, x=1.0, yaw=0.7)))
    assert yaw_of(sample.quaternion) == pytest.approx(0.7)
    np.testing.assert_allclose(sample.position, [1.0 + 0.2 * math.cos(0.7), 0.2 * math.sin(0.7), 0.0], atol=1e-9)


def test_tf_without_a_body_gives_the_first_camera_that_is_connected():
    look = Fields(x=-0.5, y=0.5, z=-0.5, w=0.5)  # REP-103: body to optical, here looking along the map's x
    buffer = TransformBuffer()
    assert buffer.insert(tf(transform("rig", "left_optical", 0.0, x=5.0, rotation=look))) == []
    (sample,) = buffer.insert(tf(transform("map", "front_optical_frame", 1.0, x=1.0, rotation=look)))
    assert (sample.position.tolist(), yaw_of(sample.quaternion)) == ([1.0, 0.0, 0.0], pytest.approx(0.0))
    buffer.insert(tf(transform("map", "rear_optical_frame", 1.0, x=9.0, rotation=look)))
    assert buffer.lookup(1_000_000_000).position[0] == 1.0
    buffer.insert(tf(transform("map", "base_link", 1.0, x=3.0)))
    assert buffer.lookup(1_000_000_000).position[0] == 3.0  # a body goes before a camera


def test_tf_that_does_not_connect_is_named():
    buffer = TransformBuffer()
    assert buffer.insert(tf(transform("earth", "base_link", 1.0))) == []
    assert (
        "tf does not connect map or odom or world -> base_link or base_footprint or an optical frame"
        in buffer.why_not()
    )
    assert "earth -> base_link" in buffer.why_not()


def test_a_loop_in_tf_does_not_hang():
    buffer = TransformBuffer()
    assert buffer.insert(tf(transform("a", "base_link", 1.0), transform("base_link", "a", 1.0))) == []


TWIST = Fields(linear=xyz(1.5, 0.0, 0.0), angular=xyz(0.0, 0.0, -0.5))
DRIVE = Fields(speed=1.5, steering_angle=-0.5, acceleration=0.0)
JOINTS = {"name": ["left", "right"], "effort": []}
JOINTS_AT = Fields(positions=[0.1], velocities=[], accelerations=[], effort=[])


@pytest.mark.parametrize(
    ("msg", "stamp_ns", "values"),
    [
        (Fields(layout=None, data=[1.5, -0.5]), 0, [1.5, -0.5]),
        (TWIST, 0, [1.5, -0.5]),
        (Fields(header=header(3.0, ""), twist=TWIST), 3_000_000_000, [1.5, -0.5]),
        (Fields(header=header(3.0, ""), drive=DRIVE), 3_000_000_000, [1.5, -0.5]),
        (DRIVE, 0, [1.5, -0.5]),
        (
            Fields(header=header(0.0, ""), **JOINTS, points=[JOINTS_AT, Fields(positions=[9.0], velocities=[9.0])]),
            0,
            [0.1],
        ),
        (Fields(header=header(3.0, ""), axes=[0.0, 1.0, -1.0], buttons=[1]), 3_000_000_000, [0.0, 1.0, -1.0]),
        (Fields(header=header(3.0, ""), **JOINTS, position=[9.0, 9.0], velocity=[1.0, 2.0]), 3 * 10**9, [1.0, 2.0]),
        (Fields(header=header(0.0, ""), **JOINTS, position=[0.1, 0.2], velocity=[]), 0, [0.1, 0.2]),
        (JOINTS_AT, 0, [0.1]),
    ],
)
def test_every_type_of_action_gives_its_values_and_its_stamp(msg, stamp_ns, values):
    sample = action_from_msg(msg)
    assert sample.stamp_ns == stamp_ns
    np.testing.assert_allclose(sample.values, values)
    assert sample.values.dtype == np.float32


def test_a_twist_tells_the_speed_aside_where_three_values_are_wanted():
    twist = Fields(linear=Fields(x=1.5, y=0.25, z=0.0), angular=Fields(x=0.0, y=0.0, z=-0.5))
    for msg in (twist, Fields(header=header(3.0, ""), twist=twist)):
        np.testing.assert_allclose(action_from_msg(msg, 3).values, [1.5, 0.25, -0.5])
        two = action_from_msg(msg, 2)
        np.testing.assert_allclose(two.values, [1.5, -0.5])
        assert (two.left_out, action_from_msg(msg, 3).left_out) == (0.25, 0.0)
    assert action_from_msg(Fields(data=[1.0, 2.0]), 3).values.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("msg", "reason"),
    [
        (Fields(data=[]), "action-empty"),
        (Fields(header=header(0, ""), **JOINTS, position=[], velocity=[]), "action-empty"),
        (Fields(header=header(0, ""), **JOINTS, points=[]), "action-empty"),
        (Fields(data=[math.inf]), "action-not-finite"),
        (Fields(text="go"), "action-type"),
    ],
)
def test_half_filled_actions_are_named(msg, reason):
    with pytest.raises(MessageError) as caught:
        action_from_msg(msg)
    assert caught.value.reason == reason
