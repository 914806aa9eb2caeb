"""A feature network and a projection as an encoder.

Shape suffixes: B = pictures, S = image side, P = proprioception size, D = latent size.
"""

from __future__ import annotations

import numpy as np

from wm_core.projection import Projection
from world_model.errors import ArtifactError
from world_model.runtime.features import FeatureNetwork


class ProjectedEncoder:
    """A feature network and a projection behind the call of every encoder; it takes pictures only.

    Args:
        network: Makes features.
        projection: Makes latents of them.

    Raises:
        ArtifactError: The projection is of other features than the network makes.
    """

    def __init__(self, network: FeatureNetwork, projection: Projection) -> None:
        if projection.space != network.space:
            raise ArtifactError(
                f"projection of features {projection.space.feature_id!r}, the network makes "
                f"{network.space.feature_id!r}"
            )
        self._network, self._projection = network, projection

    def __call__(
        self, image_BSSC: np.ndarray, depth_B1SS: np.ndarray | None = None, proprioception_BP: np.ndarray | None = None
    ) -> np.ndarray:
        """Return latents [B, D] of uint8 pictures."""
        return self._projection.project(self._network.encode(image_BSSC))
