"""What a viewer is to show, as arrays, and what of it changed since it was shown last.

Shape suffixes: N = points, K = places, 3 = x, y, z [m], 4 = red, green, blue, alpha, each from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

KINDS = ("lines", "points", "spheres", "triangles")
Color = tuple[float, float, float, float]
GREY: Color = (0.55, 0.55, 0.55, 1.0)
_RAMP_53 = np.array(
    [(0.20, 0.35, 0.85), (0.15, 0.70, 0.75), (0.40, 0.80, 0.30), (0.95, 0.80, 0.15), (0.90, 0.20, 0.15)]
)


@dataclass(frozen=True)
class Shape:
    """Many things of one kind that are drawn, and change, together.

    Attributes:
        group: What it belongs to, which a person can switch on and off.
        number: Tells it from the others of its group; the same things keep theirs.
        kind: One of ``KINDS``: lines take points by two, triangles by three.
        point_N3: Where.
        color: Of all of it.
        size_m: Width of lines, of points, diameter of spheres; of no account to triangles.
        color_N4: Of each point, in the place of ``color``; None: all have that.
    """

    group: str
    number: int
    kind: str
    point_N3: np.ndarray
    color: Color
    size_m: float = 1.0
    color_N4: np.ndarray | None = None

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from all others."""
        return self.group, self.number

    def is_as(self, other: Shape | None) -> bool:
        """Return whether another looks the same."""
        if other is self:
            return True
        if other is None or (self.kind, self.color, self.size_m) != (other.kind, other.color, other.size_m):
            return False
        if (self.color_N4 is None) != (other.color_N4 is None):
            return False
        return np.array_equal(self.point_N3, other.point_N3) and (
            self.color_N4 is None or np.array_equal(self.color_N4, np.asarray(other.color_N4))
        )


def star(group: str, end_K3: np.ndarray, center_3: np.ndarray | None, end: Color, center: Color) -> list[Shape]:
    """Return spheres at some places, and a line to each from one in their middle where there is one.

    Args:
        group: Of the shapes.
        end_K3: The places.
        center_3: Where the lines begin; None: there are none.
        end: Colour of the places and the lines.
        center: Colour of the middle.
    """
    ends = Shape(group, 0, "spheres", end_K3, end, 0.15)
    if center_3 is None:
        return [ends]
    center_13 = np.asarray(center_3, np.float64).reshape(1, 3)
    line_N3 = np.stack((np.repeat(center_13, len(end_K3), axis=0), end_K3), axis=1).reshape(-1, 3)
    return [ends, Shape(group, 1, "spheres", center_13, center, 0.2), Shape(group, 2, "lines", line_N3, end, 0.03)]


class Board:
    """Remembers what is shown, and says what has to be shown anew."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, int], Shape] = {}

    def replace(self, shapes: Iterable[Shape]) -> tuple[list[Shape], list[tuple[str, int]]]:
        """Show these instead, and return which of them are new or look different, and the keys of those that are gone.

        Shapes without points are none: viewers take them for errors.

        Raises:
            ValueError: Two have the same key, or a kind is unknown.
        """
        wanted: dict[tuple[str, int], Shape] = {}
        for shape in shapes:
            if shape.kind not in KINDS or shape.key in wanted:
                raise ValueError(f"shape {shape.key} of kind {shape.kind!r}: expected one of {KINDS}, each key once")
            if len(shape.point_N3):
                wanted[shape.key] = shape
        changed = [shape for key, shape in wanted.items() if not shape.is_as(self._shown.get(key))]
        gone = [key for key in self._shown if key not in wanted]
        # What looks the same stays the same object, so that whoever made something of it need not make it again.
        self._shown = {**{key: self._shown.get(key, shape) for key, shape in wanted.items()},
                       **{shape.key: shape for shape in changed}}  # fmt: skip
        return changed, gone

    def all(self) -> list[Shape]:
        """Return all that is shown."""
        return list(self._shown.values())


def ramp(share_N: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    """Return colours from blue at 0 over green to red at 1 [N, 4]; grey where a share is NaN."""
    share_N = np.asarray(share_N, np.float64)
    at_N = np.clip(np.nan_to_num(share_N), 0.0, 1.0) * (len(_RAMP_53) - 1)
    steps = np.arange(len(_RAMP_53))
    color_N4 = np.full((len(share_N), 4), alpha)
    for channel in range(3):
        color_N4[:, channel] = np.interp(at_N, steps, _RAMP_53[:, channel])
    color_N4[np.isnan(share_N), :3] = GREY[:3]
    return color_N4


def ramp_color(share: float, alpha: float = 1.0) -> Color:
    """Return one colour of the ramp."""
    red, green, blue, alpha = ramp(np.array([share]), alpha)[0].tolist()
    return red, green, blue, alpha
