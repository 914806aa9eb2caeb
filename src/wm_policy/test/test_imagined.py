"""Imagined drives: where they leave the way, what is taught there, and what is learned from them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wm_policy.evaluation.command import main as evaluate
from wm_policy.runtime.observer import ObserverSettings
from wm_policy.training.config import PolicyConfig
from wm_policy.training.fit import draw, fit, model_config
from wm_policy.training.imagined import STRETCH_S, Disturbance, imagined_samples
from wm_policy.training.samples import BURN_IN_S, SampleOptions, samples_of
from wm_policy.training.way_back import DrivenWay, disturbed
from world_model.data.episodes import DatasetManifest, EpisodeWriter
from world_model.data.simulated import SimulatedRun, simulate_episode
from world_model.errors import ConfigError
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.motion import MotionModel
from world_model.training.config import StageConfig

NS, DRIVES = 1_000_000_000, 2
ARTIFACT = "artifact://tiny"


def straight_way(seconds=20.0):
    time_T = np.arange(0.0, seconds, 0.05)
    return DrivenWay(np.round(time_T * NS).astype(np.int64), np.column_stack([time_T, np.zeros((len(time_T), 3))]))


def test_the_way_back_by_hand():
    """Beside a straight way at 1 m/s: half of the way back after 1 s, all of it after 2 s, then the way's own pace."""
    way_K2 = straight_way().back(5 * NS, np.array([5.0, 0.4, 0.0]), np.array([1.0, 0.0]))
    assert way_K2[:, 0] == pytest.approx(5.0 + 0.1 * np.arange(1, 65))
    assert way_K2[[9, 19, 40], 1] == pytest.approx([0.2, 0.0, 0.0])


def test_who_is_late_is_led_on_from_where_it_is():
    way_K2 = straight_way().back(6 * NS, np.array([5.0, 0.0, 0.0]), np.array([1.0, 0.0]))
    assert way_K2[0] == pytest.approx([5.1, 0.0])


def test_nothing_is_taught_after_the_end_of_the_way():
    way_K2 = straight_way(8.0).back(5 * NS, np.array([5.0, 0.1, 0.0]), np.array([1.0, 0.0]))
    assert np.isfinite(way_K2[:29]).all()
    assert np.isnan(way_K2[30:]).all()


@settings(max_examples=40, deadline=None)
@given(
    st.floats(4.0, 6.0), st.floats(-0.8, 0.8), st.floats(-0.9, 0.9), st.floats(-1.5, 1.5), st.floats(-1.5, 1.5)
)  # fmt: skip
def test_the_way_back_begins_where_the_robot_is_and_how_it_moves(x, y, yaw, forward, left):
    way_K2 = straight_way().back(5 * NS, np.array([x, y, yaw]), np.array([forward, left]))
    # Of a cubic over 2 s the second derivative at its start is at most 6 off / 4 + 4 velocity / 2.
    bound = 0.5 * 0.1**2 * (1.5 * 1.3 + 2.0 * 2.5) + 0.026
    assert np.abs(way_K2[0] - (x + 0.1 * forward, y + 0.1 * left)).max() < bound
    assert np.abs(way_K2[20:, 1]).max() < 1e-9
    assert np.diff(way_K2[20:, 0]) == pytest.approx(0.1)


def test_what_is_done_changes_slowly_and_begins_as_recorded():
    recorded_SA = np.random.default_rng(0).normal(size=(60, 2))
    made_BSA = disturbed(recorded_SA, np.array([0.5, 0.0]), 200, 0.05, np.random.default_rng(1))
    added_BSA = made_BSA - recorded_SA
    assert not added_BSA[:, 0].any()
    assert not added_BSA[..., 1].any()
    assert added_BSA[:, 15, 0].std() == pytest.approx(0.5, rel=0.2)
    assert np.abs(np.diff(added_BSA[..., 0], axis=1)).max() < 5 * 0.5 * 1.5 * 0.05 / 0.75


def test_a_batch_is_recorded_and_imagined_as_asked_for():
    parts = [({"x": torch.zeros(5)}, 6), ({"x": torch.ones(50)}, 2)]
    (drawn,) = draw(parts, ["x"], np.random.default_rng(0))
    assert drawn.tolist() == [0.0] * 6 + [1.0] * 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"imagined": -1}, "imagined is -1"),
        ({"imagined_keep": 0.0}, "imagined_keep 0.0"),
        ({"imagined_share": 1.0}, "imagined_share 1.0"),
        ({"imagined": 2, "head": "mlp"}, "no head 'mlp'"),
    ],
)
def test_what_cannot_be_imagined_is_refused(changes, says):
    with pytest.raises(ConfigError, match=says):
        PolicyConfig(**changes)


@pytest.fixture(scope="module")
def episode():
    return simulate_episode(SimulatedRun(seed=3901, duration_s=75.0)).cut(0.0, 30.0)


