"""What the memory has to know of the model whose states it keeps: step, horizons, memories per forecast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from wm_core.memory.errors import RecordError
from wm_core.memory.recorder import State
from wm_core.memory.successors import STEP_S, default_horizons_s, tolerance_s

USUAL_TOP_K = 8
_ROUNDING_S = 1e-6


@dataclass(frozen=True)
class ModelSettings:
    """What the parameters say; everything is 0 where the states are to say it.

    Attributes:
        step_s: Step that states must have been made for [s].
        horizon_s: Far horizon of the successors, in place of the model's own [s].
        top_k: Memories per query that names no k.
    """

    step_s: float = 0.0
    horizon_s: float = 0.0
    top_k: int = 0

    def initial_horizons_s(self) -> tuple[float, ...]:
        """Return the horizons until a state names some [s]: one step, and the far one."""
        step_s = self.step_s or STEP_S
        return (step_s, max(self.horizon_s, step_s)) if self.horizon_s else default_horizons_s(step_s)

    def apply(self, state: State) -> State:
        """Return a state with the step and horizons that hold for it; what nobody names stays open.

        Raises:
            RecordError: ``other-step``: it was made for another step than the parameters expect.
        """
        step_s = state.step_s or self.step_s
        if self.step_s and not math.isclose(step_s, self.step_s, rel_tol=1e-6):
            raise RecordError("other-step", f"states come for a step of {step_s:g} s, step_s is {self.step_s:g} s")
        horizons_s = state.horizons_s
        if self.horizon_s and step_s:
            horizons_s = tuple(sorted({step_s, max(self.horizon_s, step_s)}))
        elif step_s and not horizons_s:
            horizons_s = default_horizons_s(step_s)
        return replace(state, step_s=step_s, horizons_s=horizons_s)


@dataclass(frozen=True)
class SuccessorFit:
    """How many of the successors held can be used at some horizons.

    Attributes:
        horizons_s: Those horizons [s].
        usable: Whose real time difference lies within the tolerance of one of them.
        unusable: The others.
        others_s: Some of the real time differences of the others [s].
    """

    horizons_s: tuple[float, ...] = ()
    usable: int = 0
    unusable: int = 0
    others_s: tuple[float, ...] = ()

    @property
    def complaint(self) -> str | None:
        """What to tell the user where most cannot be used; None: nothing."""
        if self.unusable <= self.usable:
            return None
        wanted, held = (", ".join(f"{value:g}" for value in values) for values in (self.horizons_s, self.others_s))
        return (
            f"{self.unusable} of {self.usable + self.unusable} successors held lie {held} s ahead and fit none of the "
            f"model's horizons {wanted} s: they are not used"
        )


def fit_of(dt_N: np.ndarray, horizons_s: Sequence[float], step_s: float) -> SuccessorFit:
    """Return how many successors of some real time differences [s] can be used at some horizons."""
    mask_N = np.zeros(len(dt_N), bool)
    for horizon_s in horizons_s:
        mask_N |= np.abs(dt_N - horizon_s) <= tolerance_s(horizon_s, step_s) + _ROUNDING_S * max(horizon_s, 1.0)
    others_N = np.unique(np.round(dt_N[~mask_N], 2))
    usable = int(np.count_nonzero(mask_N))
    return SuccessorFit(tuple(horizons_s), usable, len(dt_N) - usable, tuple(others_N[:4].tolist()))
