"""A recurrent state-space model as the context of a transition; see ``world_model.models.contexts``.

Shape suffixes: B = batch, L = frames, X = B * L, I = input size (latent and action), C = state size, F = hidden size.
"""

import torch
from torch import Tensor, nn

from world_model.extras.rssm_losses import balanced_kl, goes_on_loss, reward_loss


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
        result: Tensor = self.prior_net(deterministic_BF).view(-1, self.groups, self.classes)
        return result

    def posterior(self, deterministic_BF: Tensor, input_BI: Tensor) -> Tensor:
        """Return the logits after seeing, [B, groups, classes]."""
        logits = self.posterior_net(torch.cat([deterministic_BF, input_BI], dim=1))
        result: Tensor = logits.view(-1, self.groups, self.classes)
        return result

    def heads(self, state_BC: Tensor) -> tuple[Tensor, Tensor]:
        """Return the expected reward [B] and the logit that the episode goes on [B]."""
        return self.reward(state_BC).squeeze(1), self.carries_on(state_BC).squeeze(1)

    @torch.jit.unused
    def terms(self, input_BLI: Tensor, state_BLC: Tensor, outcome_BL2: Tensor | None) -> dict[str, Tensor]:
        """Return by name the divergence between what was seen and expected, and what the outcome heads miss.

        Args:
            input_BLI: What was observed.
            state_BLC: After each of them.
            outcome_BL2: Reward and whether the episode goes on, NaN where not known; None leaves the heads out.
        """
        state_XC = state_BLC.flatten(0, 1)
        deterministic_XF = state_XC[:, : self.deterministic_dim]
        posterior = self.posterior(deterministic_XF, input_BLI.flatten(0, 1))
        terms = {"kl": balanced_kl(posterior, self.prior(deterministic_XF))}
        if outcome_BL2 is not None:
            reward_X, goes_on_X = self.heads(state_XC)
            outcome_X2 = outcome_BL2.flatten(0, 1)
            terms["reward"] = reward_loss(reward_X, outcome_X2[:, 0])
            terms["goes_on"] = goes_on_loss(goes_on_X, outcome_X2[:, 1])
        return terms

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
