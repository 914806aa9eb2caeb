"""Rewards and ends of episodes, where the data has them, beside the batches that the transition is trained on.

Shape suffixes: B = sequences, L = frames, T = frames of an episode, 2 = (reward, whether the episode goes on).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from world_model.data.episodes import Episode, EpisodeSet
from world_model.training.sampler import Batch, Sampler
from world_model.training.sequences import TrainingSequence


def outcomes_of(episodes: EpisodeSet, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the outcomes [T, 2] of those episodes that have any, NaN where not known."""
    found = ((name, outcome_of(episodes.episode(name))) for name in names)
    return {name: outcome_T2 for name, outcome_T2 in found if outcome_T2 is not None}


def outcome_of(episode: Episode) -> np.ndarray | None:
    """Return an episode's rewards and whether it goes on [T, 2], or None where it has neither."""
    if episode.reward_T is None and episode.goes_on_T is None:
        return None
    outcome_T2 = np.full((len(episode), 2), np.nan, np.float32)
    if episode.reward_T is not None:
        outcome_T2[:, 0] = episode.reward_T
    if episode.goes_on_T is not None:
        outcome_T2[:, 1] = episode.goes_on_T
    return outcome_T2


class OutcomeSampler(Sampler):
    """A sampler that remembers what it drew, and adds the outcomes of the same frames.

    Args:
        sequences: As ``Sampler``.
        steps: As ``Sampler``.
        sequence: As ``Sampler``.
        burn_in: As ``Sampler``.
        positions: As ``Sampler``.
        seed: As ``Sampler``.
        outcomes: Episode -> outcomes [T, 2]; without any, batches have no such tensor.
    """

    def __init__(
        self,
        sequences: Sequence[TrainingSequence],
        steps: Sequence[int],
        sequence: int,
        burn_in: int,
        positions: int,
        seed: int,
        outcomes: Mapping[str, np.ndarray],
    ) -> None:
        super().__init__(sequences, steps, sequence, burn_in, positions, seed)
        self._outcomes = outcomes
        self._windows: list[np.ndarray] = []

    def columns(self, batch: int, memory_dropout: float = 0.0) -> list[Tensor]:
        """Return the tensors of a batch as ``Batch.columns``, then outcomes [B, L, 2] if there are any at all."""
        self._windows = []
        columns = super().columns(batch, memory_dropout)
        if self._outcomes:
            columns.append(torch.from_numpy(np.stack(self._windows)))
        return columns

    def _cut(self, sequence: TrainingSequence, row: int, start: int, offset: np.ndarray) -> Batch:
        if self._outcomes:
            outcome_T2 = self._outcomes.get(sequence.name)
            unknown_L2 = np.full((self._sequence, 2), np.nan, np.float32)
            window = slice(start, start + self._sequence)
            self._windows.append(unknown_L2 if outcome_T2 is None else outcome_T2[window])
        return super()._cut(sequence, row, start, offset)
