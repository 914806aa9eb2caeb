"""Time is counted in seconds at any camera rate: against episodes whose values are known at every time."""

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wm_core.se2 import Pose2
from wm_core.timeline import Pacer
from wm_testing.artifacts import make_random_artifact
from world_model.data.episodes import Episode
from world_model.data.rates import check_rates, horizons_in_steps, keeps_step, measured_step_s, on_step
from world_model.errors import DataError
from world_model.evaluation.horizons import between_rows, plan_ahead, target_rows, targets
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.metrics import ErrorTracker, judging_tolerance_s, too_slow
from world_model.runtime.motion import MotionModel, MotionTracker, displacement_at
from world_model.runtime.predictor import Forecast, Observation, Prediction, Predictor
from world_model.runtime.stepping import StepCounter
from world_model.training.sampler import Sampler, judged_rows
from world_model.training.sequences import build_sequence

STEP_S = 0.05
RATES = (1, 5, 7, 10, 15, 20, 30, 60, 120)
HORIZONS = (1, 5, 10, 20, 40)
UNICYCLE = ((0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0))
SPEED, TURN = 0.8, 0.4


def stamps(rate_hz: float, seconds: float, jitter: float = 0.0, drops: float = 0.0, seed: int = 0) -> np.ndarray:
    """Stamps of a camera; jitter is a share of its period, drops a share of its frames."""
    rng = np.random.default_rng(seed)
    second_T = np.arange(int(seconds * rate_hz) + 1) / rate_hz
    second_T = second_T + rng.uniform(-jitter, jitter, len(second_T)) / rate_hz
    kept_T = rng.random(len(second_T)) >= drops
    kept_T[0] = True
    return 1_700_000_000_000_000_000 + np.round(second_T[kept_T] * 1e9).astype(np.int64)


def place(second: float) -> tuple[float, float, float, float]:
    """Where the robot is: on a circle, at constant speed and turn."""
    angle, radius = TURN * second, SPEED / TURN
    return radius * math.sin(angle), radius * (1.0 - math.cos(angle)), 0.0, angle


def driven(stamp_T: np.ndarray) -> tuple[Episode, np.ndarray]:
    """An episode along the circle, and latents that are their own time."""
    second_T = (stamp_T - stamp_T[0]) * 1e-9
    pose_T4 = np.array([place(second) for second in second_T])
    action_TA = np.tile(np.float32([SPEED, TURN]), (len(stamp_T), 1))
    image = np.zeros((len(stamp_T), 2, 2, 3), np.uint8)
    return Episode("e", "e", image, stamp_T, pose_T4, action_TA), second_T[:, None].astype(np.float32)


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize(("jitter", "drops"), [(0.0, 0.0), (0.2, 0.0), (0.0, 0.1)])
def test_the_rate_is_measured_whatever_jitters_or_is_dropped(rate_hz, jitter, drops):
    found_s = measured_step_s(stamps(rate_hz, 60.0, jitter, drops))
    assert found_s == pytest.approx(1 / rate_hz, rel=0.1 if jitter else 0.001)


def test_a_camera_that_loses_each_tenth_frame_has_the_step_that_it_has_between():
    # More than every second stretch of six frames lacks one.
    stamp_T = np.delete(stamps(20, 60.0), np.arange(5, 1200, 10))
    assert measured_step_s(stamp_T) == pytest.approx(STEP_S)


@pytest.mark.parametrize("rate_hz", [24, 25, 30, 50, 60])
def test_a_camera_thinned_to_20_hz_keeps_the_step_of_20_hz(rate_hz):
    """The gaps of 30 Hz thinned to 20 are 33 and 67 ms: neither is the step."""
    pacer = Pacer(20.0)
    kept = [stamp for stamp in stamps(rate_hz, 30.0).tolist() if pacer.is_due(stamp)]
    assert measured_step_s(np.array(kept)) == pytest.approx(STEP_S, rel=0.1)
    # One of 24 or 25 Hz has a gap of 80 ms now and then: a step is missing there, and is interpolated.
    assert keeps_step(np.array(kept), STEP_S) == (rate_hz >= 30)


def test_an_episode_that_keeps_the_step_stays_as_it_is_to_the_last_bit():
    episode, latent_TD = driven(stamps(20, 10.0, jitter=0.1))
    stepped = on_step(episode, latent_TD, STEP_S)
    assert stepped.episode is episode
    assert stepped.latent_TD is latent_TD
    assert stepped.measured_T.all()


