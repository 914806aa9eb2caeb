"""The basis that a robot would have fitted on its own pictures, for a recording that is served alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from world_model.data.episodes import Episode
from world_model.runtime.artifacts import Artifact
from world_model.runtime.fitting import FRAMES, gathered


def in_own_basis(artifact: Artifact, episodes: Sequence[Episode], frames: int = FRAMES) -> Artifact:
    """Return the artifact in the basis of a recording's first half-minute of driving.

    The robot itself drives that half-minute in the fixed basis and changes then; a recording that is read whole need
    not. It stays as it is where it makes no features, or where the recording has too few of a camera that moves.

    Args:
        artifact: As it was loaded.
        episodes: What was recorded, in its order.
        frames: How many features are enough.

    Raises:
        ProjectionError: The features are all alike.
    """
    if artifact.projection is None:
        return artifact
    network = artifact.features()
    seen = (zip(network.encode_each(episode.image_TSSC), episode.stamp_T.tolist()) for episode in episodes)
    collector, needed = gathered(network.space, chain.from_iterable(seen), frames)
    if needed is None:
        return artifact
    return artifact.bound_to(collector.fit(artifact.manifest.z_dim))
