"""What sensors return now and then: points and moments that are no numbers, which count as not there.

Shape suffixes: B = batch, N = points or moments, X = numbers of each.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wm_policy.shapes import check_flags, only_known


def there(value_BNX: Tensor, known_BN: Tensor | None) -> Tensor:
    """Return which points there are, bool [B, N]: those known of which each number is finite.

    Raises:
        InputError: What is known is not bool.
    """
    check_flags(known_BN=known_BN)
    is_number_BN = value_BNX.isfinite().all(dim=2)
    return is_number_BN if known_BN is None else known_BN & is_number_BN


def those_there(value_BNX: Tensor, known_BN: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the points, zeros where there is none, and which there are; see ``there``."""
    known_BN = there(value_BNX, known_BN)
    return only_known(value_BNX, known_BN), known_BN


def largest(value_BND: Tensor, known_BN: Tensor) -> Tensor:
    """Return the largest of each number among those known, 0 where none is, [B, D]."""
    if not value_BND.size(1):
        return value_BND.new_zeros(value_BND.size(0), value_BND.size(2))
    least = torch.finfo(value_BND.dtype).min
    masked_BD = value_BND.masked_fill(~known_BN.unsqueeze(-1), least).amax(dim=1)
    return torch.where(known_BN.any(dim=1, keepdim=True), masked_BD, torch.zeros_like(masked_BD))
