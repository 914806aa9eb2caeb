"""Random textures over a painted building: worlds that look like nothing in particular, each seed another.

Shape suffixes: H W = rows and columns, 3 = RGB.
"""

from __future__ import annotations

import cv2
import numpy as np

_OCTAVES = (4, 12, 36, 108)
# Side of the patches that have a texture of their own [pixels of the atlas].
_PATCH_PIXELS = (40, 240)
_PATCHES_PER_MEGAPIXEL = 60


def retexture(canvas_HW3: np.ndarray, seed: int) -> np.ndarray:
    """Return a copy of a painted canvas with patches of random texture over it, and all colours turned at random."""
    rng = np.random.default_rng([seed, 77])
    textured: np.ndarray = _recolour(canvas_HW3, rng)
    height, width = textured.shape[:2]
    for _ in range(round(height * width * 1e-6 * _PATCHES_PER_MEGAPIXEL)):
        rows, columns = (int(side) for side in rng.integers(*_PATCH_PIXELS, 2))
        row, column = int(rng.integers(max(height - rows, 1))), int(rng.integers(max(width - columns, 1)))
        window = textured[row : row + rows, column : column + columns]
        share = float(rng.uniform(0.3, 1.0))
        patch = _patch(window.shape[:2], rng)
        window[:] = (share * patch + (1.0 - share) * window).astype(np.uint8)
    return textured


def _recolour(image_HW3: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the picture with hue, saturation and brightness changed."""
    hsv_HW3 = cv2.cvtColor(image_HW3, cv2.COLOR_RGB2HSV).astype(np.int16)
    hsv_HW3[..., 0] = (hsv_HW3[..., 0] + rng.integers(180)) % 180
    saturation, value = rng.uniform(0.3, 1.6), rng.uniform(0.5, 1.3)
    hsv_HW3[..., 1] = np.minimum(hsv_HW3[..., 1] * saturation, 255)
    hsv_HW3[..., 2] = np.minimum(hsv_HW3[..., 2] * value, 255)
    return cv2.cvtColor(hsv_HW3.astype(np.uint8), cv2.COLOR_HSV2RGB)


def _patch(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return noise of several octaves, or stripes bent by it, between two random colours, [H, W, 3]."""
    noise_HW = np.zeros(size, np.float32)
    for octave in _OCTAVES:
        cells = rng.normal(size=(size[0] // octave + 2, size[1] // octave + 2)).astype(np.float32)
        noise_HW += cv2.resize(cells, size[::-1], interpolation=cv2.INTER_LINEAR) * float(rng.uniform(0.0, 1.0))
    if rng.random() < 0.5:
        row_HW, column_HW = np.mgrid[: size[0], : size[1]]
        angle, period = rng.uniform(0.0, np.pi), rng.uniform(4.0, 40.0)
        phase_HW = (row_HW * np.sin(angle) + column_HW * np.cos(angle)) / period
        noise_HW = np.sin(2.0 * np.pi * phase_HW + noise_HW).astype(np.float32) * 2.0
    share_HW1 = 1.0 / (1.0 + np.exp(-float(rng.uniform(1.0, 6.0)) * noise_HW[..., None]))
    low_3, high_3 = rng.uniform(0.0, 255.0, (2, 3))
    patch_HW3: np.ndarray = low_3 + share_HW1 * (high_3 - low_3)
    return patch_HW3
