"""A prior from a set of robots to a folder, and from there to an artifact of the same features."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

pytest.importorskip("lightning_fabric", reason="the training extra, requirements/train.txt, is not installed")

from wm_core.projection import FeatureSpace, Projection
from wm_testing.features import make_feature_artifact
from world_model.commands.train import main as train_main
from world_model.data.episodes import DatasetManifest, Episode, EpisodeWriter
from world_model.errors import ArtifactError
from world_model.export.prior import read_prior
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.prior import BASIS, KEPT
from world_model.training.prior_stage import OneRobot, common_basis, how_the_rest_fades, robot_of, rows_of

pytestmark = pytest.mark.training
STEP_NS = 50_000_000


def circling(name: str, count: int, seed: int, step_ns: int = STEP_NS) -> Episode:
    """Returns a robot on a circle that sees waves of its heading, each robot in colours of its own."""
    rng = np.random.default_rng(seed)
    stamp_T = np.arange(count, dtype=np.int64) * step_ns
    angle_T = 2.0 * np.pi * stamp_T * 1e-9 / 9.0
    column = np.arange(64)[None, None, :, None] / 64.0
    tints = np.round(rng.uniform(1.0, 4.0, (1, 1, 1, 3)))
    waves = np.sin(angle_T[:, None, None, None] * tints + 2.0 * np.pi * column * tints)
    image = np.clip(127.0 + 90.0 * waves + rng.normal(0.0, 3.0, (count, 64, 64, 3)), 0, 255).astype(np.uint8)
    pose_T4 = np.stack([np.cos(angle_T), np.sin(angle_T), np.zeros(count), angle_T + np.pi / 2], axis=1)
    return Episode(name, name, image, stamp_T, pose_T4, np.zeros((count, 2), np.float32))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    path = tmp_path_factory.mktemp("features")
    make_feature_artifact(path)
    return load_artifact(path)


@pytest.fixture(scope="module")
def trained(artifact, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    writer = EpisodeWriter(folder / "set", DatasetManifest(image_size=64, step_s=0.05, action_dim=2))
    for number in range(3):
        writer.write(circling(f"robot-{number}", 200, number), "train" if number else "valid")
    sets = {"features": artifact.path, "model.latent_dim": 12, "model.width": 16, "optimiser.steps": 60}
    sets |= {"optimiser.batch": 32, "optimiser.warm_up": 5, "horizons": "[1, 20]"}
    chosen = [part for name, value in sets.items() for part in ("--set", f"{name}={value}")]
    assert train_main([str(folder / "set"), str(folder / "run"), "--config", "prior", *chosen]) == 0
    return folder / "run" / "prior"


def test_a_run_leaves_a_prior_of_its_features_alone(trained, artifact):
    feature_id = artifact.manifest.space.feature_id
    about = json.loads((trained / "prior.json").read_text())
    assert (about["feature_id"], about["training"]["data"]["episodes"][0]) == (feature_id, "robot-0")
    module = read_prior(trained, feature_id)
    basis = dict(module.named_buffers())[BASIS].numpy()
    assert basis @ basis.T == pytest.approx(np.eye(12), abs=1e-5)
    assert dict(module.named_buffers())[KEPT].shape == (2,)
    assert read_prior(trained, "another") is None
    with pytest.raises(ArtifactError, match="holds no prior"):
        read_prior(trained.parent, feature_id)


def test_it_reads_neither_actions_nor_memories_nor_what_came_long_before(trained, artifact):
    module = read_prior(trained, artifact.manifest.space.feature_id)
    one, other = module.initial(1), module.observe(torch.randn(1, 12), torch.zeros(1, 2), module.initial(1))
    for _ in range(2):
        latent = torch.ones(1, 12)
        one, other = (module.observe(latent, torch.zeros(1, 2), state) for state in (one, other))
    assert one[:, :1].tolist() == other[:, :1].tolist() == [[0.0]]


def test_common_directions_are_those_in_which_robots_spread_most():
    space, rng = FeatureSpace("x", 6, 1, 1.0, 0), np.random.default_rng(0)
    codes = [np.zeros((400, 6)), np.zeros((400, 6))]
    codes[0][:, 0], codes[0][:, 1] = rng.normal(0.0, 30.0, 400), rng.normal(0.0, 8.0, 400)
    codes[1][:, 0], codes[1][:, 2] = rng.normal(0.0, 10.0, 400), rng.normal(0.0, 2.0, 400)
    episode = circling("x", 400, 0)
    robots = []
    for code in codes:
        code_TF = np.clip(np.rint(code), -128, 127).astype(np.int8)
        robots.append(OneRobot(episode, code_TF, Projection.fit(space, code_TF, 2)))
    basis = common_basis(robots, 1)
    assert np.abs(basis[0]) == pytest.approx([1.0, 0.0, 0.0, 0.0, 0.0, 0.0], abs=0.05)
    assert basis[0, 0] > 0
    kept, power = how_the_rest_fades(robots, basis)
    # White noise is forgotten at once.
    assert (kept, 0.3 <= power <= 1.5) == (pytest.approx(0.01, abs=0.05), True)


def test_rows_are_what_was_seen_and_where_the_robot_was_a_horizon_later(artifact):
    robot = robot_of(artifact, circling("slow", 120, 5, 2 * STEP_NS), frames=60)
    basis = common_basis([robot], 8)
    rows = rows_of(robot, basis, (2, 20), 0.05)
    turned = robot.turned(basis)
    # Each second of 239 steps shows a frame; the first one, and those within the last 20, do not count.
    assert len(rows.latent_NZ) == 109
    assert rows.latent_NZ[0] == pytest.approx(turned[1], abs=1e-5)
    assert rows.target_NHZ[0, 0] == pytest.approx(turned[2], abs=1e-5)
    assert rows.target_NHZ[0, 1] == pytest.approx(turned[11], abs=1e-5)
    turn = 2.0 * np.pi / 9.0
    assert rows.moved_NH3[0, 1] == pytest.approx([np.sin(turn), 1.0 - np.cos(turn), turn], abs=1e-4)
