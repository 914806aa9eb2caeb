"""The training loops in one process, or one per device; what processes trained comes back through the checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from world_model.data.episodes import EpisodeSet
from world_model.models.transition import Transition
from world_model.training.checkpoints import load_checkpoint
from world_model.training.config import StageConfig, TrainConfig
from world_model.training.loop import Progress, Terms, make_fabric
from world_model.training.picture_stage import Pictures, PictureTrainer
from world_model.training.report import Report
from world_model.training.sequences import TrainingSequence
from world_model.training.transition_stage import Trainer

_Model = TypeVar("_Model", bound=torch.nn.Module)
_SAY_EVERY = 200


@dataclass(frozen=True)
class TransitionRun:
    """What a transition is trained with.

    Attributes:
        config: The run.
        folder: Where checkpoints and logs go.
        step_s: Time between frames [s].
        variance_D: Variance of the latents, the unit of errors.
        outcomes: Episode -> reward and whether it goes on [T, 2], NaN where not known.
        train: Sequences to learn from.
        valid: Held-out sequences.
    """

    config: TrainConfig
    folder: Path
    step_s: float
    variance_D: Tensor
    outcomes: Mapping[str, np.ndarray]
    train: Sequence[TrainingSequence]
    valid: Sequence[TrainingSequence]


def fit_transition(run: TransitionRun, model: Transition, report: Report) -> Terms:
    """Train a transition in place, see ``Trainer``, and return its last losses."""
    return _run(run.config.optimiser, partial(_transition, run, model), model, run.folder, report)


def fit_pictures(config: TrainConfig, pictures: Pictures, data: Path, folder: Path, report: Report) -> Terms:
    """Train a residual encoder and its decoder in place, see ``PictureTrainer``, and return the last losses."""
    return _run(config.pictures, partial(_pictures, config, pictures, data, folder), pictures, folder, report)


def _run(settings: StageConfig, work: partial[Terms], model: torch.nn.Module, folder: Path, report: Report) -> Terms:
    if settings.devices == 1:
        terms = work(report, None)
        model.cpu()
        return terms
    report.say(f"{folder.name}: {settings.devices} processes, see {folder / 'log.csv'}")
    terms = make_fabric(settings).launch(partial(_in_process, work))
    # The processes trained copies.
    model.load_state_dict(load_checkpoint(folder / "last.pt")["model"])
    result: Terms = terms
    return result


def _in_process(work: partial[Terms], fabric: Fabric) -> Terms:
    return work(Report(), fabric)


def _transition(run: TransitionRun, model: Transition, report: Report, fabric: Fabric | None) -> Terms:
    torch.set_num_threads(run.config.threads)
    own = _own(model, run.config.seed, fabric)
    trainer = Trainer(run.config, own, run.folder, run.step_s, run.variance_D, run.outcomes, fabric)
    return trainer.fit(run.train, run.valid, partial(_tell, report, run.folder.name))


def _pictures(
    config: TrainConfig, pictures: Pictures, data: Path, folder: Path, report: Report, fabric: Fabric | None
) -> Terms:
    torch.set_num_threads(config.threads)
    episodes = EpisodeSet(data)
    trainer = PictureTrainer(config, _own(pictures, config.seed, fabric), folder, episodes.manifest.step_s, fabric)
    train, valid, sights = (list(episodes.episodes(split)) for split in ("train", "valid", "sights"))
    return trainer.fit(train, valid, partial(_tell, report, folder.name), sights)


def _own(model: _Model, seed: int, fabric: Fabric | None) -> _Model:
    """Return the model to train: what is handed to a process lies in memory that all share, who would all train it."""
    if fabric is None:
        return model
    torch.manual_seed(seed + fabric.global_rank)
    return copy.deepcopy(model)


def _tell(report: Report, stage: str, progress: Progress) -> None:
    report.step(stage, progress.step, progress.steps, progress.terms, _SAY_EVERY)
