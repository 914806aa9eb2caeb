"""Which frames of a recording show what a forecast was about, and which actions led there.

Shape suffixes: T = frames, H = horizons, S = steps, A = action size, X = anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from world_model.runtime.stepping import judging_tolerance_s, may_judge_between


def between_rows(value_TX: np.ndarray, row_TH: np.ndarray, part_TH: np.ndarray) -> np.ndarray:
    """Return values a part of the way from some rows to those after them, [T, H, X]."""
    start_THX = value_TX[row_TH]
    end_THX = value_TX[np.minimum(row_TH + 1, len(value_TX) - 1)]
    part_TH1 = part_TH[..., None].astype(value_TX.dtype)
    return np.asarray(np.where(part_TH1 > 0.0, start_THX + part_TH1 * (end_THX - start_THX), start_THX))


def target_rows(stamp_T: np.ndarray, horizons: Sequence[int], step_s: float) -> np.ndarray:
    """Return the row of the frame nearest to each horizon [T, H], -1 where none lies within the tolerance.

    The tolerance is ``judging_tolerance_s``: half a step, or a tenth of the horizon where that is more.
    """
    row_TH = np.full((len(stamp_T), len(horizons)), -1, np.int64)
    for column, step in enumerate(horizons):
        wanted_T = stamp_T + round(step * step_s * 1e9)
        after_T = np.clip(np.searchsorted(stamp_T, wanted_T), 1, len(stamp_T) - 1)
        nearer_T = wanted_T - stamp_T[after_T - 1] <= stamp_T[after_T] - wanted_T
        chosen_T = np.where(nearer_T, after_T - 1, after_T)
        tolerance_ns = int(judging_tolerance_s(step * step_s, step_s) * 1e9)
        fits_T = (np.abs(stamp_T[chosen_T] - wanted_T) <= tolerance_ns) & (stamp_T[chosen_T] > stamp_T)
        row_TH[:, column] = np.where(fits_T, chosen_T, -1)
    return row_TH


def targets(stamp_T: np.ndarray, horizons: Sequence[int], step_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which frames show each horizon [T, H], -1 where none does, and how far on the way to the next [T, H].

    The nearest frame as in ``target_rows``; where none is near, a part of the way between the two around it, if they
    lie close enough (``may_judge_between``).
    """
    row_TH = target_rows(stamp_T, horizons, step_s)
    part_TH = np.zeros(row_TH.shape)
    for column, step in enumerate(horizons):
        wanted_T = stamp_T + round(step * step_s * 1e9)
        before_T = np.searchsorted(stamp_T, wanted_T) - 1
        open_T = (row_TH[:, column] < 0) & (before_T + 1 < len(stamp_T)) & (before_T > np.arange(len(stamp_T)))
        for row in np.flatnonzero(open_T):
            before = int(before_T[row])
            gap_ns = int(stamp_T[before + 1] - stamp_T[before])
            if may_judge_between(gap_ns * 1e-9, step * step_s):
                row_TH[row, column], part_TH[row, column] = before, (wanted_T[row] - stamp_T[before]) / gap_ns
    return row_TH, part_TH


def plan_ahead(action_TA: np.ndarray, stamp_T: np.ndarray, t: int, steps: int, step_s: float) -> np.ndarray | None:
    """Return the recorded actions in force at each step after the present one, [S, A]; None where one is not known.

    An action counts from half a step before its frame, as everywhere; what lies behind the last frame is left out.

    Args:
        action_TA: Recorded actions.
        stamp_T: Stamps of their frames [ns].
        t: Present row.
        steps: How many steps are looked ahead; the plan holds one less.
        step_s: Step of the model [s].
    """
    half_ns = round(0.5e9 * step_s)
    when_S = int(stamp_T[t]) + np.round(np.arange(1, steps) * step_s * 1e9).astype(np.int64)
    when_S = when_S[when_S <= int(stamp_T[-1]) + half_ns]
    row_S = np.searchsorted(stamp_T, when_S + half_ns, side="right") - 1
    plan_SA = action_TA[row_S]
    return plan_SA if len(plan_SA) and np.isfinite(plan_SA).all() else None
