"""Train the slow branch: first an encoder that is worth foreseeing, then the predictor on its frozen embeddings.

Shape suffixes: K = ticks, W = windows, B = batch, V = views (one here), N = past ticks, F = future ticks, E = embedding
size, S = image side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from world_model.data.ticks import TickTable
from world_model.errors import ConfigError
from world_model.models.map_compressor import FeatureCompressor
from world_model.models.target_encoder import TARGETS, TargetEncoder
from world_model.models.world_action import (
    EmbeddingPredictor,
    MapPredictor,
    ServedWorldAction,
    WorldActionConfig,
    WorldActionEncoder,
    share_trunk,
)
from world_model.training.collapse import CollapseWatch, spread
from world_model.training.losses import NORMS, forecast_loss

Log = Callable[[dict[str, Any]], None]
_LEAST_SCALE = 1e-2


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How the slow branch is trained.

    Attributes:
        target: ``frozen | ema``; see ``TargetEncoder``.
        norm: ``l1 | l2``.
        encoder_steps: Steps of learning to say what a picture shows.
        predictor_steps: Steps of learning to foresee.
        joint_steps: Steps of ``ema``, in which encoder and predictor learn together.
        encoder_batch: Pictures per step.
        predictor_batch: Windows per step.
        learning_rate: Highest rate; it rises over 5 % of the steps and falls to zero along a cosine.
        weight_decay: Of AdamW.
        picture_weight: Weight of telling the picture beside the forecast in ``joint_steps``.
        share_gradient: Let the forecast's loss into the encoder. Off by default: it spoilt the fast task elsewhere.
        input_noise: Standard deviation of the noise on history embeddings while the predictor learns.
        seed: Of everything random.
    """

    target: str = "frozen"
    norm: str = "l1"
    encoder_steps: int = 4000
    predictor_steps: int = 6000
    joint_steps: int = 1500
    encoder_batch: int = 64
    predictor_batch: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    picture_weight: float = 1.0
    share_gradient: bool = False
    input_noise: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if self.target not in TARGETS:
            raise ConfigError(f"target is {self.target!r}, expected one of {TARGETS}")
        if self.norm not in NORMS:
            raise ConfigError(f"norm is {self.norm!r}, expected one of {NORMS}")
        if min(self.encoder_steps, self.predictor_steps, self.encoder_batch, self.predictor_batch) < 1:
            raise ConfigError("steps and batches must be 1 or more")

    def to_dict(self) -> dict[str, Any]:
        """Return the entries as plain values."""
        return asdict(self)


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
        return self.stages(self.start(embedding_BE).unflatten(1, (self.width, 4, 4)))


def picture_loss(teller: PictureTeller, embedding_BE: Tensor, image_BSSC: Tensor) -> Tensor:
    """Return the mean absolute difference between the told and the shown picture."""
    shown = image_BSSC.permute(0, 3, 1, 2).float() / 127.5 - 1.0
    shown = nn.functional.adaptive_avg_pool2d(shown, PictureTeller.SIDE)
    return (teller(embedding_BE) - shown).abs().mean()


def train_encoder(
    config: WorldActionConfig,
    how: TrainingConfig,
    table: TickTable,
    log: Log,
    fast_encoder: nn.Module | None = None,
) -> WorldActionEncoder:
    """Return an encoder that can tell the picture, standardised on the training set.

    Args:
        config: Its shape.
        how: How to train.
        table: Pictures.
        log: Takes one entry now and then.
        fast_encoder: Whose convolutions a backbone ``encoder`` shares.

    Raises:
        ConfigError: The backbone is to be shared and there is nothing to share.
    """
    torch.manual_seed(how.seed)
    encoder, teller = WorldActionEncoder(config), PictureTeller(config.embedding_dim)
    if config.backbone == "encoder":
        if fast_encoder is None:
            raise ConfigError("backbone is 'encoder', but no encoder was given")
        share_trunk(encoder, fast_encoder, how.share_gradient)
    images = torch.from_numpy(table.image)
    learning = [p for p in (*encoder.parameters(), *teller.parameters()) if p.requires_grad]
    optimiser, schedule = _optimiser(learning, how, how.encoder_steps)
    for step, rows in enumerate(_batches(len(images), how.encoder_batch, how.encoder_steps, how.seed)):
        batch = _augment(images[rows], step)
        valid = torch.ones(len(batch), 1, dtype=torch.bool)
        embedding = encoder(batch[:, None], valid)
        loss = picture_loss(teller, embedding, batch)
        _descend(loss, optimiser, schedule)
        if step % 200 == 0 or step == how.encoder_steps - 1:
            log({"stage": "encoder", "step": step, "loss": float(loss.detach()), **asdict(spread(embedding))})
    standardise(encoder, images)
    return encoder.eval()


