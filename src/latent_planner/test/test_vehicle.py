"""Rolled out plans are what the motion model's tracker foresees, one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_planner.vehicle import Vehicle, _features

from wm_core.se2 import Pose2
from world_model.runtime.motion import MotionTracker
from world_model.runtime.motion_model import MotionModel

STEP_S = 0.05


def model(delay_steps, lag_steps):
    weights = ((0.01, 1.1, 0.02, -0.01), (0.0, 0.0, -0.03, 0.0), (-0.02, 0.05, 0.9, 0.03))
    return MotionModel(weights=weights, delay_steps=delay_steps, lag_steps=lag_steps, residual_share=(0.0, 0.0, 0.0))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 5), st.floats(0.0, 6.0), st.integers(0, 2**31))
def test_plans_lead_where_the_tracker_foresees(delay_steps, lag_steps, seed):
    rng = np.random.default_rng(seed)
    motion = model(delay_steps, lag_steps)
    tracker, vehicle = MotionTracker(motion, STEP_S, 2), Vehicle(motion, STEP_S, 2)
    pose = Pose2(2.0, -1.0, 0.0, 0.7)
    for step in range(200):
        action_A = rng.uniform(-1, 1, 2)
        tracker.update(round(step * STEP_S * 1e9), pose, action_A)
        vehicle.told(action_A)
    plan_SA = rng.uniform(-1, 1, (12, 2))
    # The tracker's first step is still under the last command; a plan begins with the command after it.
    first, *expected = [pose.moved(moved_3) for moved_3 in tracker.displacements(13, plan_SA)]
    path_S3 = vehicle.roll_out(np.array([first.x, first.y, first.yaw]), plan_SA[None])[0]
    assert path_S3[:, 0] == pytest.approx([each.x for each in expected], abs=1e-9)
    assert path_S3[:, 1] == pytest.approx([each.y for each in expected], abs=1e-9)
    assert np.cos(path_S3[:, 2]) == pytest.approx(np.cos([each.yaw for each in expected]), abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 5), st.floats(0.0, 6.0), st.integers(0, 7), st.integers(1, 4), st.integers(0, 2**31))
def test_a_response_is_what_is_rolled_out(delay_steps, lag_steps, told, held, seed):
    rng = np.random.default_rng(seed)
    vehicle = Vehicle(model(delay_steps, lag_steps), STEP_S, 2)
    for _ in range(told):
        vehicle.told(rng.uniform(-1, 1, 2))
    plan_BSA = rng.uniform(-1, 1, (3, 4, 2))
    response = vehicle.response(4, held)
    command_BS3 = _features(plan_BSA) @ response.weight_F3
    twist_BT3 = response.share_TS @ command_BS3 + response.free_T3
    assert twist_BT3 == pytest.approx(vehicle._twists(np.repeat(plan_BSA, held, axis=1)), abs=1e-12)


def test_a_model_without_weights_cannot_plan():
    with pytest.raises(ValueError, match="2 actions"):
        Vehicle(MotionModel(), STEP_S, 2)
