"""Seeded floor plans: a ring of corridors with one short cut, rooms and niches; walls as segments.

The ring is the outline of a random polyomino of six squares, so it turns left and right at unforeseeable places. The
short cut joins two opposite nodes of the ring, so that either half of it is a loop of its own, long enough to
take more than 20 s.

Shape suffixes: E = ring edges (= ring nodes), S = wall segments, Y X = grid rows and columns, 2 = x, y in metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from wm_sim.settings import WorldConfig

CELL_M = 0.1
_MARGIN_M = 3.2
_RING_M = 36.4
# Of all outlines of six squares only these have a short cut that leaves two equal loops.
_RING_EDGES = 14
_NEIGHBOURS = ((1, 0), (0, 1), (-1, 0), (0, -1))
Cell = tuple[int, int]


@dataclass(frozen=True)
class Building:
    """One floor plan in the map frame (x right, y up, origin at a corner), everything in metres.

    ``ring_E2`` are the ring's nodes in driving order, ``edges_E22`` the ends of every corridor: the ring's, then the
    short cut. ``wall_start_S2`` is the left end of a wall seen from its free side. ``free_YX`` and ``zone_YX`` are
    grids of ``CELL_M``; the first zones belong to the corridors, in the order of their edges, the rest to the rooms.
    """

    seed: int
    ring_E2: np.ndarray
    edges_E22: np.ndarray
    shortcut: tuple[int, int]
    wall_start_S2: np.ndarray
    wall_end_S2: np.ndarray
    wall_zone_S: np.ndarray
    free_YX: np.ndarray
    zone_YX: np.ndarray
    zone_count: int
    ceiling_m: float

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height of the plan [m]."""
        return self.free_YX.shape[1] * CELL_M, self.free_YX.shape[0] * CELL_M


def make_building(seed: int, config: WorldConfig | None = None) -> Building:
    """Return the building of ``seed``; the same seed and config give the same building.

    Raises:
        ValueError: ``seed`` is negative.
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected 0 or more")
    config = config or WorldConfig()
    rng = np.random.default_rng([seed, 1])
    nodes, shortcut = _ring(rng)
    grid = np.array(nodes, float)
    pitch_m = _RING_M / len(nodes)
    ring_E2 = (grid - grid.min(0)) * pitch_m + _MARGIN_M
    size = np.ceil((ring_E2.max(0) + _MARGIN_M) / CELL_M).astype(int)
    free_YX = np.zeros((size[1], size[0]), bool)
    edges_E22 = np.concatenate(
        [np.stack([ring_E2, np.roll(ring_E2, -1, axis=0)], axis=1), ring_E2[list(shortcut)][None]]
    )
    zone_YX = _nearest_edge(edges_E22, free_YX.shape)
    for start_2, end_2 in edges_E22:
        low_2, high_2 = np.minimum(start_2, end_2), np.maximum(start_2, end_2)
        _carve(free_YX, low_2 - config.corridor_m / 2, high_2 + config.corridor_m / 2)
    rooms = _add_rooms(free_YX, zone_YX, edges_E22, config, rng)
    _add_niches(free_YX, edges_E22, config, rng)
    starts, ends, zones = _walls(free_YX, zone_YX)
    return Building(
        seed,
        ring_E2,
        edges_E22,
        shortcut,
        starts,
        ends,
        zones,
        free_YX,
        zone_YX,
        len(edges_E22) + rooms,
        config.ceiling_m,
    )


def path_distance_m(edges_E22: np.ndarray, points_N2: np.ndarray) -> np.ndarray:
    """Return the distance [m] of each point to each corridor's centre line, shape [N, E]."""
    start_E2, along_E2 = edges_E22[:, 0], edges_E22[:, 1] - edges_E22[:, 0]
    offset_NE2 = points_N2[:, None] - start_E2
    share_NE = np.clip((offset_NE2 * along_E2).sum(-1) / (along_E2**2).sum(-1), 0.0, 1.0)
    distance_NE: np.ndarray = np.linalg.norm(offset_NE2 - share_NE[..., None] * along_E2, axis=-1)
    return distance_NE


