"""Batches of sequences from sequences, with what the memory answers at the judged frames.

Shape suffixes: B = sequences, L = frames of a sequence, R = judged frames of all sequences, H = horizons, K = memories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from world_model.training.sequences import TrainingSequence


@dataclass(frozen=True)
class Batch:
    """One training batch. ``position_R`` and ``row_R`` say which frame of which sequence each judged row is."""

    latent_BLD: Tensor
    action_BLA: Tensor
    row_R: Tensor
    position_R: Tensor
    target_RHD: Tensor
    motion_RHM: Tensor
    spot_RHKD: Tensor
    spot_feature_RHKF: Tensor
    spot_valid_RHK: Tensor
    twin_RKD: Tensor
    twin_feature_RKF: Tensor
    twin_valid_RK: Tensor
    follow_RHKD: Tensor
    follow_valid_RHK: Tensor


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
        """Return the tensors of a batch in the order of ``Batch``; arguments as ``draw``."""
        drawn = self.draw(batch, memory_dropout)
        return [getattr(drawn, f.name) for f in fields(Batch)]

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
            parts.append(self._cut(episode, row, start, np.sort(offset)))
        columns = [np.concatenate(column) for column in zip(*parts)]
        if memory_dropout > 0:
            lost_R = self._rng.random(len(columns[2])) < memory_dropout
            for column in (8, 11, 13):
                columns[column] = columns[column] & ~lost_R.reshape(-1, *[1] * (columns[column].ndim - 1))
        return Batch(*(torch.from_numpy(np.ascontiguousarray(column)) for column in columns))

    def _cut(self, episode: TrainingSequence, row: int, start: int, offset: np.ndarray) -> tuple[np.ndarray, ...]:
        frame_R = start + offset
        window = slice(start, start + self._sequence)
        answers = answers_at(episode, frame_R)
        return (
            episode.latent_TD[None, window],
            episode.action_TA[None, window],
            np.full(len(offset), row),
            offset,
            episode.latent_TD[frame_R[:, None] + self._steps],
            *answers,
        )


def answers_at(episode: TrainingSequence, frame_R: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return motion and what the memory answers at some frames, in the order ``Batch`` lists them."""
    spot_RHK, twin_RK = episode.spot_index_THK[frame_R], episode.twin_index_TK[frame_R]
    table = episode.table
    follow_RHKD = np.moveaxis(episode.follow_latent_HND[:, twin_RK], 0, 1)
    follow_valid_RHK = np.moveaxis(episode.follow_valid_HN[:, twin_RK], 0, 1) & (twin_RK >= 0)[:, None]
    return (
        episode.motion_THM[frame_R],
        table.latent_ND[spot_RHK],
        episode.spot_feature_THKF[frame_R],
        spot_RHK >= 0,
        table.latent_ND[twin_RK],
        episode.twin_feature_TKF[frame_R],
        twin_RK >= 0,
        follow_RHKD,
        follow_valid_RHK,
    )
