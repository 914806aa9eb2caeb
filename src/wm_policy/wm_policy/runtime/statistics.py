"""What inputs and actions are scaled by: measured once in training, saved with the policy, applied by the same code.

Shape suffixes: N = samples, X = numbers of an input, A = action size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from wm_policy.errors import PolicyFileError

_LEAST_STD, _LEAST_SPAN = 1e-4, 1e-6


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of an input's last axis, [X] each."""

    mean_X: np.ndarray
    std_X: np.ndarray

    @classmethod
    def of(cls, value_NX: np.ndarray) -> Statistics:
        """Return those of samples; what is not finite does not count, what never is has mean 0 and deviation 1."""
        value_NX = np.where(np.isfinite(value_NX), value_NX, np.nan).reshape(-1, value_NX.shape[-1])
        known_X: np.ndarray = np.asarray(np.isfinite(value_NX).any(axis=0))
        mean_X, std_X = np.zeros(len(known_X)), np.ones(len(known_X))
        mean_X[known_X] = np.nanmean(value_NX[:, known_X], axis=0)
        std_X[known_X] = np.maximum(np.nanstd(value_NX[:, known_X], axis=0), _LEAST_STD)
        return cls(mean_X, std_X)

    def apply(self, value: np.ndarray) -> np.ndarray:
        """Return values of mean 0 and deviation 1, float32; what is not finite becomes the mean."""
        scaled = (np.asarray(value, np.float64) - self.mean_X) / self.std_X
        return np.asarray(np.nan_to_num(scaled, nan=0.0, posinf=0.0, neginf=0.0), np.float32)

    def to_json(self) -> dict[str, list[float]]:
        """Return JSON-ready entries."""
        return {"mean": self.mean_X.tolist(), "std": self.std_X.tolist()}

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> Statistics:
        """Return what ``to_json`` gave.

        Raises:
            PolicyFileError: The entries are none.
        """
        try:
            found = cls(np.array(entries["mean"], np.float64), np.array(entries["std"], np.float64))
        except (KeyError, TypeError, ValueError) as error:
            raise PolicyFileError(f"statistics are {entries!r}, expected mean and std: {error}") from error
        if found.mean_X.shape != found.std_X.shape or not (np.isfinite(found.mean_X).all() and (found.std_X > 0).all()):
            raise PolicyFileError("statistics hold a deviation that is not above 0, or a mean that is not finite")
        return found


@dataclass(frozen=True)
class ActionRange:
    """What the robot did in training, [A] each; its actions lie in -1..1 for a head."""

    least_A: np.ndarray
    most_A: np.ndarray

    @classmethod
    def of(cls, action_NA: np.ndarray) -> ActionRange:
        """Return the range of actions; an action that never changes keeps its value in the middle.

        Raises:
            PolicyFileError: No action is known.
        """
        known_NA = action_NA[np.isfinite(action_NA).all(axis=1)]
        if not len(known_NA):
            raise PolicyFileError("no action is known, so that there is none to learn")
        return cls(known_NA.min(axis=0).astype(np.float64), known_NA.max(axis=0).astype(np.float64))

    def normalise(self, action: np.ndarray) -> np.ndarray:
        """Return actions in -1..1, float32."""
        half_A = np.maximum(0.5 * (self.most_A - self.least_A), _LEAST_SPAN)
        return np.asarray((action - 0.5 * (self.least_A + self.most_A)) / half_A, np.float32)

    def restore(self, value: np.ndarray) -> np.ndarray:
        """Return actions from -1..1; beyond it the least and the most that was done."""
        middle_A, half_A = 0.5 * (self.least_A + self.most_A), 0.5 * (self.most_A - self.least_A)
        return np.asarray(middle_A + half_A * np.clip(value, -1.0, 1.0))
