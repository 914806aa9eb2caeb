"""A robot's own projection: which of its features count, when they are enough, and how it is kept.

Live node and evaluation run the same code: both change the basis at the same frame, but for the time a fit takes.

Shape suffixes: N = features, F = numbers of a feature.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

import numpy as np

from wm_core.errors import ProjectionError
from wm_core.projection import FeatureSpace, Projection
from world_model.errors import ProfileError
from world_model.runtime.profile import PROJECTION, Profile

FRAMES = 600
"""Features that a projection is fitted on, unless told otherwise: half a minute of driving at 20 Hz."""
# A feature counts when it lies so far from the last that counted: mean squared difference of codes. The noise of a
# camera stays below it, half a step of a moving one goes beyond.
_MOVED = 10.0
# Of a slow camera fewer are enough that come from as long a drive: a little longer than as many take at 20 Hz.
_LEAST_SHARE, _DRIVEN_S_EACH = 1 / 3, 0.055
# No frame stands for a longer time than this.
_LONGEST_S = 1.0
_VERSION = 1


class FeatureCollector:
    """Gathers the features that a projection is fitted on: of a robot that stands still only one counts.

    Enough are so many frames in motion, or a third as many of a slower camera that span as long a drive.

    Args:
        space: Of the features.
        frames: How many are enough at 20 Hz.
    """

    def __init__(self, space: FeatureSpace, frames: int = FRAMES) -> None:
        self._space, self._frames = space, frames
        self._code_NF: list[np.ndarray] = []
        self._last_ns: int | None = None
        self._driven_s = 0.0

    def __len__(self) -> int:
        return len(self._code_NF)

    @property
    def is_full(self) -> bool:
        """Whether there are enough."""
        count, frames = len(self._code_NF), self._frames
        return count >= frames or (count >= _LEAST_SHARE * frames and self._driven_s >= _DRIVEN_S_EACH * frames)

    def add(self, code_F: np.ndarray, stamp_ns: int | None = None) -> bool:
        """Take a feature; return whether they are enough now and were not before.

        Args:
            code_F: int8 [F].
            stamp_ns: Of its frame [ns]; None: not known, so that frames are only counted.
        """
        if self.is_full:
            return False
        last_ns, self._last_ns = self._last_ns, stamp_ns
        if self._code_NF:
            apart_F = code_F.astype(np.int32) - self._code_NF[-1]
            if float(apart_F @ apart_F) <= _MOVED * len(apart_F):
                return False
        self._code_NF.append(code_F)
        if last_ns is not None and stamp_ns is not None:
            self._driven_s += min(max(stamp_ns - last_ns, 0) * 1e-9, _LONGEST_S)
        return self.is_full

    def fit(self, z_dim: int) -> Projection:
        """Return the projection fitted on what was gathered.

        Raises:
            ProjectionError: That is too few, or all alike.
        """
        return Projection.fit(self._space, np.stack(self._code_NF), z_dim)


def gathered(
    space: FeatureSpace, seen: Iterable[tuple[np.ndarray, int]], frames: int = FRAMES
) -> tuple[FeatureCollector, int | None]:
    """Return what a live node would have gathered of recorded frames, and after how many it had enough.

    Args:
        space: Of the features.
        seen: Features, int8 [F], with the stamps of their frames [ns]; what comes after the last needed is not read.
        frames: How many are enough at 20 Hz.

    Returns:
        The collector and the count; ``None`` where the frames end before they are enough.
    """
    collector = FeatureCollector(space, frames)
    for count, (code_F, stamp_ns) in enumerate(seen, start=1):
        if collector.add(code_F, stamp_ns):
            return collector, count
    return collector, None


def save_projection(profile: Profile, projection: Projection) -> None:
    """Keep a projection with the rest of what a robot has learned about itself.

    Raises:
        ProfileError: It cannot be written.
    """
    entries = {
        "encoder_id": projection.encoder_id,
        **asdict(projection.space),
        "variance": projection.variance,
    }
    arrays = {"mean": projection.mean, "components": projection.components}
    profile.write(PROJECTION, _VERSION, entries, arrays)


def saved_projection(profile: Profile, space: FeatureSpace, z_dim: int) -> Projection | None:
    """Return the projection that a robot's profile holds; ``None`` where it holds none.

    Raises:
        ProfileError: It is damaged, or of other features or another latent size than asked for.
    """
    part = profile.read(PROJECTION, _VERSION)
    if part is None:
        return None
    entries, arrays = part.entries, part.arrays
    try:
        names = ("feature_id", "size", "grid", "scale", "zero_point")
        found = FeatureSpace(*(entries[name] for name in names))
        projection = Projection(found, arrays["mean"], arrays["components"], entries["variance"])
    except (KeyError, TypeError, ProjectionError) as error:
        raise ProfileError(f"projection in profile {profile.folder} is damaged: {error}") from error
    if found != space or projection.z_dim != z_dim:
        raise ProfileError(
            f"projection in profile {profile.folder} is of features {found.feature_id} to {projection.z_dim} numbers, "
            f"the artifact's are {space.feature_id} to {z_dim}: use another profile, or remove its projection"
        )
    return projection
