"""Searches for the cheapest plan, on costs whose cheapest plan is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_planner.limits import Limits
from latent_planner.mppi import coloured
from latent_planner.optimisers import METHODS, Cem, Icem, RandomShooting, SearchSettings, StraightLine

FREE = Limits(low=(-1.0, -2.0), high=(1.0, 2.0), rate=(1e6, 1e6), jerk=(1e9, 1e9))
NOWHERE, STILL = np.zeros(3), np.zeros(2)
WANTED_SA = np.column_stack([np.linspace(-0.5, 0.5, 6), np.linspace(1.0, -1.0, 6)]).astype(np.float32)
SEARCH = SearchSettings(plans=128, steps=6, iterations=10, elites=16, colour=0.5)


def quadratic(plan_BSA):
    return ((plan_BSA - WANTED_SA) ** 2).sum(axis=(1, 2))


@pytest.mark.parametrize("name", ["cem", "icem"])
def test_the_least_of_a_quadratic_is_found(name):
    chosen = METHODS[name](FREE, SEARCH, seed=1).plan(quadratic, NOWHERE, STILL)
    assert chosen.plan_SA == pytest.approx(WANTED_SA, abs=0.3)
    assert chosen.cost < 0.02 * quadratic(np.zeros((1, 6, 2)))[0]
    assert chosen.cost == pytest.approx(chosen.cost_E.min())
    assert (np.diff(chosen.cost_E) >= 0).all()
    assert quadratic(chosen.elite_ESA) == pytest.approx(chosen.cost_E)


def test_each_iteration_fits_the_mean_to_the_best():
    """By hand: one iteration, nothing of the former mean kept, is the mean of the elites."""
    seen = []
    search = SearchSettings(plans=20, steps=3, iterations=1, elites=5, smoothing=0.0)

    def evaluate(plan_BSA):
        seen.append(plan_BSA)
        return plan_BSA[:, :, 0].sum(axis=1)

    chosen = Cem(FREE, search).plan(evaluate, NOWHERE, STILL)
    best = np.sort(seen[0][:, :, 0].sum(axis=1))[:5]
    assert chosen.cost_E == pytest.approx(best)
    assert chosen.plan_SA[:, 0].sum() == pytest.approx(best.mean(), abs=1e-5)


def test_a_decision_begins_with_what_was_left_of_the_last_one():
    seen = []

    def evaluate(plan_BSA):
        seen.append(plan_BSA)
        return quadratic(plan_BSA)

    search = Icem(FREE, SEARCH, seed=1)
    first = search.plan(evaluate, NOWHERE, STILL)
    search.advance()
    seen.clear()
    search.plan(evaluate, NOWHERE, STILL)
    kept = seen[0][1 : 1 + int(SEARCH.kept * SEARCH.elites)]
    assert kept[:, :-1] == pytest.approx(first.elite_ESA[: len(kept), 1:])
    assert kept[:, -1] == pytest.approx(first.elite_ESA[: len(kept), -1])
    search.reset()
    seen.clear()
    search.plan(evaluate, NOWHERE, STILL)
    assert seen[0][0] == pytest.approx(np.zeros((6, 2)))


def test_later_iterations_of_icem_keep_elites_and_sample_less():
    seen = []

    def evaluate(plan_BSA):
        seen.append(plan_BSA)
        return quadratic(plan_BSA)

    Icem(FREE, SEARCH, seed=2).plan(evaluate, NOWHERE, STILL)
    assert [len(plans) for plans in seen[:3]] == [128, 102, 81]
    assert min(len(plans) for plans in seen) >= 2 * SEARCH.elites
    best = seen[0][quadratic(seen[0]).argmin()]
    assert any(np.allclose(plan, best) for plan in seen[1])


def test_sampling_with_a_fit_beats_the_same_number_of_random_plans():
    costs = {name: METHODS[name](FREE, SEARCH, seed=3).plan(quadratic, NOWHERE, STILL).cost for name in ("cem", "icem")}
    random = RandomShooting(FREE, SEARCH, seed=3).plan(quadratic, NOWHERE, STILL).cost
    assert max(costs.values()) < 0.5 * random


def test_the_weighed_mean_goes_downhill():
    search = METHODS["mppi"](FREE, SEARCH, seed=0)
    costs = [float(quadratic(search.plan(quadratic, NOWHERE, STILL).plan_SA[None])[0]) for _ in range(12)]
    assert costs[-1] < 0.3 * costs[0]


@pytest.mark.parametrize("dearest", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("some", [True, False])
@pytest.mark.parametrize("name", ["cem", "icem", "mppi", "random_shooting"])
def test_costs_that_are_not_finite_leave_no_mark(name, some, dearest):
    def spoiled(plan_BSA):
        return np.where(np.arange(len(plan_BSA)) % 2 if some else False, quadratic(plan_BSA), dearest)

    search = METHODS[name](FREE, SEARCH, seed=2)
    assert np.isfinite(search.plan(spoiled, NOWHERE, STILL).plan_SA).all()
    search.advance()
    chosen = search.plan(quadratic, NOWHERE, STILL)
    assert np.isfinite(chosen.plan_SA).all()
    assert np.isfinite(chosen.cost)


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(["cem", "icem", "mppi", "random_shooting"]), seed=st.integers(0, 9), steps=st.integers(1, 4)
)
def test_no_plan_leaves_the_limits(name, seed, steps):
    limits = Limits(low=(0.0, -2.0), high=(1.2, 2.0), rate=(3.0, 12.0))
    before_A = np.array([0.4, -0.5])

    def evaluate(plan_BSA):
        assert plan_BSA[..., 0].min() >= 0.0
        assert plan_BSA[..., 0].max() <= 1.2 + 1e-6
        whole = np.concatenate([np.broadcast_to(before_A, (len(plan_BSA), 1, 2)), plan_BSA], axis=1)
        assert (np.abs(np.diff(whole, axis=1)) <= np.array([0.6, 2.4]) + 1e-5).all()
        return plan_BSA.sum(axis=(1, 2))

    search = SearchSettings(plans=32, steps=steps, iterations=3, elites=8)
    chosen = METHODS[name](limits, search, seed=seed).plan(evaluate, NOWHERE, before_A)
    assert chosen.plan_SA.shape == (steps, 2)
    evaluate(chosen.plan_SA[None])


def test_plans_that_cost_nothing_finite_are_never_chosen():
    def evaluate(plan_BSA):
        cost_B = quadratic(plan_BSA)
        cost_B[::2] = math.nan
        return cost_B

    chosen = Cem(FREE, SEARCH).plan(evaluate, NOWHERE, STILL)
    assert np.isfinite(chosen.cost_E).all()


def test_the_straight_line_drives_at_the_goal_and_turns_there():
    def evaluate(plan_BSA):
        return np.zeros(len(plan_BSA))

    limits = Limits(high=(1.0, 2.0), rate=(1e6, 1e6), jerk=(1e9, 1e9))
    ahead = StraightLine(limits, np.array([5.0, 0.0, 0.0])).plan(evaluate, NOWHERE, STILL).plan_SA
    assert ahead == pytest.approx(np.tile([1.0, 0.0], (10, 1)))
    left = StraightLine(limits, np.array([0.0, 5.0, 0.0])).plan(evaluate, NOWHERE, STILL).plan_SA
    assert left[0] == pytest.approx([0.0, 2.0])
    there = StraightLine(limits, np.array([0.1, 0.0, 1.0])).plan(evaluate, NOWHERE, STILL).plan_SA
    assert there[0] == pytest.approx([0.0, 2.0])


@pytest.mark.parametrize("bad", [{"elites": 300}, {"steps": 0}, {"smoothing": 1.0}, {"decay": 0.5}, {"step_s": 0.0}])
def test_searches_that_cannot_be_are_refused(bad):
    with pytest.raises(ValueError, match=r"expected|shares"):
        SearchSettings(**bad)


@pytest.mark.parametrize("steps", [1, 2, 56])
@pytest.mark.parametrize("colour", [0.0, 2.0])
def test_noise_has_unit_variance_and_the_spectrum_that_is_asked_for(steps, colour):
    """At 1 and 2 steps there is one frequency besides the mean, so any colour is white."""
    noise = coloured(np.random.default_rng(0), (steps, 20_000), colour).astype(np.float64)
    assert noise.var() == pytest.approx(1.0, abs=0.05)
    power = (np.abs(np.fft.rfft(noise, axis=0)) ** 2).mean(axis=1)
    frequency = np.maximum(np.fft.rfftfreq(steps), 1.0 / steps)
    expected = frequency**-colour
    assert power / power[-1] == pytest.approx(expected / expected[-1], rel=0.1)
