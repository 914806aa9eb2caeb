"""Does the slow branch foresee? Against "stays the same" and against the memory nearest to where the robot will be.

Shape suffixes: K = ticks, W = windows, N = past ticks, F = future ticks, E = embedding size, D = drives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from world_model.world_action.ticks import TickTable

RESAMPLES = 2000


@dataclass(frozen=True)
class ForecastErrors:
    """Squared error over variance of each window and horizon, and who is compared.

    Attributes:
        error: Name of a predictor -> [W, F], NaN where a window has no target (or the predictor nothing to say).
        drive: [W], the drive of each window: windows of one drive are not independent, so intervals resample drives.
    """

    error: dict[str, np.ndarray]
    drive: np.ndarray


def normalised_error(foreseen_WFE: np.ndarray, seen_WFE: np.ndarray, variance_E: np.ndarray) -> np.ndarray:
    """Return squared error over variance, mean over the dimensions: [W, F]."""
    error = (foreseen_WFE - seen_WFE) ** 2 / np.maximum(variance_E, 1e-12)
    return error.mean(-1)


@torch.no_grad()
def forecast_errors(
    predictor: torch.nn.Module, features_KE: torch.Tensor, variance_E: np.ndarray, table: TickTable
) -> ForecastErrors:
    """Return the errors of the predictor, of "stays the same" and of the training mean (zero) on every window."""
    past_WN, future_WF = torch.from_numpy(table.past), torch.from_numpy(table.future)
    seen = features_KE[future_WF.clamp(min=0)].numpy()
    foreseen = torch.cat(
        [
            predictor(features_KE[rows.clamp(min=0)], (rows >= 0).sum(1))
            for rows in past_WN.split(1024)
        ]
    ).numpy()
    now = features_KE[past_WN[:, -1]].numpy()[:, None]
    absent_WF = table.future < 0
    error = {
        "ours": normalised_error(foreseen, seen, variance_E),
        "same": normalised_error(now, seen, variance_E),
        "mean": normalised_error(np.zeros_like(now), seen, variance_E),
    }
    for values in error.values():
        values[absent_WF] = np.nan
    return ForecastErrors(error, table.drive[table.past[:, -1]])


def ratio_with_interval(
    errors: ForecastErrors, name: str, baseline: str, horizon: int, among: np.ndarray | None = None, seed: int = 0
) -> dict[str, Any]:
    """Return mean error over the baseline's mean error, with a 95 % interval from resampling drives.

    Args:
        errors: From ``forecast_errors``.
        name: Whose error.
        baseline: Over whose.
        horizon: Index of the future tick.
        among: Windows that count, bool [W].
        seed: Of the resampling.
    """
    ours_W, theirs_W = errors.error[name][:, horizon], errors.error[baseline][:, horizon]
    usable_W = np.isfinite(ours_W) & np.isfinite(theirs_W)
    if among is not None:
        usable_W &= among
    drives = np.unique(errors.drive[usable_W])
    if len(drives) == 0:
        return {"ratio": None, "low": None, "high": None, "n": 0, "drives": 0}
    sums_D2 = np.array(
        [[part[usable_W & (errors.drive == drive)].sum() for part in (ours_W, theirs_W)] for drive in drives]
    )
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, len(drives), (RESAMPLES, len(drives)))
    totals = sums_D2[drawn].sum(1)
    low, high = np.percentile(totals[:, 0] / totals[:, 1], [2.5, 97.5])
    return {
        "ratio": float(sums_D2[:, 0].sum() / sums_D2[:, 1].sum()),
        "low": float(low),
        "high": float(high),
        "ours": float(ours_W[usable_W].mean()),
        "baseline": float(theirs_W[usable_W].mean()),
        "n": int(usable_W.sum()),
        "drives": len(drives),
    }
