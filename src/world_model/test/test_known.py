"""What the graph knew of an episode's poses: stored, cut, delayed, and told to predictor, memory and training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wm_core.alignment import PoseStatus
from wm_testing.episodes import circling_episode
from world_model.commands.data import main
from world_model.data.arrivals import at_frames
from world_model.data.episodes import DatasetManifest, EpisodeSet, EpisodeWriter
from world_model.data.known import Known, known_of, with_pose_delay
from world_model.data.simulated import SimulatedRun, simulate_episode
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.motion_model import MotionModel
from world_model.training.sequences import build_sequence

# Twist = (speed, 0, turn rate) = the two actions, at once.
MODEL = MotionModel(
    weights=((0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)),
    error_horizons_s=(0.05, 1.0),
    error_std=((0.01, 0.01, 0.01), (0.1, 0.1, 0.1)),
)
SECONDS = 6.0


@pytest.fixture
def episode():
    return circling_episode(seconds=SECONDS)


def test_without_arrivals_poses_were_there_with_their_frames(episode):
    lost = np.array(episode.pose_T4)
    lost[30:40] = np.nan
    known = known_of(replace(episode, pose_T4=lost), MODEL, 0.05)
    np.testing.assert_array_equal(known.pose_T4, lost)
    np.testing.assert_array_equal(known.kept_T4, lost)
    assert set(known.status_T[30:40]) == {PoseStatus.ABSENT}
    assert known.order == tuple(each for row in range(len(lost)) for each in (row, ~row))


def test_poses_with_their_frames_are_known_at_once(episode):
    told = replace(episode, arrivals=at_frames(episode.stamp_T, episode.pose_T4, episode.action_TA, None))
    known = known_of(told, MODEL, 0.05)
    assert set(known.status_T) == {PoseStatus.INTERPOLATED}
    np.testing.assert_allclose(known.pose_T4[:, :3], episode.pose_T4[:, :3], atol=1e-12)
    np.testing.assert_allclose(np.exp(1j * known.pose_T4[:, 3]), np.exp(1j * episode.pose_T4[:, 3]), atol=1e-9)


@pytest.mark.parametrize("delay_s", [0.03, 0.1])
def test_late_poses_are_expected_first_and_kept_as_measured(episode, delay_s):
    late = with_pose_delay(episode, delay_s)
    known = known_of(late, MODEL, 0.05)
    assert set(known.status_T[10:]) == {PoseStatus.PREDICTED}
    missed_m = np.hypot(*(known.pose_T4 - episode.pose_T4)[10:, :2].T)
    assert 0.0 < missed_m.max() < 0.06
    assert np.nanmin(known.std_T2[10:, 0]) > 0.0
    # Before the first pose nothing is known of a frame, and nothing follows that would be waited for.
    np.testing.assert_allclose(known.kept_T4[5:, :2], episode.pose_T4[5:, :2], atol=1e-9)
    assert known.late == 0
    # A frame is told before it is kept, and kept when its pose has come.
    at = {each: place for place, each in enumerate(known.order)}
    assert all(at[row] < at[~row] for row in range(len(episode)))
    assert (at[~20] > at[21]) == (delay_s > 0.05)


def test_arrivals_are_stored_and_cut_with_their_episode(episode, tmp_path):
    late = with_pose_delay(episode, 0.1)
    writer = EpisodeWriter(tmp_path, DatasetManifest(image_size=16, step_s=0.05, action_dim=2, source={}))
    writer.write(late, "train")
    stored = EpisodeSet(tmp_path).episode(late.name)
    for name in ("frame_T2", "pose_N", "action_M"):
        assert np.array(getattr(stored.arrivals, name)).tobytes() == getattr(late.arrivals, name).tobytes()
    whole, part = known_of(stored, MODEL, 0.05), known_of(stored.cut(2.0, 4.0), MODEL, 0.05)
    assert len(part.pose_T4) == 40
    np.testing.assert_allclose(part.pose_T4[20:], whole.pose_T4[60:80], atol=1e-3)
    np.testing.assert_array_equal(part.kept_T4[:30], whole.kept_T4[40:70])


def test_training_starts_from_the_poses_known_and_remembers_the_measured_ones(episode):
    latent_TD = np.random.default_rng(0).normal(size=(len(episode), 4)).astype(np.float32)
    known = known_of(with_pose_delay(episode, 0.1), MODEL, 0.05)
    usual = (latent_TD, MODEL, Retrieval(), (1, 20), 0.05)
    plain = build_sequence(episode, *usual)
    same = build_sequence(episode, *usual, known=Known.at_once(episode.pose_T4, None))
    np.testing.assert_array_equal(same.expected_TH3, plain.expected_TH3)
    np.testing.assert_array_equal(same.motion_THM, plain.motion_THM)
    told = build_sequence(episode, *usual, known=known)
    np.testing.assert_array_equal(told.pose_T4, known.pose_T4)
    rows = np.searchsorted(episode.stamp_T, told.table.stamp_N)
    np.testing.assert_array_equal(told.table.pose_N4, known.kept_T4[rows])
    assert not np.array_equal(told.motion_THM, plain.motion_THM)


@pytest.mark.slow
def test_a_simulated_robot_has_the_delay_that_is_asked_for():
    run = SimulatedRun(seed=3, duration_s=70.0, image_size=8)
    usual, late = simulate_episode(run), simulate_episode(replace(run, pose_delay_s=0.2))
    lag_N = (usual.arrivals.pose_N["arrival"] - usual.arrivals.pose_N["stamp"]) * 1e-9
    assert np.median(lag_N) == pytest.approx(0.03, abs=0.005)
    assert set(late.arrivals.pose_N["arrival"] - late.arrivals.pose_N["stamp"]) == {200_000_000}
    # What was measured is the same; only when it was there differs.
    np.testing.assert_array_equal(usual.pose_T4[10:-10], late.pose_T4[10:-10])


def test_an_impossible_delay_is_refused(tmp_path, capsys):
    assert main(["sim", str(tmp_path), "--seeds", "1", "--pose-delay-ms", "-5"]) == 2
    assert "-0.005 s after their stamp" in capsys.readouterr().err
