"""What every action head is: a loss to learn by, and a chunk of actions for a condition and some noise.

Shape suffixes: B = batch, C = condition size, K = steps of a chunk, A = action size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from wm_policy.shapes import check_counts, check_flags, check_shapes, only_known

CHUNK = 16
"""Steps of a chunk by default."""


class ActionHead(nn.Module, ABC):
    """From a condition to a chunk of actions.

    Actions are normalised: what the robot did in training lies in -1..1 (see ``wm_policy.runtime.statistics``). A head
    that draws its answer takes standard-normal noise of the chunk's shape, so that the same noise gives the same chunk,
    exported or not; zeros give its middle answer.

    Args:
        condition_dim: C.
        action_dim: A.
        chunk: K.

    Raises:
        InputError: A size is no whole number above 0.
    """

    takes_noise: ClassVar[bool] = False

    def __init__(self, condition_dim: int, action_dim: int, chunk: int = CHUNK) -> None:
        super().__init__()
        check_counts(condition_dim=condition_dim, action_dim=action_dim, chunk=chunk)
        self.condition_dim, self.action_dim, self.chunk = condition_dim, action_dim, chunk

    @abstractmethod
    def losses(self, condition_BC: Tensor, action_BKA: Tensor, valid_BK: Tensor | None = None) -> dict[str, Tensor]:
        """Return the named losses of a batch.

        Args:
            condition_BC: What is known.
            action_BKA: What was done, normalised.
            valid_BK: Which steps are known, bool; default: all. What stands at the others changes nothing.

        Raises:
            InputError: One has another shape.
        """

    @abstractmethod
    def forward(self, condition_BC: Tensor, noise_BKA: Tensor | None = None) -> Tensor:
        """Return a chunk of actions [B, K, A], normalised.

        Args:
            condition_BC: What is known.
            noise_BKA: Standard-normal; default: zeros.

        Raises:
            InputError: One has another shape.
        """

    def sample(self, condition_BC: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return a chunk [B, K, A] for noise that is drawn here."""
        device = None if generator is None else generator.device
        noise_BKA = torch.randn(self.noise_shape(len(condition_BC)), generator=generator, device=device)
        noise_BKA = noise_BKA.to(condition_BC)
        chunk_BKA: Tensor = self(condition_BC, noise_BKA)
        return chunk_BKA

    def noise_shape(self, batch: int) -> tuple[int, int, int]:
        """Return the shape of the noise for so many conditions."""
        return batch, self.chunk, self.action_dim

    def noise_or_zeros(self, condition_BC: Tensor, noise_BKA: Tensor | None) -> Tensor:
        """Return the noise, zeros where there is none.

        Raises:
            InputError: It has another shape than the chunk, or the condition another size than it should.
        """
        self.check(condition_BC=condition_BC, noise_BKA=noise_BKA)
        return condition_BC.new_zeros(self.noise_shape(condition_BC.size(0))) if noise_BKA is None else noise_BKA

    def known_actions(self, condition_BC: Tensor, action_BKA: Tensor, valid_BK: Tensor | None) -> Tensor:
        """Return the actions to learn, [B, K, A]: 0 at the steps that are not known.

        Raises:
            InputError: One has another shape, or what is valid is not bool.
        """
        self.check(condition_BC=condition_BC, action_BKA=action_BKA, valid_BK=valid_BK)
        check_flags(valid_BK=valid_BK)
        return only_known(action_BKA, valid_BK)

    def check(self, **arguments: Tensor | None) -> None:
        """Refuse arguments of another shape than their names say.

        Raises:
            InputError: The text names it.
        """
        check_shapes({"C": self.condition_dim, "K": self.chunk, "A": self.action_dim}, **arguments)


def masked_mean(value_BKA: Tensor, valid_BK: Tensor | None) -> Tensor:
    """Return the mean over the steps that are known, 0 where none is."""
    if valid_BK is None:
        return value_BKA.mean()
    known_BK1 = valid_BK.unsqueeze(-1)
    # Where, not times: what is not known may be no number.
    total = torch.where(known_BK1, value_BKA, torch.zeros_like(value_BKA)).sum()
    return total / (known_BK1.sum() * value_BKA.size(-1)).clamp(min=1)


def mlp(sizes: list[int], activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return linear layers of these sizes with an activation between them."""
    layers: list[nn.Module] = []
    for index, (size, following) in enumerate(pairwise(sizes)):
        layers += [nn.Linear(size, following)] + ([activation()] if index < len(sizes) - 2 else [])
    return nn.Sequential(*layers)
