import json
import math

import numpy as np
import pytest

from wm_core.se2 import Pose2
from world_model.errors import ArtifactError, ObservationError
from world_model.runtime.motion import MotionModel, MotionTracker, expected_error, integrate_twist, pose_error
from world_model.training.displacement import Track
from world_model.training.motion_fit import displacement_error, fit_motion, with_measured_errors

STEP_S = 0.05
UNICYCLE = ((0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0))


def test_a_quarter_circle_ends_where_geometry_says():
    twist_S3 = np.tile([math.pi / 2, 0.0, math.pi / 2], (1000, 1))
    forward, left, turn = integrate_twist(twist_S3, 1e-3)[-1]
    assert (forward, left, turn) == pytest.approx((1.0, 1.0, math.pi / 2), abs=1e-5)


def test_moving_and_relating_are_inverse():
    start = Pose2(1.0, 2.0, 0.5, 3.0)
    assert start.moved((0.4, -0.2, 0.5)).relative_to(start) == pytest.approx((0.4, -0.2, 0.5))


def test_errors_of_the_present_pose_lead_to_those_of_the_expected_one():
    moved_H3 = np.array([[0.0, 0.0, 0.0], [2.0, 1.0, 0.5]])
    own_H3 = pose_error(moved_H3, Pose2(1.0, 2.0, 0.0, 0.0), np.array([0.4, 0.0, 0.4]))
    assert own_H3[0] == pytest.approx([0.4, 0.0, 0.4])
    assert own_H3[1] == pytest.approx([math.hypot(0.4, 0.4), 0.8, 0.4])  # a wrong yaw throws the way aside
    turned_H3 = pose_error(moved_H3, Pose2(1.0, 2.0, 0.0, math.pi / 2), np.array([0.4, 0.0, 0.4]))
    assert turned_H3[0] == pytest.approx([0.0, 0.4, 0.4])  # what errs along x errs aside of who faces y
    for pose, std_3 in ((None, np.ones(3)), (Pose2(0, 0, 0, 0), None), (Pose2(0, 0, 0, 0), np.full(3, math.nan))):
        assert not pose_error(moved_H3, pose, std_3).any()


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
    # The new command was given now, and episodes from two steps ahead on.
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
    model = MotionModel(
        weights=UNICYCLE, delay_steps=3, lag_steps=1.5, residual_share=(0.5, 0.5, 0.0), pose_gain=(0.3, 0.5),
        error_horizons_s=(0.05, 1.0), error_std=((0.01, 0.02, 0.03), (0.1, 0.2, 0.3)),
    )  # fmt: skip
    assert MotionModel.from_manifest(json.loads(json.dumps(model.to_manifest()))) == model
    for wrong in ({"wings": 2}, {"pose_gain": [0.0, 1.0]}, {"error_std": [[1.0, 1.0, 1.0]]}):
        with pytest.raises(ArtifactError, match="motion"):
            MotionModel.from_manifest(wrong)


@pytest.mark.slow
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


@pytest.mark.slow
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
        rows.append((pose.x, pose.y, pose.z, pose.yaw))
        robot.update(int(step * STEP_S * 1e9), None, action_TA[step])
        pose = pose.moved(robot.displacements(1)[0])
    stamp_T = (np.arange(count) * STEP_S * 1e9).astype(np.int64)
    track = Track(stamp_T, np.array(rows), action_TA.astype(np.float32))
    model = fit_motion([track], STEP_S)
    assert (model.delay_steps, model.lag_steps) == (delay, pytest.approx(lag, abs=0.1))
    assert displacement_error(track, model, STEP_S, 1.0, known_future=True) < 0.02**2


def noisy_circle(seed, noise_m, noise_rad, count=600):
    """Poses around a circle with white noise, and the true ones, [T, 4] each; speed 1 m/s, 0.5 rad/s."""
    angle_T = np.arange(count) * STEP_S * 0.5
    true_T4 = np.column_stack([2 * np.sin(angle_T), 2 - 2 * np.cos(angle_T), np.zeros(count), angle_T])
    noise_T4 = np.random.default_rng(seed).normal(size=(count, 4)) * [noise_m, noise_m, 0.0, noise_rad]
    return true_T4 + noise_T4, true_T4


def smoothed(model, pose_T4, action_TA):
    tracker, rows = MotionTracker(model, STEP_S, 2), []
    for t, (row_4, action_A) in enumerate(zip(pose_T4, action_TA)):
        tracker.update(round(t * STEP_S * 1e9), Pose2(*row_4), action_A)
        rows.append((tracker.pose.x, tracker.pose.y, tracker.pose.yaw))
    return np.array(rows)