def cell_centres(shape: tuple[int, ...]) -> np.ndarray:
    """Return the centre [m] of every cell of a grid of ``shape`` (rows, columns), shape [rows * columns, 2]."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) * CELL_M


def _ring(rng: np.random.Generator) -> tuple[list[Cell], tuple[int, int]]:
    """Return ring nodes on an integer grid, one step apart, and the two node indices that the short cut joins."""
    while True:
        squares: set[Cell] = {(0, 0)}
        while len(squares) < 6:
            x, y = sorted(squares)[rng.integers(len(squares))]
            dx, dy = _NEIGHBOURS[rng.integers(4)]
            squares.add((x + dx, y + dy))
        ring = _outline(squares)
        if len(ring) != _RING_EDGES:
            continue
        if rng.random() < 0.5:
            ring.reverse()
        half = len(ring) // 2
        pairs = [
            (i, i + half)
            for i in range(half)
            if abs(ring[i][0] - ring[i + half][0]) + abs(ring[i][1] - ring[i + half][1]) == 1
            and _inside(squares, ring[i], ring[i + half])
        ]
        if pairs:
            first = pairs[rng.integers(len(pairs))][0]
            start = int(rng.integers(1, half))
            turned = ring[first - start :] + ring[: first - start]
            return turned, (start, start + half)


def _outline(squares: set[Cell]) -> list[Cell]:
    """Return the outline's nodes, counter-clockwise; empty when it is not one simple cycle."""
    following: dict[Cell, Cell] = {}
    for x, y in sorted(squares):
        sides = (((x, y), (x + 1, y), (x, y - 1)), ((x + 1, y), (x + 1, y + 1), (x + 1, y)),
                 ((x + 1, y + 1), (x, y + 1), (x, y + 1)), ((x, y + 1), (x, y), (x - 1, y)))  # fmt: skip
        for start, end, beyond in sides:
            if beyond in squares:
                continue
            if start in following:
                return []
            following[start] = end
    first = min(following)
    cycle = [first]
    while following[cycle[-1]] != first:
        cycle.append(following[cycle[-1]])
    return cycle if len(cycle) == len(following) else []


def _inside(squares: set[Cell], a: Cell, b: Cell) -> bool:
    """Whether both squares beside the grid edge a-b belong to the polyomino."""
    x, y = min(a, b)
    beside = ((x, y), (x, y - 1)) if a[1] == b[1] else ((x, y), (x - 1, y))
    return all(square in squares for square in beside)