@torch.no_grad()
def standardise(encoder: WorldActionEncoder, images_KSSC: Tensor) -> None:
    """Set the encoder's mean and scale so that embeddings of these images have mean 0 and variance 1."""
    encoder.mean.zero_()
    encoder.scale.fill_(1.0)
    raw_KE = embed_all(encoder, images_KSSC)
    encoder.mean.copy_(raw_KE.mean(0))
    deviation_E = raw_KE.std(0)
    # A dimension that hardly varies is not blown up into noise.
    encoder.scale.copy_(deviation_E.clamp(min=_LEAST_SCALE * float(deviation_E.max())))


@torch.no_grad()
def embed_all(encoder: WorldActionEncoder | TargetEncoder, images_KSSC: Tensor, batch: int = 256) -> Tensor:
    """Return the embeddings of single-view images, [K, E]."""
    parts = [
        encoder(images[:, None], torch.ones(len(images), 1, dtype=torch.bool)) for images in images_KSSC.split(batch)
    ]
    return torch.cat(parts)


@torch.no_grad()
def maps_all(encoder: WorldActionEncoder, compressor: FeatureCompressor, images_KSSC: Tensor) -> Tensor:
    """Return the compressed feature maps of single-view images, [K, C, h, w]."""
    return torch.cat([compressor(encoder.maps(images[:, None])[:, 0]) for images in images_KSSC.split(256)])


def train_predictor(
    predictor: EmbeddingPredictor | MapPredictor, how: TrainingConfig, features_K: Tensor, table: TickTable, log: Log
) -> None:
    """Teach a predictor to foresee frozen features [K, ...] from the windows of the table.

    Histories are cut to a random length half of the time, so that the first seconds of an episode are served as well.
    """
    generator = torch.Generator().manual_seed(how.seed)
    past_WN, future_WF = torch.from_numpy(table.past), torch.from_numpy(table.future)
    optimiser, schedule = _optimiser(list(predictor.parameters()), how, how.predictor_steps)
    predictor.train()
    batches = _batches(len(past_WN), how.predictor_batch, how.predictor_steps, how.seed)
    for step, rows in enumerate(batches):
        past_BN, future_BF = past_WN[rows], future_WF[rows]
        count_B = _cut(past_BN, generator)
        history = features_K[past_BN.clamp(min=0)]
        history = history + how.input_noise * torch.randn(history.shape, generator=generator)
        foreseen = predictor(history, count_B)
        loss = forecast_loss(foreseen, features_K[future_BF.clamp(min=0)], future_BF >= 0, how.norm)
        _descend(loss, optimiser, schedule)
        if step % 500 == 0 or step == how.predictor_steps - 1:
            log({"stage": "predictor", "step": step, "loss": float(loss.detach())})
    predictor.eval()


def train_joint(
    encoder: WorldActionEncoder,
    predictor: EmbeddingPredictor,
    config: WorldActionConfig,
    how: TrainingConfig,
    table: TickTable,
    log: Log,
) -> TargetEncoder:
    """Teach encoder and predictor together against a moving target; return the target.

    Collapse is watched: variance and rank of the embeddings go into the log, and a collapse is named there.
    """
    images = torch.from_numpy(table.image)
    target = TargetEncoder(encoder, how.target, steps=how.joint_steps)
    teller = PictureTeller(config.embedding_dim)
    optimiser, schedule = _optimiser(
        [*encoder.parameters(), *predictor.parameters(), *teller.parameters()], how, how.joint_steps
    )
    watch: CollapseWatch | None = None
    past_WN, future_WF = torch.from_numpy(table.past), torch.from_numpy(table.future)
    for step, rows in enumerate(_batches(len(past_WN), how.encoder_batch, how.joint_steps, how.seed)):
        past_BN, future_BF = past_WN[rows], future_WF[rows]
        history_BNE = _embed_windows(encoder, images, past_BN)
        seen_BNE = history_BNE if how.share_gradient else history_BNE.detach()
        target_BFE = _embed_windows(target, images, future_BF)
        foreseen = predictor(seen_BNE, (past_BN >= 0).sum(1))
        forecast = forecast_loss(foreseen, target_BFE, future_BF >= 0, how.norm)
        picture = picture_loss(teller, history_BNE[:, -1], images[past_BN[:, -1]])
        _descend(forecast + how.picture_weight * picture, optimiser, schedule)
        target.update(encoder)
        if step % 100 == 0 or step == how.joint_steps - 1:
            now = spread(history_BNE[:, -1])
            watch = watch or CollapseWatch(now)
            parts = {"forecast": float(forecast.detach()), "picture": float(picture.detach())}
            log({"stage": "joint", "step": step, **parts, **asdict(now), "collapse": watch.verdict(now)})
    return target


