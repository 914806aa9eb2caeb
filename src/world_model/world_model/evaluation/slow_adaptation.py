"""Was it worth it for the slow branch? What was fitted to a robot foresees its next ticks better, or it is not kept.

Shape suffixes: K = ticks, W = windows, F = future ticks, E = embedding size.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from world_model.data.episodes import Episode
from world_model.data.ticks import TickTable
from world_model.evaluation.adaptation import Verdict, verdict_of
from world_model.evaluation.intervals import block_sums
from world_model.evaluation.world_action import BLOCK_S, Foresee, forecast_errors

_LEAST_VARIANCE = 1e-6
# Windows of neighbouring ticks are one and the same evidence; of fewer stretches of them nothing is said.
_LEAST_BLOCKS = 3
_MOST_BLOCKS = 1_000_000


def judge_slow_branch(before: Foresee, after: Foresee, features_KE: torch.Tensor, table: TickTable) -> list[Verdict]:
    """Return the errors of the foreseen embeddings in units of their own variance: of all ticks ahead, and of the next.

    What is too short to tell, less than about 24 s, is not judged (count 0).

    Args:
        before: What was there.
        after: What was fitted; both foresee the same embeddings.
        features_KE: Embeddings of the held-out ticks.
        table: Their windows.
    """
    variance_E = np.maximum(features_KE.numpy().var(axis=0), _LEAST_VARIANCE) if len(table.past) else np.ones(1)
    verdicts = []
    errors = [forecast_errors(each, features_KE, variance_E, table) for each in (after, before)]
    for what, columns in (("all ticks ahead", slice(None)), ("the next tick", slice(0, 1))):
        error_W2 = np.stack([_mean_of_known(each.error["ours"][:, columns]) for each in errors], axis=1)
        good_W = np.isfinite(error_W2).all(axis=1)
        sums = block_sums(error_W2[good_W], _blocks(table)[good_W])
        verdicts.append(verdict_of(f"NMSE of {what}", sums if len(sums) >= _LEAST_BLOCKS else sums[:0]))
    return verdicts


def can_be_judged(episodes: Iterable[Episode]) -> bool:
    """Return whether held-out episodes are long enough that ``judge_slow_branch`` may say something of them."""
    spans_s = [float(episode.stamp_T[-1] - episode.stamp_T[0]) * 1e-9 for episode in episodes]
    return sum(int(span_s // BLOCK_S) + 1 for span_s in spans_s) >= _LEAST_BLOCKS


def _blocks(table: TickTable) -> np.ndarray:
    """Return what each window is resampled with: eight seconds of one episode."""
    now_W = table.past[:, -1]
    first_W = np.array([table.stamp[table.episode == owner].min() for owner in table.episode[now_W].tolist()], np.int64)
    block_W: np.ndarray = (table.stamp[now_W] - first_W) // (BLOCK_S * 1_000_000_000)
    unit_W: np.ndarray = block_W + _MOST_BLOCKS * table.episode[now_W]
    return unit_W


def _mean_of_known(error_WF: np.ndarray) -> np.ndarray:
    known_WF = np.isfinite(error_WF)
    sums_W = np.where(known_WF, error_WF, 0.0).sum(axis=1)
    return np.where(known_WF.any(axis=1), sums_W / np.maximum(known_WF.sum(axis=1), 1), np.nan)
