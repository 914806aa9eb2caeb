"""Goals and states that nobody should send: each goal is answered, and the planner goes on."""

from __future__ import annotations

import numpy as np
import pytest
from geometry_msgs.msg import Point32, PolygonStamped, PoseStamped

from wm_ros import floats, pose_to_msg
from wm_testing.hostile import assault

USUAL = {"w": 1.0, "frame_id": "map", "pose_frame_id": "map", "time_limit_s": 0.5, "has_pose": True}
pytestmark = pytest.mark.slow


def test_whatever_is_asked_for_is_answered(make_world):
    world = make_world(drive=True, lookup_timeout_s=1.0)
    usual = {**USUAL, "latent": floats(np.zeros(32)), "encoder_id": world.memory.encoder_id}
    assault(world, usual, goals=25)


def test_a_region_that_costs_everybody_time_is_rejected_before_it_is_read(make_world):
    world = make_world(drive=True)
    region = PolygonStamped()
    region.polygon.points = [Point32(x=0.0, y=0.0)] * 100_000
    assert not world.wait(world.client.send_goal_async(world._kind.Goal(region=region))).accepted
    assert world.node._health.counted("dropped/too-large") == 1


@pytest.mark.parametrize("far_m", [1e5, 9e6])
def test_a_goal_at_the_end_of_the_world_is_refused_by_name(make_world, far_m):
    world = make_world(drive=True)
    pose = PoseStamped(pose=pose_to_msg((far_m, far_m, 0.0), (0.0, 0.0, 0.0, 1.0)))
    answer = world.run(pose=pose, may_leave_known_ground=True).result
    assert (answer.name, "too far away" in answer.message) == ("UNREACHABLE", True), answer.message
    region = PolygonStamped()
    region.polygon.points = [Point32(x=0.0, y=0.0)] * 20_000
    answer = world.run(region=region).result
    assert (answer.name, "20000 corners" in answer.message) == ("REFUSED", True), answer.message
    assert world.node._health.counted("faults") == 0
