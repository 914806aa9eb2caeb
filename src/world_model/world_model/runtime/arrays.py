"""What the transition is told, as NumPy arrays: the twins of ``world_model.runtime.tensors``, field by field.

Sizes: B = batch, C = state size, D = latent size, A = action size, H = horizons, K = neighbours, N = history values.
"""

from typing import Any, NamedTuple

import numpy as np


class ObservedArrays(NamedTuple):
    """What is known of the present; see ``world_model.runtime.tensors.Observed``.

    The state is whatever the transition's ``observe`` returned: an array, or a tensor on a GPU.
    """

    state: Any
    latent: np.ndarray
    action: np.ndarray
    motion: np.ndarray
    horizon_s: np.ndarray
    history: np.ndarray
    history_count: np.ndarray


class RetrievedArrays(NamedTuple):
    """What the memory answered; see ``world_model.runtime.tensors.Retrieved``."""

    anticipated_latent: np.ndarray
    anticipated_feature: np.ndarray
    anticipated_valid: np.ndarray
    appearance_latent: np.ndarray
    appearance_feature: np.ndarray
    appearance_valid: np.ndarray
    successor_latent: np.ndarray
    successor_valid: np.ndarray


def nothing_observed(horizon_1H: np.ndarray, history_1N: np.ndarray) -> ObservedArrays:
    """Return what is known before anything was observed: the horizons; everything else is empty.

    Args:
        horizon_1H: Times ahead [s].
        history_1N: A visual history without entries, all 0.
    """
    empty = horizon_1H[:, :0]
    return ObservedArrays(empty, empty, empty, empty, horizon_1H, history_1N, np.zeros(1, np.int64))
