"""What the transition is told, by name: of the present, and of what the memory answered.

TorchScript takes both as they are; an ONNX graph takes their tensors one by one, under the names of the fields.

Sizes: B = batch, C = state size, D = latent size, A = action size, H = horizons, K = neighbours, N = history values.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Observed(NamedTuple):
    """What is known of the present and of the robot's motion from there.

    Attributes:
        state: After observing the present, [B, C].
        latent: The present latent in the encoder's own scale, [B, D].
        action: The present action, NaN where not known, [B, A].
        motion: Expected displacement at each horizon, whether it is known, and its standard error,
            [B, H, MOTION_FEATURES]; see ``world_model.runtime.conditioning.motion_features``.
        horizon_s: Times ahead [s], [B, H].
        history: Visual history, oldest first, [B, N].
        history_count: Real entries in it, int64 [B]; 0 leaves it out.
    """

    state: Tensor
    latent: Tensor
    action: Tensor
    motion: Tensor
    horizon_s: Tensor
    history: Tensor
    history_count: Tensor


class Retrieved(NamedTuple):
    """What the memory answered: neighbours of the anticipated poses, and of the present's appearance.

    Attributes:
        anticipated_latent: Memories near where the robot will be at each horizon, [B, H, K, D].
        anticipated_feature: How they lie there, [B, H, K, ANTICIPATED_FEATURES]; see
            ``world_model.runtime.conditioning.anticipated_features``.
        anticipated_valid: Which of them are real, bool [B, H, K].
        appearance_latent: Memories that resemble the present, [B, K, D].
        appearance_feature: How they lie there, [B, K, APPEARANCE_FEATURES]; see
            ``world_model.runtime.conditioning.appearance_features``.
        appearance_valid: Which of them are real, bool [B, K].
        successor_latent: What followed each of those at each horizon, [B, H, K, D].
        successor_valid: Which successors are known, bool [B, H, K].
    """

    anticipated_latent: Tensor
    anticipated_feature: Tensor
    anticipated_valid: Tensor
    appearance_latent: Tensor
    appearance_feature: Tensor
    appearance_valid: Tensor
    successor_latent: Tensor
    successor_valid: Tensor


# What says whether there is a memory at all.
VALID_FIELDS = ("anticipated_valid", "appearance_valid", "successor_valid")


def nothing_observed(horizon_1H: Tensor, history_1N: Tensor) -> Observed:
    """Return what is known before anything was observed: the horizons; everything else is empty.

    Args:
        horizon_1H: Times ahead [s].
        history_1N: A visual history without entries, all 0.
    """
    empty = horizon_1H[:, :0]
    count_1 = torch.zeros(1, dtype=torch.int64, device=horizon_1H.device)
    return Observed(empty, empty, empty, empty, horizon_1H, history_1N, count_1)
