"""What a memory has to know about its map frame, and about the cells that cut it.

Shape suffixes: N = places, C = cells.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

Floats = float | np.ndarray


class Map(Protocol):
    """What a memory has to know about its map frame."""

    name: str

    def to_latlng(self, x_N: np.ndarray, y_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return latitudes and longitudes [deg]; refuses places that lie nowhere with ``PlaceError``."""

    def place_to_latlng(self, x: float, y: float) -> tuple[float, float]:
        """Return latitude and longitude of one place [deg], the same as ``to_latlng``."""

    def from_latlng(self, lat_N: np.ndarray, lng_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return map coordinates."""

    def distance2(self, x_N: np.ndarray, y_N: np.ndarray, x: Floats, y: Floats) -> np.ndarray:
        """Return squared planar distances to one place [m^2]."""

    def box_distance2(self, box_N4: np.ndarray, x: float, y: float) -> np.ndarray:
        """Return squared distances to boxes (min x, min y, max x, max y), or less [m^2]."""


class Grid(Protocol):
    """Cells of a map, of which each place has one."""

    @property
    def map(self) -> Map:
        """What x and y mean."""

    def cell_of(self, x: float, y: float) -> int:
        """Return the cell of one place; refuses places that lie nowhere with ``PlaceError``."""

    def within_rings(self, cell: int, ring_count: int) -> np.ndarray:
        """Return all cells at most ``ring_count`` steps away, uint64 [C]."""