def test_white_noise_of_poses_is_smoothed_away():
    measured_T4, true_T4 = noisy_circle(0, 0.05, 0.03)
    action_TA = np.tile([1.0, 0.5], (len(true_T4), 1))
    pose_T3 = smoothed(MotionModel(weights=UNICYCLE, pose_gain=(0.1, 0.1)), measured_T4, action_TA)
    missed_T = np.linalg.norm(pose_T3[100:, :2] - true_T4[100:, :2], axis=1)
    raw_T = np.linalg.norm(measured_T4[100:, :2] - true_T4[100:, :2], axis=1)
    # In theory sqrt(gain / (2 - gain)) = 0.23 of the noise of a position, and a little for the yaw's.
    assert np.sqrt(np.mean(missed_T**2)) < 0.35 * np.sqrt(np.mean(raw_T**2))
    with_all_believed_T3 = smoothed(MotionModel(weights=UNICYCLE), measured_T4, action_TA)
    assert with_all_believed_T3[:, :2] == pytest.approx(measured_T4[:, :2])


def test_a_localisation_that_jumps_is_followed_at_once():
    _, pose_T4 = noisy_circle(0, 0.0, 0.0, count=100)
    pose_T4[60:, 0] += 3.0
    pose_T3 = smoothed(MotionModel(weights=UNICYCLE, pose_gain=(0.1, 0.1)), pose_T4, np.tile([1.0, 0.5], (100, 1)))
    assert pose_T3[[59, 60, 99], :2] == pytest.approx(pose_T4[[59, 60, 99], :2], abs=1e-3)


def test_a_model_of_another_robot_does_not_pull_the_pose_along():
    """Actions that mean half the speed and another turn: without doubt the pose would lag by 0.2 m and 0.2 rad."""
    pose_T4, true_T4 = noisy_circle(0, 0.005, 0.005)
    pose_T3 = smoothed(MotionModel(weights=UNICYCLE, pose_gain=(0.1, 0.1)), pose_T4, np.tile([0.5, 0.1], (600, 1)))
    missed_T3 = pose_T3[100:] - true_T4[100:, [0, 1, 3]]
    missed_T3[:, 2] = (missed_T3[:, 2] + np.pi) % (2 * np.pi) - np.pi
    assert np.hypot(missed_T3[:, 0], missed_T3[:, 1]).mean() < 0.03
    assert np.abs(missed_T3[:, 2]).mean() < 0.03


@pytest.mark.slow
def test_the_fit_believes_exact_poses_and_doubts_noisy_ones():
    action_TA = np.tile([1.0, 0.5], (600, 1)) + 0.2 * np.random.default_rng(5).normal(size=(600, 2)).cumsum(0) * 0.1
    model = MotionModel(weights=UNICYCLE, residual_share=(0, 0, 0))
    tracker, pose, rows = MotionTracker(model, STEP_S, 2), Pose2(0.0, 0.0, 0.0, 0.0), []
    for action_A in action_TA:
        rows.append((pose.x, pose.y, 0.0, pose.yaw))
        tracker.update(0, None, action_A)
        pose = pose.moved(tracker.displacements(1)[0])
    stamp_T, true_T4 = (np.arange(600) * 50_000_000).astype(np.int64), np.array(rows)
    noise_T4 = np.random.default_rng(1).normal(size=(600, 4)) * [0.05, 0.05, 0.0, 0.03]
    noisy = fit_motion([Track(stamp_T, true_T4 + noise_T4, action_TA)], STEP_S)
    assert max(noisy.pose_gain) <= 0.35
    measured = with_measured_errors(noisy, [Track(stamp_T, true_T4 + noise_T4, action_TA)], STEP_S, (0.05, 1.0))
    # What is measured against errs too: never less than the noise of the poses.
    assert expected_error(measured, [1.0])[0] == pytest.approx([0.05, 0.05, 0.03], rel=0.3)
    exact = with_measured_errors(model, [Track(stamp_T, true_T4, action_TA)], STEP_S, (0.05, 1.0))
    assert expected_error(exact, [0.05, 1.0]) == pytest.approx(np.zeros((2, 3)), abs=1e-4)


def test_errors_lie_on_a_line_between_measured_horizons():
    model = MotionModel(error_horizons_s=(0.5, 1.0), error_std=((0.1, 0.2, 0.3), (0.2, 0.4, 0.6)))
    assert expected_error(model, [0.5, 0.75, 2.0])[:, 0] == pytest.approx([0.1, 0.15, 0.2])
    assert not expected_error(MotionModel(), [1.0]).any()
