"""Does the slow branch help the fast one? Opens the history gate of a trained transition and measures what it gives.

Everything else in the transition stays frozen, so the difference is the history's alone.

Shape suffixes: T = frames, K = ticks, R = judged frames, H = horizons, D = latent size, N = history values,
E = embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from world_model.data.encoding import embed_frames, encode_episode
from world_model.data.episodes import Episode
from world_model.data.known import known_of
from world_model.data.ticks import tick_rows
from world_model.errors import DataError
from world_model.evaluation.world_action import ForecastErrors, ratio_with_interval
from world_model.runtime.artifacts import Artifact
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.history import VisualHistory
from world_model.runtime.metrics import nmse
from world_model.runtime.motion import MotionModel
from world_model.runtime.tensors import Observed, Retrieved
from world_model.training.config import StageConfig
from world_model.training.loop import Draw, Loop, run_stage
from world_model.training.losses import prediction_loss
from world_model.training.report import QUIET, Report
from world_model.training.sampler import answers_at
from world_model.training.sequences import build_sequence, kept_poses, state_table

HORIZONS_S = (1.0, 2.0, 4.0)
_JUDGED_EVERY_S = 0.25
_WARM_UP_S = 1.0


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """How the history gate is opened.

    Attributes:
        steps: Optimiser steps.
        batch: Frames per step.
        learning_rate: Highest; the gate's own scalar learns ten times as fast.
        weight_decay: Of the projection.
        validate_every: Steps between checkpoints.
        seed: Of the batches.
    """

    steps: int = 1500
    batch: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    validate_every: int = 500
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON-ready entries."""
        return asdict(self)

    def weights(self) -> dict[str, float]:
        """Return the weight of each loss by its name: all count once."""
        return {}


@dataclass(frozen=True)
class JudgedFrames:
    """Frames of one episode at which the transition forecasts, with all it is told there.

    Attributes:
        observed: The present, with what ``/visual_history`` held then.
        retrieved: What the memory answered.
        target: [R, H, D], what came.
    """

    observed: Observed
    retrieved: Retrieved
    target: Tensor


