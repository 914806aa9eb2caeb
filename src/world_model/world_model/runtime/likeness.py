"""Memories that look like the moment that is imagined from, for many candidates: what the network is told of them.

Shape suffixes: B = candidates, S = steps, K = memories, D = latent size, A = action size, F = features.
"""

from __future__ import annotations

import numpy as np

from wm_core.memory.packed import Neighbours
from world_model.runtime.conditioning import APPEARANCE_FEATURES, Retrieval, appearance_features
from world_model.runtime.moment import Moment
from world_model.runtime.retrieved import Present, appearance_arrays, successor_arrays


def alike(
    moment: Moment, action_BA: np.ndarray, time_S: np.ndarray, retrieval: Retrieval, step_s: float
) -> dict[str, np.ndarray]:
    """Return the fields of ``Retrieved`` that go by look: latents, features, successors and which of them are real.

    Args:
        moment: With its memories.
        action_BA: What each candidate does now; NaN: not known.
        time_S: Times ahead [s].
        retrieval: Settings of the artifact.
        step_s: Its step [s].
    """
    count, dim = len(action_BA), len(moment.latent_D)
    found = Neighbours.none(dim, action_BA.shape[1]) if moment.appearance is None else moment.appearance
    present = Present(moment.stamp_ns, moment.pose, None)
    width = retrieval.appearance_k
    arrays = appearance_arrays(found, present, width, dim, retrieval)
    arrays |= successor_arrays(found, present, time_S.tolist(), step_s, width, dim)
    arrays = {name: np.repeat(array, count, axis=0) for name, array in arrays.items()}
    if len(found) and moment.pose is not None and found.action_KA.shape[1] == action_BA.shape[1]:
        # Only how far actions differ depends on the candidate.
        difference_BK = np.linalg.norm(found.action_KA[None] - action_BA[:, None], axis=2)
        told_BK = appearance_features(np.zeros((*difference_BK.shape, 3)), np.zeros(difference_BK.shape),
                                      difference_BK, retrieval)[..., APPEARANCE_FEATURES - 1]  # fmt: skip
        arrays["appearance_feature"][:, : len(found), APPEARANCE_FEATURES - 1] = told_BK
    return arrays
