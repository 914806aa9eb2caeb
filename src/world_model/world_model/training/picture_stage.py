"""Trains a residual encoder together with the decoder of its pictures: latents that can be shown and foreseen.

Short clips are encoded; each latent must give its picture back, and from the first frames of a clip the latents of the
others must be imagined, by a forecaster that is only there for this: the transition is trained later, on the latents as
they then are. What is imagined is compared with latents that get no gradient from it, or the easiest to foresee would
be latents that all say the same.

Shape suffixes: B = clips, L = frames, X = B * L pictures, S = image side, D = latent size, A = action size,
N = imagined frames.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from world_model.data.episodes import Episode
from world_model.models.decoders import CoarseAndFine
from world_model.models.factory import make_decoder, make_encoder, make_transition
from world_model.models.residual import Beginning, ResidualBlock
from world_model.optional import extra
from world_model.runtime.conditioning import MOTION_FEATURES
from world_model.runtime.pictures import psnr_per_picture
from world_model.training.budget import Budget, budget_of
from world_model.training.clips import ClipSampler, optional_inputs
from world_model.training.config import TrainConfig
from world_model.training.loop import Loop, Progress, Terms, divide
from world_model.training.losses import (
    covariance_loss,
    horizon_weights,
    magnitude_loss,
    prediction_loss,
    reconstruction_loss,
    variance_loss,
)
from world_model.training.recompute import recomputed
from world_model.training.transition_stage import context_terms, observe_all

_VALIDATION_BATCHES = 4
"""Of a validation; one of them where the time is limited, which learning needs more."""
_COMPONENT_PICTURES = 6000
# Variance below which a dimension's error is not divided by it: a fresh encoder hardly tells two frames apart.
_LEAST_VARIANCE = 1e-4


class Pictures(nn.Module):
    """Encoder, decoder and the forecaster that makes latents foreseeable; what the stage trains and saves."""

    encoder: nn.Module
    decoder: nn.Module

    def __init__(self, config: TrainConfig, image_size: int, action_dim: int) -> None:
        super().__init__()
        self.encoder = make_encoder(config.model, image_size)
        self.decoder = make_decoder(config.model, image_size)
        self.forecaster = make_transition(config.model, action_dim, use_memory=False)
        # Neither has a part in imagining.
        for unused in (self.forecaster.memory, self.forecaster.history, self.forecaster.path):
            unused.requires_grad_(False)

    def begin_at(self, episodes: Sequence[Episode]) -> None:
        """Begin with the principal components of some pictures, where encoder and decoder have room for them."""
        encoder, decoder = self.encoder, self.decoder
        if not isinstance(encoder, Beginning) or not isinstance(decoder, CoarseAndFine):
            return
        if encoder.components is None:
            return
        image_NSSC = some_pictures(episodes, _COMPONENT_PICTURES)
        encoder.begin_at(image_NSSC)
        components = copy.deepcopy(encoder.components).cpu()
        with torch.no_grad():
            latent_ND = torch.cat([components(part_NSSC) for part_NSSC in image_NSSC.split(512)])
        decoder.begin_at(image_NSSC, latent_ND)

    def layers(self) -> Iterable[nn.Module]:
        """Return the layers whose activations take the memory."""
        yield from (module for module in self.encoder.modules() if isinstance(module, ResidualBlock))
        yield from (m for m in self.decoder.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d))


class PictureLosses(nn.Module):
    """The networks of this stage with their losses around them: tensors of clips in, named terms out.

    Terms: ``reconstruction``, ``prediction``, ``magnitude``, ``variance``, ``covariance``; ``squared`` and
    ``perceptual`` where they have a weight, and what the context brings of its own.

    Args:
        pictures: The networks.
        config: The run.
        perceptual: Compares decoded and real pictures, or None.
        step_s: Time between frames [s].
    """

    weight_N: Tensor

    def __init__(self, pictures: Pictures, config: TrainConfig, perceptual: nn.Module | None, step_s: float) -> None:
        super().__init__()
        self.pictures, self.perceptual = pictures, perceptual
        self._model, self._settings, self._step_s = config.model, config.pictures, step_s
        self._squared = config.losses.squared > 0
        imagined = config.pictures.sequence - config.pictures.burn_in
        self.register_buffer("weight_N", horizon_weights(imagined, config.pictures.horizon_weight))

    def forward(self, image_BLSSC: Tensor, action_BLA: Tensor, *extra: Tensor) -> dict[str, Tensor]:
        """Return the named losses of clips, see ``ClipSampler.columns``."""
        render: Any = self.pictures.decoder.render
        layers = self.pictures.layers() if self._settings.checkpoint_activations and self.training else ()
        stills, extra = (extra[-1:], extra[:-1]) if self._settings.stills else ((), extra)
        with recomputed(layers):
            image_XSSC = torch.cat([image_BLSSC.flatten(0, 1), *stills])
            given = optional_inputs([tensor.flatten(0, 1) for tensor in extra], self._model)
            latent_XD = self.pictures.encoder(image_XSSC, *given)
            rendered_X3SS = render(latent_XD)
        # Sums over many values; half precision would lose what they are about.
        with torch.autocast(image_BLSSC.device.type, enabled=False):
            latent_XD = latent_XD.float()
            terms = self._picture_terms(rendered_X3SS.float(), image_XSSC)
            terms |= latent_terms(latent_XD)
            in_clips = image_BLSSC.size(0) * image_BLSSC.size(1)
            if not in_clips:
                return terms
            clip_BLD = latent_XD[:in_clips].unflatten(0, image_BLSSC.shape[:2])
            return terms | self._imagination_terms(clip_BLD, action_BLA)

    def _picture_terms(self, rendered_X3SS: Tensor, image_XSSC: Tensor) -> dict[str, Tensor]:
        truth_X3SS = image_XSSC.permute(0, 3, 1, 2).float() / 255.0
        decoded_X3SS = (rendered_X3SS + 1.0) / 2.0
        terms = {"reconstruction": reconstruction_loss(decoded_X3SS, truth_X3SS)}
        if self._squared:
            terms["squared"] = (decoded_X3SS - truth_X3SS).square().mean()
        if self.perceptual is not None:
            terms["perceptual"] = self.perceptual(rendered_X3SS, 2.0 * truth_X3SS - 1.0)
        return terms

    def _imagination_terms(self, latent_BLD: Tensor, action_BLA: Tensor) -> dict[str, Tensor]:
        seen, model = self._settings.burn_in, self.pictures.forecaster
        state_BLC = observe_all(model, latent_BLD[:, :seen], action_BLA[:, :seen])
        # The imagination observes the present itself, so it starts from the state before.
        before_BC = state_BLC[:, seen - 2] if seen > 1 else model.initial(len(latent_BLD))
        present, last = seen - 1, latent_BLD.size(1) - 1
        motion_BNM = latent_BLD.new_zeros(len(latent_BLD), last - present, MOTION_FEATURES)
        imagined_BND = model.rollout(
            latent_BLD[:, present], action_BLA[:, present:last], motion_BNM, before_BC, self._step_s
        )
        truth_BND = latent_BLD[:, seen:].detach().float()
        variance_D = truth_BND.flatten(0, 1).var(dim=0).clamp(min=_LEAST_VARIANCE)
        terms = {"prediction": prediction_loss(imagined_BND.float(), truth_BND, variance_D, self.weight_N)}
        return terms | context_terms(model, latent_BLD[:, :seen], action_BLA[:, :seen], state_BLC)


def latent_terms(latent_XD: Tensor) -> dict[str, Tensor]:
    """Return what keeps latents small, spread out and different from one another, by name."""
    return {
        "magnitude": magnitude_loss(latent_XD),
        "variance": variance_loss(latent_XD),
        "covariance": covariance_loss(latent_XD),
    }


class PictureTrainer:
    """Trains ``Pictures``; a run that was killed goes on from its last checkpoint.

    Args:
        config: The run.
        pictures: The networks.
        folder: Where checkpoints and logs go.
        step_s: Time between frames [s].
        fabric: Devices and precision; default: as configured.
        budget: Time instead of steps; default: as configured.

    Raises:
        ArtifactError: The perceptual loss is wanted, and its weights cannot be read.
    """

    def __init__(
        self,
        config: TrainConfig,
        pictures: Pictures,
        folder: Path,
        step_s: float,
        fabric: Fabric | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._config, self._pictures = config, pictures
        wanted = config.losses.perceptual > 0
        perceptual = extra("perceptual").load_perceptual(Path(config.losses.perceptual_path)) if wanted else None
        losses = PictureLosses(pictures, config, perceptual, step_s)
        self._budget = budget or budget_of(config, "pictures", folder)
        self._loop = Loop(config, config.pictures, pictures, losses, folder, fabric, budget=self._budget)

    def fit(
        self,
        train: Sequence[Episode],
        valid: Sequence[Episode] = (),
        progress: Callable[[Progress], None] = lambda _: None,
        sights: Sequence[Episode] = (),
    ) -> Terms:
        """Train to the configured number of steps, or for the budget, and return the last losses.

        They are those of the last validation where there are held-out episodes, else of the last step.

        Args:
            train: Films to learn from.
            valid: Held-out films.
            progress: Told after each step.
            sights: Further pictures, see ``ClipSampler``.

        Raises:
            DataError: A episode is shorter than a clip.
        """
        loop, seed = self._loop, self._config.seed
        if not self._loop.has_checkpoint:
            self._pictures.begin_at([*train, *sights])
        sampler = self._sampler(train, seed, loop.fabric.device, sights)
        # Afterwards: what is copied to the device takes no time from learning.
        loop.resume()
        sampler.reseed(seed * 1000 + loop.step)
        check = partial(self.validate, valid) if len(valid) else None
        # Colours side by side are what a GPU's convolutions are fastest with.
        _lay_out(self._pictures.decoder, torch.channels_last if loop.fabric.device.type == "cuda" else None)
        terms = loop.run(lambda: self.one_step(sampler), check, progress)
        _lay_out(self._pictures.decoder, torch.contiguous_format)
        return terms

    def one_step(self, sampler: ClipSampler) -> Terms:
        """Take one optimiser step on fresh clips and return its losses."""
        count, settings = self._loop.parts_count, self._config.pictures
        if self._budget is not None:
            # A run that goes on draws what one that was not interrupted would have drawn.
            sampler.reseed([self._config.seed, self._loop.step])
        clips, stills = settings.batch * count, settings.stills * count
        if self._loop.step % settings.imagine_every:
            clips, stills = 0, stills + clips * settings.sequence
        columns = sampler.columns(clips, stills)
        return self._loop.take_step(divide(columns, count))

    def validate(self, episodes: Sequence[Episode]) -> Terms:
        """Return the mean losses over fixed clips of held-out episodes, and with a budget the PSNR [dB] of pictures."""
        settings = self._config.pictures
        sampler = self._sampler(episodes, 12345)
        count = _VALIDATION_BATCHES if self._budget is None else 1
        drawn = [sampler.columns(settings.batch, settings.stills) for _ in range(count)]
        terms = self._loop.mean_terms(drawn)
        if self._budget is None:
            return terms
        return {**terms, "psnr_db": held_out_psnr(self._pictures, episodes, self._loop.fabric.device)}

    def _sampler(
        self,
        episodes: Sequence[Episode],
        seed: int,
        device: torch.device | None = None,
        sights: Sequence[Episode] = (),
    ) -> ClipSampler:
        return ClipSampler(episodes, self._config.model, self._config.pictures.sequence, seed, device, sights)


def some_pictures(episodes: Sequence[Episode], count: int) -> Tensor:
    """Return some pictures, as many of each episode, evenly spread, [N, S, S, 3]."""
    each = -(-count // len(episodes))
    rows = [np.linspace(0, len(episode) - 1, min(each, len(episode))).astype(int) for episode in episodes]
    return torch.from_numpy(np.concatenate([np.asarray(e.image_TSSC[row_N]) for e, row_N in zip(episodes, rows)]))


def _lay_out(module: nn.Module, layout: torch.memory_format | None) -> None:
    """Lay the weights of a module's convolutions out in memory; None leaves them."""
    if layout is not None:
        module.to(memory_format=layout)  # type: ignore[call-overload]


def held_out_psnr(pictures: Pictures, episodes: Sequence[Episode], device: torch.device, count: int = 256) -> float:
    """Return the mean PSNR of pictures that were encoded and decoded, some spread over all episodes [dB]."""
    each = max(count // len(episodes), 1)
    scores = []
    with torch.inference_mode():
        for episode in episodes:
            rows = np.linspace(0, len(episode) - 1, min(each, len(episode))).astype(int)
            image_NSSC = torch.from_numpy(np.asarray(episode.image_TSSC)[rows]).to(device)
            scores.append(psnr_per_picture(pictures.decoder(pictures.encoder(image_NSSC)), image_NSSC))
    return float(torch.cat(scores).mean())
