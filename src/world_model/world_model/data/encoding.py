"""Episodes seen through an encoder: everything it takes, frame by frame, to latents.

Shape suffixes: B = frames at a time, T = frames, S = image side, P = proprioception size, D = latent size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from world_model.data.episodes import Episode
from world_model.errors import DataError
from world_model.runtime.on_device import CapturedModule
from world_model.runtime.projected_torch import TorchProjectedEncoder


def encode_episode(
    encoder: torch.nn.Module | TorchProjectedEncoder | CapturedModule,
    episode: Episode,
    inputs: Mapping[str, int] | None = None,
    batch: int = 256,
) -> np.ndarray:
    """Return the latents of an episode's frames, float32 [T, D].

    Args:
        encoder: Runs where its parameters lie; a frozen one has none left and runs on the processor.
        episode: What it sees.
        inputs: Name -> size of what it takes, as the manifest lists it; default: the image alone.
        batch: Frames at a time.

    Raises:
        DataError: The episode lacks something the encoder takes.
    """
    device, rows = next(encoder.parameters(), torch.empty(0)).device, []
    with torch.inference_mode():
        for start in range(0, len(episode), batch):
            frames = frames_of(episode, slice(start, start + batch), inputs)
            latent_BD = encoder(*(None if values is None else values.to(device) for values in frames))
            rows.append(latent_BD.float().cpu().numpy())
    return np.concatenate(rows)


def frames_of(
    episode: Episode, window: slice, inputs: Mapping[str, int] | None = None
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Return images [B, S, S, 3], depth [B, 1, S, S] and proprioception [B, P] of some frames; None where not taken.

    Raises:
        DataError: The episode lacks something that is taken.
    """
    arrays = {"depth": episode.depth_T1SS, "proprioception": episode.proprio_TP}
    given: list[torch.Tensor | None] = []
    for name, array in arrays.items():
        size = (inputs or {}).get(name, 0)
        found = 0 if array is None else array.shape[1]
        if size and found != size:
            raise DataError(
                f"episode {episode.name} has {found or 'no'} {name}, the encoder takes {name} of size {size}"
            )
        given.append(None if not size or array is None else torch.from_numpy(np.array(array[window], np.float32)))
    # Copied: torch wants arrays that could be written to.
    return torch.from_numpy(np.array(episode.image_TSSC[window])), given[0], given[1]


def ridge_features(latent_TD: np.ndarray, action_TA: np.ndarray) -> np.ndarray:
    """Return what the regression baseline sees: the last two latents, the action and one, [T, F]."""
    before_TD = np.concatenate([latent_TD[:1], latent_TD[:-1]])
    return np.column_stack([latent_TD, before_TD, np.nan_to_num(action_TA), np.ones(len(latent_TD))]).astype(np.float32)


@torch.no_grad()
def embed_frames(module: Any, episode: Episode, rows: np.ndarray | None = None, batch: int = 256) -> np.ndarray:
    """Return the embeddings of an episode's frames, all cameras of it together, [T, E].

    Args:
        module: Slow branch.
        episode: What it sees.
        rows: Frames to embed; default: all.
        batch: Frames at a time.
    """
    row_T = np.arange(len(episode)) if rows is None else rows
    parts = []
    for start in range(0, len(row_T), batch):
        images, known = episode.pictures(row_T[start : start + batch])
        parts.append(module.embed(torch.from_numpy(np.array(images)), torch.from_numpy(known)).numpy())
    return np.concatenate(parts)