@pytest.mark.parametrize("rate_hz", [rate for rate in RATES if rate != 20])
@pytest.mark.parametrize(("jitter", "drops"), [(0.0, 0.0), (0.2, 0.0), (0.0, 0.1)])
def test_on_the_steps_everything_is_where_it_was_at_that_time(rate_hz, jitter, drops):
    episode, latent_TD = driven(stamps(rate_hz, 40.0, jitter, drops))
    stepped = on_step(episode, latent_TD, STEP_S)
    second_G = (stepped.episode.stamp_T - episode.stamp_T[0]) * 1e-9
    assert np.diff(stepped.episode.stamp_T) == pytest.approx(STEP_S * 1e9)
    assert stepped.latent_TD[:, 0] == pytest.approx(second_G, abs=1e-4)
    truth_G4 = np.array([place(second) for second in second_G])
    # A chord of the circle, as long as the largest gap.
    sagitta = (SPEED / TURN) * (1 - math.cos(TURN * np.diff(episode.stamp_T).max() * 1e-9 / 2))
    assert np.hypot(*(stepped.episode.pose_T4 - truth_G4)[:, :2].T).max() <= max(sagitta, 1e-6) * 1.01
    assert stepped.episode.action_TA == pytest.approx(np.tile([SPEED, TURN], (len(second_G), 1)))
    nearest_G = np.abs(episode.stamp_T[:, None] - stepped.episode.stamp_T).min(axis=0)
    assert (nearest_G[stepped.measured_T] <= 0.4 * STEP_S * 1e9).all()
    assert stepped.measured_T.any()


def test_a_frame_beside_unknown_poses_keeps_its_own():
    episode, latent_TD = driven(stamps(10, 2.0))
    episode.pose_T4[5] = np.nan
    stepped = on_step(episode, latent_TD, STEP_S)
    known_G = np.isfinite(stepped.episode.pose_T4).all(axis=1)
    assert np.flatnonzero(~known_G).tolist() == [9, 10, 11]


def test_what_follows_a_long_gap_is_not_judged():
    stamp_T = np.concatenate([stamps(10, 5.0), stamps(10, 5.0) + 8_000_000_000])
    stepped = on_step(*driven(stamp_T), STEP_S)
    second_G = (stepped.episode.stamp_T - stamp_T[0]) * 1e-9
    assert not stepped.measured_T[(second_G > 5.01) & (second_G < 8.2)].any()
    assert stepped.measured_T[(second_G < 4.99)][::2].all()


@pytest.mark.parametrize(
    ("rate_hz", "step_s", "steps"),
    [
        (20, 0.05, (1, 5, 10, 20, 40)),
        (30, 0.05, (1, 5, 10, 20, 40)),
        (10, 0.05, (2, 4, 10, 20, 40)),
        (1 / 0.15, 0.05, (3, 6, 9, 21, 39)),
        (1, 0.05, (20, 40)),
        (10, 0.1, (1, 2, 5, 10, 20)),
        (1 / 0.15, 0.15, (1, 2, 3, 7, 13)),
    ],
)
def test_horizons_are_those_that_a_camera_shows(rate_hz, step_s, steps):
    assert horizons_in_steps(HORIZONS, [stamps(rate_hz, 30.0)], step_s) == steps


def test_cameras_of_two_rates_show_the_union():
    assert horizons_in_steps(HORIZONS, [stamps(20, 9.0), stamps(10, 9.0)], STEP_S) == (1, 2, 4, 5, 10, 20, 40)


def test_pictures_of_another_rate_are_refused_by_name():
    episodes = [driven(stamps(20, 5.0))[0], driven(stamps(10, 5.0))[0]]
    check_rates(episodes[:1], STEP_S)
    with pytest.raises(DataError, match=r"episode e has a frame each 0\.100 s, expected 0\.050 s"):
        check_rates(episodes, STEP_S)


@given(
    gaps=st.lists(st.floats(0.004, 1.5), min_size=1, max_size=80),
    step_s=st.sampled_from([0.05, 0.1, 1 / 30]),
)
@settings(max_examples=60, deadline=None)
def test_steps_add_up_to_the_time_that_passed(gaps, step_s):
    counter = StepCounter(step_s)
    stamp_T = np.round(np.cumsum([1.0, *gaps]) * 1e9).astype(np.int64)
    steps = [counter.advance(int(stamp)) for stamp in stamp_T][1:]
    assert all(step >= 0 for step in steps)
    assert sum(steps) * step_s == pytest.approx((stamp_T[-1] - stamp_T[0]) * 1e-9, abs=0.51 * step_s)


