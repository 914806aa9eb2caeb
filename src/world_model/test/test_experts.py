"""The combination of forecasts: what it learns within seconds, and that it is never far from the best of its parts."""

from dataclasses import replace

import numpy as np
import pytest

from world_model.runtime.experts import Experts, Said
from world_model.runtime.panel import WIDEST, Networks, Panel
from world_model.runtime.regression import OnlineRidge, RunningMean

STEP_S, STEP_NS, DIM = 0.05, 50_000_000, 8
HORIZONS = (1, 5, 10, 20, 40)


def said(t, latent_D, network_D, *, mean_D=None, with_D=None, copies_MD=None, gate=0.0, revisit=False):
    return Said(
        stamp_ns=t * STEP_NS,
        network_D=network_D,
        with_memory_D=network_D if with_D is None else with_D,
        gate=gate,
        latent_D=latent_D,
        mean_D=np.zeros(DIM) if mean_D is None else mean_D,
        feature_F=latent_D,
        copies_MD=copies_MD,
        revisit=revisit,
    )


def follow(horizon, latent_TD, make):
    """Return the errors of the forecasts with memories, without, and of each part, [N, 2 + E]."""
    experts, errors = Experts(horizon * STEP_S, STEP_S, np.ones(DIM), DIM), []
    for t in range(len(latent_TD)):
        experts.observe(t * STEP_NS, latent_TD[t])
        if t + horizon < len(latent_TD):
            one = make(t, latent_TD[t], latent_TD[t + horizon])
            got = experts.combine(one)
            copies_MD = np.zeros((0, DIM)) if one.copies_MD is None else one.copies_MD
            plain = [one.network_D, one.latent_D, one.mean_D, got.ridge_D, one.with_memory_D, *copies_MD]
            rows = [got.latent_D, got.without_memory_D, *plain]
            errors.append([np.mean((row - latent_TD[t + horizon]) ** 2) for row in rows])
    return experts, np.array(errors)


def test_without_feedback_the_network_speaks():
    rng = np.random.default_rng(0)
    network_D, with_D = rng.normal(size=(2, DIM)).astype(np.float32)
    experts = Experts(1.0, STEP_S, np.ones(DIM), DIM)
    first = experts.combine(said(0, rng.normal(size=DIM), network_D))
    assert first.latent_D is first.without_memory_D
    assert np.array_equal(first.latent_D, network_D)
    copies_MD = rng.normal(size=(3, DIM))
    second = experts.combine(said(1, rng.normal(size=DIM), network_D, with_D=with_D, copies_MD=copies_MD, gate=0.7))
    assert np.array_equal(second.latent_D, with_D)
    assert second.gate == pytest.approx(0.7)


@pytest.mark.parametrize(("goes_on", "low", "high"), [(True, 0.0, 0.1), (False, 0.7, 0.8)])
def test_at_the_first_revisit_a_copy_speaks_as_far_as_the_base_is_known_to_err(goes_on, low, high):
    """Where little changes, an untried copy, which may be wrong by a whole picture, must not replace that.

    Where the base errs as the mean does, by 1, a copy is expected to err by 0.3 and speaks with 1 / 1.3.
    """
    rng = np.random.default_rng(4)
    latent_TD = rng.normal(size=(400, DIM))
    latent_TD = np.cumsum(latent_TD, axis=0) * 0.1 if goes_on else latent_TD
    experts, copy_D = Experts(STEP_S, STEP_S, np.ones(DIM), DIM), np.full(DIM, 3.0)
    for t, latent_D in enumerate(latent_TD[:-1]):
        experts.observe(t * STEP_NS, latent_D)
        got = experts.combine(said(t, latent_D, latent_D))
    experts.observe(399 * STEP_NS, latent_TD[399])
    first = said(
        399, latent_TD[399], latent_TD[399], with_D=copy_D, copies_MD=np.stack([copy_D] * 3), gate=1.0, revisit=True
    )
    got = experts.combine(replace(first, is_copied=True))
    assert low <= got.gate <= high
    np.testing.assert_allclose(
        got.latent_D, got.gate * copy_D + (1.0 - got.gate) * got.without_memory_D, rtol=1e-4, atol=1e-4
    )
    assert experts.combine(first).gate < 1.0, "what was leant on stays until there is evidence"
    untried = Experts(STEP_S, STEP_S, np.ones(DIM), DIM).combine(first)
    assert untried.gate == 1.0, "a network that trusts memories is followed"


