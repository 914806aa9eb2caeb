"""Intervals of errors that are not independent: whole blocks of them are drawn again, with replacement.

Shape suffixes: N = errors, C = columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

DRAWS = 1000
BLOCK_S = 2.0
"""Errors of neighbouring frames are alike: what lies within so long is drawn as one, however fast the camera [s]."""
_LEAST = 1e-12


def stretches(stamps: Sequence[np.ndarray], block_s: float = BLOCK_S) -> np.ndarray:
    """Return which block each error belongs to, those of all recordings one after the other, int64 [N].

    No block reaches from one recording into the next.

    Args:
        stamps: Stamps of the errors of each recording, int64 ns, ascending.
        block_s: Length of a block [s].
    """
    numbers: list[np.ndarray] = []
    first = 0
    for stamp_N in stamps:
        if len(stamp_N):
            numbers.append(first + (stamp_N - stamp_N[0]) // round(block_s * 1e9))
            first = int(numbers[-1][-1]) + 1
    return np.concatenate(numbers) if numbers else np.zeros(0, np.int64)


def block_sums(value_NC: np.ndarray, block_N: np.ndarray) -> np.ndarray:
    """Return per block the sums of each column and the count, [blocks, C + 1]."""
    if not len(value_NC):
        return np.zeros((0, value_NC.shape[1] + 1))
    _, index_N = np.unique(block_N, return_inverse=True)
    sums = np.zeros((index_N.max() + 1, value_NC.shape[1] + 1))
    np.add.at(sums, index_N, np.column_stack([value_NC, np.ones(len(value_NC))]))
    return sums


def mean_interval(error_N: np.ndarray, chosen_N: np.ndarray, block_N: np.ndarray) -> dict[str, Any]:
    """Return mean, 95 % interval and count of the chosen errors that are known."""
    chosen_N = chosen_N & np.isfinite(error_N)
    if not chosen_N.any():
        return {"mean": None, "low": None, "high": None, "n": 0}
    sums = block_sums(error_N[chosen_N, None], block_N[chosen_N])
    drawn = _draw(sums)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return {
        "mean": round(float(error_N[chosen_N].mean()), 5),
        "low": round(float(low), 5),
        "high": round(float(high), 5),
        "n": int(chosen_N.sum()),
    }


def ratio_interval(sums: np.ndarray) -> dict[str, float]:
    """Return the ratio of two sums, from ``block_sums`` of two columns, with its 95 % interval; nothing without any."""
    if not len(sums):
        return {}
    drawn = _draw(sums)
    low, high = np.percentile(drawn[:, 0] / np.maximum(drawn[:, 1], _LEAST), [2.5, 97.5])
    first, second = sums[:, 0].sum(), max(sums[:, 1].sum(), _LEAST)
    return {"ratio": round(float(first / second), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def _draw(sums: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = rng.integers(len(sums), size=(DRAWS, len(sums)))
    drawn: np.ndarray = sums[rows].sum(axis=1)
    return drawn