@pytest.mark.parametrize("jitter", [0.0, 0.2])
def test_a_camera_at_the_step_makes_one_step_each_time(jitter):
    counter = StepCounter(STEP_S)
    assert {counter.advance(int(stamp)) for stamp in stamps(20, 60.0, jitter)} == {1}


@pytest.mark.parametrize("rate_hz", RATES)
def test_the_expected_pose_lies_where_the_robot_will_be_at_any_rate(rate_hz):
    """A lag of 2 steps and a delay of 3, both in time: what a slow camera does not show passes all the same."""
    model = MotionModel(weights=UNICYCLE, delay_steps=3, lag_steps=2.0, residual_share=(0.0, 0.0, 0.0))
    tracker, stamp_T = MotionTracker(model, STEP_S, 2), stamps(rate_hz, 12.0)
    switch_s = 6.0
    for stamp in stamp_T[: -math.ceil(rate_hz)].tolist():
        second = (stamp - stamp_T[0]) * 1e-9
        tracker.update(stamp, None, np.array([0.0 if second < switch_s else SPEED, 0.0]))
    # Long after the switch the twist has followed.
    assert tracker.displacements(20)[-1] == pytest.approx([SPEED, 0.0, 0.0], abs=1e-3)
    forward_S = displacement_at(tracker.displacements(20), [0.333, 1.0], STEP_S)[:, 0]
    assert forward_S == pytest.approx([0.333 * SPEED, SPEED], abs=1e-3)


@pytest.mark.parametrize("rate_hz", [5, 7, 10, 15, 30, 60])
def test_a_command_acts_after_its_delay_in_seconds_at_any_rate(rate_hz):
    """0.5 s after a command the delay of 0.4 s is over: a tenth of a second of driving, however often it was seen."""
    model = MotionModel(weights=UNICYCLE, delay_steps=8, residual_share=(0.0, 0.0, 0.0))
    tracker, gap_s = MotionTracker(model, STEP_S, 2), 1 / rate_hz
    for index in range(-3 * rate_hz, 1):
        command = np.array([0.0 if index < 0 else 1.0, 0.0])
        tracker.update(round((10.0 + index * gap_s) * 1e9), None, command)
    assert tracker.displacements(10)[-1, 0] == pytest.approx(0.1, abs=STEP_S)
    moving = [index for index in range(1, rate_hz + 1)]
    for index in moving:
        tracker.update(round((10.0 + index * gap_s) * 1e9), None, np.array([1.0, 0.0]))
    assert tracker.displacements(10)[-1, 0] == pytest.approx(0.5)


@pytest.mark.parametrize("rate_hz", RATES)
def test_velocity_from_poses_alone_at_any_rate(rate_hz):
    tracker = MotionTracker(MotionModel(), STEP_S, 2)
    for stamp in stamps(rate_hz, 5.0).tolist():
        second = (stamp - 1_700_000_000_000_000_000) * 1e-9
        tracker.update(stamp, Pose2(0.5 * second, 0.0, 0.0, 0.0), None)
    assert tracker.displacements(20)[-1, 0] == pytest.approx(0.5, abs=1e-6)


def nothing(horizon_s: float) -> Forecast:
    """A forecast of zeros, whatever makes it up."""
    empty = {"copied_D": None, "gate": 0.0, "memory_ids": (), "memory_poses": (), "pose": None, "revisit": False}
    zeros = {field.name: np.zeros(1) for field in fields(Forecast) if field.name.endswith("_D")}
    return Forecast(**(zeros | empty | {"horizon_s": horizon_s}))


