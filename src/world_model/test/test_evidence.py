"""Shares of candidates, against least squares worked out by brute force and against what comes true or does not."""

import itertools
import subprocess
import sys
from collections import deque

import numpy as np
import pytest
from scipy.optimize import nnls

from world_model.runtime.evidence import CAUTION_S, FORGET_S, Evidence, shares

STEP_S = 0.05
DIM = 8


def follow(evidence, seconds, truth_of, forecast, candidates, rng, horizon=20):
    """Run forecasts of ``horizon`` steps past the evidence and return the combined ones with what came, [T, 2, D]."""
    steps, waiting = round(seconds / STEP_S), deque()
    truth_TD = np.stack([truth_of(rng) for _ in range(steps + horizon)])
    made = []
    for t in range(steps):
        if t >= horizon:
            evidence.learn(*waiting.popleft(), truth_TD[t])
        come_D = truth_TD[t + horizon]
        forecast_D = forecast(come_D, rng)
        candidate_CD = np.stack([candidate(come_D, rng) for candidate in candidates])
        made.append((evidence.combine(forecast_D, candidate_CD), come_D))
        waiting.append((forecast_D, candidate_CD))
    return np.array(made)


def noisy(std):
    return lambda truth_D, rng: truth_D + std * rng.normal(size=DIM)


def normal(rng):
    return rng.normal(size=DIM)


def test_without_evidence_the_forecast_is_the_same_bits():
    evidence = Evidence(2, np.ones(DIM), STEP_S)
    forecast_D = np.float32(np.random.default_rng(0).normal(size=DIM))
    assert evidence.combine(forecast_D, np.ones((2, DIM))) is forecast_D
    assert not evidence.share_C.any()


def test_who_is_leant_on_speaks_until_there_is_evidence():
    evidence = Evidence(2, np.ones(DIM), STEP_S)
    evidence.lean(1, 0.75)
    forecast_D, candidate_CD = np.zeros(DIM), np.stack([np.full(DIM, 9.0), np.full(DIM, 4.0)])
    np.testing.assert_allclose(evidence.combine(forecast_D, candidate_CD), np.full(DIM, 3.0))
    # One forecast of 0.05 s says 0 (share 0), caution of 0.2 s of the error left (9) says 0.75, worked by hand:
    # share = (0.05 * 0 + 1.8 * 0.75) / (0.05 * 16 + 1.8).
    evidence.learn(forecast_D, np.stack([np.zeros(DIM), np.full(DIM, 4.0)]), np.zeros(DIM))
    np.testing.assert_allclose(evidence.share_C, [0.0, 1.35 / 2.6])
    rng = np.random.default_rng(3)
    follow(evidence, 30.0, normal, noisy(0.1), [noisy(1.0), noisy(1.0)], rng)
    assert evidence.share_C.max() < 0.05, "evidence has the last word"


def test_two_equally_good_independent_forecasts_get_half_each():
    rng = np.random.default_rng(1)
    evidence = Evidence(1, np.ones(DIM), STEP_S)
    made = follow(evidence, 60.0, normal, noisy(0.5), [noisy(0.5)], rng)
    assert evidence.share_C[0] == pytest.approx(0.5, abs=0.05)
    # Half the squared error, as the mean of two independent ones has.
    assert np.mean((made[600:, 0] - made[600:, 1]) ** 2) == pytest.approx(0.125, rel=0.1)


def test_what_makes_forecasts_worse_gets_nothing():
    evidence = Evidence(2, np.ones(DIM), STEP_S)
    noise = noisy(0.2)
    # One candidate errs three times as much on top of the same error, the other exaggerates the forecast.
    follow(evidence, 30.0, normal, noise, [lambda z, rng: z + 5.0, lambda z, rng: 3.0 * z], np.random.default_rng(2))
    assert evidence.share_C == pytest.approx([0.0, 0.0], abs=0.01)


def test_a_change_is_followed():
    rng = np.random.default_rng(3)
    evidence = Evidence(1, np.ones(DIM), STEP_S)
    follow(evidence, 60.0, normal, noisy(0.1), [noisy(1.0)], rng)
    before = float(evidence.share_C[0])
    follow_on = Evidence(1, np.ones(DIM), STEP_S)
    follow_on._gram_CC, follow_on._moment_C = evidence._gram_CC, evidence._moment_C
    follow(follow_on, 3 * FORGET_S, normal, noisy(1.0), [noisy(0.1)], rng)
    assert before < 0.05
    assert follow_on.share_C[0] > 0.85


@pytest.mark.parametrize("seed", range(20))
def test_shares_are_the_best_allowed_ones(seed):
    """Against every subset of candidates solved on its own: the best one without negative shares."""
    rng = np.random.default_rng(seed)
    better_NC = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 3))
    missed_N = better_NC @ (0.3 * rng.normal(size=3)) + 0.2 * rng.normal(size=50)
    gram_CC, moment_C = better_NC.T @ better_NC, better_NC.T @ missed_N
    best, least = np.zeros(3), 0.0
    for chosen in itertools.chain.from_iterable(itertools.combinations(range(3), size) for size in (1, 2, 3)):
        rows = list(chosen)
        share = np.zeros(3)
        share[rows] = np.linalg.solve(gram_CC[np.ix_(rows, rows)] + CAUTION_S * np.eye(len(rows)), moment_C[rows])
        cost = share @ gram_CC @ share + CAUTION_S * share @ share - 2 * moment_C @ share
        if (share >= 0).all() and cost < least:
            best, least = share, cost
    assert shares(gram_CC, moment_C, CAUTION_S) == pytest.approx(best / max(best.sum(), 1.0), abs=1e-6)


def test_one_forecast_counts_for_one_step():
    evidence = Evidence(1, np.ones(DIM), STEP_S)
    evidence.learn(np.zeros(DIM), np.ones((1, DIM)), np.ones(DIM))
    assert evidence.share_C[0] == pytest.approx(STEP_S / (STEP_S + CAUTION_S))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_are_those_of_a_library(count):
    """Against SciPy's active set, from nothing, from the former solution and from a wrong one."""
    rng = np.random.default_rng(count)
    for _ in range(100):
        better_NC = rng.normal(size=(40, count)) @ rng.normal(size=(count, count)) * 10.0 ** rng.uniform(-3, 3)
        missed_N = better_NC @ rng.normal(size=count) + rng.normal(size=40)
        ridge = 10.0 ** rng.uniform(-9, 0)
        gram_CC, moment_C = better_NC.T @ better_NC, better_NC.T @ missed_N
        factor_CC = np.linalg.cholesky(gram_CC + ridge * np.eye(count))
        expected_C, _ = nnls(factor_CC.T, np.linalg.solve(factor_CC, moment_C))
        expected_C /= max(expected_C.sum(), 1.0)
        found_C = shares(gram_CC, moment_C, ridge)
        np.testing.assert_allclose(found_C, expected_C, atol=1e-6)
        for former_C in (found_C, rng.integers(0, 2, count).astype(float)):
            np.testing.assert_allclose(shares(gram_CC, moment_C, ridge, former_C), expected_C, atol=1e-6)


@pytest.mark.parametrize("gram", [np.full((2, 2), np.nan), -np.eye(2)])
def test_what_has_no_single_solution_is_refused(gram):
    with pytest.raises(np.linalg.LinAlgError):
        shares(gram, np.ones(2), 0.1, np.ones(2))


@pytest.mark.slow
def test_a_predictor_is_imported_without_scipy():
    asked = "import sys, world_model.runtime.predictor; print([name for name in sys.modules if name == 'scipy'])"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
