"""The past, and chunks of the future: history as a context, and how chunks that overlap become one action.

Shape suffixes: B = batch, T = observations, K = steps of a chunk, O = observation size, A = action size,
W = context size.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import torch
from torch import Tensor, nn

from wm_policy.errors import InputError
from wm_policy.heads.base import CHUNK
from wm_policy.layers import Block
from wm_policy.shapes import check_counts, check_flags, check_shapes, only_known


class HistoryEncoder(nn.Module):
    """A transformer over T observations and the T - 1 actions between them.

    Args:
        observation_dim: O.
        action_dim: A.
        context: W.
        layers: Transformer layers.
        longest: Most observations.

    Raises:
        InputError: A size is no whole number above 0.
    """

    def __init__(
        self, observation_dim: int, action_dim: int, context: int = 256, layers: int = 2, longest: int = 32
    ) -> None:
        super().__init__()
        check_counts(
            observation_dim=observation_dim, action_dim=action_dim, context=context, layers=layers, longest=longest
        )
        self._sizes = {"O": observation_dim, "A": action_dim}
        self.observation, self.action = nn.Linear(observation_dim, context), nn.Linear(action_dim, context)
        self.position = nn.Parameter(0.02 * torch.randn(2 * longest, context))
        self.blocks = nn.ModuleList(Block(context) for _ in range(layers))
        self.norm, self.longest = nn.LayerNorm(context), longest

    def forward(self, observation_BTO: Tensor, action_BTA: Tensor, known_BT: Tensor | None = None) -> Tensor:
        """Return the context at the last observation, [B, W].

        Args:
            observation_BTO: T of them, the newest last.
            action_BTA: The T - 1 actions that led from each to the next.
            known_BT: Which observations there are, bool; an action is there where both of its observations are. What
                stands at the others changes nothing.

        Raises:
            InputError: Not one action less than observations, too many, or an argument has another shape.
        """
        sizes = check_shapes(self._sizes, observation_BTO=observation_BTO, known_BT=known_BT)
        check_shapes({key: each for key, each in sizes.items() if key != "T"}, action_BTA=action_BTA)
        check_flags(known_BT=known_BT)
        count = observation_BTO.size(1)
        if action_BTA.size(1) != count - 1 or count > self.longest:
            raise InputError(
                f"{count} observations and {action_BTA.size(1)} actions, expected at most {self.longest} and one less"
            )
        between_BT = None if known_BT is None else known_BT[:, :-1] & known_BT[:, 1:]
        token_BTW = self.observation(only_known(observation_BTO, known_BT))
        done_BTW = nn.functional.pad(self.action(only_known(action_BTA, between_BT)), (0, 0, 0, 1))
        mixed_BXW = torch.stack([token_BTW, done_BTW], dim=2).flatten(1, 2)[:, :-1] + self.position[: 2 * count - 1]
        known_BX = None
        if known_BT is not None and between_BT is not None:
            known_BX = torch.stack([known_BT, nn.functional.pad(between_BT, (0, 1))], dim=2).flatten(1, 2)[:, :-1]
        for block in self.blocks:
            mixed_BXW = block(mixed_BXW, None, known_BX, True)
        result: Tensor = self.norm(mixed_BXW[:, -1])
        return result


class ActionChunker:
    """Chunks that overlap, averaged: of those that speak of a step the oldest weighs most.

    Args:
        chunk: K.
        decay: Weights are exp(-decay * k), k = 0 the oldest.

    Raises:
        InputError: The chunk is no whole number above 0, or the decay is below 0.

    Source: Zhao et al. 2023, "Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware".
    """

    def __init__(self, chunk: int = CHUNK, decay: float = 0.01) -> None:
        check_counts(chunk=chunk)
        if not 0.0 <= decay < math.inf:
            raise InputError(f"decay is {decay}, expected 0 or more")
        self.chunk, self._decay = chunk, decay
        self._chunks: deque[tuple[int, np.ndarray]] = deque()

    def reset(self) -> None:
        """Forget all chunks."""
        self._chunks.clear()

    def add(self, step: int, action_KA: np.ndarray) -> None:
        """Take a chunk whose first action is for this step.

        Raises:
            InputError: It has another length or size than those before it, or is not finite.
        """
        action_KA = np.asarray(action_KA, np.float64)
        if action_KA.ndim != 2 or len(action_KA) != self.chunk or not np.isfinite(action_KA).all():
            raise InputError(f"chunk has shape {action_KA.shape}, expected {self.chunk} finite actions")
        if self._chunks and self._chunks[-1][1].shape != action_KA.shape:
            raise InputError(f"chunk has shape {action_KA.shape}, those before it {self._chunks[-1][1].shape}")
        self._chunks.append((step, action_KA))

    def action(self, step: int) -> np.ndarray | None:
        """Return the action for a step [A]; None where no chunk speaks of it. What lies behind is dropped."""
        while self._chunks and self._chunks[0][0] + self.chunk <= step:
            self._chunks.popleft()
        said = [action_KA[step - first] for first, action_KA in self._chunks if 0 <= step - first < self.chunk]
        if not said:
            return None
        weight_N = np.exp(-self._decay * np.arange(len(said)))
        return np.asarray(weight_N @ np.stack(said) / weight_N.sum())