def _nearest_edge(edges_E22: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    distance_NE = path_distance_m(edges_E22, cell_centres(shape))
    nearest_YX: np.ndarray = distance_NE.argmin(1).reshape(shape).astype(np.int16)
    return nearest_YX


def _slices(low_2: np.ndarray, high_2: np.ndarray) -> tuple[slice, slice]:
    (x0, y0), (x1, y1) = np.rint(np.stack([low_2, high_2]) / CELL_M).astype(int)
    return slice(max(y0, 0), max(y1, 0)), slice(max(x0, 0), max(x1, 0))


def _carve(free_YX: np.ndarray, low_2: np.ndarray, high_2: np.ndarray) -> None:
    free_YX[_slices(low_2, high_2)] = True


def _is_solid(free_YX: np.ndarray, low_2: np.ndarray, high_2: np.ndarray) -> bool:
    """Whether the rectangle lies inside the plan, one cell from its rim, and nothing in it is free."""
    top_2 = np.array(free_YX.shape[::-1]) * CELL_M
    if (low_2 < CELL_M).any() or (high_2 > top_2 - CELL_M).any():
        return False
    return not free_YX[_slices(low_2, high_2)].any()


def _side(
    edges_E22: np.ndarray, rng: np.random.Generator, margin_m: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a random point on a random corridor's centre line, its direction, and a random side of it."""
    start_2, end_2 = edges_E22[rng.integers(len(edges_E22))]
    along_2 = (end_2 - start_2) / np.linalg.norm(end_2 - start_2)
    out_2 = np.array([-along_2[1], along_2[0]]) * rng.choice([-1.0, 1.0])
    point_2 = start_2 + (end_2 - start_2) * rng.uniform(margin_m, 1.0 - margin_m)
    return point_2, along_2, out_2


def _box(
    point_2: np.ndarray, along_2: np.ndarray, out_2: np.ndarray, half: float, near: float, far: float
) -> tuple[np.ndarray, np.ndarray]:
    corners = np.stack([point_2 + s * half * along_2 + d * out_2 for s in (-1, 1) for d in (near, far)])
    return corners.min(0), corners.max(0)


def _add_rooms(
    free_YX: np.ndarray, zone_YX: np.ndarray, edges_E22: np.ndarray, config: WorldConfig, rng: np.random.Generator
) -> int:
    """Carve rooms behind doorways beside the corridors; return how many found a place."""
    count = 0
    for _ in range(40 * config.room_count):
        if count == config.room_count:
            break
        point_2, along_2, out_2 = _side(edges_E22, rng, 0.2)
        half, depth, near = rng.uniform(0.7, 1.2), rng.uniform(1.2, 2.1), config.corridor_m / 2
        body = _box(point_2, along_2, out_2, half, near + 0.2, near + 0.2 + depth)
        if not _is_solid(free_YX, body[0] - 0.15, body[1] + 0.15):
            continue
        free_YX[_slices(*body)] = True
        zone_YX[_slices(*body)] = len(edges_E22) + count
        _carve(free_YX, *_box(point_2, along_2, out_2, 0.45, near - 0.1, near + 0.3))
        count += 1
    return count


def _add_niches(free_YX: np.ndarray, edges_E22: np.ndarray, config: WorldConfig, rng: np.random.Generator) -> None:
    count = 0
    for _ in range(20 * config.niche_count):
        if count == config.niche_count:
            break
        point_2, along_2, out_2 = _side(edges_E22, rng, 0.1)
        half, depth, near = rng.uniform(0.2, 0.55), rng.uniform(0.2, 0.5), config.corridor_m / 2
        low_2, high_2 = _box(point_2, along_2, out_2, half + 0.15, near + 0.05, near + depth + 0.15)
        if _is_solid(free_YX, low_2, high_2):
            _carve(free_YX, *_box(point_2, along_2, out_2, half, near - 0.1, near + depth))
            count += 1


def _walls(free_YX: np.ndarray, zone_YX: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return start, end and zone of every wall, split where the zone of the free side changes."""
    found: list[tuple[float, float, float, float, int]] = []
    for is_row in (True, False):
        free, zone = (free_YX, zone_YX) if is_row else (free_YX.T, zone_YX.T)
        for line in range(1, free.shape[0]):
            for inner, outer in ((line - 1, line), (line, line - 1)):
                tag = np.where(free[inner] & ~free[outer], zone[inner], -1)
                ends = np.flatnonzero(np.diff(tag)) + 1
                for a, b in zip(np.r_[0, ends], np.r_[ends, len(tag)]):
                    if tag[a] < 0:
                        continue
                    # Seen from the free side the wall runs from left to right.
                    if (inner < outer) != is_row:
                        a, b = b, a
                    found.append((a, line, b, line, tag[min(a, b)]) if is_row else (line, a, line, b, tag[min(a, b)]))
    table = np.array(found, float)
    return table[:, 0:2] * CELL_M, table[:, 2:4] * CELL_M, table[:, 4].astype(np.int64)


def wall_distance_m(building: Building) -> np.ndarray:
    """Return each free cell's distance [m] to the nearest wall, 0 inside walls, shape [Y, X]."""
    return cv2.distanceTransform(building.free_YX.astype(np.uint8), cv2.DIST_L2, 5) * CELL_M
