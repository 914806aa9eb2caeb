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


class ClipGruContext(nn.Module):
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
        self.clip = nn.Linear(action_dim, 2 * hidden_dim)
        self.cells = nn.ModuleList(nn.GRUCell(hidden_dim, hidden_dim) for _ in range(layer_count))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_dim) for _ in range(layer_count))
        nn.init.zeros_(self.clip.weight)
        nn.init.zeros_(self.clip.bias)

    def step(self, input_BI: Tensor, state_BC: Tensor) -> Tensor:
        """Return the state after one more input."""
        split = input_BI.size(1) - self.action_dim
        scale_BF, shift_BF = self.clip(input_BI[:, split:]).chunk(2, dim=1)
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


class TransformerContext(nn.Module):
    """A causal transformer over the last inputs; the state is those inputs and which of them are real.

    Only the newest position is asked for, so every layer attends from it and from the others to what lies before.

    Args:
        input_dim: I.
        hidden_dim: F.
        layer_count: Layers.
        window: Inputs that are remembered.
        head_count: Attention heads.
    """

    def __init__(
        self, input_dim: int, hidden_dim: int, layer_count: int, window: int = 16, head_count: int = 4
    ) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        self.input_dim = input_dim
        self.window = window
        self.state_dim = window * (input_dim + 1)
        self.enter = nn.Linear(input_dim, hidden_dim)
        self.place = nn.Parameter(0.02 * torch.randn(window, hidden_dim))
        self.layers = nn.ModuleList(_CausalLayer(hidden_dim, head_count, window) for _ in range(layer_count))
        self.norm = nn.LayerNorm(hidden_dim)

    def step(self, input_BI: Tensor, state_BC: Tensor) -> Tensor:
        """Return the state after one more input; the oldest one falls out."""
        newest_BX = torch.cat([input_BI, torch.ones_like(input_BI[:, :1])], dim=1)
        return torch.cat([state_BC[:, self.input_dim + 1 :], newest_BX], dim=1)

    def summary(self, state_BC: Tensor) -> Tensor:
        """Return what the newest position has gathered, [B, F]."""
        window_BWX = state_BC.view(-1, self.window, self.input_dim + 1)
        real_BW = window_BWX[:, :, -1] > 0.5
        value_BWF = self.enter(window_BWX[:, :, :-1]) + self.place
        for layer in self.layers:
            value_BWF = layer(value_BWF, real_BW)
        return self.norm(value_BWF[:, -1])


