"""From paths to errors, their ratios and intervals.

Shape suffixes: N = samples, S = steps, 2 = (forward, left) [m].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wm_policy.heads.trajectory import STEP_S
from world_model.evaluation.intervals import block_sums, mean_interval, ratio_interval

METRICS = ("ade_1s", "ade_2s", "ade_3s", "fde_3s")
PREDICTORS = (
    "with_memory", "without", "hold_last_action", "constant_velocity", "ego_mlp", "ridge", "nearest_drive",
    "shuffled", "blank",
)  # fmt: skip
RATIOS = (
    ("with_memory", "without"), ("with_memory", "hold_last_action"), ("with_memory", "nearest_drive"),
    ("with_memory", "ego_mlp"), ("without", "hold_last_action"), ("shuffled", "with_memory"),
    ("blank", "with_memory"), ("with_history", "with_memory"),
    ("with_imagined", "with_memory"), ("with_imagined_filtered", "with_memory"),
    ("with_imagined_filtered", "with_imagined"), ("without_with_imagined", "without"),
)  # fmt: skip


def errors(path_NS2: np.ndarray, truth_NS2: np.ndarray) -> dict[str, np.ndarray]:
    """Return each metric of each sample [m], [N]: mean distance up to a time, and the distance at its end."""
    distance_NS = np.linalg.norm(path_NS2 - truth_NS2, axis=2)
    steps = {name: round(int(name[4]) / STEP_S) for name in METRICS}
    return {
        name: distance_NS[:, :count].mean(axis=1) if name.startswith("ade") else distance_NS[:, count - 1]
        for name, count in steps.items()
    }


def summary(
    paths: Mapping[str, Sequence[np.ndarray]], truth_NS2: np.ndarray, chosen_N: np.ndarray, block_N: np.ndarray
) -> dict[str, Any]:
    """Return metric -> predictor -> mean error, and ``intervals``.

    Args:
        paths: Predictor -> its paths, one for each seed; errors of the seeds are averaged sample by sample.
        truth_NS2: What came.
        chosen_N: Samples that are judged.
        block_N: What is drawn again as a whole: drives, or stretches of one.
    """
    each: dict[str, dict[str, np.ndarray]] = {}
    for name, seeds in paths.items():
        found = [errors(path_NS2, truth_NS2) for path_NS2 in seeds]
        each[name] = {metric: np.mean([one[metric] for one in found], axis=0) for metric in METRICS}
    # Paired: only where every predictor says something.
    said_N = np.logical_and.reduce([np.isfinite(one["fde_3s"]) for one in each.values()])
    judged_N = chosen_N & said_N
    made: dict[str, Any] = {
        metric: {name: _mean(one[metric][judged_N]) for name, one in each.items()} for metric in METRICS
    }
    made["intervals"] = {metric: _intervals(each, metric, judged_N, block_N) for metric in METRICS}
    made["samples"] = int(judged_N.sum())
    made["blocks"] = len(np.unique(block_N[judged_N]))
    return made


def _intervals(
    each: Mapping[str, Mapping[str, np.ndarray]], metric: str, judged_N: np.ndarray, block_N: np.ndarray
) -> dict[str, Any]:
    made: dict[str, Any] = {name: mean_interval(one[metric], judged_N, block_N) for name, one in each.items()}
    for over, under in RATIOS:
        if over in each and under in each and judged_N.any():
            both_N2 = np.column_stack([each[over][metric], each[under][metric]])[judged_N]
            made[f"{over}/{under}"] = ratio_interval(block_sums(both_N2, block_N[judged_N]))
    return made


def _mean(value_N: np.ndarray) -> float | None:
    return round(float(value_N.mean()), 5) if len(value_N) else None
