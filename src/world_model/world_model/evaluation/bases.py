"""The stretches of an episode in one basis each: a robot's own projection takes over when its first minutes are seen.

Shape suffixes: T = frames, F = numbers of a feature, D = latent size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wm_core.projection import Projection
from world_model.data.encoding import encode_episode
from world_model.data.episodes import Episode
from world_model.runtime.artifacts import Artifact
from world_model.runtime.fitting import FRAMES, gathered


@dataclass(frozen=True)
class Stretch:
    """Frames whose latents are in one basis.

    Attributes:
        first: Its first row.
        end: The row after its last.
        latent_TD: Latents of all frames of the episode in this basis.
        variance_D: The unit of errors in it; ``None`` before there is one.
        projection: From features to latents; ``None`` where the encoder makes latents itself.
    """

    first: int
    end: int
    latent_TD: np.ndarray
    variance_D: np.ndarray | None
    projection: Projection | None = None


@dataclass(frozen=True)
class SeenEpisode:
    """An episode as an artifact sees it: its stretches in order, and the features where there are such, [T, F]."""

    stretches: tuple[Stretch, ...]
    code_TF: np.ndarray | None = None


def see(artifact: Artifact, episode: Episode, frames: int = FRAMES, own: Projection | None = None) -> SeenEpisode:
    """Return an episode as the live graph would see it from its start.

    Args:
        artifact: Whose encoder sees it.
        episode: What is seen.
        frames: Features in motion that the robot's own projection is fitted on.
        own: The projection that the robot's profile holds, in use from the first frame; ``None`` fits one.

    Raises:
        DataError: The episode lacks something the encoder takes.
        ProjectionError: Nothing can be fitted on its features.
    """
    manifest = artifact.manifest
    if artifact.projection is None:
        latent_TD = encode_episode(artifact.encoder(), episode, manifest.inputs)
        return SeenEpisode((Stretch(0, len(episode), latent_TD, np.array(manifest.latent_variance)),))
    network, fixed = artifact.features(), artifact.projection
    code_TF = network.encode_all(episode.image_TSSC)
    if own is not None:
        return SeenEpisode((_stretch(0, len(episode), code_TF, own),), code_TF)
    collector, needed = gathered(network.space, zip(code_TF, episode.stamp_T.tolist()), frames)
    # The frame after the last that was needed is the first in the new basis.
    switch = len(episode) if needed is None else needed
    stretches = [Stretch(0, switch, fixed.project(code_TF), None, fixed)]
    if switch < len(episode):
        stretches.append(_stretch(switch, len(episode), code_TF, collector.fit(manifest.z_dim)))
    return SeenEpisode(tuple(stretches), code_TF)


def _stretch(first: int, end: int, code_TF: np.ndarray, own: Projection) -> Stretch:
    assert own.variance is not None
    return Stretch(first, end, own.project(code_TF), np.full(own.z_dim, own.variance), own)
