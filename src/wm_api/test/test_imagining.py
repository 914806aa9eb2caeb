"""Looks ahead from now go along with the drive; those from elsewhere, or of something planned, begin anew."""

from __future__ import annotations

import numpy as np
import pytest

from wm_api.imagining import Forecaster, Look
from wm_api.models import Models
from wm_api.schemas import RolloutRequest, Start
from wm_api.testing import ACTION_DIM, START_NS, STEP_NS, Z_DIM
from wm_api.world import CONTEXT, World
from wm_core.se2 import Pose2
from world_model.runtime.prediction import Observation
from world_model.runtime.predictor import Predictor

_STEPS = 20


def drive(seed: int = 3, count: int = 24) -> list[Observation]:
    """Returns what a robot sees that turns and whose latents wander."""
    random = np.random.default_rng(seed)
    latents_ND = np.cumsum(random.normal(0.0, 0.1, (count, Z_DIM)), axis=0).astype(np.float32)
    actions_NA = random.normal(0.5, 0.2, (count, ACTION_DIM)).astype(np.float32)
    return [
        Observation(START_NS + at * STEP_NS, latents_ND[at], Pose2(0.05 * at, 0.0, 0.0, 0.01 * at), actions_NA[at])
        for at in range(count)
    ]


def latents(forecasts) -> np.ndarray:
    return np.stack([each.latent_D for each in forecasts])


def test_a_look_from_now_says_what_a_predictor_says_that_went_along(world):
    along = Predictor(world.models.artifact, horizons_s=[0.05 * step for step in range(1, _STEPS + 1)])
    anew = Forecaster(world.models.artifact)
    for observation in drive():
        world.observe(observation)
        along.observe(observation)
        found = world.imagine(world.look(RolloutRequest(memory=False)), _STEPS)
        expected = along.predict(None).forecasts
        np.testing.assert_array_equal(latents(found), latents(expected))
    look = world.look(RolloutRequest(memory=False))
    assert len(look.past) == CONTEXT
    # What it learned on the way changes what it says: it is no look of eight frames.
    assert np.abs(latents(anew.imagine(Look(look.past, None, None), _STEPS)) - latents(found)).max() > 1e-3


def test_what_came_between_two_looks_is_seen_and_asking_again_changes_nothing(world):
    observations = drive()
    for observation in observations[:10]:
        world.observe(observation)
    first = world.predict(world.look(Start(memory=False)))
    assert world.predict(world.look(Start(memory=False)))["forecasts"] == first["forecasts"]
    for observation in observations[10:14]:
        world.observe(observation)
    along = Predictor(world.models.artifact)
    for observation in observations[2:14]:
        along.observe(observation)
        if observation is observations[9]:
            along.predict(None)
    found = world.predict(world.look(Start(memory=False)))
    said = [each.latent_D.tolist() for each in along.predict(None).forecasts]
    assert [each["latent"] for each in found["forecasts"]] == said


@pytest.mark.parametrize(
    "asked",
    [
        {"action": [1.0, 0.0]},
        {"pose": {"x": 4.0, "y": 0.0}},
        {"stamp_ns": START_NS},
        {"latent": [0.1] * Z_DIM},
    ],
)
def test_a_look_from_elsewhere_leaves_no_trace(world, asked):
    other = World(Models(world.models.artifact), world.memory)
    for at, observation in enumerate(drive()):
        world.observe(observation)
        other.observe(observation)
        if at % 3 == 0:
            elsewhere = world.look(RolloutRequest(memory=False, **asked))
            assert elsewhere.drive is None
            world.imagine(elsewhere, _STEPS)
        asked_now = RolloutRequest(memory=False)
        found = world.imagine(world.look(asked_now), _STEPS)
        np.testing.assert_array_equal(latents(found), latents(other.imagine(other.look(asked_now), _STEPS)))


def test_another_drive_begins_with_nothing_learned(world):
    for observation in drive(3):
        world.observe(observation)
        world.imagine(world.look(RolloutRequest(memory=False)), _STEPS)
    old = world.look(RolloutRequest(memory=False))
    world.restart()
    anew = Forecaster(world.models.artifact)
    for observation in drive(4, CONTEXT):
        world.observe(observation)
    look = world.look(RolloutRequest(memory=False))
    assert look.drive is not None
    expected = latents(anew.imagine(Look(look.past, None, None), _STEPS))
    np.testing.assert_array_equal(latents(world.imagine(look, _STEPS)), expected)
    # Who comes back for a look of the former drive does not bring that one back.
    world.imagine(old, _STEPS)
    np.testing.assert_array_equal(latents(world.imagine(look, _STEPS)), expected)
