"""What an artifact can do, behind plain arrays, for one thread at a time.

Shape suffixes: B = batch, H = height, W = width, D = latent size, A = action size, S = steps, P = proprioception size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from latent_publisher.encoder import Encoder
from wm_api.errors import InvalidError, NotThereError
from wm_api.imagining import Forecaster, Imaginer
from wm_core.errors import FrameError
from wm_core.images import prepare_image
from world_model.runtime.artifacts import Artifact
from world_model.runtime.first_passes import first_passes

_WARM_UP_PASSES = 3
_MOST_DECODED = 64


class Models:
    """Encoder, forecaster and decoder of one artifact, loaded and warm.

    Args:
        artifact: Verified artifact.
        imaginer: Looks ahead; default: the forecaster.
    """

    def __init__(self, artifact: Artifact, imaginer: Imaginer | None = None) -> None:
        self.artifact, self.manifest = artifact, artifact.manifest
        self.encoder = Encoder(artifact)
        self.forecaster = Forecaster(artifact)
        self.imaginer: Imaginer = imaginer or self.forecaster
        with first_passes(self.manifest.name):
            self._decoder: Any = artifact.decoder() if artifact.has("decoder") else None
            for _ in range(_WARM_UP_PASSES if self.has_decoder else 0):
                self.decode(np.zeros((1, self.manifest.z_dim), np.float32))

    @property
    def has_decoder(self) -> bool:
        """Whether latents can be turned into pictures."""
        return self._decoder is not None

    def identity(self) -> dict[str, Any]:
        """Return what every answer says of whom it is from."""
        manifest = self.manifest
        return {"encoder_id": manifest.encoder_id, "artifact": manifest.name, "artifact_version": self.version()}

    def version(self) -> str:
        """Return the artifact's version: its format, and the network that forecasts."""
        named = self.manifest.part("transition")
        digest = self.manifest.files[named[0]][:8] if named else self.manifest.encoder_id[:8]
        return f"{self.manifest.format_version}-{digest}"

    def encode(
        self, image_HW3: np.ndarray, depth_HW: np.ndarray | None = None, proprioception_P: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the latent of a picture, float32 [D].

        Raises:
            InvalidError: An input that the artifact wants is missing, or one is given that it does not take.
        """
        encoder = self.encoder
        if depth_HW is not None and not encoder.wants_depth:
            raise InvalidError("depth", "the artifact takes no depth")
        if depth_HW is None and encoder.wants_depth:
            raise InvalidError("depth", "the artifact wants depth, and none was sent")
        size = 0 if proprioception_P is None else len(proprioception_P)
        if size != encoder.proprioception_dim:
            raise InvalidError("proprioception", f"{size} values, the artifact takes {encoder.proprioception_dim}")
        try:
            return encoder.encode(image_HW3, depth_HW, proprioception_P)
        except FrameError as error:
            raise InvalidError("image", str(error)) from error

    def encode_batch(
        self, images_BHWC: np.ndarray, depths_BHW: np.ndarray | None, proprioception_BP: np.ndarray | None
    ) -> np.ndarray:
        """Return the latents of some pictures, float32 [B, D], each as ``encode`` makes it."""
        rows = [
            self.encode(
                image_HWC,
                None if depths_BHW is None else depths_BHW[row],
                None if proprioception_BP is None else proprioception_BP[row],
            )
            for row, image_HWC in enumerate(images_BHWC)
        ]
        return np.stack(rows) if rows else np.zeros((0, self.manifest.z_dim), np.float32)

    def decode(self, latent_BD: np.ndarray) -> np.ndarray:
        """Return pictures of latents, uint8 [B, H, W, 3].

        Raises:
            NotThereError: The artifact has no decoder.
        """
        if self._decoder is None:
            raise NotThereError(f"artifact '{self.manifest.name}' has no decoder")
        parts = []
        for at in range(0, len(latent_BD), _MOST_DECODED):
            rows = torch.from_numpy(np.ascontiguousarray(latent_BD[at : at + _MOST_DECODED], np.float32))
            with torch.inference_mode():
                parts.append(self._decoder(rows).cpu().numpy())
        side = self.manifest.image_size
        return np.concatenate(parts) if parts else np.zeros((0, side, side, 3), np.uint8)

    def prepared(self, image_HW3: np.ndarray) -> np.ndarray:
        """Return a picture as the encoder sees it."""
        return prepare_image(image_HW3, self.manifest.image_size)


def vector(values: Sequence[float], size: int, field: str) -> np.ndarray:
    """Return finite values of a request as float32.

    Args:
        values: As sent; finite.
        size: How many there must be.
        field: Of the request, for errors.

    Raises:
        InvalidError: There are more or fewer, or one does not fit single precision.
    """
    if len(values) != size:
        raise InvalidError(field, f"{len(values)} values, expected {size}")
    with np.errstate(over="ignore"):
        array = np.array(values, np.float32)
    if not np.isfinite(array).all():
        raise InvalidError(field, "a value that single precision cannot hold")
    return array
