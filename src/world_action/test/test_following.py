"""The slow branch that a profile names is taken up between two ticks; one that sees otherwise is refused."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from world_action.following import SlowBranchFollower
from world_model.runtime.adapted import VERSION, keep_slow_branch
from world_model.runtime.artifact_folder import add_part
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.runtime.profile import SLOW, Profile
from world_model.runtime.served import served_slow_branch


@pytest.fixture
def source() -> Artifact:
    return load_artifact("artifact://tiny")


def changed(source: Artifact, folder, part: str) -> None:
    """Write a copy of an artifact whose slow branch has other weights in one part."""
    shutil.copytree(source.path, folder)
    model = torch.jit.load(str(folder / "world_action.pt"))
    with torch.no_grad():
        next(value for name, value in model.named_parameters() if name.startswith(part)).mul_(1.5)
    add_part(folder, "world_action", model)


def test_another_slow_branch_is_taken_up_once(source, tmp_path):
    profile, model = Profile(tmp_path / "robot"), served_slow_branch(source)
    follower = SlowBranchFollower(profile, source, model)
    assert follower.look() is None
    changed(source, tmp_path / "slow-1", "predictor.")
    keep_slow_branch(profile, tmp_path / "slow-1", source)
    taken = follower.look()
    assert follower.source_path == tmp_path / "slow-1"
    rng = np.random.default_rng(0)
    history, count = rng.normal(size=(1, 4, 224)).astype(np.float32), np.array([4])
    assert not np.allclose(taken.foresee(history, count), model.foresee(history, count), atol=1e-3)
    image, valid = rng.integers(0, 256, (1, 1, 64, 64, 3), np.uint8), np.ones((1, 1), bool)
    np.testing.assert_allclose(taken.embed(image, valid), model.embed(image, valid), rtol=0, atol=1e-4)
    assert follower.look() is None
    assert not follower.problem
    keep_slow_branch(profile, tmp_path / "slow-1", source)  # written anew, the same
    assert follower.look() is None


def test_what_sees_otherwise_is_of_another_or_damaged_is_left_alone(source, tmp_path):
    profile = Profile(tmp_path / "robot")
    follower = SlowBranchFollower(profile, source, served_slow_branch(source))
    changed(source, tmp_path / "other", "encoder.")
    keep_slow_branch(profile, tmp_path / "other", source)
    assert follower.look() is None
    assert "other embeddings" in follower.problem
    profile.write(SLOW, VERSION, {"artifact": str(tmp_path / "other"), "adapted_from": "another"})
    assert follower.look() is None
    assert not follower.problem
    profile.write(SLOW, VERSION, {"artifact": 3})
    assert follower.look() is None
    assert "names no slow branch" in follower.problem
    keep_slow_branch(profile, tmp_path / "gone", source)
    assert follower.look() is None
    assert "gone" in follower.problem
    assert SlowBranchFollower(None, source, served_slow_branch(source)).look() is None
