"""Train the slow branch: first an encoder that is worth foreseeing, then the predictor on its frozen embeddings.

Shape suffixes: K = ticks, W = windows, B = batch, V = views (one here), N = past ticks, F = future ticks, E = embedding
size, S = image side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from world_model.data.ticks import TickTable
from world_model.errors import ConfigError
from world_model.models.map_compressor import FeatureCompressor
from world_model.models.target_encoder import TargetEncoder
from world_model.models.world_action import (
    EmbeddingPredictor,
    MapPredictor,
    ServedWorldAction,
    WorldActionEncoder,
    share_trunk,
)
from world_model.training.collapse import CollapseWatch, spread
from world_model.training.loop import Draw, Loop, Terms, run_stage
from world_model.training.report import QUIET, Report
from world_model.training.world_action_config import WorldActionTraining
from world_model.training.world_action_losses import EncoderLosses, JointLosses, PredictorLosses, embed

_LEAST_SCALE = 1e-2
# So many pictures tell how much embeddings vary.
_WATCHED = 256


def train_encoder(
    config: WorldActionTraining,
    table: TickTable,
    folder: Path | None = None,
    report: Report = QUIET,
    fast_encoder: nn.Module | None = None,
) -> WorldActionEncoder:
    """Return an encoder that can tell the picture, standardised on the training set.

    Args:
        config: The run.
        table: Pictures.
        folder: Where checkpoints and logs go; None keeps neither.
        report: Told after each step.
        fast_encoder: Whose convolutions a backbone ``encoder`` shares.

    Raises:
        ConfigError: The backbone is to be shared and there is nothing to share.
    """
    torch.manual_seed(config.seed)
    losses = EncoderLosses(config.model)
    if config.model.backbone == "encoder":
        if fast_encoder is None:
            raise ConfigError("model.backbone is 'encoder', but no encoder was given")
        share_trunk(losses.encoder, fast_encoder, config.share_gradient)
    images = _every_picture(table)
    settings = config.stage(config.encoder_steps, config.encoder_batch)
    loop = Loop(config, settings, losses, losses, _in(folder, "encoder"), weights={})
    run_stage(loop, partial(_pictures, images, config.encoder_batch), config.seed, "encoder", report)
    standardise(losses.encoder, *_ticks(table))
    return losses.encoder.eval()


@torch.no_grad()
def standardise(encoder: WorldActionEncoder, images: Tensor, known_KV: Tensor | None = None) -> None:
    """Set the encoder's mean and scale so that embeddings of these images have mean 0 and variance 1.

    Arguments as ``embed_all``.
    """
    encoder.mean.zero_()
    encoder.scale.fill_(1.0)
    raw_KE = embed_all(encoder, images, known_KV)
    encoder.mean.copy_(raw_KE.mean(0))
    deviation_E = raw_KE.std(0)
    # A dimension that hardly varies is not blown up into noise.
    encoder.scale.copy_(deviation_E.clamp(min=_LEAST_SCALE * float(deviation_E.max())))


@torch.no_grad()
def embed_all(
    encoder: WorldActionEncoder | TargetEncoder, images: Tensor, known_KV: Tensor | None = None, batch: int = 256
) -> Tensor:
    """Return embeddings, [K, E].

    Args:
        encoder: What sees.
        images: Single views [K, S, S, 3]; with ``known_KV`` several together [K, V, S, S, 3].
        known_KV: Which views there are.
        batch: Ticks at a time.
    """
    if known_KV is None:
        return torch.cat([embed(encoder, part) for part in images.split(batch)])
    return torch.cat([encoder(part, known) for part, known in zip(images.split(batch), known_KV.split(batch))])


def embed_ticks(encoder: WorldActionEncoder, table: TickTable) -> Tensor:
    """Return the embeddings of all ticks of a table, [K, E]."""
    return embed_all(encoder, *_ticks(table))


def _ticks(table: TickTable) -> tuple[Tensor, Tensor]:
    """Return all views of each tick and which there are."""
    images, known = table.pictures()
    return torch.from_numpy(images), torch.from_numpy(known)


def _every_picture(table: TickTable) -> Tensor:
    """Return what all cameras showed, one by one: the encoder learns to see from each."""
    if table.views is None or table.views_known is None:
        return torch.from_numpy(table.image)
    return torch.from_numpy(np.concatenate([table.image, table.views[table.views_known]]))


@torch.no_grad()
def maps_all(encoder: WorldActionEncoder, compressor: FeatureCompressor, images_KSSC: Tensor) -> Tensor:
    """Return the compressed feature maps of single-view images, [K, C, h, w]."""
    return torch.cat([compressor(encoder.maps(images[:, None])[:, 0]) for images in images_KSSC.split(256)])


def train_predictor(
    predictor: EmbeddingPredictor | MapPredictor,
    config: WorldActionTraining,
    features_K: Tensor,
    table: TickTable,
    folder: Path | None = None,
    report: Report = QUIET,
) -> None:
    """Teach a predictor to foresee frozen features [K, ...] from the windows of the table.

    Histories are cut to a random length half of the time, so that the first seconds of an episode are served as well.
    """
    settings = config.stage(config.predictor_steps, config.predictor_batch)
    losses = PredictorLosses(predictor, config.norm)
    loop = Loop(config, settings, predictor, losses, _in(folder, "predictor"), weights={})
    run_stage(loop, partial(_windows, features_K, table, config), config.seed, "predictor", report)


def train_joint(
    encoder: WorldActionEncoder,
    predictor: EmbeddingPredictor,
    config: WorldActionTraining,
    table: TickTable,
    folder: Path | None = None,
    report: Report = QUIET,
) -> TargetEncoder:
    """Teach encoder and predictor together against a moving target; return the target.

    Collapse is watched: variance and rank of the embeddings go into the log, and a collapse is told.
    """
    images = torch.from_numpy(table.image)
    losses = JointLosses(encoder, predictor, config)
    loop = Loop(config, config.stage(config.joint_steps, config.encoder_batch), losses, losses, _in(folder, "joint"))
    run_stage(
        loop,
        partial(_picture_windows, images, table, config.encoder_batch),
        config.seed,
        "joint",
        report,
        after_step=lambda: losses.target.update(encoder),
        validate=_watch(encoder, images, report),
    )
    return losses.target


def train(
    config: WorldActionTraining,
    table: TickTable,
    folder: Path | None = None,
    report: Report = QUIET,
    fast_encoder: nn.Module | None = None,
) -> ServedWorldAction:
    """Return a trained slow branch that foresees embeddings; arguments as ``train_encoder``."""
    encoder = train_encoder(config, table, folder, report, fast_encoder)
    torch.manual_seed(config.seed + 1)
    predictor = EmbeddingPredictor(config.model)
    if config.target == "ema":
        target = train_joint(encoder, predictor, config, table, folder, report)
        # Serving has one encoder: the one whose embeddings the forecasts are about.
        encoder = target.copy
        standardise(encoder, *_ticks(table))
    return _foreseeing(encoder, predictor, config, table, folder, report)


def adapt(
    module: ServedWorldAction,
    config: WorldActionTraining,
    table: TickTable,
    folder: Path | None = None,
    report: Report = QUIET,
    keep_scale: bool = False,
) -> ServedWorldAction:
    """Return the slow branch fitted to another place or camera: its scale measured anew, its predictor trained on.

    The encoder's weights stay; a few minutes of driving are too little to learn to see from. With ``keep_scale`` its
    scale stays too, so whoever reads the embeddings meets the same ones as before.
    """
    if not keep_scale:
        standardise(module.encoder, *_ticks(table))
    return _foreseeing(module.encoder, module.predictor, config, table, folder, report)


def _foreseeing(
    encoder: WorldActionEncoder,
    predictor: EmbeddingPredictor,
    config: WorldActionTraining,
    table: TickTable,
    folder: Path | None,
    report: Report,
) -> ServedWorldAction:
    features_KE = embed_ticks(encoder, table)
    now = spread(features_KE[:: max(len(features_KE) // 4096, 1)])
    report.say(f"embeddings: variance {now.variance:.3f}, effective rank {now.rank:.1f}")
    train_predictor(predictor, config, features_KE, table, folder, report)
    return ServedWorldAction(encoder, predictor).eval()


def _in(folder: Path | None, stage: str) -> Path | None:
    return None if folder is None else folder / stage


def _watch(encoder: WorldActionEncoder, images: Tensor, report: Report) -> Callable[[], Terms]:
    """Return a validation that tells when embeddings begin to say the same of everything."""
    sample = images[:: max(len(images) // _WATCHED, 1)]
    watch = CollapseWatch(spread(embed_all(encoder, sample)))

    def validate() -> Terms:
        now = spread(embed_all(encoder, sample))
        verdict = watch.verdict(now)
        if verdict is not None:
            report.say(f"joint: {verdict}")
        return asdict(now)

    return validate


def _pictures(images: Tensor, batch: int, seed: int) -> Draw:
    """Return what draws pictures under another light: between two visits the light changes."""
    generator = torch.Generator().manual_seed(seed)

    def draw() -> list[Tensor]:
        image_BSSC = images[torch.randint(len(images), (batch,), generator=generator)]
        gain = 1.0 + 0.15 * torch.randn(batch, 1, 1, 1, generator=generator)
        return [(image_BSSC.float() * gain).clamp(0.0, 255.0).to(torch.uint8)]

    return draw


def _windows(features_K: Tensor, table: TickTable, config: WorldActionTraining, seed: int) -> Draw:
    generator = torch.Generator().manual_seed(seed)
    past_WN, future_WF = torch.from_numpy(table.past), torch.from_numpy(table.future)

    def draw() -> list[Tensor]:
        rows = torch.randint(len(past_WN), (config.predictor_batch,), generator=generator)
        past_BN, future_BF = past_WN[rows], future_WF[rows]
        count_B = _cut(past_BN, generator)
        history = features_K[past_BN.clamp(min=0)]
        history = history + config.input_noise * torch.randn(history.shape, generator=generator)
        return [history, count_B, features_K[future_BF.clamp(min=0)], future_BF >= 0]

    return draw


def _picture_windows(images: Tensor, table: TickTable, batch: int, seed: int) -> Draw:
    generator = torch.Generator().manual_seed(seed)
    past_WN, future_WF = torch.from_numpy(table.past), torch.from_numpy(table.future)

    def draw() -> list[Tensor]:
        rows = torch.randint(len(past_WN), (batch,), generator=generator)
        past_BN, future_BF = past_WN[rows], future_WF[rows]
        count_B = (past_BN >= 0).sum(1)
        return [images[past_BN.clamp(min=0)], count_B, images[future_BF.clamp(min=0)], future_BF >= 0]

    return draw


def _cut(past_BN: Tensor, generator: torch.Generator) -> Tensor:
    real_B = (past_BN >= 0).sum(1)
    draw_B = torch.randint(1, past_BN.shape[1] + 1, real_B.shape, generator=generator)
    cut_B = torch.rand(real_B.shape, generator=generator) < 0.5
    return torch.where(cut_B, torch.minimum(real_B, draw_B), real_B)
