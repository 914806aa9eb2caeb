"""The spaces errors are reported in: the latents' own, and one that does not depend on the encoder.

Shape suffixes: N = samples, D = latent size, P = principal components, X = flattened pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from world_model.errors import ArtifactError

COMPONENTS = 32
_RIDGE = 1e-4


@dataclass(frozen=True)
class PixelSpace:
    """The first principal components of the 64x64 pixels of the training set, and a linear read-out from the latent.

    Attributes:
        mean_X: Mean pixel.
        component_PX: Unit directions.
        variance_P: Variance along each over the training set.
        read_DP: Read-out weights; the last row is the offset.
    """

    mean_X: np.ndarray
    component_PX: np.ndarray
    variance_P: np.ndarray
    read_DP: np.ndarray

    def project(self, image_NHWC: np.ndarray) -> np.ndarray:
        """Return the components of uint8 images, [N, P]."""
        pixel_NX = image_NHWC.reshape(len(image_NHWC), -1).astype(np.float32) / 255.0
        component_NP: np.ndarray = (pixel_NX - self.mean_X) @ self.component_PX.T
        return component_NP

    def read(self, latent_ND: np.ndarray) -> np.ndarray:
        """Return the components that latents stand for, [..., P]."""
        component_NP: np.ndarray = latent_ND @ self.read_DP[:-1] + self.read_DP[-1]
        return component_NP

    def errors(self, predicted_ND: np.ndarray, true_NP: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return NMSE [...] averaged over components, and with all components' variance pooled (as pixels count)."""
        square = (self.read(predicted_ND) - true_NP) ** 2
        return np.mean(square / self.variance_P, axis=-1), np.sum(square, axis=-1) / np.sum(self.variance_P)

    def save(self, path: Path, **more: np.ndarray) -> None:
        """Write everything, and ``more`` arrays, to one file; directions in 6 bits."""
        scale_P1 = np.abs(self.component_PX).max(axis=1, keepdims=True) / 31.0
        np.savez_compressed(
            path,
            mean=self.mean_X.astype(np.float16),
            component=np.rint(self.component_PX / scale_P1).astype(np.int8),
            scale=scale_P1.astype(np.float32),
            variance=self.variance_P,
            read=self.read_DP,
            **more,  # type: ignore[arg-type]
        )

    @classmethod
    def load(cls, path: Path) -> PixelSpace:
        """Return what ``save`` wrote.

        Raises:
            ArtifactError: Missing or damaged.
        """
        try:
            with np.load(path) as file:
                mean_X, variance_P, read_DP = (file[name].astype(np.float32) for name in ("mean", "variance", "read"))
                component_PX = file["component"].astype(np.float32) * file["scale"]
        except (OSError, KeyError, ValueError) as error:
            raise ArtifactError(f"{path} is not a pixel space: {error}") from error
        return cls(mean_X, component_PX, variance_P, read_DP)


def fit_pixel_space(image_NHWC: np.ndarray, latent_ND: np.ndarray) -> PixelSpace:
    """Return the pixel space of some training images and the least-squares read-out from their latents.

    Raises:
        ArtifactError: Too few images.
    """
    if len(image_NHWC) <= COMPONENTS:
        raise ArtifactError(f"{len(image_NHWC)} images cannot span {COMPONENTS} components")
    pixel_NX = image_NHWC.reshape(len(image_NHWC), -1).astype(np.float32) / 255.0
    mean_X = pixel_NX.mean(axis=0)
    centred_NX = pixel_NX - mean_X
    component_PX = _top_directions(centred_NX)
    score_NP = centred_NX @ component_PX.T
    design_ND = np.column_stack([latent_ND, np.ones(len(latent_ND))]).astype(np.float64)
    gram_DD = design_ND.T @ design_ND + _RIDGE * len(design_ND) * np.eye(design_ND.shape[1])
    read_DP = np.linalg.solve(gram_DD, design_ND.T @ score_NP)
    return PixelSpace(mean_X, component_PX, score_NP.var(axis=0), read_DP.astype(np.float32))


def _top_directions(centred_NX: np.ndarray, rounds: int = 4) -> np.ndarray:
    """Return the first principal directions by randomised subspace iteration; the full problem is 12 288 wide."""
    rng = np.random.default_rng(0)
    basis_XQ = rng.normal(size=(centred_NX.shape[1], COMPONENTS + 16)).astype(np.float32)
    for _ in range(rounds):
        basis_XQ, _ = np.linalg.qr(centred_NX.T @ (centred_NX @ basis_XQ))
    _, _, vector_QX = np.linalg.svd(centred_NX @ basis_XQ, full_matrices=False)
    direction_CX: np.ndarray = (vector_QX @ basis_XQ.T)[:COMPONENTS]
    return direction_CX
