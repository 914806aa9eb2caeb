"""From a converted set to an exported policy that says live what it said in training; and how policies are compared."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from wm_policy.evaluation.baselines import JUDGED_STEPS, driven_on, nearest_drive
from wm_policy.evaluation.compare import PolicyEvaluation, blanked, compare, learn_from, proposed, shuffled
from wm_policy.evaluation.scores import METRICS, PREDICTORS, errors, summary
from wm_policy.runtime import Observation, ObserverSettings, load_policy
from wm_policy.training.config import CONFIGS, PolicyConfig
from wm_policy.training.fit import columns_of, fit, model_config
from wm_policy.training.samples import SampleOptions, future_path, histories, samples_of
from wm_testing.artifacts import make_random_artifact
from world_model.cli import main
from world_model.data.encoding import encode_episode
from world_model.data.episodes import DatasetManifest, EpisodeWriter
from world_model.data.simulated import SimulatedRun, simulate_episode
from world_model.errors import ConfigError, DataError
from world_model.models.world_action import WorldActionConfig
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.motion import MotionModel
from world_model.training.config import StageConfig
from world_model.training.displacement import pose_or_none
from world_model.typed_config import read_config

pytestmark = [pytest.mark.training, pytest.mark.slow]

ARTIFACT = "artifact://tiny"


@pytest.fixture(scope="module")
def episode():
    return simulate_episode(SimulatedRun(seed=3900, duration_s=75.0))


@pytest.fixture(scope="module")
def options():
    motion = MotionModel.from_manifest(load_artifact(ARTIFACT).manifest.motion)
    return SampleOptions(settings=ObserverSettings(), motion=motion, every=20)


@pytest.fixture(scope="module")
def samples(episode, options):
    return samples_of(load_artifact(ARTIFACT), [episode], options)


def small(**changes) -> PolicyConfig:
    return PolicyConfig(width=16, optimiser=StageConfig(steps=5, batch=8, warm_up=0), **changes)


def test_what_a_policy_says_live_is_what_it_says_of_a_recording(tmp_path, episode, options, samples):
    """The set as ``wm data`` makes it, ``wm train``, then the exported file fed frame by frame."""
    data, out = tmp_path / "data", tmp_path / "out"
    writer = EpisodeWriter(data, DatasetManifest(image_size=64, step_s=0.05, action_dim=2))
    writer.write(episode, "train")
    overrides = ["optimiser.batch=16", "width=16", "every=20"]
    sets = [text for each in overrides for text in ("--set", each)]
    assert main(["train", str(data), str(out), "--config", "reactive", "--steps", "4", *sets]) == 0
    policy = load_policy(out / "policy")
    latent_TD = encode_episode(load_artifact(ARTIFACT).encoder(), episode)
    wanted = dict(zip(samples.stamp_N.tolist(), range(len(samples))))
    config = small(use_memory=True)
    trained = fit(replace(config, optimiser=StageConfig(steps=4, batch=16, warm_up=0)),
                  model_config(config, samples, options.settings), samples)  # fmt: skip
    expected_NS2 = proposed(trained, samples)
    compared = 0
    for row in range(len(episode)):
        stamp_ns, action_A = int(episode.stamp_T[row]), episode.action_TA[row]
        known = np.isfinite(action_A).all()
        pose = pose_or_none(episode.pose_T4[row])
        policy.observe(Observation(stamp_ns, latent_TD[row], pose, action_A if known else None))
        if stamp_ns in wanted:
            path_K2 = policy.propose().path_K2[:JUDGED_STEPS]
            assert np.abs(path_K2 - expected_NS2[wanted[stamp_ns]]).max() < 1e-3
            compared += 1
    assert compared == len(samples)


@pytest.mark.parametrize("name", ["bc", "diffusion"])
def test_other_configurations_give_chunks_of_the_robots_own_actions(tmp_path, episode, name):
    if name == "diffusion":
        pytest.importorskip("diffusers")
    data, out = tmp_path / "data", tmp_path / "out"
    writer = EpisodeWriter(data, DatasetManifest(image_size=64, step_s=0.05, action_dim=2))
    writer.write(episode, "train")
    settings = ["--set", "width=16", "--set", "every=50", "--set", "runtime=onnx" if name == "bc" else "seed=1"]
    assert main(["train", str(data), str(out), "--config", name, "--steps", "3", *settings]) == 0
    policy = load_policy(out / "policy")
    policy.observe(Observation(0, np.zeros(32, np.float32)))
    action_KA = policy.propose().action_KA
    assert action_KA.shape == (16, 2)
    known_TA = episode.action_TA[np.isfinite(episode.action_TA).all(axis=1)]
    assert (action_KA >= known_TA.min(axis=0) - 1e-6).all()
    assert (action_KA <= known_TA.max(axis=0) + 1e-6).all()


def test_configurations_that_ship_can_be_read():
    for path in CONFIGS.glob("*.yaml"):
        assert read_config(PolicyConfig, path).name == path.stem
    with pytest.raises(ConfigError, match="unknown key wings"):
        read_config(PolicyConfig, None, {"wings": 2})


def test_a_policy_learns_what_it_is_shown(samples, options):
    config = replace(small(), width=32, optimiser=StageConfig(steps=150, batch=32, learning_rate=3e-3, warm_up=10))
    made = model_config(config, samples, options.settings)
    fresh = fit(replace(config, optimiser=StageConfig(steps=1, batch=8, warm_up=0)), made, samples)
    learned = fit(config, made, samples)
    truth_NS2 = samples.targets["path"][:, :JUDGED_STEPS] * samples.unit_N[:, None, None]
    known_N = samples.targets["path_valid"][:, :JUDGED_STEPS].all(axis=1)
    before, after = (errors(proposed(each, samples), truth_NS2)["ade_3s"][known_N].mean() for each in (fresh, learned))
    assert after < 0.6 * before


def test_the_future_of_a_straight_drive_is_straight(episode):
    stamp_T = np.arange(200, dtype=np.int64) * 50_000_000
    pose_T4 = np.column_stack([np.arange(200) * 0.05, np.zeros((200, 3))])
    straight = replace(episode, stamp_T=stamp_T, pose_T4=pose_T4, image_TSSC=np.zeros((200, 1, 1, 3), np.uint8),
                       action_TA=np.zeros((200, 2)))  # fmt: skip
    path_NS2 = future_path(straight, stamp_T[[100, 150]], np.array([[5.0, 0.0, 0.0], [7.5, 0.0, np.pi / 2]]))
    assert np.allclose(path_NS2[0, 29], [3.0, 0.0], atol=1e-6)
    assert np.allclose(path_NS2[1, 9], [0.0, -1.0], atol=1e-6)
    assert np.isnan(path_NS2[1, 60]).all()


def test_baselines_by_hand(samples, episode, options):
    held_NS2 = driven_on([episode], samples, options.motion, 0.05)
    assert np.isfinite(held_NS2).all()
    nearest_NS2 = nearest_drive(samples, options.settings, held_NS2)
    first_N = samples.revisits()
    assert np.array_equal(nearest_NS2[~first_N], held_NS2[~first_N])
    # A robot that goes the same way again is best foretold by what it did.
    truth_NS2 = samples.targets["path"][:, :JUDGED_STEPS] * samples.unit_N[:, None, None]
    known_N = samples.targets["path_valid"][:, :JUDGED_STEPS].all(axis=1) & first_N
    far, near = (errors(each, truth_NS2)["ade_3s"][known_N].mean() for each in (held_NS2, nearest_NS2))
    assert near < far


def test_pictures_are_taken_away_and_nothing_else(samples):
    mixed, black = shuffled(samples, 0), blanked(samples, np.zeros(32))
    assert sorted(mixed.inputs["view"][:, -1, 0]) == sorted(samples.inputs["view"][:, -1, 0])
    assert not np.array_equal(mixed.inputs["view"], samples.inputs["view"])
    assert not black.inputs["view"].any()
    for name in set(samples.inputs) - {"view", "view_known"}:
        assert mixed.inputs[name] is samples.inputs[name]
        assert black.inputs[name] is samples.inputs[name]


def test_errors_and_ratios_by_hand():
    truth_NS2 = np.zeros((4, 30, 2))
    one_NS2 = truth_NS2.copy()
    one_NS2[..., 0] = np.arange(1, 31) / 10
    found = errors(one_NS2, truth_NS2)
    assert np.allclose(found["ade_1s"], 0.55)
    assert np.allclose(found["fde_3s"], 3.0)
    made = summary({"with_memory": [one_NS2], "without": [2 * one_NS2, 4 * one_NS2]}, truth_NS2,
                   np.array([True, True, True, False]), np.array([0, 0, 1, 1]))  # fmt: skip
    ratio = made["intervals"]["ade_3s"]["with_memory/without"]
    assert ratio["ratio"] == ratio["low"] == ratio["high"] == pytest.approx(1 / 3, abs=1e-4)
    assert made["samples"] == 3


def test_the_comparison_has_every_key(tmp_path, episode, capsys):
    data = tmp_path / "data"
    writer = EpisodeWriter(data, DatasetManifest(image_size=64, step_s=0.05, action_dim=2))
    writer.write(episode, "train")
    asked = PolicyEvaluation(data=str(data), train=str(data), seeds=1, config=replace(small(), every=40))
    made = json.loads(json.dumps(compare(asked, learn_from(asked))))
    assert set(METRICS) | {"intervals"} <= set(made)
    for metric in METRICS:
        assert set(PREDICTORS) <= set(made[metric])
        assert "with_memory/without" in made["intervals"][metric]
    assert made["about"]["resampled"] == "blocks of 3 s"


def test_columns_are_what_a_network_takes(samples, options):
    config = small(head="mlp", chunk=16)
    trained = fit(config, model_config(config, samples, options.settings), samples)
    columns = columns_of(samples, trained.processor)
    assert all(np.isfinite(column.numpy()).all() for column in columns.values())
    valid = columns["action_valid"].numpy()
    assert np.abs(columns["action"].numpy()[valid]).max() == pytest.approx(1.0, abs=1e-5)


def test_the_visual_history_is_of_the_artifacts_own_ticks(tmp_path, episode, options):
    slow = WorldActionConfig(width=8, hidden=24, embedding_dim=20, history=6, future=2, tick_s=0.5)
    make_random_artifact(tmp_path, slow=slow)
    reading = replace(options, use_history=True)
    samples = samples_of(load_artifact(tmp_path), [episode], reading)
    assert samples.inputs["history"].shape == (len(samples), 120)
    assert set(samples.inputs["history_count"][:, 0].tolist()) >= {5.0, 6.0}
    config = small(use_history=True)
    trained = fit(config, model_config(config, samples, options.settings), samples)
    assert np.isfinite(proposed(trained, samples)).all()


def test_an_artifact_without_a_slow_branch_has_no_visual_history(episode, options):
    manifest = replace(load_artifact(ARTIFACT).manifest, world_action=None)
    without = SimpleNamespace(manifest=manifest)
    with pytest.raises(DataError, match="no slow branch"):
        histories(without, episode, replace(options, use_history=True))
