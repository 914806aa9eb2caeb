"""Latents in one byte per value, so that a search reads a quarter of the memory before it looks at the latents.

Each latent has a scale, and each of its values lies within half a scale of its code: that bounds every distance from
both sides, and only latents whose bounds leave it open are compared exactly.

Shape suffixes: N = records, P = pages, D = latent size, E = D made even.
"""

from __future__ import annotations

import numpy as np

from spatial_memory.index.columns import PAGE, enlarged

_SMALLEST = np.float32(1e-30)
_AT_ONCE = 4096  # what fits into a processor's cache


class SQ8Codes:
    """Codes of latents, page by page, one column of 16 records per value.

    Args:
        dim: Latent size D.
        page_count: Pages to make room for.
    """

    def __init__(self, dim: int, page_count: int = 0) -> None:
        self.dim = dim
        self.even_dim = dim + dim % 2
        self.code = np.zeros((page_count, self.even_dim, PAGE), np.int8)
        self.scale = np.zeros((page_count, PAGE), np.float32)

    def write(self, slots_N: np.ndarray, latent_ND: np.ndarray) -> None:
        """Encode latents, finite ones, into their slots."""
        for start in range(0, len(slots_N), _AT_ONCE):
            part = slots_N[start : start + _AT_ONCE]
            values_ND = latent_ND[start : start + _AT_ONCE]
            scale_N = np.maximum(np.abs(values_ND).max(axis=1) / np.float32(127.0), _SMALLEST)
            pages_N, lanes_N = part // PAGE, part % PAGE
            self.code[pages_N, : self.dim, lanes_N] = np.rint(values_ND / scale_N[:, None]).astype(np.int8)
            self.scale[pages_N, lanes_N] = scale_N

    def move(self, source: int, target: int) -> None:
        """Copy one code to another slot."""
        self.code[target // PAGE, :, target % PAGE] = self.code[source // PAGE, :, source % PAGE]
        self.scale[target // PAGE, target % PAGE] = self.scale[source // PAGE, source % PAGE]

    def grow(self, page_count: int) -> None:
        """Make room for more pages."""
        self.code, self.scale = enlarged(self.code, page_count), enlarged(self.scale, page_count)

    def fresh(self) -> SQ8Codes:
        """Return another of this kind, empty and without room."""
        return SQ8Codes(self.dim)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What compiled code reads."""
        return {"code": self.code, "scale": self.scale}

    @property
    def nbytes(self) -> int:
        """Bytes of all the room."""
        return self.code.nbytes + self.scale.nbytes
