"""A feature network and a projection as an encoder of tensors.

Shape suffixes: B = pictures, H W C = rows, columns, colours, D = latent size.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from wm_core.projection import Projection
from world_model.errors import ArtifactError
from world_model.runtime.features import FeatureNetwork


class ProjectedEncoder:
    """A feature network and a projection behind the call of every encoder.

    Args:
        network: Makes features.
        projection: Makes latents of them.
    """

    def __init__(self, network: FeatureNetwork, projection: Projection) -> None:
        if projection.space != network.space:
            raise ArtifactError(
                f"projection of features {projection.space.feature_id!r}, the network makes "
                f"{network.space.feature_id!r}"
            )
        self._network, self._projection = network, projection

    def __call__(
        self, image_BHWC: Tensor | None, depth: Tensor | None = None, proprioception: Tensor | None = None
    ) -> Tensor:
        """Return latents [B, D]; it takes neither depth nor proprioception.

        Raises:
            ArtifactError: No picture.
        """
        if image_BHWC is None:
            raise ArtifactError("an encoder of features takes a picture, and there is none")
        codes_BF = self._network.encode(image_BHWC.cpu().numpy())
        return torch.from_numpy(self._projection.project(codes_BF))

    def parameters(self) -> Iterator[Tensor]:
        """Yield nothing: it cannot be trained, and runs on the processor."""
        return iter(())
