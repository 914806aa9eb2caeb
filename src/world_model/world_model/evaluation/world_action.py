"""Does the slow branch foresee? Against "stays the same" and against the memory nearest to where the robot will be.

Shape suffixes: K = ticks, W = windows, N = past ticks, F = future ticks, E = embedding size, D = episodes, T = frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from world_model.data.encoding import embed_frames
from world_model.data.episodes import Episode
from world_model.data.ticks import TickTable, tabulate
from world_model.evaluation.intervals import block_sums, ratio_interval
from world_model.evaluation.pose_retrieval import Expectation, retrieve
from world_model.runtime.artifacts import Artifact
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.metrics import nmse
from world_model.runtime.motion import MotionModel

BLOCK_S = 8
Foresee = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class ForecastErrors:
    """Squared error over variance of each window and horizon, and who is compared.

    Attributes:
        error: Name of a predictor -> [W, F], NaN where a window has no target (or the predictor nothing to say).
        unit: [W], what intervals resample, because windows of one episode are not independent: the episode; of a single
            episode, which eight seconds of it.
        revisit: bool [W, F]; the place had been seen before. All False where poses were not asked for.
    """

    error: dict[str, np.ndarray]
    unit: np.ndarray
    revisit: np.ndarray


@torch.no_grad()
def forecast_errors(
    foresee: Foresee, features_KE: torch.Tensor, variance_E: np.ndarray, table: TickTable
) -> ForecastErrors:
    """Return the errors of a predictor, of "stays the same" and of the training mean (zero) on every window."""
    past_WN, future_WF = torch.from_numpy(table.past), torch.from_numpy(table.future)
    seen = features_KE[future_WF.clamp(min=0)].numpy()
    parts = [foresee(features_KE[rows.clamp(min=0)], (rows >= 0).sum(1)) for rows in past_WN.split(1024)]
    now = features_KE[past_WN[:, -1]].numpy()[:, None]
    error = {
        "ours": nmse(torch.cat(parts).numpy() - seen, variance_E),
        "same": nmse(now - seen, variance_E),
        "mean": nmse(-seen, variance_E),
    }
    for values in error.values():
        values[table.future < 0] = np.nan
    return ForecastErrors(error, resampling_units(table), np.zeros(table.future.shape, bool))


def resampling_units(table: TickTable) -> np.ndarray:
    """Return what each window belongs to when intervals are made; see ``ForecastErrors.unit``."""
    now_W = table.past[:, -1]
    if len(table.names) > 1:
        owner_W: np.ndarray = table.episode[now_W]
        return owner_W
    block_W: np.ndarray = (table.stamp[now_W] - table.stamp[now_W].min()) // (BLOCK_S * 1_000_000_000)
    return block_W


def ratio_with_interval(
    errors: ForecastErrors, name: str, baseline: str, horizon: int, among: np.ndarray | None = None
) -> dict[str, Any]:
    """Return mean error over the baseline's mean error, with a 95 % interval from resampling whole episodes.

    Args:
        errors: From ``forecast_errors``.
        name: Whose error.
        baseline: Over whose.
        horizon: Index of the future tick.
        among: Windows that count, bool [W].
    """
    ours_W, theirs_W = errors.error[name][:, horizon], errors.error[baseline][:, horizon]
    usable_W = np.isfinite(ours_W) & np.isfinite(theirs_W)
    if among is not None:
        usable_W &= among
    sums = block_sums(np.column_stack([ours_W, theirs_W])[usable_W], errors.unit[usable_W])
    if not len(sums):
        return {"ratio": None, "low": None, "high": None, "ours": None, "baseline": None, "n": 0, "units": 0}
    return {
        **ratio_interval(sums),
        "ours": float(ours_W[usable_W].mean()),
        "baseline": float(theirs_W[usable_W].mean()),
        "n": int(usable_W.sum()),
        "units": len(sums),
    }


def evaluate(
    artifact: Artifact,
    episodes: Sequence[Episode],
    step_s: float,
    phases: int = 1,
    from_s: float = 0.0,
    motion: MotionModel | None = None,
) -> tuple[ForecastErrors, dict[str, Any]]:
    """Return the errors of an artifact's slow branch on episodes, and the report of them.

    Args:
        artifact: With a slow branch.
        episodes: Dense frames; those without poses count, but not for retrieval.
        step_s: Time between their frames [s].
        phases: Starts per tick; more of them use more frames of a short episode.
        from_s: Only windows at least this long after the episode's start are judged [s].
        motion: Says where retrieval looks; by default the artifact's when the episodes have its step, else the measured
            velocity held (right for another robot than the artifact's too).
    """
    manifest, module = artifact.manifest, artifact.world_action()
    sizes = manifest.world_action
    assert sizes is not None
    table = tabulate(episodes, float(sizes["tick_s"]), int(sizes["history"]), int(sizes["future"]), phases)
    dense = [embed_frames(module, episode) for episode in episodes]
    features_KE = torch.from_numpy(np.stack([dense[owner][row] for owner, row in zip(table.episode, table.row)]))
    variance_E = np.ones(int(sizes["embedding_dim"]))  # embeddings are standardised on the training set
    errors = forecast_errors(module.foresee, features_KE, variance_E, table)
    known = abs(step_s - manifest.step_s) < 1e-6
    motion = motion or (MotionModel.from_manifest(manifest.motion) if known else MotionModel())
    expect = Expectation(motion, step_s, Retrieval.from_manifest(manifest.memory))
    horizons_s = [float(sizes["tick_s"]) * (tick + 1) for tick in range(int(sizes["future"]))]
    _add_retrieval(errors, episodes, dense, table, horizons_s, expect)
    now_W = table.past[:, -1]
    began_ns = np.array([int(episode.stamp_T[0]) for episode in episodes])
    early_W = (table.stamp[now_W] - began_ns[table.episode[now_W]]) * 1e-9 < from_s
    for values in errors.error.values():
        values[early_W] = np.nan
    return errors, report(errors, horizons_s)


def _add_retrieval(
    errors: ForecastErrors,
    episodes: Sequence[Episode],
    dense: Sequence[np.ndarray],
    table: TickTable,
    horizons_s: Sequence[float],
    expect: Expectation,
) -> None:
    """Add the errors of the nearest memory and of the mean of the four nearest, and which windows are revisits."""
    now_W, variance_E = table.past[:, -1], np.ones(dense[0].shape[1])
    for name, neighbours in (("retrieval", 1), ("retrieval4", 4)):
        errors.error[name] = np.full(table.future.shape, np.nan)
        for owner, episode in enumerate(episodes):
            windows_W = np.flatnonzero(table.episode[now_W] == owner)
            found = retrieve(episode, dense[owner], table.row[now_W[windows_W]], horizons_s, expect, neighbours)
            seen_WFE = dense[owner][table.row[np.maximum(table.future[windows_W], 0)]]
            error_WF = nmse(found.embedding - seen_WFE, variance_E)
            errors.error[name][windows_W] = np.where(table.future[windows_W] < 0, np.nan, error_WF)
            errors.revisit[windows_W] = found.revisit


def report(errors: ForecastErrors, horizons_s: Sequence[float]) -> dict[str, Any]:
    """Return the ratios with intervals of every horizon, over all windows and split by revisit."""
    rows: dict[str, Any] = {}
    for tick, horizon_s in enumerate(horizons_s):
        revisit_W = errors.revisit[:, tick]
        row = {
            "ours/same": ratio_with_interval(errors, "ours", "same", tick),
            "ours/mean": ratio_with_interval(errors, "ours", "mean", tick),
        }
        for split, among in (("revisit", revisit_W), ("first", ~revisit_W)):
            row[f"ours/same {split}"] = ratio_with_interval(errors, "ours", "same", tick, among)
        for name in ("retrieval", "retrieval4"):
            if name in errors.error:
                row[f"ours/{name} revisit"] = ratio_with_interval(errors, "ours", name, tick, revisit_W)
                row[f"{name}/same revisit"] = ratio_with_interval(errors, name, "same", tick, revisit_W)
        rows[f"{horizon_s:g}"] = row
    return rows


def ratios(rows: Sequence[dict[str, Any]]) -> str:
    """Return the ratios of some rows in words, next tick first."""
    return "ours over same " + " ".join("-" if row["ratio"] is None else f"{row['ratio']:.3f}" for row in rows)