def train(
    config: WorldActionConfig,
    how: TrainingConfig,
    table: TickTable,
    log: Log,
    fast_encoder: nn.Module | None = None,
) -> ServedWorldAction:
    """Return a trained slow branch that foresees embeddings; arguments as ``train_encoder``."""
    encoder = train_encoder(config, how, table, log, fast_encoder)
    torch.manual_seed(how.seed + 1)
    predictor = EmbeddingPredictor(config)
    if how.target == "ema":
        target = train_joint(encoder, predictor, config, how, table, log)
        # Serving has one encoder: the one whose embeddings the forecasts are about.
        encoder = target.copy
        standardise(encoder, torch.from_numpy(table.image))
    features_KE = embed_all(encoder, torch.from_numpy(table.image))
    log({"stage": "embeddings", **asdict(spread(features_KE[:: max(len(features_KE) // 4096, 1)]))})
    train_predictor(predictor, how, features_KE, table, log)
    return ServedWorldAction(encoder, predictor).eval()


def adapt(module: ServedWorldAction, how: TrainingConfig, table: TickTable, log: Log) -> ServedWorldAction:
    """Return the slow branch fitted to another place or camera: its scale measured anew, its predictor trained on.

    The encoder's weights stay; a few minutes of driving are too little to learn to see from.
    """
    images = torch.from_numpy(table.image)
    standardise(module.encoder, images)
    features_KE = embed_all(module.encoder, images)
    log({"stage": "embeddings", **asdict(spread(features_KE))})
    train_predictor(module.predictor, how, features_KE, table, log)
    return module.eval()


def _embed_windows(encoder: WorldActionEncoder | TargetEncoder, images: Tensor, rows_BN: Tensor) -> Tensor:
    flat = images[rows_BN.clamp(min=0).flatten()][:, None]
    return encoder(flat, torch.ones(len(flat), 1, dtype=torch.bool)).unflatten(0, rows_BN.shape)


def _cut(past_BN: Tensor, generator: torch.Generator) -> Tensor:
    real_B = (past_BN >= 0).sum(1)
    draw_B = torch.randint(1, past_BN.shape[1] + 1, real_B.shape, generator=generator)
    cut_B = torch.rand(real_B.shape, generator=generator) < 0.5
    return torch.where(cut_B, torch.minimum(real_B, draw_B), real_B)


def _augment(image_BSSC: Tensor, step: int) -> Tensor:
    """Return the pictures under another light: between two visits the light changes."""
    generator = torch.Generator().manual_seed(step)
    gain = 1.0 + 0.15 * torch.randn(len(image_BSSC), 1, 1, 1, generator=generator)
    return (image_BSSC.float() * gain).clamp(0.0, 255.0).to(torch.uint8)


def _batches(size: int, batch: int, steps: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        yield torch.randint(0, size, (batch,), generator=generator)


def _optimiser(
    parameters: list[nn.Parameter], how: TrainingConfig, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimiser = torch.optim.AdamW(parameters, lr=how.learning_rate, weight_decay=how.weight_decay)
    warm = max(steps // 20, 1)

    def rate(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return float(0.5 * (1.0 + np.cos(np.pi * (step - warm) / max(steps - warm, 1))))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, rate)


def _descend(loss: Tensor, optimiser: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], 1.0)
    optimiser.step()
    schedule.step()
