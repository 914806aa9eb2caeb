"""The training loop of the transition: Fabric for devices and precision, checkpoints that resume, logs as CSV.

Shape suffixes: B = sequences, L = frames, R = judged frames, H = horizons, D = latent size, C = state size.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from world_model.errors import ArtifactError, ConfigError
from world_model.models.transition import Transition
from world_model.training.config import OptimiserConfig, TrainConfig
from world_model.training.episodes import Episode
from world_model.training.losses import horizon_weights, prediction_loss, total
from world_model.training.sampler import Batch, Sampler

# A share of the judged frames hears nothing from the memory, as when it is late.
MEMORY_DROPOUT = 0.05
_GATES = ("alpha", "sharpness", "ridge", "relocate")


@dataclass
class Progress:
    """Where a run is, told to the caller after each logged step."""

    step: int
    steps: int
    terms: Mapping[str, float]


def run_batch(model: Transition, batch: Batch, horizons_s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return forecasts with and without memory [R, H, D] and gates [R, H] for one batch."""
    state_BC = model.initial(len(batch.latent_BLD))
    states = []
    for frame in range(batch.latent_BLD.size(1)):
        state_BC = model.observe(batch.latent_BLD[:, frame], batch.action_BLA[:, frame], state_BC)
        states.append(state_BC)
    row_R, position_R = batch.row_R, batch.position_R
    state_RC = torch.stack(states, dim=1)[row_R, position_R]
    count = len(row_R)
    return model.forecast(
        state_RC,
        batch.latent_BLD[row_R, position_R],
        batch.action_BLA[row_R, position_R],
        batch.motion_RHM,
        horizons_s.expand(count, -1),
        batch.spot_RHKD,
        batch.spot_feature_RHKF,
        batch.spot_valid_RHK,
        batch.twin_RKD,
        batch.twin_feature_RKF,
        batch.twin_valid_RK,
        batch.follow_RHKD,
        batch.follow_valid_RHK,
        torch.zeros(count, model.history_dim, device=state_RC.device),
        torch.zeros(count, dtype=torch.int64, device=state_RC.device),
    )


def loss_terms(
    model: Transition, batch: Batch, horizons_s: Tensor, weight_H: Tensor, variance_D: Tensor
) -> dict[str, Tensor]:
    """Return the named losses of one batch: ``prediction`` without memory and ``prediction_memory`` with it."""
    with_RHD, without_RHD, _ = run_batch(model, batch, horizons_s)
    terms = {"prediction": prediction_loss(without_RHD, batch.target_RHD, variance_D, weight_H)}
    if model.use_memory:
        terms["prediction_memory"] = prediction_loss(with_RHD, batch.target_RHD, variance_D, weight_H)
    return terms


def make_optimiser(model: torch.nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """Return AdamW with a faster rate and no decay for the gates that start at zero."""
    fast = [p for name, p in model.named_parameters() if name.split(".")[-1] in _GATES]
    rest = [p for name, p in model.named_parameters() if name.split(".")[-1] not in _GATES]
    groups = [
        {"params": rest, "weight_decay": config.weight_decay, "factor": 1.0},
        {"params": fast, "weight_decay": 0.0, "factor": config.gate_rate},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def rate_at(step: int, config: OptimiserConfig) -> float:
    """Return the learning rate of a step: linear warm-up, then a cosine down to 2 %."""
    if step < config.warm_up:
        return config.learning_rate * (step + 1) / config.warm_up
    part = (step - config.warm_up) / max(config.steps - config.warm_up, 1)
    return config.learning_rate * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(part, 1.0))))


