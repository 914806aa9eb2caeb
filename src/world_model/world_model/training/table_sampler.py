"""Batches of sequences cut from tables that lie on the device: no loop over a batch's rows, nothing to copy.

What a batch holds is what ``Sampler`` would cut at the same place; a test holds both together.

Shape suffixes: B = sequences, L = frames of a sequence, R = judged frames of all sequences, P = judged frames of one,
H = horizons, K = memories, T = rows of all episodes one after the other, N = stored states of all of them, D = latent
size, F = features of a memory, W = where a sequence may begin.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from world_model.runtime.tensors import Retrieved
from world_model.training.sampler import Batch, judged_rows, too_short, without
from world_model.training.sequences import TrainingSequence


class TableSampler:
    """Draws sequences uniformly from all places where one may begin.

    Args:
        sequences: Non-empty.
        steps: Horizons in steps.
        sequence: Steps per sequence L.
        burn_in: First frames that are never judged.
        positions: Judged frames per sequence.
        seed: Same seed, same batches.
        device: Where the tables lie.

    Raises:
        DataError: All sequences are too short, or none of their rows was seen and has a target that was.
    """

    def __init__(
        self,
        sequences: Sequence[TrainingSequence],
        steps: Sequence[int],
        sequence: int,
        burn_in: int,
        positions: int,
        seed: int | Sequence[int],
        device: torch.device,
    ) -> None:
        self._length, self._burn_in, self._positions, self._device = sequence, burn_in, positions, device
        self._steps = np.array(steps)
        self._judged_T = np.concatenate([judged_rows(each.measured_T, self._steps) for each in sequences])
        self._start_W = self._starts(sequences)
        if not len(self._start_W):
            raise too_short(sequences, sequence + max(steps))
        self._tables = _Tables(sequences, device)
        self._steps_H = torch.from_numpy(self._steps).to(device)
        self.reseed(seed)

    def reseed(self, seed: int | Sequence[int]) -> None:
        """Go on with the batches of another seed."""
        self._rng = np.random.default_rng(seed)

    def columns(self, batch: int, memory_dropout: float = 0.0) -> list[Tensor]:
        """Return the tensors of a batch as ``Batch.columns``.

        Args:
            batch: Sequences.
            memory_dropout: Probability that a judged frame's memory gives no answer.
        """
        start_B = self._rng.choice(self._start_W, size=batch)
        drawn = self.cut(start_B, self._offsets(start_B))
        if memory_dropout > 0:
            lost_R = torch.from_numpy(self._rng.random(len(drawn.row_R)) < memory_dropout)
            drawn = drawn._replace(retrieved=without(drawn.retrieved, lost_R.to(self._device)))
        return drawn.columns()

    def cut(self, start_B: np.ndarray, offset_BP: np.ndarray) -> Batch:
        """Return the sequences that begin at some rows of all episodes, judged at some of their own rows."""
        tables, device = self._tables, self._device
        first_B = torch.from_numpy(start_B).to(device)
        offset_R = torch.from_numpy(offset_BP.reshape(-1)).to(device)
        row_R = torch.arange(len(start_B), device=device).repeat_interleave(offset_BP.shape[1])
        frame_R = first_B[row_R] + offset_R
        frame_BL = first_B[:, None] + torch.arange(self._length, device=device)
        target_RH = frame_R[:, None] + self._steps_H
        target_RHD = tables.latent_TD[target_RH]
        unseen_RH1 = ~tables.measured_T[target_RH].unsqueeze(2)
        return Batch(
            tables.latent_TD[frame_BL],
            tables.action_TA[frame_BL],
            row_R,
            offset_R,
            target_RHD.masked_fill(unseen_RH1, torch.nan),
            tables.motion_THM[frame_R],
            tables.answers_at(frame_R),
        )

    def _starts(self, sequences: Sequence[TrainingSequence]) -> np.ndarray:
        """Return the rows of all episodes where a sequence may begin: it ends there, and some of it can be judged."""
        count_T = np.concatenate([[0], np.cumsum(self._judged_T)])
        starts = []
        for first, each in zip(_firsts([len(each.stamp_T) for each in sequences]), sequences):
            start = first + np.arange(max(len(each.stamp_T) - self._length - int(self._steps.max()), 0))
            starts.append(start[count_T[start + self._length] > count_T[start + self._burn_in]])
        return np.concatenate(starts)

    def _offsets(self, start_B: np.ndarray) -> np.ndarray:
        """Return which rows of each sequence are judged, ascending: some that were seen, again where they are few."""
        offset_L = np.arange(self._burn_in, self._length)
        judged_BL = self._judged_T[start_B[:, None] + offset_L]
        order_BL = np.argsort(np.where(judged_BL, self._rng.random(judged_BL.shape), 2.0), axis=1)
        turn_BP = np.arange(self._positions) % judged_BL.sum(axis=1)[:, None]
        return np.sort(offset_L[np.take_along_axis(order_BL, turn_BP, axis=1)], axis=1)


class _Tables:
    """The columns of all episodes one after the other; what a memory's row is counts over all their states."""

    def __init__(self, sequences: Sequence[TrainingSequence], device: torch.device) -> None:
        def joined(arrays: Sequence[np.ndarray]) -> Tensor:
            return torch.from_numpy(np.concatenate(arrays)).to(device)

        first_state = _firsts([len(each.table) for each in sequences])
        self.latent_TD = joined([each.latent_TD for each in sequences])
        self.action_TA = joined([each.action_TA for each in sequences])
        self.measured_T = joined([each.measured_T for each in sequences])
        self.motion_THM = joined([each.motion_THM for each in sequences])
        self.state_ND = joined([each.table.latent_ND for each in sequences])
        self.successor_NHD = joined([np.moveaxis(each.successor_latent_HND, 0, 1) for each in sequences])
        self.successor_valid_NH = joined([each.successor_valid_HN.T for each in sequences])
        self.anticipated_THK = joined([_counted(e.anticipated_index_THK, n) for e, n in zip(sequences, first_state)])
        self.anticipated_THKF = joined([each.anticipated_feature_THKF for each in sequences])
        self.appearance_TK = joined([_counted(e.appearance_index_TK, n) for e, n in zip(sequences, first_state)])
        self.appearance_TKF = joined([each.appearance_feature_TKF for each in sequences])

    def answers_at(self, frame_R: Tensor) -> Retrieved:
        """Return what the memory answers at some frames."""
        anticipated_RHK, appearance_RK = self.anticipated_THK[frame_R], self.appearance_TK[frame_R]
        is_near_RK = appearance_RK >= 0
        # A row that does not count still has to be one.
        place_RHK, look_RK = anticipated_RHK.clamp(min=0), appearance_RK.clamp(min=0)
        return Retrieved(
            anticipated_latent=self.state_ND[place_RHK],
            anticipated_feature=self.anticipated_THKF[frame_R],
            anticipated_valid=anticipated_RHK >= 0,
            appearance_latent=self.state_ND[look_RK],
            appearance_feature=self.appearance_TKF[frame_R],
            appearance_valid=is_near_RK,
            successor_latent=self.successor_NHD[look_RK].transpose(1, 2),
            successor_valid=self.successor_valid_NH[look_RK].transpose(1, 2) & is_near_RK[:, None],
        )


def _firsts(lengths: Sequence[int]) -> list[int]:
    """Return where each of some runs begins when they come one after the other."""
    return [0, *accumulate(lengths)][:-1]


def _counted(index: np.ndarray, first: int) -> np.ndarray:
    """Return rows of one table as rows of all tables together, -1 where there is none."""
    return np.where(index >= 0, index + first, -1).astype(np.int64)
