"""Short films from drives: pictures, actions and what else an encoder takes, as tensors.

Shape suffixes: B = films, L = frames, T = frames of a drive, S = image side, A = action size, P = proprioception size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from world_model.data.drives import Drive, DriveSet
from world_model.data.encoding import encode_drive
from world_model.errors import DataError
from world_model.training.config import ModelConfig

PICTURE_ENCODERS = ("resnet", "driving")


class FilmSampler:
    """Draws short films uniformly from all drives.

    Args:
        drives: Each longer than ``sequence``.
        model: Whether depth and proprioception are wanted.
        sequence: Frames per film L.
        seed: Same seed, same films.

    Raises:
        DataError: A drive is too short.
    """

    def __init__(self, drives: Sequence[Drive], model: ModelConfig, sequence: int, seed: int) -> None:
        for drive in drives:
            if len(drive) < sequence:
                raise DataError(f"drive {drive.name} has {len(drive)} frames, expected at least {sequence}")
        self._drives, self._model, self._sequence = list(drives), model, sequence
        self._rng = np.random.default_rng(seed)
        starts = np.array([len(drive) - sequence + 1 for drive in drives], float)
        self._share = starts / starts.sum()

    def columns(self, batch: int) -> list[Tensor]:
        """Return images uint8 [B, L, S, S, 3] and actions [B, L, A], then what else the model takes.

        That is depth [B, L, 1, S, S] and proprioception [B, L, P], in this order.
        """
        parts = []
        for index in self._rng.choice(len(self._drives), size=batch, p=self._share):
            drive = self._drives[index]
            start = int(self._rng.integers(len(drive) - self._sequence + 1))
            window = slice(start, start + self._sequence)
            arrays = [drive.image_TSSC[window], np.asarray(drive.action_TA[window], np.float32)]
            arrays += [np.asarray(array[window], np.float32) for array in _extra(drive, self._model)]
            parts.append(arrays)
        return [torch.from_numpy(np.stack(column)) for column in zip(*parts)]


def check_inputs(drives: DriveSet, names: Sequence[str], model: ModelConfig) -> None:
    """Refuse drives that lack what the encoder takes.

    Raises:
        DataError: Names the first such drive and what it lacks.
    """
    for name in names:
        drive = drives.drive(name)
        if model.use_depth and drive.depth_T1SS is None:
            raise DataError(f"drive {name} has no depth, but model.use_depth is set")
        found = 0 if drive.proprio_TP is None else drive.proprio_TP.shape[1]
        if model.proprio_dim and found != model.proprio_dim:
            raise DataError(
                f"drive {name} has {found} values of proprioception, model.proprio_dim is {model.proprio_dim}"
            )


def encoder_inputs(model: ModelConfig) -> dict[str, int]:
    """Return what the encoder takes, as the manifest lists it: name -> size."""
    inputs = {"image": 3}
    if model.encoder == "resnet":
        inputs |= {"depth": 1} if model.use_depth else {}
        inputs |= {"proprioception": model.proprio_dim} if model.proprio_dim else {}
    return inputs


def latents_of(encoder: nn.Module, drive: Drive, model: ModelConfig) -> np.ndarray:
    """Return the latents of a drive's frames, float32 [T, D], from all that the encoder takes."""
    return encode_drive(encoder, drive, encoder_inputs(model), 32 if model.encoder in PICTURE_ENCODERS else 256)


def optional_inputs(extra: Sequence[Tensor], model: ModelConfig) -> tuple[Tensor | None, Tensor | None]:
    """Return depth and proprioception as an encoder takes them, None where it takes none."""
    given = list(extra)
    depth = given.pop(0) if "depth" in encoder_inputs(model) else None
    return depth, given.pop(0) if "proprioception" in encoder_inputs(model) else None


def _extra(drive: Drive, model: ModelConfig) -> list[np.ndarray]:
    arrays = {"depth": drive.depth_T1SS, "proprioception": drive.proprio_TP}
    return [array for name in encoder_inputs(model) if (array := arrays.get(name)) is not None]
