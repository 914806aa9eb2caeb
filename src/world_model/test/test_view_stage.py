import numpy as np
import pytest
import torch

from wm_testing.episodes import circling_episode, circling_set
from world_model.data.episodes import EpisodeSet
from world_model.models.views import ViewWarp
from world_model.runtime.conditioning import Retrieval
from world_model.training.config import ModelConfig, OptimiserConfig, TrainConfig
from world_model.training.report import Report
from world_model.training.stages import prepare
from world_model.training.view_stage import train_views, view_pairs

pytestmark = pytest.mark.training


def latents_by_pose(episode):
    """Latents that are waves of the pose, so that the right answer is known everywhere."""
    pose_T4 = episode.pose_T4
    phase_TD = pose_T4[:, [0, 1, 3]] @ np.random.default_rng(0).normal(size=(3, 8)) * [2, 2, 2, 3, 3, 3, 1, 1]
    return np.sin(phase_TD).astype(np.float32)


def test_pairs_are_of_different_visits_and_their_offsets_lead_from_one_to_the_other():
    episode = circling_episode(seconds=40.0)
    latent_TD = np.arange(len(episode), dtype=np.float32)[:, None]
    memory_ND, seen_ND, offset_N3 = view_pairs(episode, latent_TD, Retrieval(length_scale_m=2.0))
    memory_N, seen_N = memory_ND[:, 0].astype(int), seen_ND[:, 0].astype(int)
    assert len(memory_N) > 100
    assert (episode.stamp_T[seen_N] - episode.stamp_T[memory_N]).min() >= 20e9
    row = len(memory_N) // 2
    there, here = episode.pose_T4[memory_N[row]], episode.pose_T4[seen_N[row]]
    delta, yaw = there[:2] - here[:2], here[3]
    forward = delta @ [np.cos(yaw), np.sin(yaw)]
    np.testing.assert_allclose(offset_N3[row, 0], forward / 2.0, atol=1e-5)
    assert np.abs(offset_N3[:, :2]).max() <= 0.5


def test_a_trained_warp_says_what_a_view_looks_like_from_nearby_in_a_drive_it_never_saw():
    rng = np.random.default_rng(1)
    pairs = []
    for seed in range(4):
        episode = circling_episode(seconds=60.0, seed=seed)
        # Poses that no two laps share, so that there is something to carry over.
        episode.pose_T4[:, :2] += 0.1 * np.sin(np.arange(len(episode))[:, None] / 37.0 + rng.uniform(0, 6, 2))
        episode.pose_T4[:, 3] += 0.1 * np.sin(np.arange(len(episode)) / 29.0 + rng.uniform(0, 6))
        pairs.append(view_pairs(episode, latents_by_pose(episode), Retrieval()))
    torch.manual_seed(0)
    warp = ViewWarp(8, 32)
    steps: list[int] = []
    report = Report(advance=lambda stage, done, total: steps.append(done))
    train_views(warp, pairs[:-1], torch.zeros(8), torch.ones(8), TrainConfig(view_steps=400), None, report)
    memory_ND, seen_ND, offset_N3 = (torch.from_numpy(column) for column in pairs[-1])
    with torch.no_grad():
        warped = (warp(memory_ND, offset_N3) - seen_ND).square().mean()
    copied = (memory_ND - seen_ND).square().mean()
    assert steps[-1] == 400
    assert warped < 0.5 * copied


def test_a_run_leaves_its_warp_and_takes_it_up_again(tmp_path):
    episodes = EpisodeSet(circling_set(tmp_path / "data", seconds=45.0))
    small = ModelConfig(latent_dim=8, hidden_dim=8, width=8, memory_width=8)
    optimiser = OptimiserConfig(steps=2, batch=2, warm_up=0)
    config = TrainConfig(horizons=(1, 2), model=small, optimiser=optimiser, path_steps=11, view_steps=20)
    (tmp_path / "run").mkdir()
    first = prepare(config, episodes, ["a"], tmp_path / "run").transition.memory.warp.state_dict()
    assert (tmp_path / "run" / "views.pt").is_file()
    assert first["leave.weight"].abs().sum() > 0
    again = prepare(config, episodes, ["a"], tmp_path / "run").transition.memory.warp.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
