"""Trains the convolutional encoder: latents that change smoothly with the pose, and still tell what the picture shows.

Pairs of frames seen from nearby poses (moments apart, or on another visit) must agree after one is carried along their
offset; whitening and decorrelation keep the latents from collapsing; a linear read-out must give the principal
components back. A latent that is smooth in the pose is one that a remembered neighbour can stand in for.

Shape suffixes: B = pairs, T = frames, K = candidates, D = latent size, S = image side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from wm_core.memory.keyframes import EXCLUDE_RECENT_S, select_states
from wm_core.memory.reference_batch import StateColumns, nearest_states
from world_model.data.episodes import Episode
from world_model.models.encoders import ConvEncoder, LinearEncoder
from world_model.models.views import ViewWarp
from world_model.runtime.conditioning import offsets_in_frame
from world_model.training.config import StageConfig, TrainConfig
from world_model.training.loop import Draw, Loop, run_stage
from world_model.training.losses import covariance_loss
from world_model.training.report import QUIET, Report

WEIGHTS = {"agreement": 1.0, "reconstruction": 1.0, "covariance": 0.05}
_BATCH = 96
_CANDIDATES = 6
_NEAR_M = 0.35
_NEAR_RAD = 0.3
_MOMENTS = 4
_OTHER_VISIT_SHARE = 0.75


@dataclass(frozen=True)
class PairSource:
    """One episode and, per frame, frames of other visits seen from nearby (-1 where there are fewer), [T, K]."""

    image_TSSC: np.ndarray
    pose_T3: np.ndarray
    other_TK: np.ndarray


def pair_source(episode: Episode) -> PairSource:
    """Return the pairs that an episode offers."""
    pose_T4, stamp_T = np.asarray(episode.pose_T4), np.asarray(episode.stamp_T)
    kept_N = select_states(stamp_T, pose_T4)
    blank = np.zeros((len(kept_N), 1), np.float32)
    found_TK = nearest_states(
        StateColumns(stamp_T[kept_N], pose_T4[kept_N], blank),
        pose_T4[:, [0, 1, 3]],
        stamp_T,
        _CANDIDATES,
        radius_m=_NEAR_M,
        yaw_tolerance_rad=_NEAR_RAD,
        yaw_weight_m=1.0,
        exclude_recent_s=EXCLUDE_RECENT_S,
        chunk=256,
    ).index_QK
    other_TK = np.where(found_TK >= 0, kept_N[found_TK], -1) if len(kept_N) else found_TK
    return PairSource(episode.image_TSSC, pose_T4[:, [0, 1, 3]], other_TK)


def train_encoder(
    components: LinearEncoder,
    sources: Sequence[PairSource],
    image_size: int,
    config: TrainConfig,
    folder: Path | None = None,
    report: Report = QUIET,
) -> ConvEncoder:
    """Return an encoder trained on pairs; a run that was killed goes on from its last checkpoint.

    Args:
        components: Fitted principal components; they stay as they are, beside the convolutions.
        sources: Where pairs come from.
        image_size: Side of the images [px].
        config: The run.
        folder: Where checkpoint and log go; None keeps neither.
        report: Told after each step.
    """
    torch.manual_seed(config.seed)
    losses, steps = PairLosses(components, image_size), config.encoder_steps
    settings = StageConfig(steps=steps, batch=_BATCH, learning_rate=2e-3, warm_up=min(100, steps - 1))
    loop = Loop(config, settings, losses, losses, folder, weights=WEIGHTS)

    def sampler(seed: int) -> Draw:
        return partial(draw_pairs, sources, _BATCH, np.random.default_rng(seed))

    run_stage(loop, sampler, config.seed, "encoder", report)
    return losses.encoder.eval()


class PairLosses(nn.Module):
    """Encoder, view warp and read-out with their losses around them: pairs in, named terms out.

    Args:
        components: Fitted principal components; they stay as they are, beside the convolutions.
        image_size: Side of the images [px].
    """

    weight_D: Tensor

    def __init__(self, components: LinearEncoder, image_size: int) -> None:
        super().__init__()
        size = components.project.out_features
        self.encoder = ConvEncoder(image_size, size)
        self.encoder.components.load_state_dict(components.state_dict())
        self.encoder.components.requires_grad_(False)
        nn.init.eye_(self.encoder.skip.weight)
        self.warp, self.read = ViewWarp(size), nn.Linear(size, size)
        nn.init.eye_(self.read.weight)
        variance_D = 1.0 / components.project.weight.detach().square().sum(dim=1)
        # Between every component alike (all of them hard) and by variance (brightness alone): the root.
        self.register_buffer("weight_D", variance_D.sqrt() / variance_D.sqrt().sum())

    def forward(self, first_BSSC: Tensor, second_BSSC: Tensor, offset_B3: Tensor) -> dict[str, Tensor]:
        """Return the named losses of a batch of pairs; ``offset_B3`` is the second pose seen from the first."""
        image_XSSC = torch.cat([first_BSSC, second_BSSC])
        latent_XD = self.encoder(image_XSSC, None, None)
        component_XD = self.encoder.components(image_XSSC, None, None)
        first_BD, second_BD = latent_XD.chunk(2)
        missed_XD = self.read(latent_XD) - component_XD
        return {
            "agreement": (self.warp(second_BD, offset_B3) - first_BD).square().mean(),
            "reconstruction": (missed_XD.square() * self.weight_D).sum(dim=1).mean(),
            "covariance": covariance_loss(latent_XD),
        }


def draw_pairs(sources: Sequence[PairSource], batch: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return two images each [B, S, S, 3] and the second's pose in the first's frame [B, 3]."""
    first: list[np.ndarray] = []
    second: list[np.ndarray] = []
    offset: list[np.ndarray] = []
    while len(first) < batch:
        source = sources[int(rng.integers(len(sources)))]
        frame = int(rng.integers(_MOMENTS, len(source.pose_T3) - _MOMENTS))
        others = source.other_TK[frame][source.other_TK[frame] >= 0]
        if len(others) and rng.random() < _OTHER_VISIT_SHARE:
            other = int(rng.choice(others))
        else:
            other = frame + int(rng.integers(-_MOMENTS, _MOMENTS + 1))
        if np.isfinite(source.pose_T3[[frame, other]]).all():
            first.append(source.image_TSSC[frame])
            second.append(source.image_TSSC[other])
            offset.append(offsets_in_frame(source.pose_T3[other : other + 1], source.pose_T3[frame])[0])
    images = (torch.from_numpy(np.stack(column)) for column in (first, second))
    return (*images, torch.tensor(np.array(offset), dtype=torch.float32))  # type: ignore[return-value]
