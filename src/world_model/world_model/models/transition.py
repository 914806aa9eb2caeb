"""The transition model as it is trained, exported and run: context, forecast without memory, memory on top.

Shape suffixes: B = batch, H = horizons, K = memories, D = latent size, A = action size, C = state size, N = history.
"""

from typing import Any

import torch
from torch import Tensor, nn

from world_model.models.forecaster import BlindForecaster, HistoryGate, MemoryForecaster, horizon_features
from world_model.models.path import PathForesight


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
        history_dim: int = 896,
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
    def foresee_path(
        self, state_BC: Tensor, latent_BD: Tensor, action_BA: Tensor, motion_BHM: Tensor, horizon_BH: Tensor
    ) -> Tensor:
        """Return what to add to the displacement that a held action gives and its standard error then, [B, H, 6].

        Both are scaled like ``motion_BHM``, of which only the displacement and whether it is known are read.
        """
        z_BD = (latent_BD - self.latent_mean) / self.latent_std
        code_BHC = horizon_features(horizon_BH)
        path_BP = state_BC[:, self.context.state_dim : self.context.state_dim + self.path.state_dim]
        return self.path(path_BP, z_BD, self.normalise_action(action_BA), motion_BHM, code_BHC)

    @torch.jit.export
    def forecast(
        self,
        state_BC: Tensor,
        latent_BD: Tensor,
        action_BA: Tensor,
        motion_BHM: Tensor,
        horizon_BH: Tensor,
        spot_BHKD: Tensor,
        spot_feature_BHKF: Tensor,
        spot_valid_BHK: Tensor,
        twin_BKD: Tensor,
        twin_feature_BKF: Tensor,
        twin_valid_BK: Tensor,
        follow_BHKD: Tensor,
        follow_valid_BHK: Tensor,
        history_BN: Tensor,
        history_count_B: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the forecast [B, H, D], the one without memories [B, H, D] and the gate [B, H].

        Args:
            state_BC: After observing the present.
            latent_BD: The present latent.
            action_BA: The present action (NaN: unknown).
            motion_BHM: Expected displacement at each horizon, whether it is known, and its standard error; see
                ``world_model.runtime.conditioning.motion_features``.
            horizon_BH: Times ahead [s].
            spot_BHKD: Memories near the expected poses, their features and which are real.
            spot_feature_BHKF: See ``world_model.runtime.conditioning.spot_features``.
            spot_valid_BHK: bool.
            twin_BKD: Memories that resemble the present, their features and which are real.
            twin_feature_BKF: See ``world_model.runtime.conditioning.twin_features``.
            twin_valid_BK: bool.
            follow_BHKD: The twins' successors at each horizon, and which are real.
            follow_valid_BHK: bool.
            history_BN: Visual history.
            history_count_B: Real entries in it; 0 leaves it out.
        """
        mean, std = self.latent_mean, self.latent_std
        z_BD = (latent_BD - mean) / std
        a_BA = self.normalise_action(action_BA)
        code_BHC = horizon_features(horizon_BH)
        hidden_BF = self.context.summary(state_BC[:, : self.context.state_dim])
        if self.use_memory:
            hidden_BF = self.history(hidden_BF, history_BN, history_count_B)
        base_BHD = self.blind(hidden_BF, z_BD, self.last_change(state_BC), a_BA, motion_BHM, code_BHC)
        if not self.use_memory:
            result_BHD, gate_BH = base_BHD, torch.zeros_like(horizon_BH)
        else:
            # Detached: the forecast without memory learns as if there were none, so the two can be compared.
            result_BHD, gate_BH = self.memory(
                hidden_BF.detach(),
                z_BD,
                base_BHD.detach(),
                motion_BHM,
                code_BHC,
                (spot_BHKD - mean) / std,
                spot_feature_BHKF,
                spot_valid_BHK,
                (twin_BKD - mean) / std,
                twin_feature_BKF,
                twin_valid_BK,
                (follow_BHKD - mean) / std,
                follow_valid_BHK,
            )
        return result_BHD * std + mean, base_BHD * std + mean, gate_BH
