"""A map that is one flat cell, where a test needs a memory and cares for no cells."""

from __future__ import annotations

import numpy as np

from wm_core.memory.frames import Floats


class FlatMap:
    """Metres in a plane."""

    name = "flat"

    def to_latlng(self, x_N: np.ndarray, y_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the places themselves."""
        return y_N, x_N

    def place_to_latlng(self, x: float, y: float) -> tuple[float, float]:
        """Return the place itself."""
        return y, x

    def from_latlng(self, lat_N: np.ndarray, lng_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the places themselves."""
        return lng_N, lat_N

    def distance2(self, x_N: np.ndarray, y_N: np.ndarray, x: Floats, y: Floats) -> np.ndarray:
        """Return squared distances to one place [m^2]."""
        return np.asarray((x_N - x) ** 2 + (y_N - y) ** 2)

    def box_distance2(self, box_N4: np.ndarray, x: float, y: float) -> np.ndarray:
        """Return zeros: no box is ruled out."""
        return np.zeros(len(box_N4))


class FlatGrid:
    """One cell for all places."""

    map = FlatMap()

    def cell_of(self, x: float, y: float) -> int:
        """Return the only cell."""
        return 1

    def within_rings(self, cell: int, ring_count: int) -> np.ndarray:
        """Return the only cell."""
        return np.array([1], np.uint64)
