"""A transformer as the context of a transition; see ``world_model.models.contexts`` for what a context is.

Shape suffixes: B = batch, I = input size (latent and action), C = state size, F = hidden size, W = window,
X = input size and whether it is real.
"""

import torch
from torch import Tensor, nn


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
        result: Tensor = self.norm(value_BWF[:, -1])
        return result


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
        result: Tensor = value_BWF + self.feed(self.second(value_BWF))
        return result
