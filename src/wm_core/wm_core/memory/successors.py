"""What stands for the future of a kept state: one rule, in seconds, for who stores successors and who reads them.

The successor of a state at a horizon is the state of the same session and encoder whose time difference is nearest to
the horizon (of two equally near ones the earlier), as long as both differ by no more than ``tolerance_s``. Its real
time difference is kept. Where none is that near there is no successor: a camera of 10 Hz has nothing to say of 0.05 s,
but everything of 1 s. Who reads a memory that was filled under other horizons goes by the real time difference, with
the same tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wm_core.memory.errors import RecordError

STEP_S = 0.05
FAR_HORIZON_S = 1.0
_SHARE_OF_STEP = 0.6
_SHARE_OF_HORIZON = 0.05
# Time differences travel and are stored as float32.
_ROUNDING = 1e-6


def default_horizons_s(step_s: float = STEP_S) -> tuple[float, float]:
    """Return what a memory keeps of the future unless told otherwise [s]: one step, and 1 s or one step if longer."""
    return step_s, max(FAR_HORIZON_S, step_s)


def tolerance_s(horizon_s: float, step_s: float) -> float:
    """Return by how much the real time difference of a successor may differ from its horizon [s].

    Six tenths of a step, so that a camera which keeps the step always has one, jitter included, and one of half the
    rate has none for a single step; or a twentieth of the horizon where that is more, so that a slow camera still has
    one far ahead.

    Args:
        horizon_s: Time ahead [s].
        step_s: Time between two latents of the model [s].
    """
    return max(_SHARE_OF_STEP * step_s, _SHARE_OF_HORIZON * horizon_s)


def usable_span_s(horizon_s: float, step_s: float) -> tuple[float, float]:
    """Return the least and the largest real time difference that may be used for a horizon [s]."""
    reach_s = tolerance_s(horizon_s, step_s) + _ROUNDING * max(horizon_s, 1.0)
    return horizon_s - reach_s, horizon_s + reach_s


def stands_for(dt_s: float, horizon_s: float, step_s: float) -> bool:
    """Return whether a successor of this real time difference may be used for a horizon."""
    least_s, largest_s = usable_span_s(horizon_s, step_s)
    return least_s <= dt_s <= largest_s


def nearest_usable(dt_NM: np.ndarray, horizon_s: float, step_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which of M successors is the nearest to a horizon [N], and whether it may be used for it, bool [N].

    Args:
        dt_NM: Real time differences [s]; NaN where there is none. M is at least 1.
        horizon_s: Time ahead [s].
        step_s: Step of the model [s].
    """
    off_NM = np.abs(dt_NM - horizon_s)
    at_N = np.argmin(np.where(np.isnan(off_NM), np.inf, off_NM), axis=1)
    nearest_N = np.take_along_axis(dt_NM, at_N[:, None], axis=1)[:, 0]
    return at_N, np.array([stands_for(dt_s, horizon_s, step_s) for dt_s in nearest_N.tolist()], bool)


def check_horizons(horizons_s: Sequence[float], step_s: float) -> tuple[float, ...]:
    """Return horizons in ascending order, each once, to the microsecond (they travel as float32).

    Raises:
        RecordError: ``impossible-horizons``: there are none, or one or the step is not a positive number.
    """
    numbers = (*horizons_s, step_s)
    if not len(horizons_s) or not all(0 < number < float("inf") for number in numbers):
        raise RecordError("impossible-horizons", f"horizons {list(horizons_s)} s and step {step_s} s are not positive")
    return tuple(sorted({round(float(horizon_s), 6) for horizon_s in horizons_s}))
