"""Trains the view warp on pairs of views before the transition learns to use it.

What a remembered view looks like from a pose nearby can be learned from any two frames whose poses are known, thousands
of pairs a second; inside the transition it would see a few hundred memories per step.

Shape suffixes: N = pairs, K = memories per frame, D = latent size, 3 = (forward, left, turn), scaled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from wm_core.memory.keyframes import nearest_states
from world_model.data.episodes import Episode
from world_model.models.forecaster import ViewWarp
from world_model.runtime.conditioning import Retrieval, offsets_in_frame
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
    *,
    steps: int,
    seed: int = 0,
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> None:
    """Train a view warp in place.

    Args:
        warp: Of normalised latents.
        pairs: What ``view_pairs`` gives for each episode; without any pair nothing is trained.
        mean_D: Of the latents.
        std_D: Of the latents.
        steps: Optimiser steps, more than ten.
        seed: Of the draws.
        progress: Called with step and loss.
    """
    columns = [torch.from_numpy(np.concatenate(column)) for column in zip(*pairs)]
    if not columns or not len(columns[0]):
        return
    memory_ND, seen_ND = ((latent_ND - mean_D) / std_D for latent_ND in columns[:2])
    offset_N3 = columns[2]
    optimiser = torch.optim.AdamW(warp.parameters(), lr=_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps, pct_start=0.1)
    generator = torch.Generator().manual_seed(seed)
    warp.train()
    for step in range(1, steps + 1):
        row_B = torch.randint(len(memory_ND), (_BATCH,), generator=generator)
        loss: Tensor = (warp(memory_ND[row_B], offset_N3[row_B]) - seen_ND[row_B]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(warp.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            progress(step, float(loss.detach()))
    warp.eval()
