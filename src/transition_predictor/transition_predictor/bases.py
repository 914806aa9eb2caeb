"""The bases that latents may be in: the artifact's own, then those of its features that were told of."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from wm_core.projection import Projection
from world_model.runtime.manifest import Manifest

# Bases that latents may be in, told by messages; a robot has two or three.
_MOST_BASES = 16
_MOST_UNTOLD = 12
StateT = TypeVar("StateT")


class Bases(Generic[StateT]):
    """Knows the bases that were told of, which of them is in use, and what waits for one that was not.

    Args:
        manifest: Of the artifact.

    Attributes:
        space: Of the features; None: the artifact's latents have one basis for good.
        encoder_id: The basis in use.
        is_final: Whether it is the one that the next start begins with.
        projections: Those that were told of.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.space, self.encoder_id = manifest.space, manifest.encoder_id
        self.is_final = self.space is None
        self.projections: dict[str, Projection] = {}
        self._z_dim = manifest.z_dim
        self._untold: deque[tuple[str, StateT]] = deque(maxlen=_MOST_UNTOLD)

    def is_known(self, encoder_id: str) -> bool:
        """Return whether a basis has been told of."""
        return encoder_id in (self.encoder_id, *self.projections)

    def may_come(self, feature_id: str) -> bool:
        """Return whether a basis of a network's features may still be told of."""
        return self.space is not None and feature_id == self.space.feature_id

    def fits(self, projection: Projection) -> bool:
        """Return whether a basis is of the artifact's features and sizes."""
        return projection.space == self.space and projection.z_dim == self._z_dim

    def wait(self, encoder_id: str, state: StateT) -> None:
        """Keep a latent until its basis is told of."""
        self._untold.append((encoder_id, state))

    def tell(self, projection: Projection) -> list[StateT]:
        """Take note of a basis that fits and return what waited for it; the first latent in it is to change to it."""
        self.projections[projection.encoder_id] = projection
        for old in [each for each in self.projections if each != self.encoder_id][:-_MOST_BASES]:
            del self.projections[old]
        waiting = [state for encoder_id, state in self._untold if encoder_id == projection.encoder_id]
        # Another robot's basis ends no waiting for the own one.
        others = [each for each in self._untold if each[0] != projection.encoder_id]
        self._untold.clear()
        self._untold.extend(others)
        return waiting

    def change(self, encoder_id: str) -> Projection | None:
        """Go on in a latent's basis; return it where it is another one than before."""
        projection = self.projections.get(encoder_id)
        if projection is None or encoder_id == self.encoder_id:
            return None
        self.encoder_id, self.is_final = encoder_id, projection.is_fitted
        return projection
