"""Figures of several artifacts side by side, in units that do not depend on the artifact.

Shape suffixes: N = judged frames, H = horizons, D = latent size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from world_model.data.episodes import Episode
from world_model.data.pixel_space import COMPONENTS, PixelSpace, fit_pixel_space
from world_model.evaluation.intervals import block_sums, ratio_interval
from world_model.evaluation.runner import EpisodeForecasts
from world_model.evaluation.scores import Scores, score

# Forecasts are judged from so long after the first one came true [s].
LEARNING_S = 10.0
NAMES = {
    "ours": "ours",
    "honest_base": "ours, memory emptied",
    "persistence": "persistence",
    "running_mean": "running mean",
    "nearest": "nearest memory at forecast pose",
    "mean_of_four": "mean of 4 nearest",
    "ridge": "online ridge",
    "network": "ours, network alone",
    "network_without_memory": "network without memory",
    "copy": "ours, copies alone",
    "trained_without_memory": "without memory",
    "trained_ridge": "ridge regression",
    "successor": "latent-KNN successor",
}
_LEAST_VARIANCE = 1e-9


def comparable(
    forecasts: Mapping[str, Sequence[EpisodeForecasts]],
    episodes: Sequence[Episode],
    latents: Sequence[np.ndarray],
    horizons_s: Sequence[float],
    training_variance_D: np.ndarray,
) -> dict[str, Any]:
    """Return errors as ``{space: {future: {horizon: {"revisits" | "first": {name: NMSE, "n", "ratio", ..}}}}}``.

    Spaces: ``latent`` in units of the training set's variance, ``latent_own`` in units of the recordings' own variance,
    ``pixels_own`` in the recordings' own principal components of pixels, each over its own variance, and
    ``pixels_own_pooled`` over the variance of all, as pixels count (both left out where there are too few frames).
    ``ratio`` is ours over the honest base, ``interval`` its 95 % block-bootstrap bounds. Forecasts of the first
    ``LEARNING_S`` after the first came true are not judged.

    Args:
        forecasts: ``known | held`` -> forecasts of each episode.
        episodes: The episodes.
        latents: Their latents, [T, D] each.
        horizons_s: Times ahead [s].
        training_variance_D: The artifact's unit.
    """
    own_D = np.maximum(np.concatenate(latents).var(axis=0), _LEAST_VARIANCE)
    images = [np.asarray(episode.image_TSSC) for episode in episodes]
    pixels = pixel_spaces(next(iter(forecasts.values())), images, latents)
    in_pixels = {} if pixels is None else {"pixels_own": "pixel_components", "pixels_own_pooled": "pixels"}
    result: dict[str, Any] = {name: {} for name in ("latent", "latent_own", *in_pixels)}
    for future, runs in forecasts.items():
        judged = [settled(run, episode, max(horizons_s)) for run, episode in zip(runs, episodes)]
        with_unit = [run if run.has_unit else replace(run, judged_T=np.zeros_like(run.judged_T)) for run in judged]
        trained = score(with_unit, images, training_variance_D, None)
        own = score([in_own_unit(run) for run in judged], images, own_D, pixels)
        result["latent"][future] = _cells(trained, "latent", horizons_s)
        result["latent_own"][future] = _cells(own, "latent", horizons_s)
        for name, space in in_pixels.items():
            result[name][future] = _cells(own, space, horizons_s)
    return result


def in_own_unit(run: EpisodeForecasts) -> EpisodeForecasts:
    """Return forecasts in units of the recording's own variance: of projected features that of all dimensions alike.

    Principal components are not whitened: the last of them hold little but noise, and must not count as the first do.
    """
    if not run.is_own:
        return replace(run, variance_D=None)
    pooled = max(float(run.latent_TD.var(axis=0).mean()), _LEAST_VARIANCE)
    return replace(run, variance_D=np.full(run.latent_TD.shape[1], pooled))


def pixel_spaces(
    runs: Sequence[EpisodeForecasts], images: Sequence[np.ndarray], latents: Sequence[np.ndarray]
) -> PixelSpace | list[PixelSpace] | None:
    """Return the recordings' own pixel components with a read-out, for each run one where bases differ."""
    if sum(map(len, latents)) <= COMPONENTS or len({image.shape[1:] for image in images}) != 1:
        return None
    if not any(run.is_own for run in runs):
        return fit_pixel_space(np.concatenate(images), np.concatenate(latents))
    if any(len(latent_TD) <= COMPONENTS for latent_TD in latents):
        return None
    return [fit_pixel_space(image, latent_TD) for image, latent_TD in zip(images, latents)]


def settled(run: EpisodeForecasts, episode: Episode, horizon_s: float) -> EpisodeForecasts:
    """Return the forecasts less those made before the slowest horizon had its time to learn."""
    second_T = (np.asarray(episode.stamp_T) - int(episode.stamp_T[0])) * 1e-9
    return replace(run, judged_T=run.judged_T & (second_T >= LEARNING_S + horizon_s))


def _cells(scores: Scores, space: str, horizons_s: Sequence[float]) -> dict[str, Any]:
    by_name = {name: scores.error[space][theirs] for name, theirs in NAMES.items() if theirs in scores.error[space]}
    result: dict[str, Any] = {}
    for column, horizon_s in enumerate(horizons_s):
        result[str(round(float(horizon_s), 6))] = cells = {}
        for kind, flag in (("revisits", True), ("first", False)):
            errors = {name: error_NH[:, column] for name, error_NH in by_name.items()}
            good_N = (scores.revisit_NH[:, column] == flag) & np.isfinite(errors["ours"])
            if good_N.any():
                cells[kind] = _cell({name: error_N[good_N] for name, error_N in errors.items()}, scores.block_N[good_N])
            else:
                cells[kind] = {name: None for name in (*errors, "ratio", "interval")} | {"n": 0}
    return result


def _cell(errors: dict[str, np.ndarray], block_N: np.ndarray) -> dict[str, Any]:
    sums = block_sums(np.column_stack([errors["ours"], errors["honest_base"]]), block_N)
    ratio = ratio_interval(sums)
    means = {name: round(float(np.mean(error_N)), 5) for name, error_N in errors.items()}
    return {**means, "n": len(block_N), "ratio": ratio["ratio"], "interval": [ratio["low"], ratio["high"]]}
