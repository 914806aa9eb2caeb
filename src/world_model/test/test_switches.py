"""Parts of the predictor switched off, each against the same predictor made without that part in another way."""

from functools import cache

import numpy as np
import pytest
import torch

from wm_core.se2 import Pose2
from wm_testing.artifacts import make_random_artifact
from world_model.errors import ArtifactError, ConfigError
from world_model.models import GruContext, Transition
from world_model.models.world_action import WorldActionConfig
from world_model.runtime.artifact_folder import add_part
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.runtime.motion import MotionModel, MotionTracker
from world_model.runtime.predictor import Observation, Prediction, Predictor
from world_model.runtime.retrieved import Memory, MemoryRequest
from world_model.runtime.switches import PRIOR, SWITCHES

STEP_NS = 50_000_000
DIM, HISTORY_DIM = 32, WorldActionConfig(width=8, hidden=24).embedding_dim * 4
# Steps of one lap, and the first one judged: everything there was seen 24 s before.
LAP, FIRST = 480, 500


def trained(seed: int = 0) -> Transition:
    """Returns a transition whose every part says something, as if it had been trained."""
    torch.manual_seed(seed)
    transition = Transition(DIM, 2, GruContext(DIM + 2, 16), width=16, memory_width=16, history_dim=HISTORY_DIM)
    memory, last = transition.memory, transition.path.net[-1]
    with torch.no_grad():
        memory.alpha.fill_(1.0)
        for layer in (memory.warp.leave, memory.correction, memory.carry, last):
            layer.weight.normal_(0.0, 0.3)
    return transition.eval()


def artifact_of(folder, transition: Transition, **entries) -> Artifact:
    make_random_artifact(folder, **entries)
    add_part(folder, "transition", torch.jit.script(transition))
    return load_artifact(folder)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    weights = ((0.0, 1.0, 0.0, 0.0), (0.0,) * 4, (0.0, 0.0, 1.0, 0.0))
    motion = MotionModel(weights=weights, pose_gain=(0.3, 0.3))
    return artifact_of(tmp_path_factory.mktemp("trained"), trained(), motion=motion.to_manifest())


@cache
def seen(step: int) -> Observation:
    """Returns what is seen on a circle driven at 1 m/s; poses shake and latents repeat lap by lap, with noise."""
    rng = np.random.default_rng(step)
    angle = 2 * np.pi * step / LAP
    radius = LAP * 0.05 / (2 * np.pi)
    shake = rng.normal(size=3) * np.array([0.05, 0.05, 0.02])
    pose = Pose2(radius * np.sin(angle) + shake[0], radius * (1 - np.cos(angle)) + shake[1], 0.0, angle + shake[2])
    waves = np.sin(angle * (1 + np.arange(DIM)) + np.arange(DIM))
    latent_D = (waves + 0.1 * rng.normal(size=DIM)).astype(np.float32)
    return Observation(step * STEP_NS, latent_D, pose, np.array([1.0, 1.0 / radius], np.float32))


@cache
def memory_of(step: int) -> Memory:
    item = seen(step)
    assert item.pose is not None
    followed = tuple((ahead * 0.05, ahead * 0.05, seen(step + ahead).latent_D) for ahead in (1, 20))
    return Memory(step, item.stamp_ns, item.latent_D, item.pose, item.action_A, followed)


def lap(
    predictor: Predictor, plan: bool = False, appearance: bool = True
) -> list[tuple[list[MemoryRequest], Prediction]]:
    """Returns requests and prediction of each of 60 frames of the second lap; the first lap is what is remembered."""
    predictor.reset()
    made = []
    for step in range(FIRST, FIRST + 60):
        item = seen(step)
        requests = predictor.observe(item, np.tile(item.action_A, (40, 1)) if plan else None)
        answers = [[memory_of(step - LAP + ahead + shift) for shift in (-2, 0, 2, 4)] for ahead in (1, 20)]
        near = [memory_of(step - LAP + shift) for shift in (-3, 1)] if appearance else []
        made.append((requests, predictor.predict([*answers, near])))
    return made


def latents(made: list[tuple]) -> np.ndarray:
    return np.array([[forecast.latent_D for forecast in prediction.forecasts] for _, prediction in made])


