"""The choices of the slow branch, measured against each other on the same frozen encoder and the same windows.

Every candidate is judged in one space: the principal components of the pooled embedding, to which embeddings project
and ``projected`` maps average.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
import torch

from world_model.data.ticks import TickTable
from world_model.evaluation.world_action import ForecastErrors, forecast_errors, ratio_with_interval, ratios
from world_model.models.map_compressor import FeatureCompressor
from world_model.models.world_action import EmbeddingPredictor, MapPredictor, WorldActionConfig, WorldActionEncoder
from world_model.runtime.metrics import nmse
from world_model.training.report import QUIET, Report
from world_model.training.world_action_config import WorldActionTraining
from world_model.training.world_action_stage import embed_all, maps_all, train_predictor

CANDIDATES: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("pooled l1", {}, {}),
    ("pooled l2", {}, {"norm": "l2"}),
    ("pooled l1 residual", {"residual": True}, {}),
    ("pooled l1 without input noise", {}, {"input_noise": 0.0}),
    ("maps projected l1", {"granularity": "maps"}, {}),
    ("maps projected l1 residual", {"granularity": "maps", "residual": True}, {}),
    ("maps projected l1 stride 2", {"granularity": "maps", "stride": 2}, {}),
)


def compare(
    encoder: WorldActionEncoder,
    config: WorldActionTraining,
    train: TickTable,
    test: TickTable,
    report: Report = QUIET,
    candidates: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = CANDIDATES,
) -> dict[str, Any]:
    """Train each candidate's predictor and return its ratio to "stays the same" per horizon, with intervals."""
    images_train, images_test = torch.from_numpy(train.image), torch.from_numpy(test.image)
    size, kept = config.model.embedding_dim, config.model.projected_channels
    with torch.no_grad():
        sample = encoder.maps(images_train[:: max(len(images_train) // 4096, 1), None])[:, 0]
    judge = FeatureCompressor("projected", size, kept).fit(sample)
    pooled_train, pooled_test = embed_all(encoder, images_train), embed_all(encoder, images_test)
    judged = judge.compress_pooled(pooled_test)
    variance = judge.compress_pooled(pooled_train).var(0).numpy()
    results: dict[str, Any] = {}
    for name, shape, training in candidates:
        shaped = replace(config.model, **shape)
        trained = replace(config, model=shaped, **training)
        torch.manual_seed(config.seed)
        started = perf_counter()
        if shaped.granularity == "pooled":
            predictor: Any = EmbeddingPredictor(shaped)
            train_predictor(predictor, trained, pooled_train, train, report=report)
            errors = _judge(predictor, pooled_test, judge.compress_pooled, judged, variance, test)
        else:
            compressor = FeatureCompressor("projected", size, kept, shaped.stride).fit(sample)
            predictor = MapPredictor(shaped, compressor.out_channels)
            features = maps_all(encoder, compressor, images_train)
            train_predictor(predictor, trained, features, train, report=report)
            seen = maps_all(encoder, compressor, images_test)
            errors = _judge(predictor, seen, lambda maps: maps.mean((-2, -1)), judged, variance, test)
        results[name] = {
            "parameters": sum(p.numel() for p in predictor.parameters()),
            "train_s": perf_counter() - started,
            "forward_ms": _forward_ms(predictor, shaped),
            "ours/same": [ratio_with_interval(errors, "ours", "same", tick) for tick in range(shaped.future)],
        }
        report.say(f"{name}: {ratios(results[name]['ours/same'])}")
    return results


@torch.no_grad()
def _judge(
    predictor: torch.nn.Module,
    features: torch.Tensor,
    to_judged: Callable[[torch.Tensor], torch.Tensor],
    judged_KC: torch.Tensor,
    variance_C: np.ndarray,
    table: TickTable,
) -> ForecastErrors:
    """Return errors in the judging space, whatever the predictor foresees."""
    past_WN, future_WF = torch.from_numpy(table.past), torch.from_numpy(table.future)
    parts = [to_judged(predictor(features[rows.clamp(min=0)], (rows >= 0).sum(1))) for rows in past_WN.split(512)]
    plain = forecast_errors(lambda history, count: history[:, -1:], judged_KC, variance_C, table)
    ours = nmse(torch.cat(parts).numpy() - judged_KC[future_WF.clamp(min=0)].numpy(), variance_C)
    ours[table.future < 0] = np.nan
    return ForecastErrors({**plain.error, "ours": ours}, plain.unit, plain.revisit)


@torch.no_grad()
def _forward_ms(predictor: torch.nn.Module, config: WorldActionConfig) -> float:
    side = config.map_size // config.stride
    history = (
        torch.zeros(1, config.history, config.embedding_dim)
        if config.granularity == "pooled"
        else torch.zeros(1, config.history, config.projected_channels, side, side)
    )
    count, times = torch.tensor([config.history]), []
    for _ in range(50):
        started = perf_counter()
        predictor(history, count)
        times.append(perf_counter() - started)
    return 1e3 * float(np.median(times))
