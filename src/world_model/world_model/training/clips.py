"""Short clips from episodes: pictures, actions and what else an encoder takes, as tensors.

Shape suffixes: B = clips, L = frames, T = frames of an episode, S = image side, A = action size,
P = proprioception size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from world_model.data.encoding import encode_episode
from world_model.data.episodes import Episode, EpisodeSet
from world_model.errors import DataError
from world_model.models.config import ModelConfig

PICTURE_ENCODERS = ("resnet", "driving")


class ClipSampler:
    """Draws short clips uniformly from all episodes.

    Args:
        episodes: Each longer than ``sequence``.
        model: Whether depth and proprioception are wanted.
        sequence: Frames per clip L.
        seed: Same seed, same clips.

    Raises:
        DataError: An episode is too short.
    """

    def __init__(self, episodes: Sequence[Episode], model: ModelConfig, sequence: int, seed: int) -> None:
        for episode in episodes:
            if len(episode) < sequence:
                raise DataError(f"episode {episode.name} has {len(episode)} frames, expected at least {sequence}")
        self._episodes, self._model, self._sequence = list(episodes), model, sequence
        self._rng = np.random.default_rng(seed)
        starts = np.array([len(episode) - sequence + 1 for episode in episodes], float)
        self._share = starts / starts.sum()

    def columns(self, batch: int) -> list[Tensor]:
        """Return images uint8 [B, L, S, S, 3] and actions [B, L, A], then what else the model takes.

        That is depth [B, L, 1, S, S] and proprioception [B, L, P], in this order.
        """
        parts = []
        for index in self._rng.choice(len(self._episodes), size=batch, p=self._share):
            episode = self._episodes[index]
            start = int(self._rng.integers(len(episode) - self._sequence + 1))
            window = slice(start, start + self._sequence)
            arrays = [episode.image_TSSC[window], np.asarray(episode.action_TA[window], np.float32)]
            arrays += [np.asarray(array[window], np.float32) for array in _extra(episode, self._model)]
            parts.append(arrays)
        return [torch.from_numpy(np.stack(column)) for column in zip(*parts)]


def check_inputs(episodes: EpisodeSet, names: Sequence[str], model: ModelConfig) -> None:
    """Refuse episodes that lack what the encoder takes.

    Raises:
        DataError: Names the first such episode and what it lacks.
    """
    for name in names:
        episode = episodes.episode(name)
        if model.use_depth and episode.depth_T1SS is None:
            raise DataError(f"episode {name} has no depth, but model.use_depth is set")
        found = 0 if episode.proprio_TP is None else episode.proprio_TP.shape[1]
        if model.proprio_dim and found != model.proprio_dim:
            raise DataError(
                f"episode {name} has {found} values of proprioception, model.proprio_dim is {model.proprio_dim}"
            )


def encoder_inputs(model: ModelConfig) -> dict[str, int]:
    """Return what the encoder takes, as the manifest lists it: name -> size."""
    inputs = {"image": 3}
    if model.encoder == "resnet":
        inputs |= {"depth": 1} if model.use_depth else {}
        inputs |= {"proprioception": model.proprio_dim} if model.proprio_dim else {}
    return inputs


def latents_of(encoder: nn.Module, episode: Episode, model: ModelConfig) -> np.ndarray:
    """Return the latents of an episode's frames, float32 [T, D], from all that the encoder takes."""
    return encode_episode(encoder, episode, encoder_inputs(model), 32 if model.encoder in PICTURE_ENCODERS else 256)


def optional_inputs(extra: Sequence[Tensor], model: ModelConfig) -> tuple[Tensor | None, Tensor | None]:
    """Return depth and proprioception as an encoder takes them, None where it takes none."""
    given = list(extra)
    depth = given.pop(0) if "depth" in encoder_inputs(model) else None
    return depth, given.pop(0) if "proprioception" in encoder_inputs(model) else None


def _extra(episode: Episode, model: ModelConfig) -> list[np.ndarray]:
    arrays = {"depth": episode.depth_T1SS, "proprioception": episode.proprio_TP}
    return [array for name in encoder_inputs(model) if (array := arrays.get(name)) is not None]