@pytest.mark.parametrize("rate_hz", [r for r in RATES if r <= 20] + [1 / 0.15])
@pytest.mark.parametrize(("jitter", "drops"), [(0.0, 0.0), (0.1, 0.0), (0.0, 0.1)])
def test_live_and_evaluation_judge_the_same_forecasts_by_the_same_frames(rate_hz, jitter, drops):
    stamp_T = stamps(rate_hz, 30.0, jitter, drops, seed=3)
    tracker = ErrorTracker(np.ones(1), STEP_S / 2)
    judged = set()
    for stamp in stamp_T.tolist():
        for scored in tracker.observe(Observation(stamp, np.zeros(1))):
            judged.add((scored.predicted_from_ns, round(scored.forecast.horizon_s, 2), scored.stamp_ns))
        tracker.expect(Prediction(stamp, (nothing(STEP_S), nothing(1.0))))
    row_TH, part_TH = targets(stamp_T, (1, 20), STEP_S)
    next_TH = np.minimum(row_TH + 1, len(stamp_T) - 1)
    time_TH = stamp_T[row_TH] + np.round(part_TH * (stamp_T[next_TH] - stamp_T[row_TH])).astype(np.int64)
    expected = {
        (int(stamp_T[row]), (STEP_S, 1.0)[column], int(time_TH[row, column]))
        for row, column in zip(*np.nonzero(row_TH >= 0))
    }
    # Of forecasts that two frames lie equally near to, live keeps the better one; the last frame ends the run.
    settled = {entry for entry in expected if entry[0] + round(entry[1] * 1e9) <= stamp_T[-1]}
    assert len(judged ^ settled) <= 0.03 * len(settled)


@pytest.mark.parametrize("rate_hz", RATES)
def test_one_second_is_judged_at_every_rate_and_one_step_only_where_a_frame_is(rate_hz):
    row_TH = target_rows(stamps(rate_hz, 20.0), (1, 20), STEP_S)
    judged_H = (row_TH >= 0).sum(axis=0)
    assert judged_H[1] >= 0.9 * (len(row_TH) - rate_hz)
    assert bool(judged_H[0]) == (rate_hz >= 15)
    assert too_slow(1 / rate_hz, STEP_S, STEP_S) == (rate_hz < 15)
    assert not too_slow(1 / rate_hz, 1.0, STEP_S)


@pytest.mark.parametrize("rate_hz", [2.0, 2.2, 2.5, 2.8, 3.5, 4.4, 4.5, 4.8])
def test_from_2_hz_on_what_no_frame_shows_is_judged_between_two(rate_hz):
    stamp_T = stamps(rate_hz, 30.0)
    second_T = (stamp_T - stamp_T[0]) * 1e-9
    row_TH, part_TH = targets(stamp_T, (1, 20), STEP_S)
    judged_T = row_TH[:, 1] >= 0
    assert judged_T.sum() >= len(stamp_T) - rate_hz - 1
    assert not (row_TH[:, 0] >= 0).any()
    # What changes evenly is seen as it was at the predicted time, unless a frame within the tolerance stands for it.
    seen_TH = between_rows(second_T[:, None], row_TH, part_TH)[..., 0]
    is_between_T = judged_T & (part_TH[:, 1] > 0)
    assert seen_TH[is_between_T, 1] == pytest.approx(second_T[is_between_T] + 1.0, abs=1e-6)
    assert np.abs(seen_TH[judged_T, 1] - second_T[judged_T] - 1.0).max() <= 0.1 + 1e-6
    assert not too_slow(1 / rate_hz, 1.0, STEP_S)


def test_a_camera_slower_than_2_hz_judges_only_by_its_frames():
    assert too_slow(1 / 1.5, 1.0, STEP_S)
    assert not too_slow(1.0, 1.0, STEP_S)
    assert (targets(stamps(1.5, 30.0), (20,), STEP_S)[0] < 0).all()


def test_the_tracker_judges_between_frames_by_what_lies_between():
    tracker = ErrorTracker(np.ones(1), STEP_S / 2)
    for time_s in np.arange(6) * 0.4:  # 2.5 Hz: 1 s lies midway between the third and the fourth frame
        stamp_ns = int(time_s * 1e9)
        for scored in tracker.observe(Observation(stamp_ns, np.array([time_s]))):
            assert scored.stamp_ns - scored.predicted_from_ns == 1_000_000_000
            assert scored.error == pytest.approx((scored.stamp_ns * 1e-9) ** 2)
            stamp_ns = -1
        assert (stamp_ns < 0) == (time_s > 1.0)
        tracker.expect(Prediction(int(time_s * 1e9), (nothing(1.0),)))


def test_every_camera_of_5_hz_or_more_judges_one_second_ahead():
    assert judging_tolerance_s(1.0, STEP_S) == pytest.approx(0.1)
    assert not [rate for rate in np.arange(5.0, 120.0, 0.1) if too_slow(1 / rate, 1.0, STEP_S)]


