"""The transition model as it is trained, exported and run: context, forecast without memory, memory on top.

Shape suffixes: B = batch, H = horizons, D = latent size, A = action size, C = state size, S = steps.
"""

from typing import Any

import torch
from torch import Tensor, nn

from world_model.models.forecaster import BlindForecaster, HistoryGate, horizon_features
from world_model.models.memory_forecaster import MemoryForecaster
from world_model.models.path import PathForesight
from world_model.runtime.manifest import DEFAULT_HISTORY_DIM
from world_model.runtime.tensors import Observed, Retrieved


class Transition(nn.Module):
    """Latent dynamics conditioned on memories.

    ``initial`` state, ``observe`` a latent and its action, ``foresee_path`` to know where to ask the memory,
    ``forecast`` any horizons from there. Latents go in and come out in the encoder's own scale.

    Args:
        latent_dim: D.
        action_dim: A.
        context: Summarises the past; see ``world_model.models.contexts``.
        width: Hidden size of the forecasters.
        memory_width: Hidden size of the memory branch.
        history_dim: Values in the visual history.
        use_memory: False trains the same network without its memory branch.
    """

    latent_mean: Tensor
    latent_std: Tensor
    action_mean: Tensor
    action_std: Tensor

    def __init__(
        self,
        latent_dim: int,
        action_dim: int,
        context: Any,
        width: int = 128,
        memory_width: int = 64,
        history_dim: int = DEFAULT_HISTORY_DIM,
        use_memory: bool = True,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.history_dim = history_dim
        self.use_memory = use_memory
        self.context = context
        self.blind = BlindForecaster(latent_dim, action_dim, context.hidden_dim, width)
        # Without memory there is no visual history either: one unit of each branch keeps the export small.
        self.history = HistoryGate(history_dim if use_memory else 1, context.hidden_dim)
        self.memory = MemoryForecaster(latent_dim, context.hidden_dim, memory_width if use_memory else 1)
        self.path = PathForesight(latent_dim, action_dim)
        # Beside the context and the path's state: the last latent, by how much it changed, and whether there is one.
        self.state_dim = context.state_dim + self.path.state_dim + 2 * latent_dim + 1
        self.register_buffer("latent_mean", torch.zeros(latent_dim))
        self.register_buffer("latent_std", torch.ones(latent_dim))
        self.register_buffer("action_mean", torch.zeros(action_dim))
        self.register_buffer("action_std", torch.ones(action_dim))

    def set_statistics(self, latent_mean: Tensor, latent_std: Tensor, action_mean: Tensor, action_std: Tensor) -> None:
        """Store the training set's statistics, with which inputs are normalised."""
        self.latent_mean.copy_(latent_mean)
        self.latent_std.copy_(latent_std)
        self.action_mean.copy_(action_mean)
        self.action_std.copy_(action_std)

    def normalise_action(self, action_BA: Tensor) -> Tensor:
        """Return actions with zero mean and unit variance; unknown ones (NaN) become the mean."""
        return torch.nan_to_num((action_BA - self.action_mean) / self.action_std, nan=0.0)

    @torch.jit.export
    def initial(self, batch: int) -> Tensor:
        """Return the state before anything was seen, [B, C]."""
        return torch.zeros(batch, self.state_dim, device=self.latent_mean.device)

    @torch.jit.export
    def observe(self, latent_BD: Tensor, action_BA: Tensor, state_BC: Tensor) -> Tensor:
        """Return the state after one more latent and the action taken there (NaN: unknown)."""
        z_BD = (latent_BD - self.latent_mean) / self.latent_std
        a_BA = self.normalise_action(action_BA)
        size, tail = self.context.state_dim, self.context.state_dim + self.path.state_dim
        context_BC = self.context.step(torch.cat([z_BD, a_BA], dim=1), state_BC[:, :size])
        path_BP = self.path.step(z_BD, a_BA, state_BC[:, size:tail])
        seen_B1 = state_BC[:, -1:]
        change_BD = (z_BD - state_BC[:, tail : tail + self.latent_dim]) * seen_B1
        return torch.cat([context_BC, path_BP, z_BD, change_BD, torch.ones_like(seen_B1)], dim=1)

    def last_change(self, state_BC: Tensor) -> Tensor:
        """Return by how much the last observed latent differed from the one before, normalised, [B, D]."""
        return state_BC[:, -self.latent_dim - 1 : -1]

    @torch.jit.export
    def outcomes(self, state_BC: Tensor) -> Tensor:
        """Return the reward expected of the last frame and the probability that the episode goes on, [B, 2].

        [B, 0] of a context without heads for them.

        Args:
            state_BC: After observing that frame.
        """
        # Scripting leaves out what is not there.
        if hasattr(self.context, "heads"):
            reward_B, goes_on_B = self.context.heads(state_BC[:, : self.context.state_dim])
            return torch.stack([reward_B, torch.sigmoid(goes_on_B)], dim=1)
        return state_BC[:, :0]

    @torch.jit.export
    def rollout(
        self, latent_BD: Tensor, action_BSA: Tensor, motion_BSM: Tensor, state_BC: Tensor, step_s: float
    ) -> Tensor:
        """Return the latents imagined step by step, each fed back as if it had been seen, [B, S, D].

        Args:
            latent_BD: The present latent, not yet observed.
            action_BSA: The present action and those that follow.
            motion_BSM: Displacement expected of each single step, scaled, and whether it is known.
            state_BC: Before the present.
            step_s: Time of one step [s].
        """
        horizon_B1 = torch.full([latent_BD.size(0), 1], step_s, device=latent_BD.device)
        code_B1C = horizon_features(horizon_B1)
        imagined: list[Tensor] = []
        for step in range(action_BSA.size(1)):
            action_BA = action_BSA[:, step]
            state_BC = self.observe(latent_BD, action_BA, state_BC)
            hidden_BF = self.context.summary(state_BC[:, : self.context.state_dim])
            z_BD = (latent_BD - self.latent_mean) / self.latent_std
            a_BA = self.normalise_action(action_BA)
            moved_B1M = motion_BSM[:, step : step + 1]
            next_B1D = self.blind(hidden_BF, z_BD, self.last_change(state_BC), a_BA, moved_B1M, code_B1C)
            latent_BD = next_B1D[:, 0] * self.latent_std + self.latent_mean
            imagined.append(latent_BD)
        return torch.stack(imagined, dim=1)

    @torch.jit.export
    def foresee_path(self, observed: Observed) -> Tensor:
        """Return what to add to the displacement that a held action gives and its standard error then, [B, H, 6].

        Both are scaled like ``observed.motion``, of which only the displacement and whether it is known are read. The
        visual history is not read at all.
        """
        z_BD = (observed.latent - self.latent_mean) / self.latent_std
        code_BHC = horizon_features(observed.horizon_s)
        path_BP = observed.state[:, self.context.state_dim : self.context.state_dim + self.path.state_dim]
        result: Tensor = self.path(path_BP, z_BD, self.normalise_action(observed.action), observed.motion, code_BHC)
        return result

    @torch.jit.export
    def forecast(self, observed: Observed, retrieved: Retrieved) -> tuple[Tensor, Tensor, Tensor]:
        """Return the forecast [B, H, D], the one without memories [B, H, D] and the gate [B, H].

        Args:
            observed: The present; its state is the one after observing it.
            retrieved: What the memory answered, latents in the encoder's own scale.
        """
        mean, std = self.latent_mean, self.latent_std
        z_BD = (observed.latent - mean) / std
        a_BA = self.normalise_action(observed.action)
        code_BHC = horizon_features(observed.horizon_s)
        hidden_BF = self.context.summary(observed.state[:, : self.context.state_dim])
        if self.use_memory:
            hidden_BF = self.history(hidden_BF, observed.history, observed.history_count)
        base_BHD = self.blind(hidden_BF, z_BD, self.last_change(observed.state), a_BA, observed.motion, code_BHC)
        if not self.use_memory:
            result_BHD, gate_BH = base_BHD, torch.zeros_like(observed.horizon_s)
        else:
            # Detached: the forecast without memory learns as if there were none, so the two can be compared.
            result_BHD, gate_BH = self.memory(
                hidden_BF.detach(), z_BD, base_BHD.detach(), observed.motion, code_BHC, self.normalise(retrieved)
            )
        return result_BHD * std + mean, base_BHD * std + mean, gate_BH

    def normalise(self, retrieved: Retrieved) -> Retrieved:
        """Return what the memory answered with latents of zero mean and unit variance."""
        mean, std = self.latent_mean, self.latent_std
        return Retrieved(
            anticipated_latent=(retrieved.anticipated_latent - mean) / std,
            anticipated_feature=retrieved.anticipated_feature,
            anticipated_valid=retrieved.anticipated_valid,
            appearance_latent=(retrieved.appearance_latent - mean) / std,
            appearance_feature=retrieved.appearance_feature,
            appearance_valid=retrieved.appearance_valid,
            successor_latent=(retrieved.successor_latent - mean) / std,
            successor_valid=retrieved.successor_valid,
        )
