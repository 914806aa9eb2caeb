"""Vision towers of transformers: SigLIP, CLIP and DINOv2, pictures to patch tokens.

Nothing is downloaded unless a checkpoint's name is given: without a source a tower has random weights.

Shape suffixes: B = batch, H W = rows and columns [px], C = colours, S = side of the tower's picture, N = patches,
D = token size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    PretrainedConfig,
    PreTrainedModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from wm_policy.encoders.published import check_names, is_missing_folder, published, quietly
from wm_policy.errors import InputError, PolicyFileError
from wm_policy.shapes import check_pixels, check_shapes

_KINDS: dict[str, tuple[type[PretrainedConfig], type[PreTrainedModel]]] = {
    "siglip_vision_model": (SiglipVisionConfig, SiglipVisionModel),
    "clip_vision_model": (CLIPVisionConfig, CLIPVisionModel),
    "dinov2": (Dinov2Config, Dinov2Model),
}
# Their positions are stretched to any number of patches.
_ANY_SIDE = {"dinov2"}


class VisionTower(nn.Module):
    """A tower and what its pictures must look like.

    Args:
        source: Folder of a checkpoint, or its name on the hub; None: random weights.
        freeze: Leave its weights as they are.
        config: Changes to the published configuration, of towers that are not published.
        image_size: Side of the picture [px]; default: as published.

    Attributes:
        dim: D.
        image_size: S.
        token_count: N.

    Raises:
        PolicyFileError: The weights cannot be loaded, or belong to something else.
        InputError: The configuration has no such entry, or the picture no side that the tower takes.
    """

    published_as: ClassVar[str] = ""
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        source: str | Path | None = None,
        freeze: bool = True,
        config: dict[str, int] | None = None,
        image_size: int | None = None,
    ) -> None:
        super().__init__()
        entries = published(self.published_as)
        made = dict(entries["config"]) | (config or {})
        kind = made.pop("model_type")
        make_config, make_model = _KINDS[kind]
        check_names(config or {}, make_config())
        self.tower = (
            make_model(make_config(**made)) if source is None else _loaded(make_model, make_config(**made), source)
        )
        self.tower.requires_grad_(not freeze)
        self.freeze = freeze
        self.dim: int = made["hidden_size"]
        self.image_size = image_size or (
            made["image_size"] if config and "image_size" in config else entries["image_size"]
        )
        if kind not in _ANY_SIDE and self.image_size != made["image_size"]:
            raise InputError(f"image_size is {self.image_size} px, expected {made['image_size']}")
        self.token_count = (self.image_size // made["patch_size"]) ** 2
        self.register_buffer("mean", torch.tensor(entries["normalise"]["mean"])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(entries["normalise"]["std"])[:, None, None], persistent=False)

    def pixels(self, image_BHWC: Tensor) -> Tensor:
        """Return uint8 RGB pictures as the tower takes them, [B, 3, S, S]."""
        pixel_BCHW = image_BHWC.permute(0, 3, 1, 2).to(self.mean.dtype) / 255.0
        if tuple(pixel_BCHW.shape[-2:]) != (self.image_size, self.image_size):
            size = [self.image_size, self.image_size]
            pixel_BCHW = nn.functional.interpolate(pixel_BCHW, size, mode="bilinear", antialias=True)
        return (pixel_BCHW - self.mean) / self.std

    def forward(self, image_BHWC: Tensor) -> Tensor:
        """Return patch tokens [B, N, D] of uint8 RGB pictures; the token of the whole picture is left out.

        Raises:
            InputError: They have another shape than [B, H, W, 3], or are not uint8.
        """
        check_shapes({"C": 3}, image_BHWC=image_BHWC)
        check_pixels("image_BHWC", image_BHWC)
        result: Tensor = self.tower(pixel_values=self.pixels(image_BHWC)).last_hidden_state[:, -self.token_count :]
        return result


def _loaded(make_model: Any, config: PretrainedConfig, source: str | Path) -> PreTrainedModel:
    if is_missing_folder(source):
        raise PolicyFileError(f"{source}: no such folder")
    try:
        with quietly():
            model, report = make_model.from_pretrained(
                source, config=config, local_files_only=Path(source).is_dir(), use_safetensors=True,
                output_loading_info=True, ignore_mismatched_sizes=True,
            )  # fmt: skip
    except (OSError, ValueError, RuntimeError) as error:
        raise PolicyFileError(f"{source}: weights cannot be loaded: {error}") from error
    if report["mismatched_keys"]:
        name, shape, expected = min(report["mismatched_keys"])
        raise PolicyFileError(f"{source}: {name} has shape {list(shape)}, expected {list(expected)}")
    if report["missing_keys"]:
        raise PolicyFileError(f"{source}: weights are missing, {min(report['missing_keys'])} among them")
    found: PreTrainedModel = model
    return found


class SiglipBase(VisionTower):
    """SigLIP base, 196 tokens of 768 at 224 px."""

    published_as = "siglip-base"


class SiglipLarge(VisionTower):
    """SigLIP large, 256 tokens of 1024 at 256 px."""

    published_as = "siglip-large"


class ClipBase(VisionTower):
    """CLIP B/16, 196 tokens of 768 at 224 px."""

    published_as = "clip-base"


class ClipLarge(VisionTower):
    """CLIP L/14, 256 tokens of 1024 at 224 px."""

    published_as = "clip-large"


class DinoV2Base(VisionTower):
    """DINOv2 base, 256 tokens of 768 at 224 px."""

    published_as = "dinov2-base"


class DinoV2Large(VisionTower):
    """DINOv2 large, 256 tokens of 1024 at 224 px."""

    published_as = "dinov2-large"
