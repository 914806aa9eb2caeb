"""Does the slow branch help the fast one? Opens the history gate of a trained transition and measures what it gives.

Everything else in the transition stays frozen, so the difference is the history's alone.

Shape suffixes: T = frames, K = ticks, R = judged frames, H = horizons, D = latent size, N = history values,
E = embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from world_model.data.encoding import encode_episode
from world_model.data.episodes import Episode
from world_model.data.ticks import tick_rows
from world_model.evaluation.world_action import ForecastErrors, embed_frames, ratio_with_interval
from world_model.runtime.artifacts import Artifact
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.history import VisualHistory
from world_model.runtime.metrics import nmse
from world_model.runtime.motion import MotionModel
from world_model.training.losses import prediction_loss
from world_model.training.sampler import answers_at
from world_model.training.sequences import build_sequence
from world_model.training.world_action_stage import Log

HORIZONS_S = (1.0, 2.0, 4.0)
_JUDGED_EVERY_S = 0.25
_WARM_UP_S = 1.0
_GATE = ("history.alpha", "history.proj.weight", "history.proj.bias")


@dataclass(frozen=True)
class JudgedFrames:
    """Frames of one episode at which the transition forecasts, with all it is told there.

    Attributes:
        inputs: Arguments of ``forecast`` up to the history, each [R, ...].
        history: [R, N], what ``/visual_history`` held then.
        count: [R], real embeddings in it.
        target: [R, H, D], what came.
    """

    inputs: tuple[Tensor, ...]
    history: Tensor
    count: Tensor
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
    """Return what an episode gives to judge the transition by; every quarter of a second one frame."""
    manifest = artifact.manifest
    sizes = manifest.world_action
    assert sizes is not None
    steps = [round(horizon_s / manifest.step_s) for horizon_s in horizons_s]
    episode = replace(episode, action_TA=np.array(episode.action_TA))  # torch wants what it may write to
    latent_TD = encode_episode(artifact.encoder(), episode)
    motion, retrieval = MotionModel.from_manifest(manifest.motion), Retrieval.from_manifest(manifest.memory)
    training_sequence = build_sequence(episode, latent_TD, motion, retrieval, steps, manifest.step_s, path=transition)
    every, first = round(_JUDGED_EVERY_S / manifest.step_s), round(_WARM_UP_S / manifest.step_s)
    frame_R = np.arange(first, len(episode) - max(steps), every)
    tick_s, ticks = float(sizes["tick_s"]), int(sizes["history"])
    rows_K = np.concatenate(tick_rows(np.asarray(episode.stamp_T), tick_s))
    embedding_KE = embed_frames(artifact.world_action(), np.asarray(episode.image_TSSC[rows_K]))
    history_TN, count_T = history_along(np.asarray(episode.stamp_T), embedding_KE, rows_K, ticks, tick_s)
    states = _states(transition, latent_TD, np.asarray(episode.action_TA))
    present = (states[frame_R], latent_TD[frame_R], np.asarray(episode.action_TA)[frame_R])
    motion_RHM, *answers = answers_at(training_sequence, frame_R)
    horizon_RH = np.tile(np.array(horizons_s, np.float32), (len(frame_R), 1))
    arrays = (*present, motion_RHM, horizon_RH, *answers)
    return JudgedFrames(
        tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays),
        torch.from_numpy(history_TN[frame_R]),
        torch.from_numpy(count_T[frame_R]),
        torch.from_numpy(latent_TD[frame_R[:, None] + np.array(steps)]),
    )


def open_gate(
    transition: Any,
    frames: Sequence[JudgedFrames],
    variance_D: np.ndarray,
    log: Log,
    *,
    steps: int = 1500,
    batch: int = 256,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.05,
    seed: int = 0,
) -> None:
    """Train the history gate, and nothing else, to lower the error with and without memories.

    Args:
        transition: ``transition.pt``, not frozen by ``torch.jit.freeze``.
        frames: Of the training episodes.
        variance_D: Unit of the errors.
        log: Takes one entry now and then.
        steps: Optimiser steps.
        batch: Frames per step.
        learning_rate: Highest; the gate's own scalar learns ten times as fast.
        weight_decay: Of the projection.
        seed: Of the batches.
    """
    optimiser = _gate_optimiser(transition, learning_rate, weight_decay)
    alpha = dict(transition.named_parameters())[_GATE[0]]
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    inputs = [torch.cat(column) for column in zip(*(each.inputs for each in frames))]
    history, count = torch.cat([f.history for f in frames]), torch.cat([f.count for f in frames])
    target, unit_D = torch.cat([f.target for f in frames]), torch.from_numpy(variance_D).float()
    weight_H = torch.ones(target.shape[1])
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        rows = torch.randint(0, len(target), (batch,), generator=generator)
        with_RHD, without_RHD, _ = transition.forecast(*(column[rows] for column in inputs), history[rows], count[rows])
        error = prediction_loss(with_RHD, target[rows], unit_D, weight_H)
        error = error + prediction_loss(without_RHD, target[rows], unit_D, weight_H)
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        schedule.step()
        if step % 250 == 0 or step == steps - 1:
            log({"stage": "gate", "step": step, "loss": float(error.detach()), "alpha": float(alpha.detach())})


def _gate_optimiser(transition: Any, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    parts = dict(transition.named_parameters())
    for name, parameter in parts.items():
        parameter.requires_grad_(name in _GATE)
    groups = [
        {"params": [parts[_GATE[0]]], "lr": 10.0 * learning_rate, "weight_decay": 0.0},
        {"params": [parts[name] for name in _GATE[1:]], "lr": learning_rate, "weight_decay": weight_decay},
    ]
    return torch.optim.AdamW(groups)


def with_foreign_history(frames: Sequence[JudgedFrames], seed: int = 0) -> list[JudgedFrames]:
    """Return the frames with histories of other moments: a control that has the same weights and nothing to say."""
    history, count = torch.cat([f.history for f in frames]), torch.cat([f.count for f in frames])
    order = torch.randperm(len(history), generator=torch.Generator().manual_seed(seed))
    parts = order.split([len(f.count) for f in frames])
    return [replace(f, history=history[rows], count=count[rows]) for f, rows in zip(frames, parts)]


@torch.no_grad()
def measure_gate(
    transition: Any, frames: Sequence[JudgedFrames], variance_D: np.ndarray, horizons_s: Sequence[float] = HORIZONS_S
) -> dict[str, Any]:
    """Return the error with the history over the error without, per horizon, with 95 % intervals over episodes."""
    made: dict[str, list[np.ndarray]] = {}
    for episode in frames:
        for name, count in (("on", episode.count), ("off", torch.zeros_like(episode.count))):
            memory_RHD, blind_RHD, _ = transition.forecast(*episode.inputs, episode.history, count)
            for kind, forecast in (("memory", memory_RHD), ("blind", blind_RHD)):
                errors_RH = nmse((forecast - episode.target).numpy(), variance_D)
                made.setdefault(f"{kind} {name}", []).append(errors_RH)
    owner = np.concatenate([np.full(len(each.count), index) for index, each in enumerate(frames)])
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
