"""Path foresight on episodes whose next turn the latent tells, surely in one half and not at all in the other."""

import numpy as np
import pytest
import torch

from world_model.models import GruContext, Transition
from world_model.training.config import TrainConfig
from world_model.training.displacement import missed_displacement
from world_model.training.path_stage import PathData, fit_caution, last_part, path_corrections, train_path

pytestmark = pytest.mark.training

HORIZONS_S = (0.5, 1.0)


def make_episode(seed, spread=0.3, count=400):
    """The first latent is by how much the turn is missed; the second says whether noise comes on top of it."""
    rng = np.random.default_rng(seed)
    latent_TD = np.zeros((count, 4), np.float32)
    latent_TD[:, 0] = np.repeat(rng.normal(size=count // 20), 20)
    latent_TD[:, 1] = np.repeat(rng.integers(0, 2, count // 20), 20) * 2.0 - 1.0
    missed_TH3 = np.zeros((count, 2, 3))
    noise_T = spread * rng.normal(size=count) * (latent_TD[:, 1] > 0)
    missed_TH3[:, :, 2] = 0.5 * latent_TD[:, :1] * np.array(HORIZONS_S) + noise_T[:, None]
    missed_TH3[-20:] = np.nan
    moved_TH3 = np.zeros((count, 2, 3))
    return PathData(latent_TD, np.zeros((count, 2), np.float32), moved_TH3, missed_TH3)


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    model = Transition(4, 2, GruContext(6, 8), width=16, memory_width=16)
    train_path(model, [make_episode(seed) for seed in range(8)], HORIZONS_S, TrainConfig(path_steps=250))
    return model


def said(model, episode):
    return path_corrections(model, episode.latent_TD, episode.action_TA, episode.moved_TH3, HORIZONS_S)[10:-20]


def test_foresight_knows_the_turn_and_how_surely(trained):
    episode = make_episode(100)
    said_TH6, missed_T = said(trained, episode), episode.missed_TH3[10:-20, 1, 2]
    unsure_T = episode.latent_TD[10:-20, 1] > 0
    left_T = missed_T - said_TH6[:, 1, 2]
    assert np.std(left_T[~unsure_T]) < 0.4 * np.std(missed_T[~unsure_T])
    sure, unsure = (np.median(said_TH6[mask, 1, 5]) for mask in (~unsure_T, unsure_T))
    assert unsure > 1.5 * sure
    assert unsure == pytest.approx(0.3, rel=0.5)


def test_caution_is_what_drives_not_learned_from_ask_for(trained):
    episodes = [make_episode(seed, spread=0.9) for seed in (200, 201)]
    before = said(trained, episodes[0])[..., 5]
    fit_caution(trained, episodes, HORIZONS_S)
    factor = float(trained.path.caution[2])
    assert 1.5 < factor < 4.0
    assert said(trained, episodes[0])[..., 5] == pytest.approx(factor * before, rel=1e-4)
    # Where less is missed than feared nothing is taken back.
    fit_caution(trained, [make_episode(300, spread=0.0)], HORIZONS_S)
    assert (trained.path.caution >= 1.0).all()


def test_the_last_part_is_the_last_part():
    episode = make_episode(0)
    first, last = last_part(episode, 0.25)
    assert (len(first.latent_TD), len(last.latent_TD)) == (300, 100)
    assert np.array_equal(last.latent_TD, episode.latent_TD[300:])


def test_what_is_missed_is_seen_from_the_smoothed_pose():
    pose_T4 = np.array([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.1], [1.0, 1.0, 0.0, np.pi / 2]])
    present_T3 = np.array([[0.0, 0.1, 0.0], [1.0, 0.0, np.pi / 2], [np.nan] * 3])
    missed_TH3 = missed_displacement(pose_T4, present_T3, np.zeros((3, 1, 3)), (1,))
    assert missed_TH3[0, 0] == pytest.approx([1.0, -0.1, 0.1])
    assert missed_TH3[1, 0] == pytest.approx([1.0, 0.0, 0.0])
    assert np.isnan(missed_TH3[2]).all()
