"""The training loop of every stage with named losses: Fabric for devices and precision, checkpoints, logs as CSV.

A step's batch is drawn whole, the same in every process, and divided among the processes and their backward passes.
So the gradients of a mean do not depend on how a batch is divided.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn

from world_model.training.checkpoints import check_same_run, load_checkpoint, save_checkpoint
from world_model.training.config import OptimiserConfig, TrainConfig
from world_model.training.losses import total

Terms = dict[str, float]
_GATES = ("alpha", "sharpness", "ridge", "relocate")
_LOG_EVERY = 100


@dataclass
class Progress:
    """Where a run is, told to the caller after each step."""

    step: int
    steps: int
    terms: Mapping[str, float]


def make_fabric(settings: OptimiserConfig) -> Fabric:
    """Return Fabric for the configured devices and precision; several devices get a process each."""
    strategy: str | DDPStrategy = "auto"
    if settings.devices > 1:
        # Losses of an episode without rewards leave heads unused: their gradients must not be waited for.
        strategy = DDPStrategy(start_method="spawn", find_unused_parameters=True)
    return Fabric(
        accelerator=settings.accelerator,
        devices=settings.devices,
        strategy=strategy,
        precision=settings.precision,  # type: ignore[arg-type]
    )


def uses_cuda(settings: OptimiserConfig) -> bool:
    """Return whether this network is trained on CUDA devices."""
    return settings.accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available()


def make_optimiser(model: nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
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


class Loop:
    """Optimiser steps on one network; a run that was killed goes on from its last checkpoint.

    Args:
        config: The run, stored in each checkpoint and compared on resuming.
        settings: The part of it that is about this network.
        model: What is trained and saved.
        losses: Module around ``model`` that turns the tensors of a batch into named losses.
        folder: Where checkpoint and log go.
        fabric: Devices and precision; default: as configured.
    """

    def __init__(
        self,
        config: TrainConfig,
        settings: OptimiserConfig,
        model: nn.Module,
        losses: nn.Module,
        folder: Path,
        fabric: Fabric | None = None,
    ) -> None:
        self._config, self._settings, self._weights = config, settings, config.losses.weights()
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self.fabric = fabric or make_fabric(settings)
        self._model = model
        self._losses, self._optimiser = self.fabric.setup(losses, make_optimiser(model, settings))
        self.step = 0

    @property
    def parts_count(self) -> int:
        """Into how many parts a step's batch is divided: processes times backward passes."""
        return self._settings.accumulate * self.fabric.world_size

    def resume(self) -> None:
        """Take up the last checkpoint, if there is one.

        Raises:
            ArtifactError: It cannot be read.
            ConfigError: It was made with another configuration.
        """
        path = self._folder / "last.pt"
        if path.is_file():
            checkpoint = load_checkpoint(path)
            check_same_run(checkpoint["config"], self._config)
            self._model.load_state_dict(checkpoint["model"])
            self._optimiser.load_state_dict(checkpoint["optimiser"])
            self.step = int(checkpoint["step"])

    def run(
        self,
        take: Callable[[], Terms],
        validate: Callable[[], Terms] | None = None,
        progress: Callable[[Progress], None] = lambda _: None,
    ) -> Terms:
        """Train to the configured number of steps and return the last validation's (or last step's) losses.

        Args:
            take: Takes one step with ``take_step``.
            validate: Called when a checkpoint is due.
            progress: Called after each step.
        """
        terms: Terms = {}
        steps = self._settings.steps
        self._model.train()
        while self.step < steps:
            terms = take()
            self.step += 1
            is_last = self.step == steps
            if self.step % _LOG_EVERY == 0 or is_last:
                self._log("train", terms)
            progress(Progress(self.step, steps, terms))
            if self.step % self._config.validate_every == 0 or is_last:
                self.save()
                if validate is not None:
                    self._model.eval()
                    terms = validate()
                    self._model.train()
                    self._log("valid", terms)
        self._model.eval()
        return terms

    def take_step(self, parts: Sequence[Sequence[Tensor]]) -> Terms:
        """Change the weights once and return the mean losses of this process's share.

        Args:
            parts: The step's batch, divided into ``parts_count`` equal parts of the tensors that the losses take.
        """
        settings = self._settings
        for group in self._optimiser.param_groups:
            group["lr"] = rate_at(self.step, settings) * group["factor"]
        sums: Terms = {}
        mine = parts[self.fabric.global_rank :: self.fabric.world_size]
        for index, part in enumerate(mine):
            with self._local_until(index == len(mine) - 1):
                terms = self._losses(*self.fabric.to_device(list(part)))
                self.fabric.backward(total(terms, self._weights) / settings.accumulate)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / settings.accumulate
        self.fabric.clip_gradients(self._losses, self._optimiser, max_norm=settings.clip_norm)
        self._optimiser.step()
        self._optimiser.zero_grad()
        return sums

    @torch.no_grad()
    def mean_terms(self, parts: Sequence[Sequence[Tensor]]) -> Terms:
        """Return the mean losses over parts of equal size, without changing anything."""
        sums: Terms = {}
        for part in parts:
            # The plain module: validation takes no part in what the processes exchange.
            for name, value in self._losses.module(*self.fabric.to_device(list(part))).items():
                sums[name] = sums.get(name, 0.0) + float(value) / len(parts)
        return sums

    def save(self) -> None:
        """Write the checkpoint, complete or not at all."""
        if self.fabric.global_rank == 0:
            entries = {"config": self._config.to_json(), "step": self.step, "model": self._model.state_dict()}
            save_checkpoint(self._folder / "last.pt", {**entries, "optimiser": self._optimiser.state_dict()})

    def _local_until(self, is_last: bool) -> AbstractContextManager[None]:
        if self.fabric.world_size == 1:
            return nullcontext()
        return self.fabric.no_backward_sync(self._losses, enabled=not is_last)

    def _log(self, kind: str, terms: Mapping[str, float]) -> None:
        if self.fabric.global_rank:
            return
        path = self._folder / "log.csv"
        is_new = not path.is_file()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(["step", "kind", "term", "value"])
            writer.writerows([self.step, kind, name, f"{value:.6f}"] for name, value in terms.items())


def divide(columns: Sequence[Tensor], parts: int) -> list[list[Tensor]]:
    """Return tensors divided into equal parts along their first axis.

    Raises:
        ValueError: A tensor does not divide.
    """
    for column in columns:
        if len(column) % parts:
            raise ValueError(f"{len(column)} rows cannot be divided into {parts} equal parts")
    return [list(part) for part in zip(*(column.chunk(parts) for column in columns))]
