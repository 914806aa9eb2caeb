"""H3 cells of a map, and which of them lie near a place.

Shape suffixes: N = places, C = cells.
"""

from __future__ import annotations

import math

import h3.api.numpy_int as h3
import numpy as np

from wm_core.memory.errors import PlaceError
from wm_core.memory.frames import Map

# Edges shrink towards an icosahedron's edges and corners; this much below the local one misses nothing (tested there).
EDGE_MARGIN = 0.85


def resolution_for(radius_m: float) -> int:
    """Return the finest H3 resolution whose edge is at least a quarter of the usual search radius.

    About four rings then cover a search: few enough to look up, small enough to leave out most of what is too far.

    Args:
        radius_m: The radius that most queries ask for [m].
    """
    for resolution in range(15, 0, -1):
        if h3.average_hexagon_edge_length(resolution, "m") >= radius_m / 4.0:
            return resolution
    return 0


class CellGrid:
    """Cuts a map into H3 cells and names those that a disc may touch.

    Args:
        map_frame: What x and y mean.
        resolution: H3 resolution, 0..15.

    Raises:
        PlaceError: No such resolution.
    """

    def __init__(self, map_frame: Map, resolution: int) -> None:
        if not 0 <= resolution <= 15:
            raise PlaceError(f"H3 resolution {resolution} is not within 0..15")
        self.map = map_frame
        self.resolution = resolution
        self.levels = tuple(range(resolution, -1, -2))[:5]
        self._edges: dict[int, float] = {}

    def level_for(self, radius_m: float) -> int:
        """Return the resolution whose cells suit a search radius [m], the grid's own at most."""
        return min(resolution_for(radius_m), self.resolution)

    def cells_of(self, x_N: np.ndarray, y_N: np.ndarray) -> np.ndarray:
        """Return the cell of each place, uint64 [N].

        Raises:
            PlaceError: A place that lies nowhere or off the map.
        """
        lat_N, lng_N = self.map.to_latlng(np.asarray(x_N, np.float64), np.asarray(y_N, np.float64))
        resolution, cell_of = self.resolution, h3.latlng_to_cell
        cells = [cell_of(lat, lng, resolution) for lat, lng in zip(lat_N.tolist(), lng_N.tolist())]
        return np.array(cells, np.uint64)

    def cell_of(self, x: float, y: float, resolution: int | None = None) -> int:
        """Return the cell of one place, at the grid's resolution or another.

        Raises:
            PlaceError: A place that lies nowhere or off the map.
        """
        result: int = h3.latlng_to_cell(
            *self.map.place_to_latlng(x, y), self.resolution if resolution is None else resolution
        )
        return result

    def parents(self, cell: int) -> tuple[int, ...]:
        """Return the cell's ancestors, one per level after the first."""
        return tuple(h3.cell_to_parent(cell, level) for level in self.levels[1:])

    def outline(self, cell: int, near: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
        """Return the corners of a cell in map coordinates [5 or 6, 2], on the part of the map where a place lies."""
        lat_lng = np.array(h3.cell_to_boundary(cell))
        return np.stack(self.map.from_latlng(lat_lng[:, 0], lat_lng[:, 1], near), axis=1)

    def within_rings(self, cell: int, ring_count: int) -> np.ndarray:
        """Return all cells at most ``ring_count`` steps away, uint64 [C]."""
        result: np.ndarray = h3.grid_disk(cell, ring_count)
        return result

    def disc(self, cell: int, radius_m: float, most: int) -> tuple[int, np.ndarray] | None:
        """Return a level and its cells that hold everything within a radius of any place in a cell.

        Coarser levels serve larger discs, so that the cells to look up stay few. Never leaves a cell out; may name
        more than needed.

        Args:
            cell: The cell of the disc's centre.
            radius_m: Radius of the disc [m].
            most: More cells than this are not worth naming.

        Returns:
            Index into ``levels`` and the cells, or None where even the coarsest level has more than ``most``.
        """
        for index, level in enumerate(self.levels):
            ancestor = cell if index == 0 else h3.cell_to_parent(cell, level)
            rings = self._rings(ancestor, level, radius_m)
            # Children stick out of their ancestor's outline by a fraction of its edge: one more ring holds them.
            rings += index > 0
            if 3 * rings * (rings + 1) + 1 <= min(most, 500) or (index == len(self.levels) - 1 and rings <= 40):
                return index, h3.grid_disk(ancestor, rings)
        return None

    def _rings(self, cell: int, level: int, radius_m: float) -> int:
        """Return how many rings of cells hold a disc around any place in a cell.

        From a corner of a regular cell the first ring is one edge wide, each further one at least 1.5 edges.
        """
        area = cell if level <= 5 else h3.cell_to_parent(cell, 5)
        edge_m = self._edges.get(area * 16 + level)
        if edge_m is None:
            edge_m = self._edges[area * 16 + level] = EDGE_MARGIN * shortest_edge_m(cell)
        return max(0, math.ceil((radius_m / edge_m + 0.5) / 1.5))


def shortest_edge_m(cell: int) -> float:
    """Return the length of a cell's shortest side [m], leaving out the stubs where it crosses an icosahedron's edge."""
    corners = h3.cell_to_boundary(cell)
    ends = (*corners[1:], corners[0])
    sides = np.array([h3.great_circle_distance(start, end, "m") for start, end in zip(corners, ends)])
    whole = sides[sides > 0.6 * sides.max()]
    return float(whole.min())
