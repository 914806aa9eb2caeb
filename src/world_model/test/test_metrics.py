"""Errors and the tracker that waits for the predicted time, against results worked out by hand."""

import numpy as np
import pytest

from wm_core.se2 import Pose2
from world_model.runtime.metrics import ErrorTracker, nmse
from world_model.runtime.predictor import Forecast, Observation, Prediction

STEP_NS = 50_000_000
HERE, FAR_OFF = Pose2(0.0, 0.0, 0.0, 0.0), Pose2(9.0, 0.0, 0.0, 0.0)


def forecast(horizon_s: float, value: float, memory_poses: tuple[Pose2, ...] = ()) -> Forecast:
    return Forecast(
        horizon_s=horizon_s,
        latent_D=np.full(2, value),
        network_D=np.full(2, value),
        copied_D=None,
        network_without_D=np.full(2, value),
        mean_D=np.full(2, value),
        ridge_D=np.full(2, value),
        without_memory_D=np.full(2, 2 * value),
        persistence_D=np.zeros(2),
        gate=0.5,
        memory_ids=tuple(range(len(memory_poses))),
        memory_poses=memory_poses,
        pose=None,
        revisit=False,
    )


def test_predicting_the_mean_gives_one():
    latents = np.random.default_rng(0).normal(3.0, [1.0, 5.0], (20_000, 2))
    assert nmse(latents - latents.mean(0), latents.var(0)).mean() == pytest.approx(1.0)


def test_variances_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        nmse(np.ones(2), np.array([1.0, 0.0]))


def test_a_forecast_is_judged_when_its_time_comes():
    tracker = ErrorTracker(np.array([1.0, 4.0]))
    tracker.expect(Prediction(0, (forecast(0.05, 1.0), forecast(1.0, 3.0))))
    (step,) = tracker.observe(Observation(STEP_NS, np.array([2.0, 3.0])))
    assert step.error == pytest.approx((1.0 + 4.0 / 4.0) / 2)
    assert step.error_without_memory == pytest.approx((0.0 + 1.0 / 4.0) / 2)
    assert step.error_persistence == pytest.approx((4.0 + 9.0 / 4.0) / 2)
    for index in range(2, 20):
        assert tracker.observe(Observation(index * STEP_NS, np.zeros(2))) == []
    (far,) = tracker.observe(Observation(20 * STEP_NS + 10_000_000, np.full(2, 3.0)))
    assert (far.forecast.horizon_s, far.error, far.predicted_from_ns) == (1.0, 0.0, 0)


def test_no_observation_near_the_target_time_judges_nothing():
    tracker = ErrorTracker(np.ones(2))
    tracker.expect(Prediction(0, (forecast(0.05, 1.0),)))
    assert tracker.observe(Observation(2 * STEP_NS, np.zeros(2))) == []


def test_time_that_jumps_back_drops_what_was_expected():
    tracker = ErrorTracker(np.ones(2))
    tracker.observe(Observation(100 * STEP_NS, np.zeros(2)))
    tracker.expect(Prediction(100 * STEP_NS, (forecast(0.05, 1.0),)))
    tracker.observe(Observation(0, np.zeros(2)))
    assert tracker.observe(Observation(101 * STEP_NS, np.zeros(2))) == []


@pytest.mark.parametrize(("seen", "revisit"), [((HERE,), True), ((FAR_OFF,), False), ((), False)])
def test_a_revisit_does_not_depend_on_the_far_forecasts_own_memories(seen, revisit):
    tracker = ErrorTracker(np.ones(2))
    tracker.expect(Prediction(0, (forecast(1.0, 1.0, (FAR_OFF,)),)))
    tracker.expect(Prediction(19 * STEP_NS, (forecast(0.05, 1.0, seen),)))
    scored = tracker.observe(Observation(20 * STEP_NS, np.zeros(2), pose=HERE))
    assert [each.revisit for each in scored] == [revisit, revisit]
