"""How forecasts are to be combined at any time ahead, as far as what came true lately at a few horizons tells.

Shape suffixes: L = horizons that were judged, S = steps ahead, E = experts, 2 = (first visit, revisit).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from world_model.runtime.experts import UNKNOWN_BASE, UNKNOWN_COPY, WITH_MEMORY, WITHOUT_MEMORY, Experts

_NETWORK, _PERSISTENCE, _MEAN = "network", "persistence", "running_mean"


@dataclass(frozen=True)
class Blend:
    """Weights and errors of the experts at the horizons that were judged.

    Attributes:
        horizon_L: Times ahead, ascending [s].
        base_2LE: Weights of ``WITHOUT_MEMORY``.
        full_2LE: Weights of ``WITH_MEMORY``.
        base_error_2L: Errors of the combination without memories (NMSE).
        full_error_2L: Errors of the one with them.
    """

    horizon_L: np.ndarray
    base_2LE: np.ndarray
    full_2LE: np.ndarray
    base_error_2L: np.ndarray
    full_error_2L: np.ndarray

    @classmethod
    def of(cls, experts: Sequence[Experts], horizons_s: Sequence[float]) -> Blend:
        """Return how some experts, one for each horizon, combine at present."""
        now = [[each.weights(revisit) for each in experts] for revisit in (False, True)]
        base_error_2L, full_error_2L = (
            np.array([[each[at] for each in kind] for kind in now], np.float64) for at in (2, 3)
        )
        unknown_L = np.minimum(np.asarray(horizons_s), 1.0)
        return cls(
            np.asarray(horizons_s, np.float64),
            np.array([[each.base_E for each in kind] for kind in now]),
            np.array([[each.full_E for each in kind] for kind in now]),
            np.where(np.isnan(base_error_2L), UNKNOWN_BASE * unknown_L, base_error_2L),
            np.where(np.isnan(full_error_2L), UNKNOWN_COPY * unknown_L, full_error_2L),
        )

    @classmethod
    def untaught(cls) -> Blend:
        """Return the combination before anything came true: the network speaks alone."""
        base_2LE, full_2LE = np.zeros((2, 1, len(WITHOUT_MEMORY))), np.zeros((2, 1, len(WITH_MEMORY)))
        base_2LE[..., 0] = full_2LE[..., 0] = 1.0
        errors = np.full((2, 1), UNKNOWN_BASE), np.full((2, 1), UNKNOWN_COPY)
        return cls(np.ones(1), base_2LE, full_2LE, *errors)

    def at(self, time_S: np.ndarray, reach_s: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights at some times ahead, [2, S, E] each: without memories, and with them.

        Between horizons they go along with the logarithm of time. Beyond the last one what is seen now counts ever
        less, and what is usual takes its place; the same holds of what the network says without memories, beyond what
        it learned.

        Args:
            time_S: Times ahead [s].
            reach_s: How far ahead the network learned to look [s].
        """
        share_SL = self._shares(time_S)
        base_2SE, full_2SE = share_SL @ self.base_2LE, share_SL @ self.full_2LE
        forgetting = ((base_2SE, WITHOUT_MEMORY, _PERSISTENCE, self.horizon_L[-1]),
                      (base_2SE, WITHOUT_MEMORY, _NETWORK, reach_s),
                      (full_2SE, WITH_MEMORY, _PERSISTENCE, self.horizon_L[-1]))  # fmt: skip
        for weight_2SE, names, name, last_s in forgetting:
            moved_2S = (1.0 - np.minimum(last_s / time_S, 1.0)) * weight_2SE[..., names.index(name)]
            weight_2SE[..., names.index(name)] -= moved_2S
            weight_2SE[..., names.index(_MEAN)] += moved_2S
        return base_2SE, full_2SE

    def errors(self, time_S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the errors expected at some times ahead, [2, S] each: without memories, and with them."""
        share_SL = self._shares(time_S)
        return self.base_error_2L @ share_SL.T, self.full_error_2L @ share_SL.T

    def _shares(self, time_S: np.ndarray) -> np.ndarray:
        """Return what each judged horizon counts at each time, [S, L]."""
        log_S, log_L = np.log(time_S), np.log(self.horizon_L)
        unit_LL = np.eye(len(log_L))
        return np.stack([np.interp(log_S, log_L, unit_L) for unit_L in unit_LL], axis=1)
