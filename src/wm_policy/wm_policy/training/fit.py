"""Trains a policy on samples, by the loop that trains world models.

Shape suffixes: N = samples, B = batch, S = steps proposed, A = action size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from wm_policy.models.reactive import FLAGS, ReactiveConfig, ReactiveModel
from wm_policy.runtime.observer import ObserverSettings
from wm_policy.runtime.policy import Processor
from wm_policy.runtime.statistics import ActionRange, Statistics
from wm_policy.training.config import PolicyConfig
from wm_policy.training.samples import Samples
from world_model.training.loop import Loop, run_stage
from world_model.training.report import QUIET, Report

_SCALED = ("ego", "forecast", "memory")
_VIEWS = ("view", "memory_latent")
_PARTS_AT_ONCE = 512
Columns = dict[str, Tensor]


@dataclass(frozen=True)
class Trained:
    """A trained policy, what scales its inputs, and its last losses."""

    model: ReactiveModel
    processor: Processor
    losses: dict[str, float]


def model_config(config: PolicyConfig, samples: Samples, settings: ObserverSettings) -> ReactiveConfig:
    """Return the model that a configuration means for some samples."""
    is_trajectory = config.head == "trajectory"
    return ReactiveConfig(
        latent_dim=samples.inputs["view"].shape[2],
        views=settings.views,
        moments=settings.moments,
        memory_numbers=settings.memory_numbers if config.use_memory else 0,
        visits=settings.visit.count,
        history=samples.inputs["history"].shape[1] if config.use_history else 0,
        temporal_attention=config.temporal_attention,
        foresees=config.foresees,
        width=config.width,
        layers=config.layers,
        head=config.head,
        action_dim=2 if is_trajectory else samples.targets["action"].shape[2],
        chunk=config.chunk,
    )


def measure(config: ReactiveConfig, samples: Samples) -> Processor:
    """Return what scales the inputs, measured on samples; one unit for all latents, of views and of memories."""
    statistics = {name: Statistics.of(_known(samples, name)) for name in _SCALED if name in config.shapes()}
    views = Statistics.of(samples.inputs["view"][samples.inputs["view_known"]])
    statistics |= {name: views for name in _VIEWS if name in config.shapes()}
    actions = None if config.head == "trajectory" else ActionRange.of(_flat(samples.targets["action"]))
    return Processor(config.shapes(), frozenset(FLAGS), statistics, actions)


def fit(
    config: PolicyConfig,
    made: ReactiveConfig,
    samples: Samples,
    folder: Path | None = None,
    *,
    valid: Samples | None = None,
    processor: Processor | None = None,
    imagined: Samples | None = None,
    report: Report = QUIET,
) -> Trained:
    """Train a policy; a run that was killed goes on from its last checkpoint.

    Args:
        config: The run.
        made: What its model is made of.
        samples: What it learns.
        folder: Where checkpoint and log go; None keeps neither.
        valid: Samples of episodes that are held out, judged when a checkpoint is due.
        processor: What scales its inputs; default: measured on the samples.
        imagined: Samples that ``config.imagined_share`` of each batch is drawn from.
        report: Told after each step.
    """
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    processor = processor or measure(made, samples)
    model = ReactiveModel(made)
    parts = [(columns_of(samples, processor), config.optimiser.batch)]
    if imagined is not None:
        beside = round(config.optimiser.batch * config.imagined_share)
        parts = [(parts[0][0], config.optimiser.batch - beside), (columns_of(imagined, processor), beside)]
    losses = PolicyLosses(model, list(made.shapes()), config.hide)
    loop = Loop(config, config.optimiser, model, losses, folder)
    last: dict[str, float] = {}
    judge = None if valid is None else partial(_judge, loop, losses, columns_of(valid, processor), last)

    def sampler(seed: int) -> Callable[[], list[Tensor]]:
        return partial(draw, parts, losses.names, np.random.default_rng(seed))

    run_stage(loop, sampler, config.seed, config.name, report, validate=judge)
    return Trained(model.eval(), processor, last)


class PolicyLosses(nn.Module):
    """A policy with its losses around it: columns in, named losses out.

    Args:
        model: The policy.
        inputs: Names of its inputs.
        hide: Share of samples whose memory is hidden while training, and of visits whose latent is.

    Attributes:
        names: Of the columns, inputs first.
    """

    def __init__(self, model: ReactiveModel, inputs: list[str], hide: float) -> None:
        super().__init__()
        self.model, self.hide = model, hide
        wanted = ["path", "path_valid"] if model.is_trajectory else ["action", "action_valid"]
        self.inputs = inputs
        self.names = [*inputs, *wanted, *(["future", "future_valid"] if model.config.foresees else [])]

    def forward(self, *columns: Tensor) -> dict[str, Tensor]:
        """Return the named losses of a batch."""
        batch = dict(zip(self.names, columns))
        inputs = {name: batch[name] for name in self.inputs}
        if self.training and self.hide and "memory_valid" in inputs:
            valid_BK, known_BK = inputs["memory_valid"], inputs["memory_latent_known"]
            shown_B1 = torch.rand(len(valid_BK), 1, device=valid_BK.device) >= self.hide
            inputs["memory_valid"] = valid_BK & shown_B1
            inputs["memory_latent_known"] = known_BK & (torch.rand(known_BK.shape, device=known_BK.device) >= self.hide)
        losses: dict[str, Tensor] = self.model(inputs, batch)
        return losses


def columns_of(samples: Samples, processor: Processor) -> Columns:
    """Return inputs and targets as a network takes them."""
    arrays: dict[str, np.ndarray] = processor.batch(samples.inputs, batched=True)
    targets = dict(samples.targets)
    if processor.actions_in is not None:
        targets["action"] = processor.actions_in.normalise(targets["action"])
    targets["future"] = processor.statistics["view"].apply(targets["future"])
    columns = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in (arrays | targets).items()}
    return {name: column if column.dtype == torch.bool else column.float() for name, column in columns.items()}


def draw(parts: Sequence[tuple[Columns, int]], names: list[str], rng: np.random.Generator) -> list[Tensor]:
    """Return a batch: of each part's columns so many random rows."""
    drawn = [(columns, torch.from_numpy(rng.integers(len(columns[names[0]]), size=count))) for columns, count in parts]
    return [torch.cat([columns[name][rows] for columns, rows in drawn]) for name in names]


def _judge(loop: Loop, losses: PolicyLosses, columns: Columns, last: dict[str, float]) -> Mapping[str, float]:
    count = len(columns[losses.names[0]])
    size = min(_PARTS_AT_ONCE, count)
    starts = range(0, count - size + 1, size)
    # Heads that draw their noise level are judged on the same noise each time.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        terms = loop.mean_terms([[columns[name][start : start + size] for name in losses.names] for start in starts])
    last.clear()
    last.update(terms)
    return terms


def _known(samples: Samples, name: str) -> np.ndarray:
    value = samples.inputs[name]
    return value[samples.inputs["memory_valid"]] if name == "memory" and samples.revisits().any() else _flat(value)


def _flat(value: np.ndarray) -> np.ndarray:
    return np.asarray(value.reshape(-1, value.shape[-1]))
