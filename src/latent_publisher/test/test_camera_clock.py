"""A camera that has a clock of its own: the node takes poses by the offset that is stated, or that arrivals tell."""

from __future__ import annotations

import pytest

from wm_interfaces.msg import LatentState
from wm_ros import stamp_ns
from wm_testing.nodes import ros_context  # noqa: F401

from .test_node import START_NS, World, make_world  # noqa: F401

BOOT_NS, STEP_NS = 100_000_000_000, 50_000_000


def drive(world: World, count: int, first: int = 0) -> None:
    """Let frames by the time since boot and poses by the time of day come in turns."""
    health = world.node._health
    for step in range(first, first + count):
        world.send_pose(START_NS + step * STEP_NS, x=0.1 * step)
        world.until(lambda n=step + 1: health.counted("poses_received") == n)
        world.send_frame(BOOT_NS + step * STEP_NS)
        world.until(lambda n=step + 1: len(world.states) == n)


def test_without_an_offset_no_pose_is_of_a_frame_and_the_way_out_is_named(make_world):  # noqa: F811
    world = make_world(action_wait_s=0.0)
    drive(world, 45)
    assert not any(state.has_pose for state in world.states)
    told = {item.key: item.value for item in world.node._health.status().values}
    assert "another clock" in told["degraded/pose_input"]
    assert "camera_offset_by_arrival" in told["degraded/pose_input"]


def test_a_stated_offset_is_taken_from_the_first_frame_on(make_world):  # noqa: F811
    world = make_world(action_wait_s=0.0, camera_offset_s=(START_NS - BOOT_NS) * 1e-9)
    drive(world, 10)
    for step, state in enumerate(world.states):
        # A double tells the seconds since 1970 to a tenth of a microsecond.
        assert state.has_pose
        assert state.pose.position.x == pytest.approx(0.1 * step, abs=1e-3)
        assert stamp_ns(state.header.stamp) == BOOT_NS + step * STEP_NS
    told = {item.key: item.value for item in world.node._health.status().values}
    assert told["camera_offset"] == "+999999900.000 s, as configured"


def test_arrivals_tell_the_offset_within_seconds_and_it_is_named(make_world):  # noqa: F811
    world = make_world(action_wait_s=0.0, camera_offset_by_arrival=True)
    drive(world, 60)
    health = world.node._health
    assert health.counted("poses_before_offset") == 20
    # What is counted of frames adds up, whatever became of the poses.
    assert health.counted("frames_received") == health.counted("frames_encoded") == 60
    assert not [
        key for key in (item.key for item in health.status().values) if key.startswith(("skipped/", "dropped/"))
    ]
    late = world.states[-10:]
    assert all(state.pose_status != LatentState.POSE_ABSENT for state in late)
    # Within a message or two: in a test frames and poses come as fast as they are taken.
    assert late[-1].pose.position.x == pytest.approx(0.1 * 59, abs=0.3)
    told = {item.key: item.value for item in world.node._health.status().values}
    assert told["camera_offset"].startswith("+99999")
    assert "by when frames and poses arrive" in told["camera_offset"]
