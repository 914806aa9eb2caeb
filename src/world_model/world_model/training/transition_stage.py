"""Trains the transition: its named losses and its batches.

Shape suffixes: B = sequences, L = frames, R = judged frames, H = horizons, D = latent size, C = state size, X = B * L.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from world_model.models.transition import Transition
from world_model.optional import extra
from world_model.runtime.tensors import Observed, Retrieved
from world_model.training.budget import Budget, budget_of
from world_model.training.config import TrainConfig
from world_model.training.loop import Loop, Progress, Terms, divide
from world_model.training.losses import horizon_weights, prediction_loss
from world_model.training.sampler import Batch, Sampler
from world_model.training.sequences import TrainingSequence
from world_model.training.table_sampler import TableSampler

# A share of the judged frames hears nothing from the memory, as when it is late.
MEMORY_DROPOUT = 0.05
_VALIDATION_BATCHES, _BATCHES_IN_A_HURRY = 16, 2
"""Of a validation; where the time is limited, learning needs it more."""
_COLUMNS = len(Batch._fields) - 1 + len(Retrieved._fields)


def observe_all(model: Transition, latent_BLD: Tensor, action_BLA: Tensor, recompute: bool = False) -> Tensor:
    """Return the state after each frame of each sequence, [B, L, C].

    Args:
        model: Network.
        latent_BLD: Latents.
        action_BLA: Actions taken there (NaN: unknown).
        recompute: Compute activations again in the backward pass instead of keeping them.
    """
    observe: Callable[..., Any] = model.observe
    if recompute:
        observe = partial(checkpoint, model.observe, use_reentrant=False)
    state_BC = model.initial(len(latent_BLD))
    states = []
    for frame in range(latent_BLD.size(1)):
        state_BC = observe(latent_BLD[:, frame], action_BLA[:, frame], state_BC)
        states.append(state_BC)
    return torch.stack(states, dim=1)


def run_batch(
    model: Transition, batch: Batch, state_BLC: Tensor, horizons_s: Tensor, recompute: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Return forecasts with and without memory [R, H, D] and gates [R, H] for one batch."""
    forecast: Callable[..., Any] = model.forecast
    if recompute:
        forecast = partial(checkpoint, model.forecast, use_reentrant=False)
    row_R, position_R = batch.row_R, batch.position_R
    state_RC = state_BLC[row_R, position_R]
    count = len(row_R)
    observed = Observed(
        state=state_RC,
        latent=batch.latent_BLD[row_R, position_R],
        action=batch.action_BLA[row_R, position_R],
        motion=batch.motion_RHM,
        horizon_s=horizons_s.expand(count, -1),
        history=torch.zeros(count, model.history_dim, device=state_RC.device),
        history_count=torch.zeros(count, dtype=torch.int64, device=state_RC.device),
    )
    forecasts: tuple[Tensor, Tensor, Tensor] = forecast(observed, batch.retrieved)
    return forecasts


def context_terms(
    model: Transition, latent_BLD: Tensor, action_BLA: Tensor, state_BLC: Tensor, outcome_BL2: Tensor | None = None
) -> dict[str, Tensor]:
    """Return the losses that a context brings of its own, by name; most bring none.

    Args:
        model: Network.
        latent_BLD: What it observed.
        action_BLA: Actions taken there (NaN: unknown).
        state_BLC: After each of them.
        outcome_BL2: Reward and whether the episode goes on, NaN where not known.
    """
    terms_of = getattr(model.context, "terms", None)
    if terms_of is None:
        return {}
    z_BLD = (latent_BLD - model.latent_mean) / model.latent_std
    input_BLI = torch.cat([z_BLD, model.normalise_action(action_BLA)], dim=2)
    terms: dict[str, Tensor] = terms_of(input_BLI, state_BLC[..., : model.context.state_dim], outcome_BL2)
    return terms


