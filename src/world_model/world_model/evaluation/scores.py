"""Forecasts scored: NMSE by predictor, horizon and revisit or first visit, with block-bootstrap intervals.

Shape suffixes: N = judged frames, H = horizons, D = latent size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from world_model.data.pixel_space import PixelSpace
from world_model.evaluation.intervals import block_sums, mean_interval, ratio_interval, stretches
from world_model.evaluation.runner import EpisodeForecasts
from world_model.runtime.metrics import nmse

SPACES = ("latent", "pixel_components", "pixel_components, prediction alone", "pixels")


@dataclass(frozen=True)
class Scores:
    """Errors per frame. ``error``: space -> predictor -> [N, H], NaN where there was nothing to judge."""

    error: dict[str, dict[str, np.ndarray]]
    revisit_NH: np.ndarray
    block_N: np.ndarray
    gate_NH: np.ndarray


def score(
    runs: Sequence[EpisodeForecasts],
    images: Sequence[np.ndarray],
    variance_D: np.ndarray,
    space: PixelSpace | Sequence[PixelSpace] | None,
) -> Scores:
    """Return the errors of all judged frames of some episodes.

    Args:
        runs: Forecasts of each episode.
        images: Each episode's images, for the space of pixels.
        variance_D: Training variance of the latents, where a run brings no unit of its own.
        space: Fixed space, or one for each run; ``None`` reports latents only.
    """
    names = list(runs[0].forecast)
    parts: dict[str, dict[str, list[np.ndarray]]] = {s: {name: [] for name in names} for s in SPACES}
    stamps, revisit, gate = [], [], []
    spaces = space if isinstance(space, Sequence) else [space] * len(runs)
    for run, image, space in zip(runs, images, spaces):
        rows = np.flatnonzero(run.judged_T)
        component_TP = _components(space, image)
        unit_D = variance_D if run.variance_D is None else run.variance_D
        for name in names:
            predicted = run.forecast[name][rows]
            missing = run.target_row_TH[rows] < 0
            parts["latent"][name].append(_masked(nmse(predicted - run.target_THD[rows], unit_D), missing))
            if space is not None and component_TP is not None:
                single, pooled = space.errors(predicted, run.seen_at_targets(component_TP, rows))
                parts["pixel_components"][name].append(_masked(single, missing))
                parts["pixels"][name].append(_masked(pooled, missing))
                alone, _ = space.errors(predicted, space.read(run.target_THD[rows]))
                parts["pixel_components, prediction alone"][name].append(_masked(alone, missing))
        stamps.append(run.stamp_T[rows])
        revisit.append(run.revisit_TH[rows])
        gate.append(run.gate_TH[rows])
    error = {
        s: {name: np.concatenate(values) for name, values in by_name.items()}
        for s, by_name in parts.items()
        if all(by_name.values())
    }
    return Scores(error, np.concatenate(revisit), stretches(stamps), np.concatenate(gate))


def summary(scores: Scores, horizons: Sequence[int], space: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return mean, 95 % interval and count by predictor, horizon and ``revisit | first``."""
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for name, error_NH in scores.error[space].items():
        result[name] = {}
        for column, step in enumerate(horizons):
            result[name][str(step)] = {
                kind: mean_interval(error_NH[:, column], scores.revisit_NH[:, column] == flag, scores.block_N)
                for kind, flag in (("revisit", True), ("first", False))
            }
    return result


def ratios(
    scores: Scores, horizons: Sequence[int], space: str, name: str, against: str
) -> dict[str, dict[str, dict[str, float]]]:
    """Return one predictor's mean error over another's, with 95 % block-bootstrap bounds."""
    result: dict[str, dict[str, dict[str, float]]] = {}
    for column, step in enumerate(horizons):
        result[str(step)] = {}
        for kind, flag in (("revisit", True), ("first", False)):
            first, second = (scores.error[space][n][:, column] for n in (name, against))
            good = (scores.revisit_NH[:, column] == flag) & np.isfinite(first) & np.isfinite(second)
            sums = block_sums(np.column_stack([first, second])[good], scores.block_N[good])
            result[str(step)][kind] = ratio_interval(sums)
    return result


def _components(space: PixelSpace | None, image: np.ndarray) -> np.ndarray | None:
    if space is None or image[0].size != space.component_PX.shape[1]:
        return None
    return np.concatenate([space.project(np.asarray(image[i : i + 512])) for i in range(0, len(image), 512)])


def _masked(error: np.ndarray, missing: np.ndarray) -> np.ndarray:
    return np.where(missing, np.nan, error).astype(np.float32)
