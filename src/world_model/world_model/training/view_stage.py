"""Trains the view warp on pairs of views before the transition learns to use it.

What a remembered view looks like from a pose nearby can be learned from any two frames whose poses are known, thousands
of pairs a second; inside the transition it would see a few hundred memories per step.

Shape suffixes: N = pairs, K = memories per frame, D = latent size, 3 = (forward, left, turn), scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from wm_core.memory.reference_batch import nearest_states
from world_model.data.episodes import Episode
from world_model.models.views import ViewWarp
from world_model.runtime.conditioning import Retrieval, offsets_in_frame
from world_model.training.config import StageConfig, TrainConfig
from world_model.training.loop import Draw, Loop, one_cycle, run_stage
from world_model.training.report import QUIET, Report
from world_model.training.sequences import state_table

_MEMORIES = 4
_NEAR_M = 0.5
_NEAR_RAD = 0.4
_RATE = 3e-3
_BATCH = 512


def view_pairs(
    episode: Episode, latent_TD: np.ndarray, retrieval: Retrieval
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return remembered latents [N, D], latents seen from nearby on a later visit [N, D], and offsets [N, 3]."""
    table = state_table(episode, latent_TD)
    pose_T3 = np.asarray(episode.pose_T4)[:, [0, 1, 3]]
    found_TK = nearest_states(
        table,
        pose_T3,
        np.asarray(episode.stamp_T),
        _MEMORIES,
        radius_m=_NEAR_M * retrieval.length_scale_m,
        yaw_tolerance_rad=_NEAR_RAD,
        yaw_weight_m=retrieval.yaw_weight_m,
        exclude_recent_s=retrieval.exclude_recent_s,
        chunk=256,
    ).index_QK
    row_N, column_N = np.nonzero(found_TK >= 0)
    memory_N = found_TK[row_N, column_N]
    memory_N13 = table.pose_N4[memory_N][:, None, [0, 1, 3]]
    offset_N3 = offsets_in_frame(memory_N13, pose_T3[row_N])[:, 0] / retrieval.scale_3
    return table.latent_ND[memory_N], latent_TD[row_N], offset_N3.astype(np.float32)


def train_views(
    warp: ViewWarp,
    pairs: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    mean_D: Tensor,
    std_D: Tensor,
    config: TrainConfig,
    folder: Path | None = None,
    report: Report = QUIET,
) -> None:
    """Train a view warp in place; a run that was killed goes on from its last checkpoint.

    Args:
        warp: Of normalised latents.
        pairs: What ``view_pairs`` gives for each episode; without any pair nothing is trained.
        mean_D: Of the latents.
        std_D: Of the latents.
        config: The run, whose ``view_steps`` are more than ten.
        folder: Where checkpoint and log go; None keeps neither.
        report: Told after each step.
    """
    columns = [torch.from_numpy(np.concatenate(column)) for column in zip(*pairs)]
    if not columns or not len(columns[0]):
        return
    memory_ND, seen_ND = ((latent_ND - mean_D) / std_D for latent_ND in columns[:2])
    sampler = partial(_sampler, (memory_ND, columns[2], seen_ND))

    settings = StageConfig(steps=config.view_steps, batch=_BATCH, learning_rate=_RATE, weight_decay=1e-2)
    loop = Loop(config, settings, warp, ViewLosses(warp), folder, schedule=one_cycle)
    run_stage(loop, sampler, config.seed, "views", report)


def _sampler(columns: Sequence[Tensor], seed: int) -> Draw:
    generator = torch.Generator().manual_seed(seed)

    def draw() -> list[Tensor]:
        row_B = torch.randint(len(columns[0]), (_BATCH,), generator=generator)
        return [column[row_B] for column in columns]

    return draw


class ViewLosses(nn.Module):
    """A view warp with its loss around it: remembered latents, offsets and latents seen in, the term ``view`` out."""

    def __init__(self, warp: ViewWarp) -> None:
        super().__init__()
        self.warp = warp

    def forward(self, memory_BD: Tensor, offset_B3: Tensor, seen_BD: Tensor) -> dict[str, Tensor]:
        """Return the mean squared error of the warped latents."""
        return {"view": (self.warp(memory_BD, offset_B3) - seen_BD).square().mean()}
