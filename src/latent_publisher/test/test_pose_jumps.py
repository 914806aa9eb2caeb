"""An odometry that begins again in mid-drive: poses are carried on, and it is named for as long as they are."""

from __future__ import annotations

import pytest
from geometry_msgs.msg import PoseStamped

from wm_core.se3 import quaternion_of
from wm_interfaces.msg import LatentState
from wm_ros import pose_to_msg, stamp_msg
from wm_testing.nodes import ros_context  # noqa: F401

from .test_node import START_NS, World, make_world  # noqa: F401

STEP_NS = 50_000_000


def send(world: World, step: int, x: float, y: float, yaw_rad: float, frame_id: str = "odom") -> None:
    """Send a pose and then a frame of the same time, and wait for what comes of both."""
    msg = PoseStamped()
    msg.header.stamp, msg.header.frame_id = stamp_msg(START_NS + step * STEP_NS), frame_id
    msg.pose = pose_to_msg((x, y, 0.0), quaternion_of(yaw_rad))
    world.poses.publish(msg)
    world.until(lambda: world.node._health.counted("poses_received") == step + 1)
    world.send_frame(START_NS + step * STEP_NS)
    world.until(lambda: len(world.states) == step + 1)


def told(world: World) -> dict[str, str]:
    return {item.key: item.value for item in world.node._health.status().values}


def test_poses_are_carried_on_where_the_odometry_begins_again(make_world):  # noqa: F811
    world = make_world(action_wait_s=0.0)
    for step in range(60):
        # To the left along y at 1 m/s; from step 30 on an odometry that began there says straight on from 0.
        at = (5.0, 0.05 * step, 1.5708) if step < 30 else (0.05 * (step - 30), 0.0, 0.0)
        send(world, step, *at)
    assert world.node._health.counted("pose_jumps/restarted") == 1
    assert "the odometry began again" in told(world)["degraded/pose_frame"]
    for step, state in enumerate(world.states):
        assert state.pose_status in (LatentState.POSE_INTERPOLATED, LatentState.POSE_EXTRAPOLATED)
        assert state.pose.position.x == pytest.approx(5.0, abs=0.01)
        assert state.pose.position.y == pytest.approx(0.05 * step, abs=0.03)
        assert state.pose_frame_id == "odom"


def test_a_correction_over_metres_is_named_for_a_while_and_taken(make_world):  # noqa: F811
    world = make_world(action_wait_s=0.0)
    for step in range(40):
        send(world, step, 5.0 + 0.05 * step + (9.0 if step >= 20 else 0.0), 0.0, 0.0, "map")
    assert "the localisation corrected itself" in told(world)["degraded/pose_jump"]
    assert "degraded/pose_frame" not in told(world)
    assert world.states[-1].pose.position.x == pytest.approx(5.0 + 0.05 * 39 + 9.0, abs=0.01)


def test_another_frame_is_no_jump(make_world):  # noqa: F811
    world = make_world(action_wait_s=0.0)
    for step in range(20):
        send(world, step, 5.0 if step < 10 else 0.0, 0.0, 0.0, "odom" if step < 10 else "map")
    assert not any(key.startswith("degraded/pose_") for key in told(world))
