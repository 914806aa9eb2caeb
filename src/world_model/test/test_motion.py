import math

import numpy as np
import pytest

from world_model.errors import ArtifactError, ObservationError
from world_model.motion import MotionModel, MotionTracker, Pose2, integrate_twist
from world_model.training.motion_fit import Track, displacement_error, fit_motion

STEP_S = 0.05
UNICYCLE = ((0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0))


def test_a_quarter_circle_ends_where_geometry_says():
    twist_S3 = np.tile([math.pi / 2, 0.0, math.pi / 2], (1000, 1))
    forward, left, turn = integrate_twist(twist_S3, 1e-3)[-1]
    assert (forward, left, turn) == pytest.approx((1.0, 1.0, math.pi / 2), abs=1e-5)


def test_moving_and_relating_are_inverse():
    start = Pose2(1.0, 2.0, 0.5, 3.0)
    assert start.moved((0.4, -0.2, 0.5)).relative_to(start) == pytest.approx((0.4, -0.2, 0.5))


def test_constant_velocity_without_actions():
    tracker = MotionTracker(MotionModel(), STEP_S, 2)
    assert tracker.displacements(3) is None
    for step in range(8):
        tracker.update(int(step * STEP_S * 1e9), Pose2(0.1 * step, 0.0, 0.0, 0.0), None)
    assert tracker.displacements(3)[:, 0] == pytest.approx([0.1, 0.2, 0.3])


def test_an_action_acts_after_its_delay():
    tracker = MotionTracker(MotionModel(weights=UNICYCLE, delay_steps=2, residual_share=(0, 0, 0)), STEP_S, 2)
    for speed in (0.0, 0.0, 0.0, 1.0):
        tracker.update(0, None, np.array([speed, 0.0]))
    # The new command was given now, and drives from two steps ahead on.
    assert tracker.displacements(4)[:, 0] == pytest.approx([0.0, 0.0, 0.05, 0.10])


def test_known_future_actions_replace_the_held_one():
    tracker = MotionTracker(MotionModel(weights=UNICYCLE, residual_share=(0, 0, 0)), STEP_S, 2)
    tracker.update(0, None, np.array([1.0, 0.0]))
    assert tracker.displacements(3)[:, 0] == pytest.approx([0.05, 0.10, 0.15])
    assert tracker.displacements(3, np.zeros((2, 2)))[:, 0] == pytest.approx([0.05, 0.05, 0.05])


def test_bad_actions_are_refused():
    tracker = MotionTracker(MotionModel(weights=UNICYCLE), STEP_S, 2)
    with pytest.raises(ObservationError):
        tracker.update(0, None, np.array([np.nan, 0.0]))
    with pytest.raises(ArtifactError, match="columns"):
        MotionTracker(MotionModel(weights=UNICYCLE), STEP_S, 3)


def test_manifest_round_trip():
    model = MotionModel(weights=UNICYCLE, delay_steps=3, lag_steps=1.5, residual_share=(0.5, 0.5, 0.0))
    assert MotionModel.from_manifest(model.to_manifest()) == model
    with pytest.raises(ArtifactError, match="motion"):
        MotionModel.from_manifest({"wings": 2})


def test_fitting_finds_the_delay_and_gains_of_a_known_robot():
    rng = np.random.default_rng(0)
    count, delay = 600, 3
    action_TA = np.repeat(rng.uniform([0.2, -1.0], [1.0, 1.0], (count // 10, 2)), 10, axis=0)
    delayed_TA = np.concatenate([np.repeat(action_TA[:1], delay, axis=0), action_TA])[:count]
    twist_T3 = np.column_stack([0.8 * delayed_TA[:, 0], np.zeros(count), 1.2 * delayed_TA[:, 1]])
    moved_T3 = np.concatenate([np.zeros((1, 3)), integrate_twist(twist_T3, STEP_S)[:-1]])
    pose_T4 = np.column_stack([moved_T3[:, :2], np.zeros(count), moved_T3[:, 2]])
    stamp_T = (np.arange(count) * STEP_S * 1e9).astype(np.int64)
    model = fit_motion([Track(stamp_T, pose_T4, action_TA.astype(np.float32))], STEP_S)
    assert model.delay_steps == delay
    assert model.lag_steps == 0.0
    assert model.weights[0][1] == pytest.approx(0.8, abs=0.02)
    assert model.weights[2][2] == pytest.approx(1.2, abs=0.02)


@pytest.mark.parametrize("lag", [1.4, 2.4])
def test_fitting_finds_a_lag_between_those_it_tries_first(lag):
    rng = np.random.default_rng(1)
    count, delay = 800, 2
    action_TA = np.repeat(rng.uniform([0.2, -1.0], [1.0, 1.0], (count // 8, 2)), 8, axis=0)
    robot = MotionTracker(
        MotionModel(weights=UNICYCLE, delay_steps=delay, lag_steps=lag, residual_share=(0, 0, 0)), STEP_S, 2
    )
    pose, rows = Pose2(0.0, 0.0, 0.0, 0.0), []
    for step in range(count):
        rows.append((pose.x, pose.y, pose.z, pose.heading))
        robot.update(int(step * STEP_S * 1e9), None, action_TA[step])
        pose = pose.moved(robot.displacements(1)[0])
    stamp_T = (np.arange(count) * STEP_S * 1e9).astype(np.int64)
    track = Track(stamp_T, np.array(rows), action_TA.astype(np.float32))
    model = fit_motion([track], STEP_S)
    assert (model.delay_steps, model.lag_steps) == (delay, pytest.approx(lag, abs=0.1))
    assert displacement_error(track, model, STEP_S, 1.0, known_future=True) < 0.02**2
