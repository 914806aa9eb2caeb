"""From the int8 feature of a picture to a latent: principal components of one robot's features.

The feature is equal on all robots that run the same network; the latent is not: each robot fits its own projection.

Shape suffixes: N = pictures, F = numbers of a feature, Z = latent size.
"""

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from wm_core.errors import ProjectionError

_ID_LENGTH = 16
# Features are widened to floats by blocks of so many rows: a million at once would take gigabytes.
_BLOCK_ROWS = 4096
# What numpy and zipfile raise for damaged archives: one byte of a header names another compression, key or size.
_UNREADABLE = (OSError, KeyError, TypeError, ValueError, EOFError, RuntimeError, MemoryError, BadZipFile, zlib.error)


@dataclass(frozen=True)
class FeatureSpace:
    """What an int8 feature means.

    Attributes:
        feature_id: Which network made it, its quantisation included.
        size: F.
        grid: Side of the grid of cells that the picture was averaged to.
        scale: What one code is worth.
        zero_point: The code of 0.

    Raises:
        ProjectionError: No id, a size that the grid does not divide, a scale that is not positive, or no int8 code.
    """

    feature_id: str
    size: int
    grid: int
    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        if not self.feature_id:
            raise ProjectionError("feature_id is empty")
        if self.grid < 1 or self.size < 1 or self.size % self.grid**2:
            raise ProjectionError(f"{self.size} numbers cannot fill a grid of {self.grid} x {self.grid} cells")
        # As the network and the messages carry it, so that all sides project alike.
        object.__setattr__(self, "scale", float(np.float32(self.scale)))
        if not (np.isfinite(self.scale) and self.scale > 0.0):
            raise ProjectionError(f"scale is {self.scale}, expected a positive number")
        if not -128 <= self.zero_point <= 127:
            raise ProjectionError(f"zero_point is {self.zero_point}, expected an int8 code")

    def dequantise(self, codes: np.ndarray) -> np.ndarray:
        """Returns features [..., F] float32 for their codes [..., F] int8.

        Raises:
            ProjectionError: Another type than int8, or another size than F.
        """
        self.require(codes)
        values: np.ndarray = (codes.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)
        return values

    def require(self, codes: np.ndarray) -> None:
        """Refuses what are no codes of this space.

        Raises:
            ProjectionError: Another type than int8, or another size than F.
        """
        if codes.dtype != np.int8:
            raise ProjectionError(f"features are {codes.dtype}, expected int8")
        if codes.ndim < 1 or codes.shape[-1] != self.size:
            raise ProjectionError(f"features have shape {codes.shape}, expected {self.size} numbers in the last place")


