"""From a picture to a latent."""

from __future__ import annotations

import numpy as np

from wm_core.bounds import LARGEST_LATENT_STDS
from wm_core.errors import FrameError
from wm_core.images import prepare_depth, prepare_image
from wm_core.projection import Projection
from world_model.errors import ArtifactError
from world_model.runtime.artifacts import Artifact
from world_model.runtime.first_passes import first_passes
from world_model.runtime.motion_model import MotionModel
from world_model.runtime.pose_ahead import PoseAhead
from world_model.runtime.served import ServedDecoder, served_encoder

_WARM_UP_PASSES = 5
_LEAST_SHARE = 0.05
"""Of a picture's contrast that its latent tells: 0.15 to 0.80 of 900 pictures of three simulated robots by ``tiny``, of
noise and of squares nothing."""
_FLAT = 1.0


class Encoder:
    """The encoder of an artifact, one frame at a time.

    Args:
        artifact: Its encoder is loaded and warmed up: a runtime sets itself up during its first passes.
    """

    def __init__(self, artifact: Artifact) -> None:
        manifest = artifact.manifest
        self._artifact = artifact
        self._decoder: ServedDecoder | None = None
        self.encoder_id = manifest.encoder_id
        self.z_dim = manifest.z_dim
        self.action_dim = manifest.action_dim
        self.takes_any_actions = manifest.takes_any_actions
        self.step_s = manifest.step_s
        self.horizons_s = tuple(sorted({manifest.step_s, manifest.horizon_s}))
        self.top_k = manifest.top_k
        self.wants_depth = "depth" in manifest.inputs
        self.proprioception_dim = manifest.inputs.get("proprioception", 0)
        self.motion = PoseAhead(MotionModel.from_manifest(manifest.motion), manifest.step_s, manifest.action_dim)
        self._size = manifest.image_size
        self._mean_D = np.array(manifest.latent_mean)
        self._precision_D = 1.0 / np.sqrt(np.array(manifest.latent_variance))
        self.fixed: Projection | None = artifact.projection
        """From features to latents, where the artifact makes features; then ``look`` sees a frame."""
        with first_passes(manifest.name):
            self._features = None if self.fixed is None else artifact.features()
            self._module = served_encoder(artifact)
            self._warm_up()

    def _warm_up(self) -> None:
        blank = np.zeros((self._size, self._size, 3), np.uint8)
        for _ in range(_WARM_UP_PASSES):
            self.encode(
                blank,
                np.zeros(blank.shape[:2], np.float32) if self.wants_depth else None,
                np.zeros(self.proprioception_dim, np.float32) if self.proprioception_dim else None,
            )

    def encode(
        self, image_HW3: np.ndarray, depth_HW: np.ndarray | None = None, proprioception_P: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns the latent [D] float32 of an RGB frame of any size.

        Args:
            image_HW3: uint8.
            depth_HW: Metres, for an artifact that wants it.
            proprioception_P: For an artifact that wants it.

        Raises:
            FrameError: The frame cannot be used, an input the artifact wants is missing, or the latent is not finite or
                far beyond the training set's.
        """
        if self.wants_depth and depth_HW is None:
            raise FrameError("the artifact wants depth, and no depth image belongs to this frame")
        if self.proprioception_dim and proprioception_P is None:
            raise FrameError("the artifact wants proprioception, and none belongs to this frame")
        image = prepare_image(image_HW3, self._size)[None]
        depth = prepare_depth(depth_HW, self._size)[None] if self.wants_depth and depth_HW is not None else None
        proprioception = np.asarray(proprioception_P, np.float32)[None] if proprioception_P is not None else None
        latent_D: np.ndarray = self._module(image, depth, proprioception)[0]
        if not np.isfinite(latent_D).all():
            raise FrameError("the encoder gave a latent that is not finite")
        if float((np.abs(latent_D - self._mean_D) * self._precision_D).max()) > LARGEST_LATENT_STDS:
            raise FrameError(f"the encoder gave a latent more than {LARGEST_LATENT_STDS:g} standard deviations off")
        return latent_D

    def unlike(self, image_HW3: np.ndarray, latent_D: np.ndarray) -> str:
        """Returns why the encoder was made for no such picture; empty where it may have been, or nothing can tell.

        A latent that tells next to nothing of a picture is told by what it leaves out: it lies where others do. The
        first call loads the decoder.

        Args:
            image_HW3: As for ``encode``.
            latent_D: What that returned.
        """
        if not self._artifact.has("decoder"):
            return ""
        try:
            self._decoder = self._decoder or ServedDecoder(self._artifact)
        except ArtifactError:  # nothing here runs it: the picture is encoded all the same
            return ""
        picture_P3 = prepare_image(image_HW3, self._size).reshape(-1, 3).astype(np.float32)
        contrast = float(picture_P3.var(axis=0).mean())
        if contrast < _FLAT:
            return "it shows one colour"
        lost = float(((self._decoder(latent_D[None])[0].reshape(-1, 3) - picture_P3) ** 2).mean())
        share = max(0.0, 1.0 - lost / contrast)
        return f"its latent tells {share:.0%} of its contrast" if share < _LEAST_SHARE else ""

    def look(self, image_HW3: np.ndarray) -> np.ndarray:
        """Returns the feature [F] int8 of an RGB frame of any size.

        Raises:
            FrameError: The frame cannot be used.
        """
        assert self._features is not None
        feature_F: np.ndarray = self._features.encode(prepare_image(image_HW3, self._size)[None])[0]
        return feature_F
