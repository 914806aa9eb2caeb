"""How alike two pictures are.

Shape suffixes: N = pictures, S = image side, C = channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDING = 1.0 / 12.0
"""Squared error that rounding to grey levels leaves on its own: equal pictures are not better than that."""


def psnr_per_picture(image_NSSC: Tensor, truth_NSSC: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each uint8 picture [dB], [N]; 58.9 where they are equal."""
    error_N = (image_NSSC.float() - truth_NSSC.float()).square().flatten(1).mean(dim=1)
    return 10.0 * torch.log10(255.0**2 / error_N.clamp(min=_ROUNDING))
