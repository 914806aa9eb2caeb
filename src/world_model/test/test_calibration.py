"""Motion that calibrates itself: against robots whose gains, delay and lag are known, and never worse than shipped."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wm_core.se2 import Pose2
from wm_testing.robots import Drive, ackermann, drive, unicycle, wheels
from world_model.errors import ProfileError
from world_model.runtime.calibration import FITTED, FUTURES, HELD, HELD_FUTURE, KNOWN_FUTURE, SHIPPED, MotionCalibration
from world_model.runtime.motion import MotionTracker
from world_model.runtime.motion_log import MotionLog
from world_model.runtime.motion_model import MotionModel
from world_model.runtime.motion_paths import followed
from world_model.runtime.motion_search import Target, both_errors, search, target_of
from world_model.runtime.own_motion import OwnMotion

STEP_S = 0.05
SHIPPED_MODEL = MotionModel(
    weights=((0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)),
    delay_steps=2,
    lag_steps=2.3,
    residual_share=(0.0, 0.0, 0.0),
    error_horizons_s=(0.05, 1.0),
    error_std=((0.04, 0.04, 0.02), (0.04, 0.04, 0.02)),
)


def pose(row_4):
    return Pose2(*map(float, row_4))


def shipped(action_dim):
    """A model of another robot, for any count of actions."""
    columns = 1 + action_dim + action_dim * (action_dim - 1) // 2
    rows = np.zeros((3, columns))
    rows[0, 1], rows[2, min(2, action_dim)] = 1.0, 1.0
    return MotionModel(weights=tuple(map(tuple, rows.tolist())), delay_steps=2, lag_steps=2.3,
                       residual_share=(0.0, 0.0, 0.0))  # fmt: skip


def run(model, seen: Drive, *, known=True, calibrate=True, actions=True, steps=20):
    """Drive along; return the own motion, and true minus expected displacement after ``steps``, [T, 3]."""
    own = OwnMotion(model, STEP_S, seen.action_TA.shape[1], (STEP_S, 1.0), 1.0, calibrate)
    missed = np.full((len(seen.stamp_T), 3), np.nan)
    for row in range(len(seen.stamp_T)):
        action = seen.action_TA[row] if actions else None
        own.update(int(seen.stamp_T[row]), pose(seen.pose_T4[row]), action, known)
        own.learn()
        plan = seen.action_TA[row + 1 : row + steps] if known and actions else None
        moved = own.displacements(steps, plan)
        if moved is not None and row + steps < len(missed):
            missed[row] = pose(seen.pose_T4[row + steps]).relative_to(pose(seen.pose_T4[row]).moved(moved[-1]))
    return own, missed


def loss(missed, begin_s):
    part = missed[round(begin_s / STEP_S) :]
    return float(np.mean(np.sum(part[np.isfinite(part).all(axis=1)] ** 2, axis=1)))


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    kind=st.sampled_from(["unicycle", "ackermann", "wheels", "one action", "four actions"]),
    gain=st.floats(0.4, 2.0),
    delay_s=st.sampled_from([0.0, 0.05, 0.15, 0.3]),
    lag_s=st.floats(0.0, 0.3),
    seed=st.integers(0, 2**16),
)
def test_any_robot_is_learned_within_twenty_seconds(kind, gain, delay_s, lag_s, seed):
    command, action_dim = {
        "unicycle": (unicycle(gain, -1.5 * gain, (0.3, -0.2)), 2),
        "ackermann": (ackermann(gain), 2),
        "wheels": (wheels(0.4 * gain), 2),
        "one action": (lambda action: np.array([0.6, 0.0, gain * action[0]]), 1),
        "four actions": (lambda action: np.array([action[0], 0.3 * action[3], gain * action[1] - action[2]]), 4),
    }[kind]
    seen = drive(command, action_dim, seed=seed, delay_s=delay_s, lag_s=lag_s, seconds=40, noise_m=0.005)
    before = loss(run(shipped(action_dim), seen, calibrate=False)[1], 20.0)
    own, missed = run(shipped(action_dim), seen)
    after = loss(missed, 20.0)
    assert after <= before * 1.02
    if before > 0.01:
        assert own.calibration.names[KNOWN_FUTURE] == FITTED
        assert after < max(0.1 * before, 0.003)


def test_gains_delay_and_lag_are_those_of_the_robot():
    seen = drive(unicycle(0.6, -1.8, (0.1, 0.2)), 2, seed=3, delay_s=0.2, lag_s=0.2)
    own, missed = run(SHIPPED_MODEL, seen)
    model = own.calibration.candidates[FITTED].model
    # A delay longer by a step and a lag shorter by half of one are hard to tell apart.
    assert (model.delay_steps + model.lag_steps) * STEP_S == pytest.approx(0.4, abs=0.04)
    offset, speed, turn, _ = np.array(model.weights)[[0, 2]].T
    assert offset == pytest.approx([-0.06, 0.36], abs=0.03)
    assert speed == pytest.approx([0.6, 0.0], abs=0.03)
    assert turn == pytest.approx([0.0, -1.8], abs=0.05)
    assert np.degrees(np.nanmean(np.abs(missed[600:, 2]))) < 1.0
    assert own.says().startswith(("fitted", "constant"))


@pytest.mark.parametrize(("spare", "name"), [(6, FITTED), (19, HELD)])
def test_of_many_actions_no_pairs_are_fitted_and_of_very_many_nothing(spare, name):
    seen = drive(unicycle(0.6, -1.8), 2, seed=3, delay_s=0.2)
    noise = np.random.default_rng(0).normal(size=(len(seen.stamp_T), spare))
    own, _ = run(MotionModel(), replace(seen, action_TA=np.column_stack([seen.action_TA, noise])))
    assert own.calibration.names[KNOWN_FUTURE] == name
    if name == FITTED:
        weight_3F = np.array(own.calibration.candidates[FITTED].model.weights)
        assert weight_3F[0, 1] == pytest.approx(0.6, abs=0.05)
        assert weight_3F.shape == (3, 1 + 8 + 28)
        assert not weight_3F[:, 9:].any()


@pytest.mark.slow
def test_the_robot_that_was_shipped_for_keeps_its_model():
    seen = drive(unicycle(), 2, seed=5, delay_s=0.1, lag_s=0.115, seconds=90, noise_m=0.02, noise_rad=0.01)
    own, missed = run(SHIPPED_MODEL, seen)
    _, as_shipped = run(SHIPPED_MODEL, seen, calibrate=False)
    assert own.calibration.fits > 3
    assert loss(missed, 0.0) <= 1.02 * loss(as_shipped, 0.0)


def test_from_poses_alone_and_where_actions_explain_nothing():
    seen = drive(unicycle(1.0, 1.0), 2, seed=7, spread=0.3)
    before = loss(run(SHIPPED_MODEL, seen, known=False, calibrate=False, actions=False)[1], 20.0)
    own, missed = run(SHIPPED_MODEL, seen, known=False, actions=False)
    assert own.calibration.names[HELD_FUTURE] != FITTED
    assert loss(missed, 20.0) <= 1.02 * before
    scrambled = Drive(seen.stamp_T, seen.pose_T4, np.random.default_rng(0).normal(size=seen.action_TA.shape))
    own, missed = run(SHIPPED_MODEL, scrambled)
    without = loss(run(MotionModel(), scrambled, calibrate=False)[1], 20.0)
    assert own.calibration.names[KNOWN_FUTURE] != SHIPPED
    assert loss(missed, 20.0) <= 1.05 * without


@pytest.mark.slow
def test_a_robot_that_changes_is_learned_again():
    first = drive(unicycle(), 2, seed=1, seconds=60)
    second = drive(unicycle(0.5, 0.4), 2, seed=2, delay_s=0.25, seconds=200)
    later = second.stamp_T + first.stamp_T[-1] + 50_000_000
    both = Drive(*(np.concatenate(pair) for pair in zip(
        (first.stamp_T, first.pose_T4, first.action_TA), (later, second.pose_T4, second.action_TA))))  # fmt: skip
    own, missed = run(SHIPPED_MODEL, both)
    assert own.calibration.names[KNOWN_FUTURE] != SHIPPED
    assert np.degrees(np.mean(np.abs(missed[-1000:-20, 2]))) < 2.0


@pytest.mark.slow
def test_a_pose_that_jumps_and_a_gap_do_not_spoil_what_is_learned():
    seen = drive(unicycle(0.5, 2.0), 2, seed=11, seconds=80)
    jumped_T4 = seen.pose_T4.copy()
    for row in range(100, 1500, 150):
        jumped_T4[row:, :2] += 0.8
    gap_T = seen.stamp_T + np.where(np.arange(len(seen.stamp_T)) > 700, 5_000_000_000, 0)
    own, missed = run(SHIPPED_MODEL, Drive(gap_T, jumped_T4, seen.action_TA))
    assert own.calibration.names[KNOWN_FUTURE] == FITTED
    assert np.degrees(np.nanmedian(np.abs(missed[800:, 2]))) < 1.5


@pytest.mark.parametrize("rate_hz", [5.0, 10.0, 20.0, 50.0])
def test_cameras_of_other_rates(rate_hz):
    seen = drive(unicycle(0.6, -1.5), 2, seed=13, delay_s=0.1, lag_s=0.2, seconds=60, step_s=1.0 / rate_hz)
    calibration = MotionCalibration(SHIPPED_MODEL, STEP_S, 2, 1.0, (1.0,))
    for row in range(len(seen.stamp_T)):
        calibration.observe(int(seen.stamp_T[row]), pose(seen.pose_T4[row]), seen.action_TA[row])
        calibration.learn()
    assert calibration.names[KNOWN_FUTURE] == FITTED
    mine, theirs = (calibration.figures(name, KNOWN_FUTURE) for name in (FITTED, SHIPPED))
    assert mine.turn_deg < max(0.15 * theirs.turn_deg, 2.0)
    assert mine.position_m < 0.25 * theirs.position_m


@pytest.mark.slow
def test_what_was_learned_is_taken_up_again():
    seen = drive(unicycle(0.6, -1.8), 2, seed=3, delay_s=0.2)
    own, _ = run(SHIPPED_MODEL, seen)
    state = json.loads(json.dumps(own.calibration.state()))
    later = MotionCalibration(SHIPPED_MODEL, STEP_S, 2, 1.0, (1.0,))
    later.restore(state)
    assert later.names == own.calibration.names
    assert [later.model(future) for future in FUTURES] == [own.calibration.model(future) for future in FUTURES]
    for wrong in (
        {**state, "action_dim": 3},
        {**state, "names": {}},
        {**state, "names": {"known": FITTED, "held": "other"}},
        {**state, "models": {"other": {}}},
        {**state, "models": {FITTED: {"weights": [[1.0]]}}},
        {**state, "models": None},
    ):
        with pytest.raises(ProfileError):
            MotionCalibration(SHIPPED_MODEL, STEP_S, 2, 1.0, (1.0,)).restore(wrong)


def test_a_model_from_the_profile_that_does_badly_is_left():
    seen = drive(unicycle(), 2, seed=21, delay_s=0.1, lag_s=0.1, seconds=30)
    calibration = MotionCalibration(SHIPPED_MODEL, STEP_S, 2, 1.0, (1.0,))
    wrong = MotionModel(weights=((0.0, -1.0, 0.0, 0.0), (0.0,) * 4, (0.0, 0.0, 3.0, 0.0)))
    entries = {FITTED: wrong.to_manifest(), HELD: MotionModel().to_manifest()}
    names = dict.fromkeys(FUTURES, FITTED)
    calibration.restore({"step_s": STEP_S, "action_dim": 2, "names": names, "models": entries})
    for row in range(120):
        calibration.observe(int(seen.stamp_T[row]), pose(seen.pose_T4[row]), seen.action_TA[row])
        calibration.learn()
    assert calibration.names[KNOWN_FUTURE] == SHIPPED


@settings(max_examples=30, deadline=None)
@given(gain=st.floats(0.01, 1.0), delay=st.integers(0, 5), count=st.integers(1, 60), seed=st.integers(0, 99))
def test_the_lag_by_doubling_is_the_recursion(gain, delay, count, seed):
    command_NF = np.random.default_rng(seed).normal(size=(count, 2))
    plain = [command_NF[0]]
    for row in range(1, count):
        plain.append(plain[-1] + gain * (command_NF[max(row - delay, 0)] - plain[-1]))
    np.testing.assert_allclose(followed(command_NF, gain, delay), plain, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(
    delay=st.integers(0, 8),
    lag=st.floats(0.0, 6.0),
    share=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
    window_s=st.sampled_from([0.1, 0.25, 0.5]),
    driven=st.booleans(),
    seed=st.integers(0, 999),
)
def test_many_starts_at_once_expect_what_the_tracker_expects(delay, lag, share, window_s, driven, seed):
    rng = np.random.default_rng(seed)
    weights = tuple(map(tuple, rng.normal(size=(3, 4)).tolist())) if driven else ()
    model = MotionModel(weights=weights, delay_steps=delay, lag_steps=lag, residual_share=share, window_s=window_s)
    seen = drive(unicycle(), 2, seed=seed, seconds=5)
    log, tracker = MotionLog(STEP_S, 2, 200), MotionTracker(model, STEP_S, 2)
    expected = {}
    for row in range(len(seen.stamp_T)):
        said = int(seen.stamp_T[row]), pose(seen.pose_T4[row]), seen.action_TA[row]
        log.append(*said)
        tracker.update(*said)
        if row in (30, 55, 70):
            expected[row] = [tracker.displacements(20, plan)[-1] for plan in (seen.action_TA[row + 1 : row + 20], None)]
    start_M = np.array(list(expected))
    target = Target(log.rows(0, log.total), np.zeros((0, 3)), np.zeros(0), start_M, STEP_S, 20)
    for index, errors_M3 in enumerate(both_errors(target, model)):
        for row, error_3 in zip(start_M, errors_M3):
            forward, left, turn = pose(seen.pose_T4[row + 20]).relative_to(pose(seen.pose_T4[row]))
            moved_3 = expected[int(row)][index]
            assert error_3[:2] == pytest.approx([forward - moved_3[0], left - moved_3[1]], abs=1e-4)
            assert math.remainder(error_3[2] - turn + moved_3[2], math.tau) == pytest.approx(0.0, abs=1e-4)


def test_work_comes_in_small_pieces_and_too_little_gives_nothing():
    seen = drive(unicycle(0.5, 2.0), 2, seed=1, seconds=120)
    log = MotionLog(STEP_S, 2, 2400)
    for row in range(len(seen.stamp_T)):
        log.append(int(seen.stamp_T[row]), pose(seen.pose_T4[row]), seen.action_TA[row])
    pieces = list(search(target_of(log.rows(0, log.total), STEP_S, 20, driven=True), None, (0.05, 1.0)))
    assert max(pieces) <= 16_000
    assert list(search(target_of(log.rows(0, 30), STEP_S, 20, driven=True), None, (0.05, 1.0))) == []


def test_the_log_keeps_the_last_rows_and_fills_what_a_slow_camera_leaves_out():
    log = MotionLog(STEP_S, 1, 50)
    for row in range(120):
        log.append(row * 100_000_000, Pose2(0.1 * row, 0.0, 0.0, math.remainder(0.2 * row, math.tau)), np.array([row]))
    rows = log.rows(log.total - 40, log.total)
    assert len(rows) == 40
    assert np.diff(rows.pose_N3[:, 0]) == pytest.approx(0.05)
    assert np.diff(rows.pose_N3[:, 2]) == pytest.approx(0.1)  # past half a turn without a jump
    assert rows.action_NA[-1] == 119
    assert rows.action_NA[-2] == rows.action_NA[-3] == 118
    assert (np.diff(rows.fresh_N) == 1).all()
    log.restart()
    log.append(0, Pose2(5.0, 0.0, 0.0, 0.0), None)
    assert log.rows(log.total - 1, log.total).fresh_N[0] == 1