def history_along(
    stamp_T: np.ndarray, embedding_KE: np.ndarray, rows_K: np.ndarray, ticks: int, tick_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the visual history that is current at each frame [T, N], and its count [T].

    Args:
        stamp_T: Stamps of the frames, ns.
        embedding_KE: Embedding of each tick's frame.
        rows_K: Frame of each tick, ascending.
        ticks: Embeddings in a history.
        tick_s: Time between ticks [s].
    """
    history = VisualHistory(ticks, embedding_KE.shape[1], tick_s)
    values_TN = np.zeros((len(stamp_T), ticks * embedding_KE.shape[1]), np.float32)
    count_T = np.zeros(len(stamp_T), np.int64)
    ends = [*rows_K[1:].tolist(), len(stamp_T)]
    for row, end, embedding_E in zip(rows_K.tolist(), ends, embedding_KE):
        history.push(int(stamp_T[row]), embedding_E)
        values_TN[row:end], count_T[row:end] = history.vector(), history.count
    return values_TN, count_T


def judged_frames(artifact: Artifact, transition: Any, episode: Episode, horizons_s: Sequence[float]) -> JudgedFrames:
    """Return what an episode gives to judge the transition by; every quarter of a second one frame.

    Raises:
        DataError: Its frames come at another step than the artifact's.
    """
    manifest = artifact.manifest
    sizes = manifest.world_action
    assert sizes is not None
    steps = [round(horizon_s / manifest.step_s) for horizon_s in horizons_s]
    episode = replace(episode, action_TA=np.array(episode.action_TA))  # torch wants what it may write to
    latent_TD = encode_episode(artifact.encoder(), episode)
    motion, retrieval = MotionModel.from_manifest(manifest.motion), Retrieval.from_manifest(manifest.memory)
    known = known_of(episode, motion, manifest.step_s)
    table = state_table(
        kept_poses(episode, known), latent_TD, step_s=manifest.step_s, horizons_s=(manifest.step_s, manifest.horizon_s)
    )
    training_sequence = build_sequence(
        episode, latent_TD, motion, retrieval, steps, manifest.step_s, known=known, path=transition, table=table
    )
    if len(training_sequence.stamp_T) != len(episode):
        raise DataError(f"episode {episode.name} does not keep the step of {manifest.step_s:.3f} s: frames are missing")
    every, first = round(_JUDGED_EVERY_S / manifest.step_s), round(_WARM_UP_S / manifest.step_s)
    frame_R = np.arange(first, len(episode) - max(steps), every)
    tick_s, ticks = float(sizes["tick_s"]), int(sizes["history"])
    rows_K = np.concatenate(tick_rows(np.asarray(episode.stamp_T), tick_s))
    embedding_KE = embed_frames(artifact.world_action(), episode, rows_K)
    history_TN, count_T = history_along(np.asarray(episode.stamp_T), embedding_KE, rows_K, ticks, tick_s)
    states = _states(transition, latent_TD, np.asarray(episode.action_TA))
    observed = {
        "state": states[frame_R],
        "latent": latent_TD[frame_R],
        "action": np.asarray(episode.action_TA)[frame_R],
        "motion": training_sequence.motion_THM[frame_R],
        "horizon_s": np.tile(np.array(horizons_s, np.float32), (len(frame_R), 1)),
        "history": history_TN[frame_R],
        "history_count": count_T[frame_R],
    }
    return JudgedFrames(
        Observed(**{name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in observed.items()}),
        answers_at(training_sequence, frame_R),
        torch.from_numpy(latent_TD[frame_R[:, None] + np.array(steps)]),
    )


class GateLosses(nn.Module):
    """A transition of which only the history gate learns, with its losses around it.

    Terms are the errors ``with_memory`` and ``without_memory``.

    Args:
        transition: An artifact's, not frozen.
        variance_D: Unit of the errors.
    """

    variance_D: Tensor

    def __init__(self, transition: Any, variance_D: np.ndarray) -> None:
        super().__init__()
        self.transition = transition
        for name, parameter in transition.named_parameters():
            parameter.requires_grad_(name.startswith("history."))
        self.register_buffer("variance_D", torch.from_numpy(variance_D).float())

    def forward(self, *columns: Tensor) -> dict[str, Tensor]:
        """Return the errors of judged frames: what was observed, what was retrieved, then what came."""
        count = len(Observed._fields)
        observed, retrieved = Observed(*columns[:count]), Retrieved(*columns[count:-1])
        with_RHD, without_RHD, _ = self.transition.forecast(observed, retrieved)
        target_RHD = columns[-1]
        weight_H = torch.ones(target_RHD.shape[1], device=target_RHD.device)
        return {
            "with_memory": prediction_loss(with_RHD, target_RHD, self.variance_D, weight_H),
            "without_memory": prediction_loss(without_RHD, target_RHD, self.variance_D, weight_H),
        }


def open_gate(
    transition: Any,
    frames: Sequence[JudgedFrames],
    variance_D: np.ndarray,
    config: GateConfig,
    folder: Path | None = None,
    report: Report = QUIET,
) -> None:
    """Train the history gate, and nothing else, to lower the error with and without memories.

    Args:
        transition: An artifact's, not frozen.
        frames: Of the training episodes.
        variance_D: Unit of the errors.
        config: The run.
        folder: Where checkpoint and log go; None keeps neither.
        report: Told after each step.
    """
    columns = [torch.cat(column) for column in zip(*((*f.observed, *f.retrieved, f.target) for f in frames))]
    settings = StageConfig(
        steps=config.steps,
        batch=config.batch,
        learning_rate=config.learning_rate,
        warm_up=0,
        weight_decay=config.weight_decay,
    )
    loop = Loop(config, settings, transition.history, GateLosses(transition, variance_D), folder)
    run_stage(loop, partial(_sampler, columns, config.batch), config.seed, "gate", report)


def _sampler(columns: Sequence[Tensor], batch: int, seed: int) -> Draw:
    generator = torch.Generator().manual_seed(seed)

    def draw() -> list[Tensor]:
        row_R = torch.randint(0, len(columns[-1]), (batch,), generator=generator)
        return [column[row_R] for column in columns]

    return draw


def with_foreign_history(frames: Sequence[JudgedFrames], seed: int = 0) -> list[JudgedFrames]:
    """Return the frames with histories of other moments: a control that has the same weights and nothing to say."""
    history = torch.cat([f.observed.history for f in frames])
    count = torch.cat([f.observed.history_count for f in frames])
    order = torch.randperm(len(history), generator=torch.Generator().manual_seed(seed))
    parts = order.split([len(f.target) for f in frames])
    return [
        replace(f, observed=f.observed._replace(history=history[rows], history_count=count[rows]))
        for f, rows in zip(frames, parts)
    ]


@torch.no_grad()
def measure_gate(
    transition: Any, frames: Sequence[JudgedFrames], variance_D: np.ndarray, horizons_s: Sequence[float] = HORIZONS_S
) -> dict[str, Any]:
    """Return the error with the history over the error without, per horizon, with 95 % intervals over episodes."""
    made: dict[str, list[np.ndarray]] = {}
    for episode in frames:
        without = episode.observed._replace(history_count=torch.zeros_like(episode.observed.history_count))
        for name, observed in (("on", episode.observed), ("off", without)):
            memory_RHD, blind_RHD, _ = transition.forecast(observed, episode.retrieved)
            for kind, forecast in (("memory", memory_RHD), ("blind", blind_RHD)):
                errors_RH = nmse((forecast - episode.target).numpy(), variance_D)
                made.setdefault(f"{kind} {name}", []).append(errors_RH)
    owner = np.concatenate([np.full(len(each.target), index) for index, each in enumerate(frames)])
    errors = {name: np.concatenate(parts) for name, parts in made.items()}
    judged = ForecastErrors(errors, owner, np.zeros((len(owner), len(horizons_s)), bool))
    return {
        f"{horizon_s:g}": {
            kind: ratio_with_interval(judged, f"{kind} on", f"{kind} off", column) for kind in ("memory", "blind")
        }
        for column, horizon_s in enumerate(horizons_s)
    }


@torch.no_grad()
def _states(transition: Any, latent_TD: np.ndarray, action_TA: np.ndarray) -> np.ndarray:
    state, states = transition.initial(1), []
    for latent_D, action_A in zip(torch.from_numpy(latent_TD), torch.from_numpy(action_TA)):
        state = transition.observe(latent_D[None], action_A[None], state)
        states.append(state)
    return torch.cat(states).numpy()
