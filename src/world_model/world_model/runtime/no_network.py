"""What stands in a transition's place where an artifact has none: nothing changes.

Sizes: B = batch, D = latent size, H = horizons.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from world_model.runtime.tensors import Observed, Retrieved


class NoNetwork:
    """A transition without weights: it says that nothing changes, and leaves memories to the plain copies of them."""

    history = None

    def initial(self, batch: int) -> Tensor:
        """Return an empty state, [B, 0]."""
        return torch.zeros(batch, 0)

    def observe(self, latent_BD: Tensor, action_BA: Tensor, state_BC: Tensor) -> Tensor:
        """Return the state as it is."""
        return state_BC

    def foresee_path(self, observed: Observed) -> Tensor:
        """Return that nothing is added to the expected displacement, nor is its standard error known, [B, H, 6]."""
        return torch.zeros(*observed.motion.shape[:2], 6)

    def forecast(self, observed: Observed, retrieved: Retrieved) -> tuple[Tensor, Tensor, Tensor]:
        """Return the present latent twice, [B, H, D], and a gate of 0, [B, H]."""
        held_BHD = observed.latent[:, None].expand(-1, observed.horizon_s.shape[1], -1)
        return held_BHD, held_BHD, torch.zeros(observed.horizon_s.shape)

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield nothing."""
        return iter(())

    def state_dict(self) -> dict[str, Any]:
        """Return that there are no weights."""
        return {}
