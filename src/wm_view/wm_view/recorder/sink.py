"""What is recorded, whichever viewer it is for.

Shape suffixes: N = points, 3 = x, y, z [m], HW = cells of a grid, row 0 at its origin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from wm_core.drawing import Color, Shape

SUFFIXES = (".rrd", ".mcap")
"""By which a recording's kind is known."""
Key = tuple[str, int]


@dataclass(frozen=True)
class Stamped:
    """When something was so [ns], and in which frame it lies."""

    ns: int
    frame_id: str


@dataclass(frozen=True)
class Placed:
    """A pose: position [m], quaternion x, y, z, w, and standard errors of x and y [m]; 0 where not told."""

    position: tuple[float, float, float]
    quaternion: tuple[float, float, float, float]
    std_xy: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Costs:
    """A grid of costs, uint8 from 0 (free) to 100; 255 is unknown."""

    cost_HW: np.ndarray
    cell_m: float
    origin: Placed


class Sink(Protocol):
    """Takes what happens, and writes it into a file."""

    def picture(self, name: str, stamp_ns: int, jpeg: bytes) -> None:
        """Take a picture."""

    def pose(self, name: str, at: Stamped, placed: Placed, color: Color) -> None:
        """Take where something is; with standard errors, their ellipse of two."""

    def path(self, name: str, at: Stamped, point_N3: np.ndarray, color: Color) -> None:
        """Take a way; an empty one takes away the last."""

    def shapes(self, name: str, at: Stamped, changed: Sequence[Shape], gone: Sequence[Key]) -> None:
        """Take what of a drawing changed, and what is gone from it."""

    def costs(self, name: str, at: Stamped, grid: Costs) -> None:
        """Take what each place costs."""

    def numbers(self, name: str, stamp_ns: int, values: Mapping[str, float]) -> None:
        """Take some numbers; those that are not finite are left out."""

    def close(self) -> list[Path]:
        """Finish, and return the files."""


def blended(cost_HW: np.ndarray) -> np.ndarray:
    """Return costs as colours, uint8 [H, W, 4]: green where free, red where dear, nothing where unknown."""
    share_HW = np.minimum(cost_HW, 100).astype(np.float64) / 100.0
    color_HW4 = np.empty((*cost_HW.shape, 4), np.uint8)
    color_HW4[..., 0] = 255 * share_HW
    color_HW4[..., 1] = 200 * (1.0 - share_HW)
    color_HW4[..., 2] = 40
    color_HW4[..., 3] = np.where(cost_HW > 100, 0, 110)
    return color_HW4
