"""Pretrained image backbones as encoders, from weights that lie on disk (DINOv2, SigLIP, CLIP, ResNet, ViT).

Nothing is downloaded: a folder as ``transformers`` saves it is all that is read.

Shape suffixes: B = batch, S = image side, C = channels, D = latent size, X = tokens.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from world_model.errors import ArtifactError

KINDS = ("clip", "clip_vision_model", "dinov2", "resnet", "siglip", "siglip_vision_model", "vit")
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PretrainedEncoder(nn.Module):
    """A pretrained backbone, pooled and projected to the latent.

    Args:
        backbone: A ``transformers`` vision model.
        feature_dim: Size of its pooled output.
        image_size: Side of the image it expects [px]; ours is resized to it.
        mean: Of each colour, as it was trained with.
        std: Of each colour, as it was trained with.
        latent_dim: D.
        freeze: Leave the backbone's weights as they are and train the projection only.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        feature_dim: int,
        image_size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        latent_dim: int,
        freeze: bool = True,
    ) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(not freeze)
        self.image_size = image_size
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])
        self.project = nn.Linear(feature_dim, latent_dim)

    def features(self, image_BSSC: Tensor) -> Tensor:
        """Return pooled features of uint8 RGB images, [B, feature_dim]."""
        pixel_BCSS = image_BSSC.permute(0, 3, 1, 2).to(self.project.weight.dtype) / 255.0
        if pixel_BCSS.shape[-1] != self.image_size:
            size = [self.image_size, self.image_size]
            pixel_BCSS = nn.functional.interpolate(pixel_BCSS, size, mode="bilinear", antialias=True)
        output = self.backbone(pixel_values=(pixel_BCSS - self.mean) / self.std)
        pooled = getattr(output, "pooler_output", None)
        if pooled is None:
            pooled = output.last_hidden_state.mean(dim=1)
        result: Tensor = pooled.flatten(1)
        return result

    def forward(self, image_BSSC: Tensor, depth_B1SS: Tensor | None = None, proprio_BP: Tensor | None = None) -> Tensor:
        """Return latents [B, D] of uint8 RGB images [B, S, S, 3]; depth and proprioception are not used."""
        result: Tensor = self.project(self.features(image_BSSC))
        return result


def load_pretrained(folder: Path, latent_dim: int, *, freeze: bool = True) -> PretrainedEncoder:
    """Return an encoder on the backbone that lies in ``folder``.

    Args:
        folder: With ``config.json`` and ``model.safetensors``, and ``preprocessor_config.json`` for its normalisation.
        latent_dim: D.
        freeze: See ``PretrainedEncoder``.

    Raises:
        ArtifactError: Nothing there, a kind that is not known, or weights that do not fit.
    """
    # Large, and only needed by who uses a pretrained backbone.
    from transformers import AutoModel

    config = _read_json(folder / "config.json")
    kind = config.get("model_type")
    if kind not in KINDS:
        raise ArtifactError(f"{folder} holds a '{kind}', expected one of {', '.join(KINDS)}")
    try:
        model, report = AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"{folder}: weights cannot be loaded: {error}") from error
    if report["missing_keys"]:
        raise ArtifactError(f"{folder}: weights are missing, {sorted(report['missing_keys'])[0]} among them")
    # CLIP and SigLIP bring a text tower, which a camera has no use for.
    backbone = getattr(model, "vision_model", model)
    vision = config.get("vision_config", config)
    feature_dim = config["hidden_sizes"][-1] if kind == "resnet" else vision["hidden_size"]
    given = _read_json(folder / "preprocessor_config.json") if (folder / "preprocessor_config.json").is_file() else {}
    mean, std = given.get("image_mean", _IMAGENET_MEAN), given.get("image_std", _IMAGENET_STD)
    image_size = int(vision.get("image_size") or 224)
    return PretrainedEncoder(backbone, feature_dim, image_size, tuple(mean), tuple(std), latent_dim, freeze)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(path.read_text())
        return result
    except (OSError, json.JSONDecodeError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error
