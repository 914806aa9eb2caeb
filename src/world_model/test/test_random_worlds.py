"""Sets of random worlds: what was drawn is written down; frames, poses and actions come at the rates drawn."""

import json

import numpy as np
import pytest

from wm_sim import ActionMeaning, PoseNoise, RandomWorld, draw_world, simulate
from world_model.commands.data import main as data_main
from world_model.data.episodes import EpisodeSet
from world_model.data.randomised import record, world_of
from world_model.data.simulated import SimulatedRun, generate, simulate_episode
from world_model.errors import DataError


@pytest.fixture(scope="module")
def random_set(tmp_path_factory):
    path = tmp_path_factory.mktemp("random") / "set"
    arguments = ["--seeds", "7-8", "--seconds", "70", "--image-size", "16", "--workers", "1"]
    assert data_main(["sim", str(path), "--randomise", *arguments, "--proprioception"]) == 0
    return path


@pytest.mark.slow
def test_a_set_says_what_was_drawn(random_set):
    entries = json.loads((random_set / "manifest.json").read_text())
    assert entries["source"] == {"kind": "wm_sim", "randomised": True}
    for seed in (7, 8):
        entry = entries["episodes"][f"sim-{seed:05d}-random"]
        assert entry["world"] == draw_world(seed).to_json()
        assert entry["step_s"] == pytest.approx(1.0 / draw_world(seed).frame_rate_hz, abs=1e-4)


@pytest.mark.slow
def test_a_seed_gives_an_episode_bit_for_bit(random_set):
    run = SimulatedRun(seed=7, duration_s=70.0, image_size=16, randomise=True, proprioception=True)
    one, stored = simulate_episode(run), EpisodeSet(random_set).episode(run.name)
    for name in ("image_TSSC", "stamp_T", "pose_T4", "action_TA", "proprio_TP"):
        assert np.array_equal(getattr(one, name), getattr(stored, name), equal_nan=name != "image_TSSC"), name


@pytest.mark.slow
def test_frames_come_at_the_rate_drawn_and_have_poses_and_actions(random_set):
    for seed in (7, 8):
        episode = EpisodeSet(random_set).episode(f"sim-{seed:05d}-random")
        assert len(episode) == round(70 * draw_world(seed).frame_rate_hz)
        assert np.isfinite(episode.pose_T4).all(axis=1).mean() > 0.99
        assert np.isfinite(episode.action_TA).all(axis=1).mean() > 0.99


def test_a_world_drawn_as_the_usual_one_is_the_usual_one():
    usual = RandomWorld(None, 20.0, 50.0, meaning=ActionMeaning(scale=(-2.0, 1.0), swapped=True))
    recorded, plain = record(usual, 4, 3.0, 16), list(simulate(4, 3.0, image_size=(16, 16)))
    assert np.array_equal(np.stack(recorded.images), np.stack([step.image_HWC for step in plain]))
    command_T2 = np.stack([step.action_A for step in plain])
    assert np.stack([event.values for event in recorded.actions]) == pytest.approx(command_T2[:, ::-1] * [1.0, -2.0])
    assert np.diff([event.stamp_ns for event in recorded.poses]).tolist() == [20_000_000] * 149


def test_poses_are_those_of_their_time_and_come_as_late_as_drawn():
    noise = PoseNoise(0.0, 0.0, 0.0, 0.0, latency_s=0.25, latency_jitter_s=0.0)
    recorded = record(RandomWorld(None, 10.0, 20.0, pose_noise=noise), 4, 3.0, 16)
    truth = {round(step.stamp_s * 1e9): step.true_pose for step in simulate(4, 3.0, image_size=(16, 16))}
    for event in recorded.poses:
        assert event.position[:2] == pytest.approx(truth[event.stamp_ns][:2])
        assert event.arrival_ns - event.stamp_ns == 250_000_000


def test_a_rate_that_is_given_takes_the_place_of_the_one_drawn():
    assert world_of(3, 5.0).frame_rate_hz == 5.0
    assert world_of(3, None) == draw_world(3)
    assert len(record(world_of(3, 5.0), 3, 2.0, 16).stamps) == 10


@pytest.mark.slow
def test_plain_sets_say_and_hold_what_they_did(tmp_path):
    runs = [SimulatedRun(seed=seed, duration_s=70.0, image_size=16) for seed in (3, 4)]
    entries = generate(tmp_path / "plain", runs, workers=1).manifest
    assert entries.source == {"kind": "wm_sim"}
    assert entries.episodes["sim-00003"] == {"place": "building-00003", "frames": 1400, "split": "train"}
    with pytest.raises(DataError, match="holds a set with source"):
        generate(tmp_path / "plain", [SimulatedRun(seed=5, image_size=16, randomise=True)], workers=1)


def test_what_does_not_go_together_is_refused(tmp_path, capsys):
    plain, random = SimulatedRun(seed=1), SimulatedRun(seed=2, randomise=True)
    with pytest.raises(DataError, match="all be random or none"):
        generate(tmp_path / "set", [plain, random])
    for other in ("--still", "--tasks"):
        assert data_main(["sim", str(tmp_path / "set"), "--seeds", "1", "--randomise", other]) == 2
        assert "random worlds draw what changes" in capsys.readouterr().err
    assert data_main(["sim", str(tmp_path / "set"), "--seeds", "1", "--rate-hz", "10"]) == 2
    assert "rate_hz is 10.0 Hz, expected 1 to 100 Hz, of random worlds" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.training
def test_a_set_of_different_rates_trains(random_set, tmp_path):
    pytest.importorskip("lightning_fabric", reason="the training extra, requirements/train.txt, is not installed")
    from world_model.runtime.artifacts import load_artifact
    from world_model.runtime.conditioning import Retrieval
    from world_model.training.config import ModelConfig, OptimiserConfig, TrainConfig
    from world_model.training.pipeline import run_training

    config = TrainConfig(
        name="toy",
        horizons=(1, 20),
        path_steps=20,
        validate_every=20,
        retrieval=Retrieval(anticipated_k=2, appearance_k=2),
        model=ModelConfig(latent_dim=4, encoder="linear", hidden_dim=8, width=16, memory_width=8),
        optimiser=OptimiserConfig(steps=5, batch=4, warm_up=2),
    )
    run_training(config, random_set, tmp_path / "run", workers=1)
    assert load_artifact(tmp_path / "run" / "artifact").manifest.training["data"]["source"]["randomised"]
