"""Short clips from episodes: pictures, actions and what else an encoder takes, as tensors.

Shape suffixes: B = clips, L = frames, T = frames of an episode, S = image side, A = action size,
P = proprioception size.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor, nn

from world_model.data.encoding import encode_episode
from world_model.data.episodes import Episode, EpisodeSet
from world_model.errors import DataError
from world_model.models.config import ModelConfig

PICTURE_ENCODERS = ("resnet", "driving")
_RESIDENT_SHARE = 0.6
"""Of a GPU's free memory that pictures may take; networks and activations need the rest."""
_READERS = 16


class ClipSampler:
    """Draws short clips uniformly from all episodes.

    On a GPU with room for them the pictures are copied there once and cut there; else they are read where they lie.

    Args:
        episodes: Each longer than ``sequence``.
        model: Whether depth and proprioception are wanted.
        sequence: Frames per clip L.
        seed: Same seed, same clips.
        device: Where the pictures are wanted; None: on the processor.
        sights: Further episodes, of any rate, that half of the stills come from.

    Raises:
        DataError: An episode is too short.
    """

    def __init__(
        self,
        episodes: Sequence[Episode],
        model: ModelConfig,
        sequence: int,
        seed: int | Sequence[int],
        device: torch.device | None = None,
        sights: Sequence[Episode] = (),
    ) -> None:
        for episode in episodes:
            if len(episode) < sequence:
                raise DataError(f"episode {episode.name} has {len(episode)} frames, expected at least {sequence}")
        self._episodes, self._model, self._sequence = [*episodes, *sights], model, sequence
        starts = np.array([len(episode) - sequence + 1 for episode in episodes], float)
        self._share = starts / starts.sum()
        self._first = np.cumsum([0, *map(len, self._episodes)])
        self._film_frames = int(self._first[len(episodes)])
        self._resident = _resident(self._episodes, device)
        self.reseed(seed)

    def reseed(self, seed: int | Sequence[int]) -> None:
        """Go on with the clips of another seed."""
        self._rng = np.random.default_rng(seed)

    def columns(self, batch: int, stills: int = 0) -> list[Tensor]:
        """Return images uint8 [B, L, S, S, 3] and actions [B, L, A], then what else the model takes.

        That is depth [B, L, 1, S, S] and proprioception [B, L, P], in this order; with ``stills`` further single
        pictures [stills, S, S, 3] come last, each mirrored at random.
        """
        parts, frames = [], []
        for index in self._rng.choice(len(self._share), size=max(batch, 1), p=self._share):
            episode = self._episodes[index]
            start = int(self._rng.integers(len(episode) - self._sequence + 1))
            window = slice(start, start + self._sequence)
            arrays = [np.asarray(episode.action_TA[window], np.float32)]
            arrays += [np.asarray(array[window], np.float32) for array in _extra(episode, self._model)]
            parts.append(arrays)
            frames.append(self._first[index] + np.arange(start, start + self._sequence))
        images = self._images(np.concatenate(frames)).unflatten(0, (len(parts), self._sequence))
        columns = [images, *(torch.from_numpy(np.stack(column)) for column in zip(*parts))]
        # Without clips one is drawn all the same, so that nothing of it has the right shape.
        columns = [column[:batch] for column in columns]
        return [*columns, self._stills(stills)] if stills else columns

    def _stills(self, count: int) -> Tensor:
        last, films = int(self._first[-1]), self._film_frames
        of_sights = count // 2 if last > films else 0
        frame_N = self._rng.integers(films, size=count)
        frame_N[:of_sights] = self._rng.integers(films, last, size=of_sights) if of_sights else 0
        image_NSSC = self._images(frame_N)
        mirror_N = torch.from_numpy(self._rng.random(count) < 0.5).to(image_NSSC.device)
        return torch.where(mirror_N.view(-1, 1, 1, 1), image_NSSC.flip(2), image_NSSC)

    def _images(self, frame_N: np.ndarray) -> Tensor:
        """Return frames by their number in all episodes together."""
        if self._resident is not None:
            return self._resident[torch.from_numpy(frame_N).to(self._resident.device)]
        index_N = np.searchsorted(self._first, frame_N, side="right") - 1
        places = zip(index_N.tolist(), (frame_N - self._first[index_N]).tolist())
        return torch.from_numpy(np.stack([self._episodes[index].image_TSSC[row] for index, row in places]))


def _resident(episodes: Sequence[Episode], device: torch.device | None) -> Tensor | None:
    """Return the pictures of all episodes on a GPU, [T, S, S, 3]; None without a GPU, or with too small a one."""
    if device is None or device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    if sum(episode.image_TSSC.nbytes for episode in episodes) > _RESIDENT_SHARE * free:
        return None
    count, first = sum(map(len, episodes)), 0
    image_TSSC = torch.empty((count, *episodes[0].image_TSSC.shape[1:]), dtype=torch.uint8, device=device)
    with ThreadPoolExecutor(_READERS) as pool:
        for row in range(0, len(episodes), _READERS):
            # Copied: torch wants arrays that could be written to.
            for read in pool.map(lambda episode: np.array(episode.image_TSSC), episodes[row : row + _READERS]):
                image_TSSC[first : first + len(read)] = torch.from_numpy(read)
                first += len(read)
    return image_TSSC


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
    is_small = model.encoder in PICTURE_ENCODERS and not next(encoder.parameters(), torch.empty(0)).is_cuda
    return encode_episode(encoder, episode, encoder_inputs(model), 32 if is_small else 256)


def optional_inputs(extra: Sequence[Tensor], model: ModelConfig) -> tuple[Tensor | None, Tensor | None]:
    """Return depth and proprioception as an encoder takes them, None where it takes none."""
    given = list(extra)
    depth = given.pop(0) if "depth" in encoder_inputs(model) else None
    return depth, given.pop(0) if "proprioception" in encoder_inputs(model) else None


def _extra(episode: Episode, model: ModelConfig) -> list[np.ndarray]:
    arrays = {"depth": episode.depth_T1SS, "proprioception": episode.proprio_TP}
    return [array for name in encoder_inputs(model) if (array := arrays.get(name)) is not None]