@pytest.mark.parametrize("rate_hz", [5, 10, 15, 60])
def test_known_actions_are_those_of_each_steps_time(rate_hz):
    stamp_T = stamps(rate_hz, 6.0)
    second_TA = ((stamp_T - stamp_T[0]) * 1e-9)[:, None]
    plan_SA = plan_ahead(second_TA, stamp_T, 2, 20, STEP_S)
    wanted_S = 2 / rate_hz + np.arange(1, 20) * STEP_S
    held_S = wanted_S + STEP_S / 2 - plan_SA[:, 0]
    assert ((held_S >= -1e-6) & (held_S <= 1 / rate_hz + 1e-6)).all()


def test_known_actions_at_the_step_are_the_next_rows():
    stamp_T, action_TA = stamps(20, 5.0, jitter=0.3), np.random.default_rng(0).normal(size=(101, 2))
    assert plan_ahead(action_TA, stamp_T, 10, 20, STEP_S) == pytest.approx(action_TA[11:30])
    assert len(plan_ahead(action_TA, stamp_T, 95, 20, STEP_S)) == 5


@pytest.mark.parametrize("rate_hz", [5, 1 / 0.15, 7, 10, 15, 30])
def test_what_training_learns_lies_a_horizon_ahead_by_stamps(rate_hz):
    """Latents are their own time: target minus present is the horizon, whatever the rate."""
    stamp_T = stamps(rate_hz, 60.0)
    steps = horizons_in_steps(HORIZONS, [stamp_T], STEP_S)
    episode, latent_TD = driven(stamp_T)
    sequence = build_sequence(episode, latent_TD, MotionModel(weights=UNICYCLE), Retrieval(), steps, STEP_S)
    batch = Sampler([sequence], steps, 24, 6, 4, seed=0).draw(40)
    present_R = batch.latent_BLD[batch.row_R, batch.position_R, 0].numpy()
    ahead_RH = batch.target_RHD[:, :, 0].numpy() - present_R[:, None]
    known_RH = np.isfinite(ahead_RH)
    assert known_RH.any(axis=1).all()
    horizon_RH = np.broadcast_to(np.array(steps) * STEP_S, ahead_RH.shape)
    assert ahead_RH[known_RH] == pytest.approx(horizon_RH[known_RH], abs=1e-3)
    near_R = np.abs(present_R[:, None] - latent_TD[:, 0]).min(axis=1)
    assert (near_R <= 0.4 * STEP_S + 1e-3).all()


def test_rows_without_a_target_are_not_judged():
    measured_T = np.array([1, 0, 0, 1, 0, 0, 1, 0], bool)
    assert np.flatnonzero(judged_rows(measured_T, np.array([3]))).tolist() == [0, 3]


def test_too_short_episodes_are_refused():
    episode, latent_TD = driven(stamps(10, 2.0))
    sequence = build_sequence(episode, latent_TD, MotionModel(weights=UNICYCLE), Retrieval(), (2, 40), STEP_S)
    with pytest.raises(DataError, match="no episode is long enough"):
        Sampler([sequence], (2, 40), 24, 6, 4, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("rate_hz", RATES)
def test_the_predictor_asks_where_the_robot_will_be_at_any_rate(tmp_path, rate_hz):
    make_random_artifact(tmp_path, motion=MotionModel(weights=UNICYCLE).to_manifest())
    predictor, stamp_T = Predictor(load_artifact(tmp_path)), stamps(rate_hz, 6.0)
    for stamp in stamp_T.tolist():
        second = (stamp - stamp_T[0]) * 1e-9
        pose, action = Pose2(*place(second)), np.float32([SPEED, TURN])
        requests = predictor.observe(Observation(stamp, np.zeros(32, np.float32), pose, action))
    there = place((stamp_T[-1] - stamp_T[0]) * 1e-9 + 1.0)
    assert (requests[1].pose.x, requests[1].pose.y) == pytest.approx(there[:2], abs=0.02)
    assert requests[1].pose.yaw == pytest.approx(there[3], abs=0.02)


@pytest.mark.slow
def test_the_context_of_a_slow_camera_is_that_of_a_fast_one_where_little_changes(tmp_path):
    make_random_artifact(tmp_path)
    latent_D = np.random.default_rng(0).normal(size=32).astype(np.float32)
    said = []
    for rate_hz in (5, 10, 20, 60):
        predictor = Predictor(load_artifact(tmp_path))
        for stamp in stamps(rate_hz, 2.0).tolist():
            predictor.observe(Observation(stamp, latent_D, None, np.float32([1.0, 0.0])))
        said.append(predictor.predict(None).forecasts[1].latent_D)
    for other in said[1:]:
        assert other == pytest.approx(said[0], abs=1e-3)