class Trainer:
    """Trains one transition; a run that was killed goes on from its last checkpoint.

    Args:
        config: Everything that may differ between two runs.
        model: Network with its statistics set.
        folder: Where checkpoints and logs go.
        step_s: Time between frames [s].
        variance_D: Variance of the latents, the unit of errors; default: what the network normalises with.
        fabric: Devices and precision; default: one CPU.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: Transition,
        folder: Path,
        step_s: float,
        variance_D: Tensor | None = None,
        fabric: Fabric | None = None,
    ) -> None:
        self._config = config
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._fabric = fabric or Fabric(accelerator="cpu", devices=1, precision=config.optimiser.precision)  # type: ignore[arg-type]
        self._optimiser = make_optimiser(model, config.optimiser)
        self.model = model
        self._wrapped, self._optimiser = self._fabric.setup(model, self._optimiser)
        self._wrapped.mark_forward_method("observe")
        self._wrapped.mark_forward_method("forecast")
        self._horizons_s = torch.tensor(config.horizons) * step_s
        self._variance_D = model.latent_std.square() if variance_D is None else variance_D
        self._weight_H = horizon_weights(len(config.horizons), config.horizon_weight)
        self._step = 0

    def fit(
        self,
        train: Sequence[Episode],
        valid: Sequence[Episode] = (),
        progress: Callable[[Progress], None] = lambda _: None,
    ) -> dict[str, float]:
        """Train to the configured number of steps and return the last validation's (or last step's) losses."""
        config, optimiser = self._config, self._config.optimiser
        self._resume()
        sampler = self._sampler(train, config.seed * 1000 + self._step)
        terms: dict[str, float] = {}
        self.model.train()
        while self._step < optimiser.steps:
            terms = self._one_step(sampler)
            self._step += 1
            if self._step % 100 == 0 or self._step == optimiser.steps:
                self._log("train", terms)
                progress(Progress(self._step, optimiser.steps, terms))
            if self._step % config.validate_every == 0 or self._step == optimiser.steps:
                self.save()
                if valid:
                    terms = self.validate(valid)
                    self._log("valid", terms)
        self.model.eval()
        return terms

    @torch.no_grad()
    def validate(self, episodes: Sequence[Episode], batches: int = 16) -> dict[str, float]:
        """Return the mean losses over fixed batches of held-out episodes."""
        self.model.eval()
        sampler = self._sampler(episodes, 12345)
        sums: dict[str, float] = {}
        for _ in range(batches):
            batch = sampler.draw(self._config.optimiser.batch)
            terms = loss_terms(self.model, batch, self._horizons_s, self._weight_H, self._variance_D)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value) / batches
        self.model.train()
        return sums

    def save(self) -> None:
        """Write the checkpoint, complete or not at all."""
        checkpoint = {
            "config": self._config.to_json(),
            "step": self._step,
            "model": self.model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }
        partial = self._folder / "last.pt.partial"
        torch.save(checkpoint, partial)
        partial.replace(self._folder / "last.pt")

    def _resume(self) -> None:
        path = self._folder / "last.pt"
        if path.is_file():
            checkpoint = load_checkpoint(path)
            check_same_run(checkpoint["config"], self._config.to_json())
            self.model.load_state_dict(checkpoint["model"])
            self._optimiser.load_state_dict(checkpoint["optimiser"])
            self._step = int(checkpoint["step"])

    def _sampler(self, episodes: Sequence[Episode], seed: int) -> Sampler:
        o = self._config.optimiser
        return Sampler(episodes, self._config.horizons, o.sequence, o.burn_in, o.positions, seed)

    def _one_step(self, sampler: Sampler) -> dict[str, float]:
        config = self._config.optimiser
        for group in self._optimiser.param_groups:
            group["lr"] = rate_at(self._step, config) * group["factor"]
        sums: dict[str, float] = {}
        for _ in range(config.accumulate):
            batch = sampler.draw(config.batch, MEMORY_DROPOUT)
            terms = loss_terms(self._wrapped, batch, self._horizons_s, self._weight_H, self._variance_D)
            self._fabric.backward(total(terms, {}) / config.accumulate)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / config.accumulate
        self._fabric.clip_gradients(self._wrapped, self._optimiser, max_norm=config.clip_norm)
        self._optimiser.step()
        self._optimiser.zero_grad()
        return sums

    def _log(self, kind: str, terms: Mapping[str, float]) -> None:
        path = self._folder / "log.csv"
        is_new = not path.is_file()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(["step", "kind", "term", "value"])
            writer.writerows([self._step, kind, name, f"{value:.6f}"] for name, value in terms.items())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint's entries; only tensors and plain values are ever read from it.

    Raises:
        ArtifactError: Missing, damaged, or not a checkpoint of this package.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ArtifactError(f"checkpoint {path} cannot be read: {type(error).__name__}") from error
    missing = sorted({"config", "step", "model"} - set(checkpoint)) if isinstance(checkpoint, dict) else ["everything"]
    if missing:
        raise ArtifactError(f"checkpoint {path} lacks {', '.join(missing)}")
    return checkpoint


def check_same_run(found: Mapping[str, Any], wanted: Mapping[str, Any], where: str = "") -> None:
    """Raise ``ConfigError`` naming the first entry in which a checkpoint differs from what is wanted."""
    for key in sorted(set(found) | set(wanted)):
        first, second = found.get(key), wanted.get(key)
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            check_same_run(first, second, f"{where}{key}.")
        elif (list(first) if isinstance(first, tuple) else first) != (
            list(second) if isinstance(second, tuple) else second
        ):
            raise ConfigError(f"checkpoint was made with {where}{key} {first!r}, not {second!r}")
