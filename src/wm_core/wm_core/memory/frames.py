"""What a memory has to know about its map frame, and about the cells that cut it.

Shape suffixes: N = places, C = cells.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

Floats = float | np.ndarray


class Metric(Protocol):
    """What a search has to know about x and y."""

    name: str

    def distance2(self, x_N: np.ndarray, y_N: np.ndarray, x: Floats, y: Floats) -> np.ndarray:
        """Return squared planar distances to one place [m^2]."""


class Planar:
    """A metric map: x and y in metres."""

    name = "local"

    def distance2(self, x_N: np.ndarray, y_N: np.ndarray, x: Floats, y: Floats) -> np.ndarray:
        """Return squared planar distances to one place [m^2]."""
        dx_N = x_N - x
        dy_N = y_N - y
        dx_N *= dx_N
        dy_N *= dy_N
        dx_N += dy_N
        return dx_N


class Map(Metric, Protocol):
    """What a memory has to know about its map frame."""

    def to_latlng(self, x_N: np.ndarray, y_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return latitudes and longitudes [deg]; refuses places that lie nowhere with ``PlaceError``."""

    def place_to_latlng(self, x: float, y: float) -> tuple[float, float]:
        """Return latitude and longitude of one place [deg], the same as ``to_latlng``."""

    def from_latlng(
        self, lat_N: np.ndarray, lng_N: np.ndarray, near: tuple[float, float] = (0.0, 0.0)
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return map coordinates; where several places lie at one spot, those nearest to a place."""

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


class LevelGrid(Grid, Protocol):
    """Cells in levels: each has ancestors that hold it, so that a wide search names few coarse cells.

    Attributes:
        resolution: Of the finest level.
        levels: Resolution of each level, finest first.
    """

    resolution: int
    levels: tuple[int, ...]

    def cell_of(self, x: float, y: float, resolution: int | None = None) -> int:
        """Return the cell of one place, at the grid's resolution or another."""

    def level_for(self, radius_m: float) -> int:
        """Return the resolution whose cells suit a search radius [m], the grid's own at most."""

    def cells_of(self, x_N: np.ndarray, y_N: np.ndarray) -> np.ndarray:
        """Return the cell of each place, uint64 [N]; refuses places that lie nowhere with ``PlaceError``."""

    def parents(self, cell: int) -> tuple[int, ...]:
        """Return the cell's ancestors, one per level after the first."""

    def disc(self, cell: int, radius_m: float, most: int) -> tuple[int, np.ndarray] | None:
        """Return a level and its cells that hold everything within a radius of any place in a cell; None: too many."""
