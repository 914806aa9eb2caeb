"""Frozen or moving target, gradient let in or not: judged in one space that no encoder can bend.

Encoders differ in what they make easy to foresee, so errors in their own embeddings cannot be compared. Here every
candidate's forecasts are read out linearly into the 32 first principal components of the pixels.

Shape suffixes: K = ticks, W = windows, F = future ticks, E = embedding size, P = principal components of the pixels.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from world_model.data.ticks import TickTable
from world_model.evaluation.world_action import ForecastErrors, ratio_with_interval, ratios, resampling_units
from world_model.models.world_action import EmbeddingPredictor, ServedWorldAction, untrained
from world_model.runtime.metrics import nmse
from world_model.training.collapse import spread
from world_model.training.report import QUIET, Report
from world_model.training.world_action_config import WorldActionTraining
from world_model.training.world_action_stage import embed_all, standardise, train_joint, train_predictor

COMPONENTS = 32
_RIDGE = 1.0
CANDIDATES: tuple[tuple[str, dict[str, Any] | None], ...] = (
    ("frozen", None),
    ("ema, stop-gradient", {"share_gradient": False}),
    ("ema, gradient shared", {"share_gradient": True}),
    ("ema, gradient shared, no picture", {"share_gradient": True, "picture_weight": 0.0}),
)


def pixel_components(image_KSSC: np.ndarray, count: int = COMPONENTS, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return mean [X] and the first principal components [X, P] of pictures averaged down to half their side."""
    pixels = _pixels(image_KSSC[:: max(len(image_KSSC) // 4096, 1)])
    torch.manual_seed(seed)
    mean = pixels.mean(0)
    return mean, torch.pca_lowrank(pixels - mean, q=count, center=False)[2]


def compare_targets(
    module: ServedWorldAction,
    config: WorldActionTraining,
    train: TickTable,
    test: TickTable,
    report: Report = QUIET,
) -> dict[str, Any]:
    """Train each kind of target from the same encoder; return pixel-space ratios to "stays the same" and the spread."""
    mean, basis = pixel_components(train.image)
    seen_train, seen_test = ((_pixels(table.image) - mean) @ basis for table in (train, test))
    results: dict[str, Any] = {}
    for name, changes in CANDIDATES:
        encoder = untrained(config.model).encoder
        encoder.load_state_dict(module.encoder.state_dict())
        torch.manual_seed(config.seed)
        predictor = EmbeddingPredictor(config.model)
        if changes is not None:
            joint = replace(config, target="ema", **changes)
            encoder = train_joint(encoder, predictor, joint, train, report=report).copy
            standardise(encoder, torch.from_numpy(train.image))
        embedded = [embed_all(encoder, torch.from_numpy(table.image)) for table in (train, test)]
        train_predictor(predictor, config, embedded[0], train, report=report)
        readout = fit_readout(embedded[0], seen_train)
        errors = _errors(predictor, embedded[1], readout, seen_test, seen_train.var(0).numpy(), test)
        results[name] = {
            **asdict(spread(embedded[0][:: max(len(embedded[0]) // 4096, 1)])),
            "readout_error": float(np.mean(errors.error["readout"])),
            "ours/same": [ratio_with_interval(errors, "ours", "same", tick) for tick in range(config.model.future)],
        }
        report.say(f"{name}: {ratios(results[name]['ours/same'])}")
    return results


def fit_readout(embedding_KE: Tensor, seen_KP: Tensor) -> Tensor:
    """Return the ridge regression [E + 1, P] from embeddings (and one) to what was seen."""
    inputs = torch.cat([embedding_KE, torch.ones(len(embedding_KE), 1)], 1).double()
    gram = inputs.T @ inputs + _RIDGE * torch.eye(inputs.shape[1], dtype=torch.float64)
    weights: Tensor = torch.linalg.solve(gram, inputs.T @ seen_KP.double()).float()
    return weights


@torch.no_grad()
def _errors(
    predictor: EmbeddingPredictor,
    embedding_KE: Tensor,
    readout: Tensor,
    seen_KP: Tensor,
    variance_P: np.ndarray,
    table: TickTable,
) -> ForecastErrors:
    past_WN, future_WF = torch.from_numpy(table.past), torch.from_numpy(table.future)
    foreseen = predictor(embedding_KE[past_WN.clamp(min=0)], (past_WN >= 0).sum(1))
    seen = seen_KP[future_WF.clamp(min=0)].numpy()
    error = {
        "ours": nmse((foreseen @ readout[:-1] + readout[-1]).numpy() - seen, variance_P),
        "same": nmse(seen_KP[past_WN[:, -1]].numpy()[:, None] - seen, variance_P),
    }
    for values in error.values():
        values[table.future < 0] = np.nan
    read = (embedding_KE @ readout[:-1] + readout[-1]).numpy()
    error["readout"] = nmse(read - seen_KP.numpy(), variance_P)[:, None]
    return ForecastErrors(error, resampling_units(table), np.zeros(table.future.shape, bool))


def _pixels(image_KSSC: np.ndarray) -> Tensor:
    """Return pictures as rows, averaged down to half their side, values 0..1."""
    parts = []
    for images in torch.from_numpy(np.ascontiguousarray(image_KSSC)).split(1024):
        pooled = torch.nn.functional.avg_pool2d(images.permute(0, 3, 1, 2).float() / 255.0, 2)
        parts.append(pooled.flatten(1))
    return torch.cat(parts)
