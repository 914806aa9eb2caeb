"""Batches of sequences from sequences, with what the memory answers at the judged frames.

Shape suffixes: B = sequences, L = frames of a sequence, R = judged frames of all sequences, H = horizons, K = memories.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from world_model.runtime.tensors import VALID_FIELDS, Retrieved
from world_model.training.sequences import TrainingSequence


class Batch(NamedTuple):
    """One training batch. ``position_R`` and ``row_R`` say which frame of which sequence each judged row is."""

    latent_BLD: Tensor
    action_BLA: Tensor
    row_R: Tensor
    position_R: Tensor
    target_RHD: Tensor
    motion_RHM: Tensor
    retrieved: Retrieved

    def columns(self) -> list[Tensor]:
        """Return every tensor, the retrieved ones last: what is divided among processes."""
        return [*self[:-1], *self.retrieved]

    @classmethod
    def of(cls, columns: Sequence[Tensor]) -> Batch:
        """Return the batch with these columns."""
        own = len(cls._fields) - 1
        return cls(*columns[:own], Retrieved(*columns[own:]))  # type: ignore[call-arg,arg-type]


class Sampler:
    """Draws sequences uniformly from all sequences.

    Args:
        sequences: Non-empty.
        steps: Horizons in steps.
        sequence: Frames per sequence L.
        burn_in: First frames that are never judged.
        positions: Judged frames per sequence.
        seed: Same seed, same batches.
    """

    def __init__(
        self,
        sequences: Sequence[TrainingSequence],
        steps: Sequence[int],
        sequence: int,
        burn_in: int,
        positions: int,
        seed: int,
    ) -> None:
        self._sequences = list(sequences)
        self._steps = np.array(steps)
        self._sequence, self._burn_in, self._positions = sequence, burn_in, positions
        self._rng = np.random.default_rng(seed)
        lengths = np.array([len(e.stamp_T) - sequence - max(steps) for e in self._sequences], float)
        self._share = np.maximum(lengths, 0) / np.maximum(lengths, 0).sum()

    def columns(self, batch: int, memory_dropout: float = 0.0) -> list[Tensor]:
        """Return the tensors of a batch as ``Batch.columns``; arguments as ``draw``."""
        return self.draw(batch, memory_dropout).columns()

    def draw(self, batch: int, memory_dropout: float = 0.0) -> Batch:
        """Return ``batch`` sequences.

        Args:
            batch: Sequences.
            memory_dropout: Probability that a judged frame's memory gives no answer.
        """
        chosen = self._rng.choice(len(self._sequences), size=batch, p=self._share)
        parts = []
        for row, index in enumerate(chosen):
            episode = self._sequences[index]
            start = int(self._rng.integers(len(episode.stamp_T) - self._sequence - self._steps.max()))
            offset = self._rng.choice(np.arange(self._burn_in, self._sequence), size=self._positions, replace=False)
            parts.append(self._cut(episode, row, start, np.sort(offset)).columns())
        drawn = Batch.of([torch.cat(column) for column in zip(*parts)])
        if memory_dropout > 0:
            lost_R = self._rng.random(len(drawn.row_R)) < memory_dropout
            drawn = drawn._replace(retrieved=without(drawn.retrieved, torch.from_numpy(lost_R)))
        return drawn

    def _cut(self, episode: TrainingSequence, row: int, start: int, offset: np.ndarray) -> Batch:
        frame_R = start + offset
        window = slice(start, start + self._sequence)
        return Batch(
            torch.tensor(episode.latent_TD[None, window]),
            torch.tensor(episode.action_TA[None, window]),
            torch.full((len(offset),), row),
            torch.from_numpy(offset),
            torch.from_numpy(episode.latent_TD[frame_R[:, None] + self._steps]),
            torch.from_numpy(episode.motion_THM[frame_R]),
            answers_at(episode, frame_R),
        )


def without(retrieved: Retrieved, lost_R: Tensor) -> Retrieved:
    """Return what was retrieved, less everything of some rows."""
    lost = {}
    for name in VALID_FIELDS:
        valid = getattr(retrieved, name)
        lost[name] = valid & ~lost_R.view(-1, *[1] * (valid.dim() - 1))
    return retrieved._replace(**lost)


def answers_at(episode: TrainingSequence, frame_R: np.ndarray) -> Retrieved:
    """Return what the memory answers at some frames."""
    anticipated_RHK, appearance_RK = episode.anticipated_index_THK[frame_R], episode.appearance_index_TK[frame_R]
    table = episode.table
    known_RHK = np.moveaxis(episode.successor_valid_HN[:, appearance_RK], 0, 1)
    arrays = {
        "anticipated_latent": table.latent_ND[anticipated_RHK],
        "anticipated_feature": episode.anticipated_feature_THKF[frame_R],
        "anticipated_valid": anticipated_RHK >= 0,
        "appearance_latent": table.latent_ND[appearance_RK],
        "appearance_feature": episode.appearance_feature_TKF[frame_R],
        "appearance_valid": appearance_RK >= 0,
        "successor_latent": np.moveaxis(episode.successor_latent_HND[:, appearance_RK], 0, 1),
        "successor_valid": known_RHK & (appearance_RK >= 0)[:, None],
    }
    return Retrieved(**{name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()})
