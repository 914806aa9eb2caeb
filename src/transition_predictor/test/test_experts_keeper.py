"""What a robot's experts learned: written while driving, begun with at the next start, named where it does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from transition_predictor import experts_keeper
from transition_predictor.experts_keeper import ExpertsKeeper
from wm_testing.artifacts import make_random_artifact
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.handed_on import VERSION, known_experts
from world_model.runtime.predictor import Observation, Predictor
from world_model.runtime.profile import EXPERTS, Profile

STEP_NS, Z_DIM = 50_000_000, 32


@pytest.fixture(autouse=True)
def _drives_are_short(monkeypatch):
    monkeypatch.setattr(experts_keeper, "_LEAST", 40)


def driven(artifact, keeper: ExpertsKeeper, count: int) -> Predictor:
    rng = np.random.default_rng(0)
    predictor = Predictor(artifact)
    for row in range(count):
        predictor.observe(Observation(row * STEP_NS, rng.normal(size=Z_DIM).astype(np.float32), None))
        predictor.predict(None)
        keeper.predicted(predictor, is_final_basis=True)
    return predictor


def test_a_start_begins_with_what_the_last_drive_taught(artifact, tmp_path):
    profile = Profile(tmp_path)
    keeper = ExpertsKeeper(profile)
    assert not keeper.begin(Predictor(artifact))  # nothing is known yet
    taught = driven(artifact, keeper, 45)
    keeper.close(taught, is_final_basis=True)
    fresh, later = Predictor(artifact), Predictor(artifact)
    keeper = ExpertsKeeper(profile)
    assert keeper.begin(later)
    assert not keeper.problem
    ours, theirs, plain = (each.learned().arrays for each in (later, taught, fresh))
    assert np.array_equal(ours["mean"][:-1], theirs["mean"][:-1])
    assert not np.array_equal(ours["mean"], plain["mean"])
    assert not keeper.begin(Predictor(artifact))  # once


def test_a_short_drive_or_another_basis_teaches_the_next_nothing(artifact, tmp_path):
    for count, is_final in ((30, True), (45, False)):
        keeper = ExpertsKeeper(Profile(tmp_path))
        taught = driven(artifact, ExpertsKeeper(None), 0)
        for _ in range(count):
            keeper.predicted(taught, is_final)
        keeper.close(taught, is_final)
    assert Profile(tmp_path).names() == []
    ExpertsKeeper(None).close(taught, is_final_basis=True)


def test_it_is_written_while_driving(artifact, tmp_path, monkeypatch):
    monkeypatch.setattr(experts_keeper, "_WRITE_EVERY", 15)
    keeper = ExpertsKeeper(Profile(tmp_path))
    taught = driven(artifact, keeper, 50)
    keeper.close(taught, is_final_basis=True)
    assert 1 <= Profile(tmp_path).read(EXPERTS, VERSION).revision <= 4


def test_what_does_not_fit_is_named_and_left_alone(artifact, tmp_path):
    profile = Profile(tmp_path)
    keeper = ExpertsKeeper(profile)
    keeper.close(driven(artifact, keeper, 45), is_final_basis=True)
    make_random_artifact(tmp_path / "other", seed=1)
    other = load_artifact(tmp_path / "other")
    keeper = ExpertsKeeper(profile)
    assert not keeper.begin(Predictor(other))
    assert "encoder_id" in keeper.problem
    assert known_experts(profile).entries["encoder_id"] == artifact.manifest.encoder_id
    (tmp_path / "experts.json").write_text("{}")
    assert "damaged" in ExpertsKeeper(profile).problem


@pytest.mark.slow
def test_the_node_begins_with_them_and_says_so(make_world, artifact, tmp_path):
    keeper = ExpertsKeeper(Profile(tmp_path / "robot"))
    taught = driven(artifact, keeper, 45)
    keeper.close(taught, is_final_basis=True)
    world = make_world(profile=str(tmp_path / "robot"), use_memory=False)
    mean_D = world.node._predictor.learned().arrays["mean"][:-1]
    assert np.array_equal(mean_D, taught.learned().arrays["mean"][:-1])
    world.send(0)
    world.until(lambda: world.predictions)
