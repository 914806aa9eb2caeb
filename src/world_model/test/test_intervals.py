"""The interval of a ratio of errors that are not independent, against series whose ratio is known."""

from __future__ import annotations

import numpy as np
import pytest

from world_model.evaluation.intervals import BLOCK_S, block_sums, ratio_interval, stretches

pytestmark = pytest.mark.training

RATIO, TRIALS, SECONDS, CORRELATED_S = 0.8, 200, 60.0, 0.5


def correlated(rng: np.random.Generator, count: int, gap_s: float) -> np.ndarray:
    """Return series of unit variance that forget within half a second, as errors of real drives do, [TRIALS, count]."""
    kept = np.exp(-gap_s / CORRELATED_S)
    series = rng.normal(size=(TRIALS, count))
    for at in range(1, count):
        series[:, at] = kept * series[:, at - 1] + np.sqrt(1.0 - kept * kept) * series[:, at]
    return series


def coverage(rate_hz: float) -> float:
    """Return how often the interval holds the true ratio of two paired errors."""
    rng, count = np.random.default_rng(3), round(SECONDS * rate_hz)
    shared, first, second = (size * correlated(rng, count, 1.0 / rate_hz) for size in (0.6, 0.5, 0.5))
    block_N = stretches([np.round(np.arange(count) * 1e9 / rate_hz).astype(np.int64)])
    hits = 0
    for trial in range(TRIALS):
        pair = RATIO * np.exp(shared[trial] + first[trial]), np.exp(shared[trial] + second[trial])
        found = ratio_interval(block_sums(np.column_stack(pair), block_N))
        hits += found["low"] <= RATIO <= found["high"]
    return hits / TRIALS


def test_the_interval_holds_the_true_ratio_at_every_camera_rate_alike():
    # 95 % are wished for; thirty blocks of what is still a little alike at their borders reach nine in ten.
    found = [coverage(rate_hz) for rate_hz in (5.0, 60.0)]
    assert min(found) >= 0.85
    assert abs(found[0] - found[1]) <= 0.06


@pytest.mark.parametrize("rate_hz", [1.0, 5.0, 20.0, 120.0])
def test_a_block_lasts_as_long_whatever_the_rate(rate_hz):
    stamp_N = np.round(np.arange(round(20 * rate_hz)) * 1e9 / rate_hz).astype(np.int64)
    block_N = stretches([stamp_N])
    assert block_N[-1] + 1 == 20.0 / BLOCK_S
    assert set(np.bincount(block_N)) == {round(BLOCK_S * rate_hz)}


def test_no_block_reaches_from_one_recording_into_the_next():
    second = 1_000_000_000
    block_N = stretches([np.array([5, 6]) * second, np.zeros(0, np.int64), np.array([1, 2, 3]) * second])
    assert block_N.tolist() == [0, 0, 1, 1, 2]