@dataclass(frozen=True, eq=False)
class Projection:
    """A linear map from features to latents.

    Attributes:
        space: Of the features.
        mean: [F] float32, the feature whose latent is zero.
        components: [Z, F] float32.
        variance: Mean squared deviation of the latents it was fitted on, over all dimensions alike; ``None`` for a
            fixed projection, which was fitted on no robot's features.

    Raises:
        ProjectionError: Arrays of the wrong shape, not finite, or a variance that is not positive.
    """

    space: FeatureSpace
    mean: np.ndarray
    components: np.ndarray
    variance: float | None = None

    def __post_init__(self) -> None:
        for name in ("mean", "components"):
            array = np.ascontiguousarray(getattr(self, name), np.float32)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        size = self.space.size
        if self.mean.shape != (size,) or self.components.ndim != 2 or self.components.shape[1] != size:
            raise ProjectionError(
                f"mean {self.mean.shape} and components {self.components.shape} do not fit features of {size} numbers"
            )
        if not len(self.components):
            raise ProjectionError("a projection without components")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.components).all()):
            raise ProjectionError("mean or components are not finite")
        if self.variance is not None and not (np.isfinite(self.variance) and self.variance > 0.0):
            raise ProjectionError(f"variance is {self.variance}, expected a positive number")

    @property
    def is_fitted(self) -> bool:
        """Whether it was fitted on a robot's features, and so has a unit of errors."""
        return self.variance is not None

    @property
    def z_dim(self) -> int:
        """Z."""
        return len(self.components)

    @property
    def encoder_id(self) -> str:
        """What latents of this projection are known by: 16 hexadecimal digits of features, mean and components."""
        digest = hashlib.sha256(self.space.feature_id.encode())
        digest.update(self.mean.astype("<f4").tobytes())
        digest.update(self.components.astype("<f4").tobytes())
        return digest.hexdigest()[:_ID_LENGTH]

    def project(self, codes: np.ndarray) -> np.ndarray:
        """Returns latents [N, Z] float32 for codes [N, F] int8.

        Raises:
            ProjectionError: Codes of another type or size.
        """
        self.space.require(codes)
        if codes.ndim != 2:
            raise ProjectionError(f"features have shape {codes.shape}, expected [N, {self.space.size}]")
        latents = np.empty((len(codes), self.z_dim), np.float32)
        for begin in range(0, len(codes), _BLOCK_ROWS):
            block = slice(begin, begin + _BLOCK_ROWS)
            np.matmul(self.space.dequantise(codes[block]) - self.mean, self.components.T, out=latents[block])
        return latents

    @classmethod
    def fit(cls, space: FeatureSpace, codes: np.ndarray, z_dim: int) -> "Projection":
        """Returns the first principal components of features: plain, not whitened, so that distances stay.

        In each component the entry of largest magnitude is positive, the first of them where several are equal.

        Args:
            space: Of the features.
            codes: [N, F] int8, N > z_dim.
            z_dim: Z.

        Raises:
            ProjectionError: Too few features, or features that do not differ.
        """
        space.require(codes)
        if codes.ndim != 2 or not 0 < z_dim <= space.size or len(codes) <= z_dim:
            raise ProjectionError(f"{z_dim} components cannot be fitted on features of shape {codes.shape}")
        mean_F, scatter_FF = _moments(space, codes)
        _, vector_FF = np.linalg.eigh(scatter_FF)
        components_ZF = vector_FF.T[::-1][:z_dim]
        largest = np.abs(components_ZF).argmax(axis=1)
        components_ZF = components_ZF * np.sign(components_ZF[np.arange(z_dim), largest])[:, None]
        fixed = cls(space, mean_F, components_ZF)
        variance = float(np.square(fixed.project(codes), dtype=np.float64).mean())
        if variance <= 0.0:
            raise ProjectionError(f"{len(codes)} features do not differ: nothing to fit")
        return cls(space, mean_F, components_ZF, variance)

    def save(self, path: Path) -> None:
        """Writes the projection as one npz file, in whose place either the old or the whole new one is found."""
        path.parent.mkdir(parents=True, exist_ok=True)
        space = self.space
        temporary = path.with_name(f".{path.name}.new")
        with temporary.open("wb") as file:
            np.savez(
                file,
                mean=self.mean,
                components=self.components,
                variance=np.float64(np.nan if self.variance is None else self.variance),
                feature_id=np.array(space.feature_id),
                grid=np.int64(space.grid),
                scale=np.float32(space.scale),
                zero_point=np.int64(space.zero_point),
            )
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Projection":
        """Returns what ``save`` wrote.

        Raises:
            ProjectionError: No such file, or none that ``save`` wrote.
        """
        try:
            # Opened here: numpy leaves the file open where it is no archive.
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                mean, components, variance = file["mean"], file["components"], float(file["variance"])
                named = (str(file["feature_id"]), len(mean), int(file["grid"]))
                space = FeatureSpace(*named, float(file["scale"]), int(file["zero_point"]))
        except _UNREADABLE as error:
            raise ProjectionError(f"{path} is no projection: {error}") from error
        return cls(space, mean, components, None if np.isnan(variance) else variance)


def _moments(space: FeatureSpace, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean [F] and scatter matrix [F, F] in float64, gathered by blocks."""
    mean_F = sum(block.sum(axis=0) for block in _blocks(space, codes)) / len(codes)
    scatter_FF = np.zeros((space.size, space.size))
    for block in _blocks(space, codes):
        centred = block - mean_F
        scatter_FF += centred.T @ centred
    return mean_F, scatter_FF


def _blocks(space: FeatureSpace, codes: np.ndarray) -> Iterator[np.ndarray]:
    for begin in range(0, len(codes), _BLOCK_ROWS):
        yield space.dequantise(codes[begin : begin + _BLOCK_ROWS]).astype(np.float64)
