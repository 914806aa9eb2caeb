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


class FilmGruContext(nn.Module):
    """A GRU of several residual layers with layer norm, whose input the action scales and shifts (FiLM).

    The last ``action_dim`` inputs are the action.

    Source: FiLM (Perez et al. 2018).
    """

    def __init__(self, input_dim: int, hidden_dim: int, layer_count: int, action_dim: int) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        self.action_dim = action_dim
        self.state_dim = hidden_dim * layer_count
        self.enter = nn.Linear(input_dim - action_dim, hidden_dim)
        self.film = nn.Linear(action_dim, 2 * hidden_dim)
        self.cells = nn.ModuleList(nn.GRUCell(hidden_dim, hidden_dim) for _ in range(layer_count))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_dim) for _ in range(layer_count))
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def step(self, input_BI: Tensor, state_BC: Tensor) -> Tensor:
        """Return the state after one more input."""
        split = input_BI.size(1) - self.action_dim
        scale_BF, shift_BF = self.film(input_BI[:, split:]).chunk(2, dim=1)
        value_BF = self.enter(input_BI[:, :split]) * (1.0 + scale_BF) + shift_BF
        states: list[Tensor] = []
        for index, (cell, norm) in enumerate(zip(self.cells, self.norms)):
            former_BF = state_BC[:, index * self.hidden_dim : (index + 1) * self.hidden_dim]
            state_BF = cell(norm(value_BF), former_BF)
            states.append(state_BF)
            value_BF = value_BF + state_BF
        return torch.cat(states, dim=1)

    def summary(self, state_BC: Tensor) -> Tensor:
        """Return what the forecaster reads, [B, F]."""
        return state_BC.view(state_BC.size(0), -1, self.hidden_dim).sum(dim=1)
