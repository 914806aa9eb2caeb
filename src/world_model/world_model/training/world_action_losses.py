"""The networks of the slow branch with their losses around them: tensors of a batch in, named terms out.

Shape suffixes: B = batch, N = past ticks, F = future ticks, E = embedding size, S = image side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from world_model.models.target_encoder import TargetEncoder
from world_model.models.world_action import EmbeddingPredictor, MapPredictor, WorldActionConfig, WorldActionEncoder
from world_model.training.losses import forecast_loss
from world_model.training.world_action_config import WorldActionTraining


def embed(encoder: nn.Module, image_BSSC: Tensor) -> Tensor:
    """Return the embeddings of single-view images, [B, E]."""
    embedding_BE: Tensor = encoder(image_BSSC[:, None], image_BSSC.new_ones(len(image_BSSC), 1, dtype=torch.bool))
    return embedding_BE


class PictureTeller(nn.Module):
    """A small picture from an embedding; it makes the encoder keep what the picture shows, and is thrown away after."""

    SIDE = 32

    def __init__(self, embedding_dim: int, width: int = 48) -> None:
        super().__init__()
        self.width = width
        self.start = nn.Linear(embedding_dim, width * 16)
        stages: list[nn.Module] = []
        for before, after in ((width, width), (width, width // 2), (width // 2, width // 2)):
            stages += [nn.SiLU(), nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1)]
        self.stages = nn.Sequential(*stages, nn.SiLU(), nn.Conv2d(width // 2, 3, 3, padding=1))

    def forward(self, embedding_BE: Tensor) -> Tensor:
        """Return pictures [B, 3, 32, 32], values in -1..1."""
        picture_B3SS: Tensor = self.stages(self.start(embedding_BE).unflatten(1, (self.width, 4, 4)))
        return picture_B3SS


def picture_loss(teller: PictureTeller, embedding_BE: Tensor, image_BSSC: Tensor) -> Tensor:
    """Return the mean absolute difference between the told and the shown picture."""
    shown = image_BSSC.permute(0, 3, 1, 2).float() / 127.5 - 1.0
    shown = nn.functional.adaptive_avg_pool2d(shown, PictureTeller.SIDE)
    loss: Tensor = (teller(embedding_BE) - shown).abs().mean()
    return loss


class EncoderLosses(nn.Module):
    """Encoder and teller with their loss around them: pictures [B, S, S, 3] in, the term ``picture`` out."""

    def __init__(self, config: WorldActionConfig) -> None:
        super().__init__()
        self.encoder, self.teller = WorldActionEncoder(config), PictureTeller(config.embedding_dim)

    def forward(self, image_BSSC: Tensor) -> dict[str, Tensor]:
        """Return how far the told pictures are from those shown."""
        return {"picture": picture_loss(self.teller, embed(self.encoder, image_BSSC), image_BSSC)}


class PredictorLosses(nn.Module):
    """A predictor with its loss around it: histories and what came in, the term ``forecast`` out."""

    def __init__(self, predictor: EmbeddingPredictor | MapPredictor, norm: str) -> None:
        super().__init__()
        self.predictor, self._norm = predictor, norm

    def forward(self, history_BN: Tensor, count_B: Tensor, target_BF: Tensor, valid_BF: Tensor) -> dict[str, Tensor]:
        """Return the error of the forecasts that have a target."""
        return {"forecast": forecast_loss(self.predictor(history_BN, count_B), target_BF, valid_BF, self._norm)}


class JointLosses(nn.Module):
    """Encoder, predictor and moving target with their losses around them.

    Args:
        encoder: Trained in place.
        predictor: Trained in place.
        config: The run.
    """

    def __init__(self, encoder: WorldActionEncoder, predictor: EmbeddingPredictor, config: WorldActionTraining) -> None:
        super().__init__()
        self.encoder, self.predictor = encoder, predictor
        self.teller = PictureTeller(config.model.embedding_dim)
        self.target = TargetEncoder(encoder, config.target, steps=config.joint_steps)
        self._norm, self._share = config.norm, config.share_gradient

    def forward(self, past_BNSSC: Tensor, count_B: Tensor, future_BFSSC: Tensor, valid_BF: Tensor) -> dict[str, Tensor]:
        """Return the terms ``forecast`` and ``picture`` of windows of pictures."""
        history_BNE = embed(self.encoder, past_BNSSC.flatten(0, 1)).unflatten(0, past_BNSSC.shape[:2])
        target_BFE = embed(self.target, future_BFSSC.flatten(0, 1)).unflatten(0, future_BFSSC.shape[:2])
        foreseen_BFE = self.predictor(history_BNE if self._share else history_BNE.detach(), count_B)
        return {
            "forecast": forecast_loss(foreseen_BFE, target_BFE, valid_BF, self._norm),
            "picture": picture_loss(self.teller, history_BNE[:, -1], past_BNSSC[:, -1]),
        }
