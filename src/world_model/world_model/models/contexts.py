"""Contexts: what the past of latents and actions says, as one flat state per sequence.

Every context has ``initial(batch)``, ``step(input, state)`` and ``summary(state)``; the state is one tensor [B, C], so
that nodes, export and rollout need not know which kind it is.

Shape suffixes: B = batch, I = input size (latent and action), C = state size, F = hidden size.
"""

import torch
from torch import Tensor, nn


class GruContext(nn.Module):
    """A GRU cell per layer, stacked; the state is all layers' hidden states side by side."""

    def __init__(self, input_dim: int, hidden_dim: int, layer_count: int = 1) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        self.state_dim = hidden_dim * layer_count
        sizes = [input_dim] + [hidden_dim] * (layer_count - 1)
        self.cells = nn.ModuleList(nn.GRUCell(size, hidden_dim) for size in sizes)

    def step(self, input_BI: Tensor, state_BC: Tensor) -> Tensor:
        """Return the state after one more input."""
        states = []
        value = input_BI
        for index, cell in enumerate(self.cells):
            value = cell(value, state_BC[:, index * self.hidden_dim : (index + 1) * self.hidden_dim])
            states.append(value)
        return torch.cat(states, dim=1)

    def summary(self, state_BC: Tensor) -> Tensor:
        """Return what the forecaster reads, [B, F]."""
        return state_BC[:, -self.hidden_dim :]
