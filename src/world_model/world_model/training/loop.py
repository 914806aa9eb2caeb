"""The training loop of every stage: Fabric for devices and precision, schedules, checkpoints, logs as CSV.

A step's batch is drawn whole, the same in every process, and divided among the processes and their backward passes.
So the gradients of a mean do not depend on how a batch is divided.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn

from world_model.training.budget import Budget, set_rates
from world_model.training.checkpoints import RunConfig, check_same_run, load_checkpoint, save_checkpoint
from world_model.training.config import StageConfig
from world_model.training.early_stop import BestWeights
from world_model.training.losses import total
from world_model.training.report import Report

Terms = Mapping[str, float]
Schedule = Callable[[torch.optim.Optimizer, int, StageConfig], None]
"""Sets the rates of an optimiser for a step."""
Draw = Callable[[], Sequence[Tensor]]
"""Returns the tensors of a batch, as the losses take them."""
_GATES = ("alpha", "sharpness", "ridge", "relocate")
_LOG_EVERY = 100
_LAST_NAME = "last.pt"
_SAY_EVERY = 500
_CHECKPOINTS = 10
"""Of a stage with a budget of time: checkpoints and validations, evenly spread."""


class LazyTerms(Mapping[str, float]):
    """Losses that are fetched from the device when they are looked at: it need not be waited for at every step."""

    def __init__(self, terms: Mapping[str, Tensor]) -> None:
        self._terms = terms

    def __getitem__(self, name: str) -> float:
        return float(self._terms[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._terms)

    def __len__(self) -> int:
        return len(self._terms)


@dataclass
class Progress:
    """Where a run is, told to the caller after each step."""

    step: int
    steps: int
    terms: Mapping[str, float]


def make_fabric(settings: StageConfig) -> Fabric:
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


def uses_cuda(settings: StageConfig) -> bool:
    """Return whether this network is trained on CUDA devices."""
    return settings.accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available()


def make_optimiser(model: nn.Module, config: StageConfig) -> torch.optim.AdamW:
    """Return AdamW with a faster rate and no decay for the gates that start at zero."""
    fast = [p for name, p in model.named_parameters() if name.split(".")[-1] in _GATES]
    rest = [p for name, p in model.named_parameters() if name.split(".")[-1] not in _GATES]
    groups = [
        {"params": rest, "weight_decay": config.weight_decay, "factor": 1.0},
        {"params": fast, "weight_decay": 0.0, "factor": config.gate_rate},
    ]
    is_on_gpu = next(model.parameters()).is_cuda
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True if is_on_gpu else None)


def rate_at(step: int, config: StageConfig) -> float:
    """Return the learning rate of a step: linear warm-up, then a cosine down to 2 %."""
    if step < config.warm_up:
        return config.learning_rate * (step + 1) / config.warm_up
    part = (step - config.warm_up) / max(config.steps - config.warm_up, 1)
    return config.learning_rate * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(part, 1.0))))


def warm_cosine(optimiser: torch.optim.Optimizer, step: int, settings: StageConfig) -> None:
    """Set the rates of a step as ``rate_at`` says, faster for the gates."""
    for group in optimiser.param_groups:
        group["lr"] = rate_at(step, settings) * group["factor"]


def one_cycle(optimiser: torch.optim.Optimizer, step: int, settings: StageConfig) -> None:
    """Set rate and first moment of a step: a tenth of the steps up from 1/25 of the rate, then down to nearly nothing.

    Source: Smith & Topin 2018, "Super-Convergence"; the same values as ``torch.optim.lr_scheduler.OneCycleLR``.
    """
    highest, peak, last = settings.learning_rate, 0.1 * settings.steps - 1, settings.steps - 1
    low, moment_high, moment_low = highest / 25.0, 0.95, 0.85
    if step <= peak:
        rate, moment = _along(low, highest, step / peak), _along(moment_high, moment_low, step / peak)
    else:
        part = (step - peak) / (last - peak)
        rate, moment = _along(highest, low / 1e4, part), _along(moment_low, moment_high, part)
    for group in optimiser.param_groups:
        group["lr"], group["betas"] = rate, (moment, group["betas"][1])


class Loop:
    """Optimiser steps on one network; a run that was killed goes on from its last checkpoint.

    Args:
        config: The run, stored in each checkpoint and compared on resuming.
        settings: The part of it that is about this network.
        model: What is trained and saved.
        losses: Module around ``model`` that turns the tensors of a batch into named losses.
        folder: Where checkpoint and log go; None keeps neither.
        fabric: Devices and precision; default: as configured.
        weights: Of the named losses; default: as configured.
        schedule: Rates of each step; by ``set_rates`` where there is a budget.
        budget: Time instead of steps: the stage ends with it, and the rates follow the share of it that is gone.
    """

    def __init__(
        self,
        config: RunConfig,
        settings: StageConfig,
        model: nn.Module,
        losses: nn.Module,
        folder: Path | None,
        fabric: Fabric | None = None,
        *,
        weights: Mapping[str, float] | None = None,
        schedule: Schedule = warm_cosine,
        budget: Budget | None = None,
    ) -> None:
        self._config, self._settings, self._schedule, self._budget = config, settings, schedule, budget
        self._weights = config.weights() if weights is None else weights
        self._folder = None if folder is None else Path(folder)
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        self.fabric = fabric or make_fabric(settings)
        self._model = model
        losses.to(self.fabric.device)
        self._losses, self._optimiser = self.fabric.setup(losses, make_optimiser(model, settings))
        self.step, self._checkpoints = 0, 0

    @property
    def parts_count(self) -> int:
        """Into how many parts a step's batch is divided: processes times backward passes."""
        return self._settings.accumulate * self.fabric.world_size

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is one to go on from."""
        return self._folder is not None and (self._folder / _LAST_NAME).is_file()

    def resume(self) -> None:
        """Take up the last checkpoint, if there is one; a budget counts from here, or goes on from what it used.

        Raises:
            ArtifactError: It cannot be read.
            ConfigError: It was made with another configuration.
        """
        if self._budget is not None:
            self._budget.start()
        if self._folder is not None and self.has_checkpoint:
            checkpoint = load_checkpoint(self._folder / _LAST_NAME)
            check_same_run(checkpoint["config"], self._config)
            self._model.load_state_dict(checkpoint["model"])
            self._optimiser.load_state_dict(checkpoint["optimiser"])
            self.step = int(checkpoint["step"])
            if self._budget is not None:
                self._budget.start(float(checkpoint["used_s"]))
                self._checkpoints = int(self._budget.share * _CHECKPOINTS)

    def run(
        self,
        take: Callable[[], Terms],
        validate: Callable[[], Terms] | None = None,
        progress: Callable[[Progress], None] = lambda _: None,
        patience: int = 0,
    ) -> Terms:
        """Train to the configured number of steps and return the last validation's (or last step's) losses.

        Args:
            take: Takes one step with ``take_step``.
            validate: Called when a checkpoint is due.
            progress: Called after each step.
            patience: Validations without a better one after which the run ends; it then has the weights of the best and
                returns its losses. 0 trains to the end and keeps the last.
        """
        terms: Terms = {}
        best = BestWeights(self._model, patience) if patience and validate is not None else None
        if best is not None and validate is not None:
            self._is_over(best, self._validated(validate))
        self._model.train()
        is_last = self._is_done()
        while not is_last:
            terms = take()
            self.step += 1
            progress(Progress(self.step, self._expected_steps(), terms))
            # Asked once: a step that is the last by this clock must be logged and kept as such.
            is_last = self._is_done()
            if self.step % _LOG_EVERY == 0 or is_last:
                self._log("train", terms)
            if self._is_due() or is_last:
                self.save()
                if validate is not None:
                    terms = self._validated(validate)
                if best is not None and self._is_over(best, terms):
                    break
        self._model.eval()
        if best is None:
            return dict(terms)
        best.restore()
        self.save()
        return dict(best.terms)

    def _is_done(self) -> bool:
        if self._budget is None:
            return self.step >= self._settings.steps
        return self._budget.share >= 1.0

    def _is_due(self) -> bool:
        """Return whether a checkpoint is due."""
        if self._budget is None:
            return self.step % self._config.validate_every == 0
        before, self._checkpoints = self._checkpoints, int(self._budget.share * _CHECKPOINTS)
        return self._checkpoints > before

    def _expected_steps(self) -> int:
        if self._budget is None:
            return self._settings.steps
        return round(self.step / max(self._budget.share, 1e-6))

    def _validated(self, validate: Callable[[], Terms]) -> Terms:
        self._model.eval()
        terms = validate()
        self._model.train()
        self._log("valid", terms)
        return terms

    def _is_over(self, best: BestWeights, terms: Terms) -> bool:
        loss = total({name: torch.tensor(value) for name, value in terms.items()}, self._weights)
        return best.is_over(float(loss), terms)

    def take_step(self, parts: Sequence[Sequence[Tensor]]) -> Terms:
        """Change the weights once and return the mean losses of this process's share.

        Args:
            parts: The step's batch, divided into ``parts_count`` equal parts of the tensors that the losses take.
        """
        settings = self._settings
        if self._budget is None:
            self._schedule(self._optimiser, self.step, settings)
        else:
            set_rates(self._optimiser, self.step, self._budget.share, settings)
        sums: dict[str, Tensor] = {}
        mine = parts[self.fabric.global_rank :: self.fabric.world_size]
        for index, part in enumerate(mine):
            with self._local_until(index == len(mine) - 1):
                terms = self._losses(*self.fabric.to_device(list(part)))
                self.fabric.backward(total(terms, self._weights) / settings.accumulate)
            for name, value in terms.items():
                share = value.detach() / settings.accumulate
                sums[name] = sums[name] + share if name in sums else share
        self.fabric.clip_gradients(self._losses, self._optimiser, max_norm=settings.clip_norm)
        self._optimiser.step()
        self._optimiser.zero_grad()
        return LazyTerms(sums)

    @torch.no_grad()
    def mean_terms(self, parts: Sequence[Sequence[Tensor]]) -> Terms:
        """Return the mean losses over parts of equal size, without changing anything."""
        sums: dict[str, float] = {}
        for part in parts:
            # The plain module: validation takes no part in what the processes exchange.
            for name, value in self._losses.module(*self.fabric.to_device(list(part))).items():
                sums[name] = sums.get(name, 0.0) + float(value) / len(parts)
        return sums

    def save(self) -> None:
        """Write the checkpoint, complete or not at all."""
        if self.fabric.global_rank == 0 and self._folder is not None:
            entries = {"config": self._config.to_json(), "step": self.step, "model": self._model.state_dict()}
            entries |= {} if self._budget is None else {"used_s": self._budget.used_s}
            save_checkpoint(self._folder / _LAST_NAME, {**entries, "optimiser": self._optimiser.state_dict()})

    def _local_until(self, is_last: bool) -> AbstractContextManager[None]:
        if self.fabric.world_size == 1:
            return nullcontext()
        return self.fabric.no_backward_sync(self._losses, enabled=not is_last)

    def _log(self, kind: str, terms: Mapping[str, float]) -> None:
        if self.fabric.global_rank or self._folder is None:
            return
        path = self._folder / "log.csv"
        is_new = not path.is_file()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(["step", "kind", "term", "value"])
            seconds = {} if self._budget is None else {"seconds": self._budget.used_s}
            writer.writerows([self.step, kind, name, f"{value:.6f}"] for name, value in {**terms, **seconds}.items())


def run_stage(
    loop: Loop,
    sampler: Callable[[int], Draw],
    seed: int,
    name: str,
    report: Report,
    *,
    after_step: Callable[[], None] = lambda: None,
    validate: Callable[[], Terms] | None = None,
) -> None:
    """Train a small network in one process to the end, from its last checkpoint if there is one.

    Args:
        loop: Around the network.
        sampler: Returns what draws batches, by its seed.
        seed: Of the draws; a run that goes on draws others than it began with.
        name: Of the stage, as it is reported.
        report: Told after each step.
        after_step: Called after each step.
        validate: Called when a checkpoint is due.
    """
    loop.resume()
    draw = sampler(seed + 1000 * loop.step)

    def take() -> Terms:
        terms = loop.take_step(divide(draw(), loop.parts_count))
        after_step()
        return terms

    def tell(progress: Progress) -> None:
        report.step(name, progress.step, progress.steps, progress.terms, _SAY_EVERY)

    loop.run(take, validate, tell)


def _along(first: float, last: float, part: float) -> float:
    """Return the value on a half cosine from the first (part 0) to the last (part 1)."""
    return last + (first - last) / 2.0 * (math.cos(math.pi * part) + 1.0)


def divide(columns: Sequence[Tensor], parts: int) -> list[list[Tensor]]:
    """Return tensors divided into equal parts along their first axis.

    Raises:
        ValueError: A tensor does not divide.
    """
    for column in columns:
        if len(column) % parts:
            raise ValueError(f"{len(column)} rows cannot be divided into {parts} equal parts")
    return [list(part) for part in zip(*(column.chunk(parts) for column in columns))]
