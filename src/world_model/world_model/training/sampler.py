"""Batches of sequences from sequences, with what the memory answers at the judged frames.

Shape suffixes: B = sequences, L = frames of a sequence, R = judged frames of all sequences, H = horizons, K = memories.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from world_model.errors import DataError
from world_model.runtime.tensors import VALID_FIELDS, Retrieved
from world_model.training.sequences import TrainingSequence

_TRIES = 1000


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


def too_short(sequences: Sequence[TrainingSequence], needed: int) -> DataError:
    """Return what to raise where none of the sequences has as many steps as are needed, with frames to judge."""
    longest = max((len(each.stamp_T) for each in sequences), default=0)
    return DataError(
        f"no episode is long enough: {longest} steps at most, {needed} are needed, with frames some of which lie a "
        "horizon apart"
    )


class Sampler:
    """Draws sequences uniformly from all sequences.

    Args:
        sequences: Non-empty.
        steps: Horizons in steps.
        sequence: Steps per sequence L.
        burn_in: First frames that are never judged.
        positions: Judged frames per sequence.
        seed: Same seed, same batches.

    Raises:
        DataError: All sequences are too short, or none of a window's rows was seen and has a target that was.
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
        self.reseed(seed)
        lengths = np.array([len(e.stamp_T) - sequence - max(steps) for e in self._sequences], float)
        self._judged = [judged_rows(e.measured_T, self._steps) for e in self._sequences]
        lengths = np.array([max(n, 0) if judged_T.any() else 0 for n, judged_T in zip(lengths, self._judged)], float)
        if not lengths.sum():
            raise too_short(self._sequences, sequence + max(steps))
        self._share = lengths / lengths.sum()

    def reseed(self, seed: int | Sequence[int]) -> None:
        """Go on with the batches of another seed."""
        self._rng = np.random.default_rng(seed)

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
            start, offset = self._window(episode, self._judged[index])
            parts.append(self._cut(episode, row, start, np.sort(offset)).columns())
        drawn = Batch.of([torch.cat(column) for column in zip(*parts)])
        if memory_dropout > 0:
            lost_R = self._rng.random(len(drawn.row_R)) < memory_dropout
            drawn = drawn._replace(retrieved=without(drawn.retrieved, torch.from_numpy(lost_R)))
        return drawn

    def _window(self, episode: TrainingSequence, judged_T: np.ndarray) -> tuple[int, np.ndarray]:
        """Return where a sequence begins and which of its rows are judged: rows that were seen."""
        last = len(episode.stamp_T) - self._sequence - self._steps.max()
        for _ in range(_TRIES):
            start = int(self._rng.integers(last))
            offset = np.arange(self._burn_in, self._sequence)
            offset = offset[judged_T[start + offset]]
            if len(offset):
                return start, self._rng.choice(offset, size=self._positions, replace=len(offset) < self._positions)
        raise DataError(f"episode {episode.name}: hardly any frame has another one at a horizon's distance")

    def _cut(self, episode: TrainingSequence, row: int, start: int, offset: np.ndarray) -> Batch:
        frame_R = start + offset
        window = slice(start, start + self._sequence)
        return Batch(
            torch.tensor(episode.latent_TD[None, window]),
            torch.tensor(episode.action_TA[None, window]),
            torch.full((len(offset),), row),
            torch.from_numpy(offset),
            torch.from_numpy(self._targets(episode, frame_R[:, None] + self._steps)),
            torch.from_numpy(episode.motion_THM[frame_R]),
            answers_at(episode, frame_R),
        )

    @staticmethod
    def _targets(episode: TrainingSequence, row_RH: np.ndarray) -> np.ndarray:
        """Return what was seen, NaN where nothing was, [R, H, D]."""
        target_RHD = episode.latent_TD[row_RH]
        result: np.ndarray = np.where(episode.measured_T[row_RH][..., None], target_RHD, np.float32(np.nan))
        return result


def judged_rows(measured_T: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return which rows were seen and have a target at some horizon that was, bool [T]."""
    seen_T = np.zeros(len(measured_T), bool)
    for step in np.asarray(steps).tolist():
        seen_T[: len(measured_T) - step] |= measured_T[step:]
    return measured_T & seen_T


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
