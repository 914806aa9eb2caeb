"""A feature network and a projection as an encoder of tensors.

Shape suffixes: B = pictures, H W C = rows, columns, colours, D = latent size.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from world_model.errors import ArtifactError
from world_model.runtime.projected import ProjectedEncoder


class TorchProjectedEncoder:
    """A projected encoder behind the call of every module that encodes.

    Args:
        encoder: Of arrays.
    """

    def __init__(self, encoder: ProjectedEncoder) -> None:
        self._encoder = encoder

    def __call__(
        self, image_BHWC: Tensor | None, depth: Tensor | None = None, proprioception: Tensor | None = None
    ) -> Tensor:
        """Return latents [B, D]; it takes neither depth nor proprioception.

        Raises:
            ArtifactError: No picture.
        """
        if image_BHWC is None:
            raise ArtifactError("an encoder of features takes a picture, and there is none")
        return torch.from_numpy(self._encoder(image_BHWC.cpu().numpy()))

    def parameters(self) -> Iterator[Tensor]:
        """Yield nothing: it cannot be trained, and runs on the processor."""
        return iter(())
