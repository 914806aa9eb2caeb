"""The ground that the robot remembers having driven, and the cost of every place on it to a goal.

The ground is what its memories cover: places at which it was, and the way between one and the next. It is all that a
plan may count on; beyond it every metre costs more.

Shape suffixes: N = memories, Y X = rows and columns of the grid, P = points, 2 = x, y [m], 3 = (x, y, yaw).
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from latent_planner.ground_settings import GroundSettings

CELL_M = 0.05
"""Cell of a ground that is not large [m]."""
MOST_CELLS = 2**24
"""Cells of a ground; a larger one has larger cells."""
LONGEST_SIDE = 30_000
"""Cells of its longer side: what OpenCV looks values up in has fewer than 32768."""
_SIDEWAYS = ((1, 0), (0, 1), (1, 1), (1, -1), (2, 1), (1, 2), (2, -1), (1, -2))
_MARGIN_M = 1.0


class TooLargeError(ValueError):
    """A ground whose cells would be wider than a track: it is not kept as a grid."""


class Ground:
    """Known ground as a grid, of ``CELL_M`` unless it is large.

    Args:
        pose_N3: Poses of the memories, in the order in which they were made.
        session_N: Which run each belongs to; none are joined across runs.
        settings: What counts as known.

    Raises:
        ValueError: No memories.
        TooLargeError: They lie too far apart.

    Attributes:
        cell_m: Side of a cell [m].
    """

    def __init__(self, pose_N3: np.ndarray, session_N: np.ndarray, settings: GroundSettings) -> None:
        if not len(pose_N3):
            raise ValueError("no memories, so no ground is known")
        self.settings = settings
        self.cell_m = cell_for(pose_N3[:, :2], settings)
        self._origin_2 = np.floor((pose_N3[:, :2].min(0) - _MARGIN_M) / self.cell_m) * self.cell_m
        size_2 = np.ceil((pose_N3[:, :2].max(0) + _MARGIN_M - self._origin_2) / self.cell_m).astype(int)
        track_YX = self._draw(pose_N3, session_N, (int(size_2[1]), int(size_2[0])))
        self.beside_m_YX = cv2.distanceTransform(1 - track_YX, cv2.DIST_L2, 5) * self.cell_m
        self.known_YX = self.beside_m_YX <= settings.half_width_m

    @property
    def origin(self) -> tuple[float, float]:
        """Corner of the grid: x, y [m]."""
        return float(self._origin_2[0]), float(self._origin_2[1])

    def cells(self, place_P2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return row and column of places, those outside moved to the rim."""
        cell_P2 = ((place_P2 - self._origin_2) * (1.0 / self.cell_m)).astype(np.int32)
        rows, columns = self.known_YX.shape
        return np.clip(cell_P2[..., 1], 0, rows - 1), np.clip(cell_P2[..., 0], 0, columns - 1)

    def field(self, goal_2: np.ndarray) -> Field:
        """Return the cost to a goal x, y [m] of every cell.

        Raises:
            ValueError: The goal is further from known ground than ``gap_m``.
        """
        row, column = (int(values[0]) for values in self.cells(np.asarray(goal_2, float)[None]))
        outside = self._origin_2 + np.array(self.known_YX.shape[::-1]) * self.cell_m < goal_2
        if (goal_2 < self._origin_2).any() or outside.any() or self.beside_m_YX[row, column] > self.settings.gap_m:
            raise ValueError(f"goal {np.round(goal_2, 2).tolist()} m lies where the robot has never been")
        return Field(self, self._costs(row, column))

    def _draw(self, pose_N3: np.ndarray, session_N: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        track_YX = np.zeros(shape, np.uint8)
        point_N2 = np.floor((pose_N3[:, :2] - self._origin_2) / self.cell_m).astype(np.int32)
        track_YX[point_N2[:, 1], point_N2[:, 0]] = 1
        step_m = np.hypot(*np.diff(pose_N3[:, :2], axis=0).T)
        joined = (step_m <= self.settings.gap_m) & (session_N[1:] == session_N[:-1])
        lines = np.stack([point_N2[:-1][joined], point_N2[1:][joined]], axis=1)
        cv2.polylines(track_YX, list(lines), isClosed=False, color=1)
        return track_YX

    def _costs(self, row: int, column: int) -> np.ndarray:
        """Return the cheapest way to a cell over known ground; off it, that of the nearest known cell and the way."""
        known_YX = self.known_YX.copy()
        known_YX[row, column] = True
        index_YX = np.cumsum(known_YX, dtype=np.int32).reshape(known_YX.shape) - 1
        goal = self._joined(known_YX, index_YX, row, column)
        cost = dijkstra(self._graph(known_YX, index_YX), directed=False, indices=goal)
        cost_YX = np.full(known_YX.shape, np.inf, np.float32)
        cost_YX[known_YX] = cost
        reached_YX = np.isfinite(cost_YX)
        off_m_YX, label_YX = cv2.distanceTransformWithLabels(
            (~reached_YX).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        of_label = np.zeros(label_YX.max() + 1, np.float32)
        of_label[label_YX[reached_YX]] = cost_YX[reached_YX]
        beyond_YX: np.ndarray = of_label[label_YX] + self.settings.unknown_cost * self.cell_m * off_m_YX
        return beyond_YX

    def _joined(self, known_YX: np.ndarray, index_YX: np.ndarray, row: int, column: int) -> int:
        """Return the index of the known cell nearest to the goal's."""
        rows, columns = np.nonzero(self.known_YX)
        nearest = np.hypot(rows - row, columns - column).argmin()
        return int(index_YX[rows[nearest], columns[nearest]])

    def _graph(self, known_YX: np.ndarray, index_YX: np.ndarray) -> csr_array:
        share_YX = self.beside_m_YX / self.settings.half_width_m
        weight_YX = 1.0 + self.settings.off_track_cost * share_YX**2
        rows, columns = known_YX.shape
        starts, ends, costs = [], [], []
        for down, right in _SIDEWAYS:
            here = np.s_[: rows - down, max(0, -right) : columns - max(0, right)]
            there = np.s_[down:, max(0, right) : columns + min(0, right)]
            both = known_YX[here] & known_YX[there]
            starts.append(index_YX[here][both])
            ends.append(index_YX[there][both])
            length_m = self.cell_m * math.hypot(down, right)
            costs.append(length_m * 0.5 * (weight_YX[here][both] + weight_YX[there][both]))
        count = int(known_YX.sum())
        pair = (np.concatenate(starts), np.concatenate(ends))
        return csr_array((np.concatenate(costs), pair), shape=(count, count))


def cell_for(place_P2: np.ndarray, settings: GroundSettings) -> float:
    """Return the side of the cells of a ground over places [m].

    Raises:
        TooLargeError: They would be wider than known ground is to either side of a track.
    """
    side_2 = np.ptp(place_P2, axis=0) + 3.0 * _MARGIN_M
    cell_m = float(max(CELL_M, math.sqrt(side_2.prod() / MOST_CELLS), side_2.max() / LONGEST_SIDE))
    if cell_m > max(CELL_M, settings.half_width_m):
        raise TooLargeError(f"{side_2[0]:.0f} x {side_2[1]:.0f} m of ground are too large to be planned over")
    return cell_m


class Field:
    """Cost to one goal: metres of known ground, dearer beside the track and beyond what is known.

    Args:
        ground: Its grid.
        cost_YX: Cost of each cell [m of known ground].
    """

    def __init__(self, ground: Ground, cost_YX: np.ndarray) -> None:
        self.ground, self.cost_YX = ground, cost_YX

    def at(self, place_P2: np.ndarray) -> np.ndarray:
        """Return the cost [m] at places, bilinear between the cells' centres, [...]."""
        ground = self.ground
        grid_P2 = (place_P2 - (np.array(ground.origin) + ground.cell_m / 2)) * (1.0 / ground.cell_m)
        rows, columns = self.cost_YX.shape
        x = np.clip(grid_P2[..., 0], 0.0, columns - 1.001).astype(np.float32)
        y = np.clip(grid_P2[..., 1], 0.0, rows - 1.001).astype(np.float32)
        found: np.ndarray = cv2.remap(self.cost_YX, x.reshape(len(x), -1), y.reshape(len(y), -1), cv2.INTER_LINEAR)
        return found.reshape(x.shape)