class TransitionLosses(nn.Module):
    """The transition with its losses around it: tensors of a batch in, named terms out.

    Terms are ``prediction`` without memory and ``prediction_memory`` with it, and what the context brings of its own.

    Args:
        model: Network with its statistics set.
        horizons_s: Times ahead [s], [H].
        weight_H: Weights of the horizons.
        variance_D: Variance of the latents, the unit of errors.
        recompute: Compute activations again in the backward pass instead of keeping them.
    """

    horizons_s: Tensor
    weight_H: Tensor
    variance_D: Tensor

    def __init__(
        self, model: Transition, horizons_s: Tensor, weight_H: Tensor, variance_D: Tensor, recompute: bool = False
    ) -> None:
        super().__init__()
        self.model = model
        self._recompute = recompute
        self.register_buffer("horizons_s", horizons_s)
        self.register_buffer("weight_H", weight_H)
        self.register_buffer("variance_D", variance_D)

    def forward(self, *columns: Tensor) -> dict[str, Tensor]:
        """Return the named losses of a batch's tensors, as ``Batch.columns`` gives them; outcomes may come last."""
        batch, model, recompute = Batch.of(columns[:_COLUMNS]), self.model, self._recompute and self.training
        state_BLC = observe_all(model, batch.latent_BLD, batch.action_BLA, recompute)
        with_RHD, without_RHD, _ = run_batch(model, batch, state_BLC, self.horizons_s, recompute)
        terms = {"prediction": prediction_loss(without_RHD, batch.target_RHD, self.variance_D, self.weight_H)}
        if model.use_memory:
            terms["prediction_memory"] = prediction_loss(with_RHD, batch.target_RHD, self.variance_D, self.weight_H)
        outcome_BL2 = columns[_COLUMNS] if len(columns) > _COLUMNS else None
        return terms | context_terms(model, batch.latent_BLD, batch.action_BLA, state_BLC, outcome_BL2)


def parts_of(columns: Sequence[Tensor], parts: int) -> list[list[Tensor]]:
    """Return the tensors of a batch divided into equal parts, each with its sequences counted from 0."""
    divided = divide(columns, parts)
    row = Batch._fields.index("row_R")
    for part in divided:
        part[row] = part[row] - part[row][0]
    return divided


class Trainer:
    """Trains one transition; a run that was killed goes on from its last checkpoint.

    Args:
        config: Everything that may differ between two runs.
        model: Network with its statistics set.
        folder: Where checkpoints and logs go.
        step_s: Time between frames [s].
        variance_D: Variance of the latents, the unit of errors; default: what the network normalises with.
        outcomes: Episode -> reward and whether it goes on [T, 2], for an RSSM; NaN where not known.
        fabric: Devices and precision; default: as configured.
        budget: Time instead of steps; default: as configured.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: Transition,
        folder: Path,
        step_s: float,
        variance_D: Tensor | None = None,
        outcomes: Mapping[str, np.ndarray] | None = None,
        fabric: Fabric | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._config = config
        self._outcomes = outcomes or {}
        losses = TransitionLosses(
            model,
            torch.tensor(config.horizons) * step_s,
            horizon_weights(len(config.horizons), config.horizon_weight),
            model.latent_std.square() if variance_D is None else variance_D,
            config.optimiser.checkpoint_activations,
        )
        part = "memory" if model.use_memory else "without_memory"
        self._budget = budget or budget_of(config, part, folder)
        self._loop = Loop(config, config.optimiser, model, losses, folder, fabric, budget=self._budget)

    def fit(
        self,
        train: Sequence[TrainingSequence],
        valid: Sequence[TrainingSequence] = (),
        progress: Callable[[Progress], None] = lambda _: None,
    ) -> Terms:
        """Train as configured and return the last (or, with patience, the best) validation's losses, or last step's."""
        loop, config = self._loop, self._config
        sampler = self._sampler(train, config.seed)
        loop.resume()
        sampler.reseed(config.seed * 1000 + loop.step)
        validate = partial(self.validate, valid) if len(valid) else None
        return loop.run(lambda: self.one_step(sampler), validate, progress, config.patience)

    def one_step(self, sampler: Sampler | TableSampler) -> Terms:
        """Take one optimiser step on a fresh batch and return its losses."""
        count = self._loop.parts_count
        if self._budget is not None:
            # A run that goes on draws what one that was not interrupted would have drawn.
            sampler.reseed([self._config.seed, self._loop.step])
        columns = sampler.columns(self._config.optimiser.batch * count, MEMORY_DROPOUT)
        return self._loop.take_step(parts_of(columns, count))

    def validate(self, sequences: Sequence[TrainingSequence]) -> Terms:
        """Return the mean losses over fixed batches of held-out sequences."""
        sampler = self._sampler(sequences, 12345)
        batch = self._config.optimiser.batch
        count = _VALIDATION_BATCHES if self._budget is None else _BATCHES_IN_A_HURRY
        return self._loop.mean_terms([sampler.columns(batch) for _ in range(count)])

    def _sampler(self, sequences: Sequence[TrainingSequence], seed: int) -> Sampler | TableSampler:
        o = self._config.optimiser
        shape = (self._config.horizons, o.sequence, o.burn_in, o.positions, seed)
        if self._budget is not None and not self._outcomes:
            return TableSampler(sequences, *shape, self._loop.fabric.device)
        if not self._outcomes:
            return Sampler(sequences, *shape)
        made: Sampler = extra("outcomes").OutcomeSampler(sequences, *shape, self._outcomes)
        return made
