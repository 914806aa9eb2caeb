"""What a robot saw lately, kept so that what was learned from it can be learned again in another basis.

Shape suffixes: N = frames, F = numbers of a feature, D = latent size, A = action size, H = horizons, R = regressors.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wm_core.projection import Projection
from world_model.runtime.regression import FORGET_S


@dataclass(frozen=True)
class Seen:
    """One frame: its stamp, feature, action, and the displacement expected at each horizon then (NaN: not known)."""

    stamp_ns: int
    code_F: np.ndarray
    action_A: np.ndarray
    moved_H3: np.ndarray


@dataclass(frozen=True)
class Example:
    """What was known at some frames, [N, R], their latents, and how those had changed a horizon later, [N, D]."""

    regressor_NR: np.ndarray
    latent_ND: np.ndarray
    change_ND: np.ndarray


class Past:
    """The frames of the last minutes.

    Args:
        step_s: Usual time between them [s].
    """

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._seen: deque[Seen] = deque(maxlen=max(round(FORGET_S / step_s), 1))

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, seen: Seen) -> None:
        """Take one more frame; a stamp that goes back ends what was before."""
        if self._seen and seen.stamp_ns <= self._seen[-1].stamp_ns:
            self._seen.clear()
        self._seen.append(seen)

    def latents(self, projection: Projection) -> np.ndarray:
        """Return the latents of all frames in a basis, [N, D]."""
        return projection.project(np.stack([seen.code_F for seen in self._seen]))

    def examples(
        self,
        latent_ND: np.ndarray,
        view: Callable[[np.ndarray], np.ndarray],
        horizons_s: tuple[float, ...],
        longest_gap_s: float,
    ) -> list[Example]:
        """Return what the regression of each horizon would have learned from, in the basis of some latents.

        Args:
            latent_ND: What ``latents`` returned.
            view: What the regression sees of latents.
            horizons_s: Times ahead [s], those of the frames' displacements.
            longest_gap_s: A change of the latent over a longer gap is none [s].
        """
        stamp_N = np.array([seen.stamp_ns for seen in self._seen])
        seen_NW = view(latent_ND)
        change_NW = np.diff(seen_NW, axis=0, prepend=seen_NW[:1])
        change_NW[np.diff(stamp_N, prepend=stamp_N[:1]) > longest_gap_s * 1e9] = 0.0
        moved_NH3 = np.stack([seen.moved_H3 for seen in self._seen])
        shared = [seen_NW, change_NW, np.stack([seen.action_A for seen in self._seen])]
        return [
            self._example(stamp_N, latent_ND, [*shared, _motion(moved_NH3[:, column])], horizon_s)
            for column, horizon_s in enumerate(horizons_s)
        ]

    def _example(
        self, stamp_N: np.ndarray, latent_ND: np.ndarray, regressors: list[np.ndarray], horizon_s: float
    ) -> Example:
        """Return the frames after which one lies a horizon later, within half a step."""
        wanted_N = stamp_N + round(horizon_s * 1e9)
        after_N = np.clip(np.searchsorted(stamp_N, wanted_N), 1, max(len(stamp_N) - 1, 1)) % len(stamp_N)
        before_N = np.maximum(after_N - 1, 0)
        nearer_N = np.abs(stamp_N[before_N] - wanted_N) <= np.abs(stamp_N[after_N] - wanted_N)
        then_N = np.where(nearer_N, before_N, after_N)
        good_N = (np.abs(stamp_N[then_N] - wanted_N) <= 0.5e9 * self._step_s) & (then_N > np.arange(len(stamp_N)))
        change_ND = (latent_ND[then_N] - latent_ND)[good_N]
        return Example(np.column_stack(regressors)[good_N], latent_ND[good_N], change_ND)


def _motion(moved_N3: np.ndarray) -> np.ndarray:
    """Return displacements and whether each is known, [N, 4]; all 0 where not."""
    known_N1 = np.isfinite(moved_N3).all(axis=1, keepdims=True)
    motion_N4: np.ndarray = np.where(known_N1, np.column_stack([moved_N3, np.ones(len(moved_N3))]), 0.0)
    return motion_N4