def poses(made: list[tuple]) -> np.ndarray:
    return np.array([[(r.pose.x, r.pose.y, r.pose.yaw) for r in requests] for requests, _ in made])


@pytest.mark.slow
@pytest.mark.parametrize("part", [part for part in SWITCHES if part != PRIOR])
def test_every_part_says_something_and_leaves_nothing_behind(artifact, part):
    """Else the comparisons below would hold of anything."""
    before = latents(lap(Predictor(artifact)))
    assert np.abs(latents(lap(Predictor(artifact, without=[part]))) - before).max() > 1e-3
    assert np.array_equal(latents(lap(Predictor(artifact))), before)


@pytest.mark.slow
def test_without_the_view_warp_latents_are_as_with_one_that_was_never_trained(artifact, tmp_path):
    transition = trained()
    torch.nn.init.zeros_(transition.memory.warp.leave.weight)
    torch.nn.init.zeros_(transition.memory.warp.leave.bias)
    untrained = artifact_of(tmp_path, transition, motion=artifact.manifest.motion)
    expected = latents(lap(Predictor(untrained)))
    assert np.allclose(latents(lap(Predictor(artifact, without=["view_warp"]))), expected, atol=1e-5)


@pytest.mark.slow
def test_without_appearance_it_is_as_if_none_were_found(artifact):
    expected = latents(lap(Predictor(artifact), appearance=False))
    assert np.array_equal(latents(lap(Predictor(artifact, without=["appearance"]))), expected)


@pytest.mark.slow
def test_without_evidence_the_network_has_the_last_word(artifact):
    made = lap(Predictor(artifact, without=["evidence"]))
    network = np.array([[f.network_D for f in prediction.forecasts] for _, prediction in made])
    assert np.array_equal(latents(made), network)
    # The network itself does not know whether evidence is weighed.
    whole = lap(Predictor(artifact))
    assert np.array_equal([[f.network_D for f in prediction.forecasts] for _, prediction in whole], network)
    assert any(forecast.revisit for _, prediction in made for forecast in prediction.forecasts)
    assert all(forecast.copied_D is None for _, prediction in made for forecast in prediction.forecasts)


@pytest.mark.slow
def test_without_smoothing_the_present_pose_is_the_measured_one(artifact):
    made = poses(lap(Predictor(artifact, without=["pose_smoothing"])))
    measured = [seen(step).pose for step in range(FIRST, FIRST + 60)]
    assert np.array_equal(made[:, -1], [(pose.x, pose.y, pose.yaw) for pose in measured])
    assert not np.allclose(poses(lap(Predictor(artifact)))[:, -1], made[:, -1], atol=1e-3)


@pytest.mark.slow
def test_without_foresight_a_held_action_leads_where_the_motion_model_says(artifact):
    tracker = MotionTracker(MotionModel.from_manifest(artifact.manifest.motion), 0.05, 2)
    made = poses(lap(Predictor(artifact, without=["path_foresight"])))
    for row, step in enumerate(range(FIRST, FIRST + 60)):
        item = seen(step)
        tracker.update(item.stamp_ns, item.pose, item.action_A)
        expected = tracker.pose.moved(tracker.displacements(20)[-1])
        assert made[row, 1] == pytest.approx((expected.x, expected.y, expected.yaw))


@pytest.mark.slow
def test_known_actions_ask_for_no_foresight(artifact):
    with_it, without = (lap(Predictor(artifact, without=off), plan=True) for off in ([], ["path_foresight"]))
    assert np.array_equal(latents(with_it), latents(without))


@pytest.mark.slow
def test_what_cannot_be_switched_off_is_named(artifact, tmp_path):
    with pytest.raises(ConfigError, match=r"no part 'oracle'.*view_warp, appearance"):
        Predictor(artifact, without=["evidence", "oracle"])

    class Warpless(torch.nn.Module):
        def forward(self, latent_BD: torch.Tensor) -> torch.Tensor:
            return latent_BD

    make_random_artifact(tmp_path)
    add_part(tmp_path, "transition", torch.jit.script(Warpless()))
    with pytest.raises(ArtifactError, match="'random' has no view warp"):
        Predictor(load_artifact(tmp_path), without=["view_warp"])
