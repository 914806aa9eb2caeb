"""The perceptual loss LPIPS, from weights that lie on disk; nothing is downloaded.

Shape suffixes: B = batch, C = channels, S = image side.

Source: Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from world_model.errors import ArtifactError

_SHIFT_3, _SCALE_3 = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


@dataclass(frozen=True)
class _Backbone:
    """Where a classifier's convolutions stand in its list of layers, and after which of them features are compared.

    ``poolings``: layer -> kernel of the max pooling (stride 2).
    """

    strides: Mapping[int, int]
    poolings: Mapping[int, int]
    taps: tuple[int, ...]


# By the side of the first kernel. Numbers of layers as in the published weights of AlexNet and VGG-16.
_BACKBONES = {
    11: _Backbone({0: 4, 3: 1, 6: 1, 8: 1, 10: 1}, {2: 3, 5: 3}, (0, 3, 6, 8, 10)),
    3: _Backbone(
        dict.fromkeys((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), 1),
        dict.fromkeys((4, 9, 16, 23), 2),
        (2, 7, 14, 21, 28),
    ),
}


class PerceptualLoss(nn.Module):
    """How different two pictures look: weighted squared differences of a classifier's normalised features.

    Args:
        backbone: Weights of AlexNet's or VGG-16's convolutions: ``features.N.weight`` and ``.bias``.
        lin: Weight of each channel of each compared layer: ``linK.model.1.weight`` [1, C, 1, 1].

    Raises:
        ArtifactError: A weight is missing, or the first kernel is neither AlexNet's nor VGG's.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, backbone: Mapping[str, Tensor], lin: Mapping[str, Tensor]) -> None:
        super().__init__()
        side = int(_weight(backbone, "features.0.weight").shape[-1])
        if side not in _BACKBONES:
            raise ArtifactError(f"the first kernel's side is {side}, expected 11 (AlexNet) or 3 (VGG-16)")
        kind = _BACKBONES[side]
        self._strides, self._poolings, self._taps = dict(kind.strides), dict(kind.poolings), kind.taps
        for index in kind.strides:
            self.register_buffer(f"kernel_{index}", _weight(backbone, f"features.{index}.weight"))
            self.register_buffer(f"bias_{index}", _weight(backbone, f"features.{index}.bias"))
        for index in range(len(kind.taps)):
            self.register_buffer(f"lin_{index}", _weight(lin, f"lin{index}.model.1.weight"))
        self.register_buffer("shift", torch.tensor(_SHIFT_3)[:, None, None])
        self.register_buffer("scale", torch.tensor(_SCALE_3)[:, None, None])

    def forward(self, first_B3SS: Tensor, second_B3SS: Tensor) -> Tensor:
        """Return the mean difference of pictures in -1..1."""
        pairs = zip(self._features(first_B3SS), self._features(second_B3SS))
        differences = [
            nn.functional.conv2d((_unit(first) - _unit(second)).square(), getattr(self, f"lin_{index}")).mean()
            for index, (first, second) in enumerate(pairs)
        ]
        return torch.stack(differences).sum()

    def _features(self, value: Tensor) -> list[Tensor]:
        value = (value - self.shift) / self.scale
        found = []
        for index, stride in self._strides.items():
            if index - 1 in self._poolings:
                value = nn.functional.max_pool2d(value, self._poolings[index - 1], 2)
            kernel = getattr(self, f"kernel_{index}")
            # AlexNet's first layer alone is padded by 2 instead of half its kernel.
            padding = 2 if kernel.shape[-1] == 11 else kernel.shape[-1] // 2
            value = torch.relu(nn.functional.conv2d(value, kernel, getattr(self, f"bias_{index}"), stride, padding))
            if index in self._taps:
                found.append(value)
        return found


def load_perceptual(folder: Path) -> PerceptualLoss:
    """Return the loss from ``backbone.pth`` (AlexNet or VGG-16) and ``lin.pth`` (LPIPS) in a folder.

    Raises:
        ArtifactError: A file is missing or damaged, or lacks a weight.
    """
    return PerceptualLoss(*(_read(folder / f"{name}.pth") for name in ("backbone", "lin")))


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        result: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return result
    except Exception as error:
        raise ArtifactError(f"perceptual weights {path} cannot be read: {type(error).__name__}") from error


def _weight(weights: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in weights:
        raise ArtifactError(f"perceptual weights lack {name}")
    return weights[name].detach().float()


def _unit(value_BCSS: Tensor) -> Tensor:
    """Return features of unit length over the channels."""
    return value_BCSS / (value_BCSS.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