class _CausalLayer(nn.Module):
    causal: Tensor

    def __init__(self, hidden_dim: int, head_count: int, window: int) -> None:
        super().__init__()
        self.head_count = head_count
        self.first = nn.LayerNorm(hidden_dim)
        self.second = nn.LayerNorm(hidden_dim)
        self.mix = nn.Linear(hidden_dim, 3 * hidden_dim)
        self.out = nn.Linear(hidden_dim, hidden_dim)
        self.feed = nn.Sequential(
            nn.Linear(hidden_dim, 4 * hidden_dim), nn.GELU(), nn.Linear(4 * hidden_dim, hidden_dim)
        )
        self.register_buffer("causal", torch.ones(window, window, dtype=torch.bool).tril())

    def forward(self, value_BWF: Tensor, real_BW: Tensor) -> Tensor:
        batch, window, hidden = value_BWF.shape
        mixed = self.mix(self.first(value_BWF)).view(batch, window, 3, self.head_count, hidden // self.head_count)
        query, key, value = mixed.permute(2, 0, 3, 1, 4).unbind(0)
        # A position that is not real still attends to itself: a row without any target would be NaN.
        allowed = self.causal & (real_BW[:, None, None, :] | torch.eye(window, device=real_BW.device, dtype=torch.bool))
        gathered = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        value_BWF = value_BWF + self.out(gathered.transpose(1, 2).reshape(batch, window, hidden))
        return value_BWF + self.feed(self.second(value_BWF))


class RssmContext(nn.Module):
    """A recurrent state-space model: deterministic GRU beside a categorical stochastic state.

    Observing takes the posterior's most likely class while evaluating and a straight-through sample while training;
    ``posterior`` and ``prior`` give the logits that ``losses.balanced_kl`` compares, ``imagine`` steps on the prior.

    Source: DreamerV2/V3 (Hafner et al.), recurrent state-space model with categorical latents.
    """

    def __init__(self, input_dim: int, hidden_dim: int, layer_count: int, groups: int = 8, classes: int = 8) -> None:
        super().__init__()
        self.groups, self.classes = groups, classes
        self.deterministic_dim = hidden_dim
        self.hidden_dim = hidden_dim + groups * classes
        self.state_dim = self.hidden_dim
        self.enter = nn.Sequential(nn.Linear(input_dim + groups * classes, hidden_dim), nn.SiLU())
        self.cells = nn.ModuleList(nn.GRUCell(hidden_dim, hidden_dim) for _ in range(layer_count))
        self.prior_net = nn.Linear(hidden_dim, groups * classes)
        self.posterior_net = nn.Linear(hidden_dim + input_dim, groups * classes)
        self.reward = nn.Linear(self.hidden_dim, 1)
        self.carries_on = nn.Linear(self.hidden_dim, 1)

    def step(self, input_BI: Tensor, state_BC: Tensor) -> Tensor:
        """Return the state after one more input, with the posterior's stochastic part."""
        deterministic_BF = self._advance(input_BI, state_BC)
        logits = self.posterior(deterministic_BF, input_BI)
        return torch.cat([deterministic_BF, self._draw(logits)], dim=1)

    def imagine(self, input_BI: Tensor, state_BC: Tensor) -> Tensor:
        """Return the state after one more step that nothing was seen of: the stochastic part is the prior's."""
        deterministic_BF = self._advance(input_BI, state_BC)
        return torch.cat([deterministic_BF, self._draw(self.prior(deterministic_BF))], dim=1)

    def prior(self, deterministic_BF: Tensor) -> Tensor:
        """Return the logits before seeing, [B, groups, classes]."""
        return self.prior_net(deterministic_BF).view(-1, self.groups, self.classes)

    def posterior(self, deterministic_BF: Tensor, input_BI: Tensor) -> Tensor:
        """Return the logits after seeing, [B, groups, classes]."""
        logits = self.posterior_net(torch.cat([deterministic_BF, input_BI], dim=1))
        return logits.view(-1, self.groups, self.classes)

    def heads(self, state_BC: Tensor) -> tuple[Tensor, Tensor]:
        """Return the expected reward [B] and the logit that the episode goes on [B]."""
        return self.reward(state_BC).squeeze(1), self.carries_on(state_BC).squeeze(1)

    def summary(self, state_BC: Tensor) -> Tensor:
        """Return what the forecaster reads, [B, F]."""
        return state_BC

    def _advance(self, input_BI: Tensor, state_BC: Tensor) -> Tensor:
        stochastic_BS = state_BC[:, self.deterministic_dim :]
        value_BF = self.enter(torch.cat([input_BI, stochastic_BS], dim=1))
        deterministic_BF = state_BC[:, : self.deterministic_dim]
        for cell in self.cells:
            deterministic_BF = cell(value_BF, deterministic_BF)
            value_BF = deterministic_BF
        return deterministic_BF

    def _draw(self, logits: Tensor) -> Tensor:
        share = torch.softmax(logits, dim=-1)
        if self.training:
            index = torch.multinomial(share.flatten(0, 1), 1).view(-1, self.groups)
        else:
            index = torch.argmax(logits, dim=-1)
        one_hot = nn.functional.one_hot(index, self.classes).to(share.dtype)
        # Straight through: the sample goes forward, the gradient through the probabilities.
        return (one_hot + share - share.detach()).flatten(1)