@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize("right", ["persistence", "running_mean", "copy", "network", "switching"])
def test_ten_seconds_after_the_first_feedback_it_is_as_good_as_its_best_part(horizon, right):
    """A slow random walk, white noise, places that look as remembered, a network that knows, and turns of these."""
    rng = np.random.default_rng(horizon)
    count = 1200
    walk_TD = np.cumsum(rng.normal(size=(count, DIM)), axis=0) * 0.1 / np.sqrt(horizon)
    latent_TD = walk_TD if right == "persistence" else rng.normal(size=(count, DIM))

    def make(t, latent_D, future_D):
        knows = {"switching": ("copy", "network")[t // 300 % 2]}.get(right, right)
        noise = rng.normal(size=(5, DIM))
        network_D = future_D + 0.3 * noise[0] if knows == "network" else 3.0 + noise[0]
        copies_MD = future_D + 0.3 * noise[1:4] if knows == "copy" else 2.0 * noise[1:4]
        return said(t, latent_D, network_D, with_D=network_D, copies_MD=copies_MD, revisit=True)

    experts, error_NE = follow(horizon, latent_TD, make)
    settled = error_NE[200 + horizon :].mean(axis=0)
    assert settled[0] <= 1.02 * settled[2:].min() + 0.002
    without = [settled[column] for column in (2, 3, 4, 5)]
    assert settled[1] <= 1.02 * min(without) + (0.05 if right == "switching" else 0.002)
    guard = experts.guard[True]
    assert guard.learner_count <= horizon
    assert error_NE[:, 0].sum() <= error_NE[:, 6:].sum(axis=0).min() + guard.bound(1)


def test_a_better_base_replaces_the_network_in_what_it_makes_of_memories():
    """With half a say of the memories, half of what the base improves comes through."""
    rng = np.random.default_rng(4)
    latent_TD = rng.normal(size=(600, DIM))
    base = follow(1, latent_TD, lambda t, z_D, _: said(t, z_D, np.full(DIM, 3.0)))[0]
    network_D, with_D, latent_D = np.full(DIM, 3.0), np.full(DIM, 2.0), rng.normal(size=DIM)
    without = base.combine(said(700, latent_D, network_D)).without_memory_D
    assert np.mean(without**2) < 0.3
    got = base.combine(said(701, latent_D, network_D, with_D=with_D, copies_MD=np.zeros((3, DIM)), gate=0.5))
    assert got.latent_D == pytest.approx(with_D + 0.5 * (without - network_D), abs=0.1)


def test_forecasts_whose_time_never_comes_are_given_back():
    experts = Experts(1.0, STEP_S, np.ones(DIM), DIM)
    for t in range(0, 4000, 5):
        experts.observe(t * STEP_NS, np.zeros(DIM))
        experts.combine(said(t, np.zeros(DIM), np.ones(DIM), copies_MD=np.ones((3, DIM)), revisit=bool(t % 2)))
        experts.combine(said(t, np.zeros(DIM), np.ones(DIM)))
        if t % 100 == 0:
            experts.forget_waiting()
    guards = (*experts.guard.values(), *experts.base_guard.values())
    assert all(guard.learner_count <= 20 for guard in guards)


def test_the_running_mean_is_the_mean():
    mean, seen_TD = RunningMean(np.full(DIM, 7.0), STEP_S), np.random.default_rng(0).normal(size=(50, DIM))
    assert mean.mean_D.tolist() == [7.0] * DIM
    for latent_D in seen_TD:
        mean.update(latent_D)
    assert mean.mean_D == pytest.approx(seen_TD.mean(axis=0))


def test_the_regression_finds_what_is_linear():
    rng = np.random.default_rng(1)
    true_FD, ridge = 0.2 * rng.normal(size=(4, DIM)), OnlineRidge(4, np.ones(DIM), STEP_S)
    assert not ridge.forecast(np.ones(4)).any()
    for feature_F in 2.0 + rng.normal(size=(2000, 4)) * [0.1, 1.0, 3.0, 1.0]:
        ridge.learn(feature_F, feature_F @ true_FD + 1.0)
    asked_F = np.array([2.05, 1.0, 3.0, 2.5])
    assert ridge.forecast(asked_F) == pytest.approx(asked_F @ true_FD + 1.0, abs=0.1)
    assert np.abs(ridge.forecast(np.full(4, 1e9))).max() <= 10.0 * (1 + 1e-9)


def test_what_is_learned_again_at_once_is_learned_as_it_came():
    rng = np.random.default_rng(2)
    true_FD, feature_NF = 0.2 * rng.normal(size=(4, DIM)), rng.normal(size=(600, 4))
    change_ND = feature_NF @ true_FD + 0.1 * rng.normal(size=(600, DIM))
    one, again = (OnlineRidge(4, np.ones(DIM), STEP_S) for _ in range(2))
    said_ND = []
    for feature_F, change_D in zip(feature_NF, change_ND):
        said_ND.append(one.forecast(feature_F))
        one.learn(feature_F, change_D)
    forecast_ND = again.replay(feature_NF, change_ND)
    np.testing.assert_allclose(forecast_ND[:320], said_ND[:320], atol=1e-12)  # later they are solved anew less often
    assert np.abs(forecast_ND - said_ND)[320:].max() < 0.05
    np.testing.assert_allclose(again.forecast(feature_NF), one.forecast(feature_NF), atol=0.01)


def test_a_panel_of_long_latents_stays_small_and_finite():
    panel, rng = Panel((STEP_S,), STEP_S, np.zeros(256), np.ones(256), 2), np.random.default_rng(0)
    for t in range(40):
        latent_D = rng.normal(size=256).astype(np.float32)
        panel.observe(t * STEP_NS, latent_D, None)
        got = panel.combine(0, Networks(latent_D, latent_D, 0.0), None, None, False)
    assert panel.experts[0]._ridge._gram_FF.shape == (2 * WIDEST + 7, 2 * WIDEST + 7)
    assert np.isfinite(got.latent_D).all()


@pytest.mark.parametrize("early", [True, False])
def test_when_a_panel_is_told_to_learn_changes_nothing(early):
    rng = np.random.default_rng(3)
    panels = [Panel((0.05, 0.2), 0.05, np.zeros(4), np.ones(4), 2) for _ in range(2)]
    for step in range(120):
        latent_D = rng.normal(size=4).astype(np.float32)
        networks = Networks(latent_D + 0.1, latent_D - 0.1, 0.5)
        for panel, learns_early in zip(panels, (True, early)):
            if step == 60:
                panel.restart()
            panel.observe(step * 50_000_000, latent_D, np.array([1.0, 0.0]))
            if learns_early:
                panel.learn()
        first, second = ([panel.combine(at, networks, None, None, False) for at in range(2)] for panel in panels)
        assert all(np.array_equal(a.latent_D, b.latent_D) for a, b in zip(first, second))
