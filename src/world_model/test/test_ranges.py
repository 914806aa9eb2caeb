import numpy as np
import pytest

from wm_core.se2 import Pose2
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.predictor import Observation, Predictor
from world_model.runtime.ranges import TrainingRange

RANGE = TrainingRange((np.array([1.0, 0.0]), np.array([0.2, 0.5])), np.zeros(2), np.ones(2))


def test_actions_beyond_three_standard_deviations_are_limited_and_named():
    assert RANGE.action(np.array([9.0, -9.0])) == pytest.approx([1.6, -1.5])
    said = RANGE.outside(np.zeros(2), np.array([9.0, 0.0]))
    assert said == ("action 0 is 9, 40.0 standard deviations from what the model was trained on: limited",)


def test_standing_still_is_inside():
    """0 lies five standard deviations from the mean of the first action."""
    assert RANGE.outside(np.zeros(2), np.zeros(2)) == ()
    assert RANGE.action(np.zeros(2)).tolist() == [0.0, 0.0]


def test_what_is_inside_keeps_its_bits_and_an_unknown_action_stays_unknown():
    action_SA = np.array([[0.7, np.nan], [1.3, 0.4]], np.float32)
    assert np.array_equal(RANGE.action(action_SA), action_SA, equal_nan=True)
    assert TrainingRange(None, np.zeros(2), np.ones(2)).outside(np.zeros(2), np.full(2, 1e9)) == ()


def test_latents_beyond_six_standard_deviations_are_limited_and_named():
    assert RANGE.latent(np.array([7.0, -1.0])).tolist() == [6.0, -1.0]
    (said,) = RANGE.outside(np.array([7.0, -1.0]), None)
    assert said.startswith("latent is up to 7.0 standard deviations")


def test_the_predictor_says_so_and_a_wild_action_does_no_more_than_the_limit():
    artifact, latent_D, results = load_artifact("artifact://tiny"), np.zeros(32, np.float32), []
    for wild in (40.0, 1e6):
        predictor = Predictor(artifact)
        for step in range(5):
            pose = Pose2(0.05 * step, 0.0, 0.0, 0.0)
            predictor.observe(Observation(step * 50_000_000, latent_D, pose, np.array([wild, 0.0], np.float32)))
        results.append(predictor.predict(None))
        assert len(results[-1].outside) == 1
        assert "action 0" in results[-1].outside[0]
    for one, other in zip(*(result.forecasts for result in results)):
        assert np.array_equal(one.network_D, other.network_D)
        assert one.pose == other.pose