@pytest.fixture(scope="module")
def options():
    motion = MotionModel.from_manifest(load_artifact(ARTIFACT).manifest.motion)
    return SampleOptions(settings=ObserverSettings(), motion=motion, every=10)


@pytest.fixture(scope="module")
def recorded(episode, options):
    return samples_of(load_artifact(ARTIFACT), [episode], options)


@pytest.fixture(scope="module")
def imagined(episode, options):
    return imagined_samples(load_artifact(ARTIFACT), [episode], options, Disturbance(drives=DRIVES))


@pytest.mark.training
@pytest.mark.slow
def test_imagined_samples_are_as_many_times_as_many(episode, recorded, imagined):
    stretches = int((30.0 - BURN_IN_S) / STRETCH_S)
    assert len(imagined) == DRIVES * stretches * round(STRETCH_S / 0.5)
    for name, value in recorded.inputs.items():
        assert imagined.samples.inputs[name].shape[1:] == value.shape[1:]
    for name, value in recorded.targets.items():
        assert imagined.samples.targets[name].shape[1:] == value.shape[1:]
    assert not imagined.samples.targets["action_valid"].any()
    assert np.isfinite(imagined.uncertainty_N).all()


@pytest.mark.training
@pytest.mark.slow
def test_imagined_drives_leave_the_way_and_are_taught_to_come_back(episode, imagined):
    samples, known_T = imagined.samples, np.isfinite(episode.pose_T4).all(axis=1)
    place_T2 = np.asarray(episode.pose_T4)[known_T, :2]
    off_m, then_m = [], []
    for row in range(len(samples)):
        x, y, yaw = samples.pose_N3[row]
        off_m.append(np.hypot(*(place_T2 - (x, y)).T).min())
        if samples.targets["path_valid"][row, 29]:
            forward, left = samples.targets["path"][row, 29] * samples.unit_N[row]
            there_2 = x + np.cos(yaw) * forward - np.sin(yaw) * left, y + np.sin(yaw) * forward + np.cos(yaw) * left
            then_m.append(np.hypot(*(place_T2 - there_2).T).min())
    assert np.percentile(off_m, 90) > 0.2
    assert max(then_m) < 0.06


@pytest.mark.training
@pytest.mark.slow
def test_what_is_imagined_is_told_of_no_memory_that_the_robot_did_not_have(imagined):
    """The imagination remembers all of the drive; the policy only what was driven until then, and 20 s ago."""
    late_N = (imagined.samples.stamp_N - imagined.samples.stamp_N.min()) * 1e-9 > 20.0 - BURN_IN_S
    assert not imagined.samples.inputs["memory_valid"][~late_N].any()


@pytest.mark.training
@pytest.mark.slow
def test_the_filter_keeps_what_is_expected_to_be_right(imagined):
    kept = imagined.kept(0.5)
    assert len(kept) == pytest.approx(len(imagined) / 2, abs=2)
    chosen_N = imagined.uncertainty_N <= np.median(imagined.uncertainty_N)
    assert np.array_equal(kept.inputs["view"], imagined.samples.inputs["view"][chosen_N], equal_nan=True)
    assert imagined.kept(1.0) is imagined.samples


@pytest.mark.training
@pytest.mark.slow
def test_a_policy_learns_from_what_is_imagined(recorded, imagined, options):
    stage = StageConfig(steps=3, batch=16, warm_up=0)
    config = PolicyConfig(width=16, imagined=DRIVES, optimiser=stage)
    made = model_config(config, recorded, options.settings)
    without, same, other = (
        fit(config, made, recorded, imagined=samples).model.state_dict()
        for samples in (None, recorded, imagined.samples)
    )
    changed = {name for name, value in without.items() if not torch.equal(value, other[name])}
    assert changed
    assert any(not torch.equal(same[name], other[name]) for name in changed)


@pytest.mark.training
@pytest.mark.slow
def test_the_comparison_tells_of_imagined_drives(tmp_path, episode, capsys):
    data, path = tmp_path / "data", tmp_path / "figures.json"
    writer = EpisodeWriter(data, DatasetManifest(image_size=64, step_s=0.05, action_dim=2))
    writer.write(replace(episode, arrivals=None), "train")
    small = ["optimiser.steps=2", "optimiser.batch=8", "optimiser.warm_up=0", "width=16", "every=20"]
    sets = [text for each in small for text in ("--set", each)]
    asked = [str(data), "--train", str(data), "--seeds", "1", "--imagined", "1", "--imagined-filter", "0.5"]
    assert evaluate([*asked, *sets, "--json", str(path)]) == 0
    made = json.loads(path.read_text())[str(data)]
    assert {"with_imagined", "without_with_imagined", "with_imagined_filtered"} <= set(made["ade_3s"])
    assert made["about"]["imagined"]["drives"] == 1
    assert evaluate([*asked, "--imagined-filter", "0"]) == 2
    assert "--imagined-filter 0.0" in capsys.readouterr().err
