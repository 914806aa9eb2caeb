"""The look of a building: one picture (atlas) that holds floor, ceiling and all walls unrolled, at four scales.

The scales lie one below the other, each half the size of the one before (mip maps), so that what is far away is
averaged rather than flickering.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from wm_sim.building import CELL_M, Building, wall_distance_m

PIXELS_PER_M = 40
SCALES = 4
_PAD = 8
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Atlas:
    """All textures of a building in one RGB picture.

    A point at ``(x, y)`` pixels of scale 0 lies at ``x / 2**level`` and ``row_of_level[level] + y / 2**level``.
    Floor and ceiling are maps of the building (row 0 at y = 0); a wall's row 0 is its top.
    """

    image_HW3: np.ndarray
    row_of_level: np.ndarray
    ceiling_column: int
    wall_column_S: np.ndarray
    wall_row_S: np.ndarray


@dataclass(frozen=True)
class _Style:
    """Colours and pattern numbers of one zone."""

    wall: Colour
    lower: Colour
    floor: Colour
    second: Colour
    wall_pattern: int
    floor_pattern: int


def paint_atlas(building: Building) -> Atlas:
    """Paint every surface of the building, seeded by it."""
    rng = np.random.default_rng([building.seed, 2])
    styles = _zone_styles(building.zone_count, rng)
    floor, ceiling = _paint_floor(building, styles, rng), _paint_ceiling(building, styles, rng)
    height, width = floor.shape[:2]
    strips = [
        _paint_wall(round(float(length_m) * PIXELS_PER_M), building.ceiling_m, styles[zone], facing, rng)
        for length_m, zone, facing in zip(
            np.linalg.norm(building.wall_end_S2 - building.wall_start_S2, axis=1),
            building.wall_zone_S,
            building.wall_start_S2[:, 0] == building.wall_end_S2[:, 0],
        )
    ]
    columns, rows, total = _shelves([strip.shape[1] for strip in strips], 2 * width, strips[0].shape[0], height)
    canvas = np.zeros((total, 2 * width, 3), np.uint8)
    canvas[:height, :width], canvas[:height, width:] = floor, ceiling
    for strip, column, row in zip(strips, columns, rows):
        framed = cv2.copyMakeBorder(strip, _PAD, _PAD, _PAD, _PAD, cv2.BORDER_REPLICATE)
        canvas[row - _PAD : row - _PAD + framed.shape[0], column - _PAD : column - _PAD + framed.shape[1]] = framed
    image, offsets = _stack_scales(canvas)
    return Atlas(image, offsets, width, np.array(columns, float), np.array(rows, float))


def _stack_scales(canvas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    levels = [canvas]
    for _ in range(SCALES - 1):
        height, width = levels[-1].shape[0] // 2, levels[-1].shape[1] // 2
        levels.append(cv2.resize(levels[-1], (width, height), interpolation=cv2.INTER_AREA))
    offsets = np.cumsum([0] + [level.shape[0] for level in levels[:-1]])
    image = np.zeros((sum(level.shape[0] for level in levels), canvas.shape[1], 3), np.uint8)
    for level, offset in zip(levels, offsets):
        image[offset : offset + level.shape[0], : level.shape[1]] = level
    return image, offsets.astype(float)


def _shelves(widths: list[int], width: int, strip_height: int, first_row: int) -> tuple[list[int], list[int], int]:
    """Place strips on shelves below ``first_row``; return their columns and rows and the height of it all."""
    columns, rows = [], []
    column, row = _PAD, first_row + _PAD
    for strip in widths:
        if column + strip + _PAD > width:
            column, row = _PAD, row + strip_height + 2 * _PAD
        columns.append(column)
        rows.append(row)
        column += -(-(strip + 2 * _PAD) // 8) * 8
    total = row + strip_height + _PAD
    return columns, rows, -(-total // 8) * 8


def _colour(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    hsv = np.array([[[rng.uniform(0, 180), rng.uniform(*saturation) * 255, rng.uniform(*value) * 255]]])
    red, green, blue = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return int(red), int(green), int(blue)


def _zone_styles(count: int, rng: np.random.Generator) -> list[_Style]:
    """Return one style per zone; a corridor often continues in its predecessor's style."""
    styles: list[_Style] = []
    for _ in range(count):
        if styles and rng.random() < 0.25:
            styles.append(styles[-1])
            continue
        styles.append(
            _Style(
                _colour(rng, (0.08, 0.5), (0.6, 0.95)),
                _colour(rng, (0.2, 0.75), (0.3, 0.75)),
                _colour(rng, (0.1, 0.5), (0.3, 0.7)),
                _colour(rng, (0.1, 0.5), (0.35, 0.8)),
                int(rng.integers(6)),
                int(rng.integers(5)),
            )
        )
    return styles


def _grain(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Multiply by soft random blotches and a fine grain, so that no surface is flat."""
    height, width = image.shape[:2]
    coarse = rng.normal(1.0, strength, (height // 16 + 2, width // 16 + 2)).astype(np.float32)
    soft = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    fine = rng.normal(0.0, strength / 2, (height, width)).astype(np.float32)
    return np.clip(image * (soft + fine)[..., None], 0, 255).astype(np.uint8)


def _paint_wall(length: int, height_m: float, style: _Style, facing: bool, rng: np.random.Generator) -> np.ndarray:
    height = round(height_m * PIXELS_PER_M)
    wall = np.full((height, max(length, 1), 3), style.wall, np.uint8)
    _WALL_PATTERNS[style.wall_pattern](wall, style)
    wall = _grain(wall, 0.05, rng)
    slot, column = PIXELS_PER_M, int(rng.integers(4, 30))
    while column + slot * 0.8 < length:
        if rng.random() < 0.75:
            _DECALS[rng.integers(len(_DECALS))](wall, column, rng)
        column += int(slot * rng.uniform(0.95, 1.6))
    wall[-4:] = (np.array(style.lower) * 0.5).astype(np.uint8)
    return _shade_wall(wall, 0.86 if facing else 1.0)


def _shade_wall(wall: np.ndarray, light: float) -> np.ndarray:
    """Darken towards floor, ceiling and ends, where less light comes."""
    height, width = wall.shape[:2]
    up = np.minimum(np.arange(height), np.arange(height)[::-1]) / 14.0
    along = np.minimum(np.arange(width), np.arange(width)[::-1]) / 10.0
    gain = light * (0.72 + 0.28 * np.clip(up, 0, 1))[:, None] * (0.8 + 0.2 * np.clip(along, 0, 1))[None]
    return (wall * gain[..., None]).astype(np.uint8)


def _bricks(wall: np.ndarray, style: _Style) -> None:
    mortar = tuple(int(value * 0.7) for value in style.wall)
    for index, row in enumerate(range(0, wall.shape[0], 8)):
        wall[row : row + 1] = mortar
        wall[row : row + 8, (index % 2) * 10 :: 20] = mortar


def _stripes(wall: np.ndarray, style: _Style) -> None:
    for column in range(0, wall.shape[1], 24):
        wall[:, column : column + 10] = style.lower


def _wainscot(wall: np.ndarray, style: _Style) -> None:
    wall[int(wall.shape[0] * 0.62) :] = style.lower
    wall[int(wall.shape[0] * 0.6) : int(wall.shape[0] * 0.62)] = 235


def _tiles(wall: np.ndarray, style: _Style) -> None:
    start = int(wall.shape[0] * 0.35)
    wall[start:] = style.lower
    wall[start::12] = 225
    wall[start:, ::12] = 225


def _band(wall: np.ndarray, style: _Style) -> None:
    middle = int(wall.shape[0] * 0.66)
    wall[middle : middle + 12] = style.lower
    wall[middle + 4 : middle + 7] = style.second


def _planks(wall: np.ndarray, style: _Style) -> None:
    wall[:] = style.lower
    wall[:, ::16] = tuple(int(value * 0.6) for value in style.lower)


_WALL_PATTERNS: tuple[Callable[[np.ndarray, _Style], None], ...] = (_bricks, _stripes, _wainscot, _tiles, _band, _planks)


def _door(wall: np.ndarray, column: int, rng: np.random.Generator) -> None:
    top = wall.shape[0] - round(1.95 * PIXELS_PER_M)
    colour = _colour(rng, (0.2, 0.8), (0.3, 0.8))
    cv2.rectangle(wall, (column, top - 3), (column + 36, wall.shape[0]), (225, 222, 215), -1)
    cv2.rectangle(wall, (column + 3, top), (column + 33, wall.shape[0]), colour, -1)
    if rng.random() < 0.6:
        cv2.rectangle(wall, (column + 11, top + 10), (column + 25, top + 34), (200, 225, 235), -1)
    cv2.circle(wall, (column + 29, top + 45), 2, (240, 230, 160), -1)


def _poster(wall: np.ndarray, column: int, rng: np.random.Generator) -> None:
    top, width, height = wall.shape[0] - int(rng.integers(50, 66)), int(rng.integers(18, 34)), int(rng.integers(22, 40))
    paper = _colour(rng, (0.0, 0.9), (0.6, 1.0))
    cv2.rectangle(wall, (column, top), (column + width, top + height), (40, 40, 45), -1)
    cv2.rectangle(wall, (column + 1, top + 1), (column + width - 1, top + height - 1), paper, -1)
    for _ in range(int(rng.integers(2, 6))):
        x, y = column + int(rng.integers(4, width - 3)), top + int(rng.integers(5, height - 4))
        ink, size = _colour(rng, (0.4, 1.0), (0.2, 1.0)), int(rng.integers(3, 8))
        if rng.random() < 0.5:
            cv2.circle(wall, (x, y), min(size, x - column, column + width - x, y - top, top + height - y), ink, -1)
        else:
            right, bottom = min(x + size, column + width - 2), min(y + size, top + height - 2)
            cv2.rectangle(wall, (x, y), (right, bottom), ink, -1)


def _window(wall: np.ndarray, column: int, rng: np.random.Generator) -> None:
    top, sky = wall.shape[0] - 68, _colour(rng, (0.1, 0.35), (0.9, 1.0))
    cv2.rectangle(wall, (column, top), (column + 34, top + 40), (245, 245, 240), -1)
    cv2.rectangle(wall, (column + 3, top + 3), (column + 31, top + 37), sky, -1)
    hill = int(rng.integers(8, 22))
    cv2.rectangle(wall, (column + 3, top + 37 - hill), (column + 31, top + 37), _colour(rng, (0.3, 0.6), (0.4, 0.7)), -1)
    wall[top : top + 40, column + 16 : column + 18] = 245


def _shelf(wall: np.ndarray, column: int, rng: np.random.Generator) -> None:
    bottom, top = wall.shape[0] - 4, wall.shape[0] - int(rng.integers(40, 70))
    cv2.rectangle(wall, (column, top), (column + 36, bottom), (92, 66, 44), -1)
    for row in range(top + 2, bottom - 9, 13):
        x = column + 2
        while x < column + 31:
            width, height = int(rng.integers(2, 5)), int(rng.integers(7, 12))
            cv2.rectangle(wall, (x, row + 11 - height), (x + width - 1, row + 10), _colour(rng, (0.3, 1), (0.3, 1)), -1)
            x += width
        wall[row + 11 : row + 13, column : column + 37] = (140, 104, 70)


def _sign(wall: np.ndarray, column: int, rng: np.random.Generator) -> None:
    row, colour = wall.shape[0] - int(rng.integers(38, 60)), _colour(rng, (0.6, 1.0), (0.5, 1.0))
    if rng.random() < 0.5:
        cv2.circle(wall, (column + 12, row), 11, colour, -1)
        cv2.circle(wall, (column + 12, row), 5, _colour(rng, (0.0, 0.5), (0.8, 1.0)), -1)
    else:
        corners = np.array([[column, row + 10], [column + 24, row + 10], [column + 12, row - 11]])
        cv2.fillConvexPoly(wall, corners, colour)
        wall[row : row + 7, column + 11 : column + 13] = 20


def _cabinet(wall: np.ndarray, column: int, rng: np.random.Generator) -> None:
    top, colour = wall.shape[0] - int(rng.integers(36, 46)), _colour(rng, (0.0, 0.6), (0.4, 0.9))
    dark = tuple(int(value * 0.55) for value in colour)
    cv2.rectangle(wall, (column, top), (column + 34, wall.shape[0] - 3), colour, -1)
    for row in range(top + 8, wall.shape[0] - 4, 10):
        cv2.line(wall, (column, row), (column + 34, row), dark, 1)
        wall[row - 5 : row - 3, column + 14 : column + 20] = dark


_DECALS: tuple[Callable[[np.ndarray, int, np.random.Generator], None], ...] = (
    _door,
    _poster,
    _poster,
    _window,
    _shelf,
    _sign,
    _cabinet,
)


def _pixel_zones(building: Building) -> np.ndarray:
    scale = round(PIXELS_PER_M * CELL_M)
    return np.repeat(np.repeat(building.zone_YX, scale, axis=0), scale, axis=1)


def _paint_floor(building: Building, styles: list[_Style], rng: np.random.Generator) -> np.ndarray:
    zones = _pixel_zones(building)
    height, width = zones.shape
    first = np.array([style.floor for style in styles], np.uint8)[zones]
    second = np.array([style.second for style in styles], np.uint8)[zones]
    row, column = np.mgrid[:height, :width]
    masks = np.stack(
        [
            ((row // 20 + column // 20) % 2).astype(bool),
            (row % 16 == 0) | ((column + (row // 16) * 23) % 64 == 0),
            ((row + column) // 14) % 2 == 0,
            (row % 24 < 2) | (column % 24 < 2),
            (row // 6 % 5 == 0) & (column // 6 % 5 == 0),
        ]
    )
    pattern = np.array([style.floor_pattern for style in styles])[zones]
    chosen = np.take_along_axis(masks, pattern[None], axis=0)[0]
    floor = _grain(np.where(chosen[..., None], second, first), 0.06, rng)
    free_rows, free_columns = np.nonzero(building.free_YX)
    for _ in range(30):
        pick = rng.integers(len(free_rows))
        centre = (int(free_columns[pick] * 4), int(free_rows[pick] * 4))
        axes = (int(rng.integers(4, 22)), int(rng.integers(4, 22)))
        cv2.ellipse(floor, centre, axes, float(rng.uniform(0, 180)), 0, 360, _colour(rng, (0.1, 0.8), (0.2, 0.9)), -1)
    return _shade_near_walls(building, floor, 0.3, 0.55)


def _shade_near_walls(building: Building, image: np.ndarray, reach_m: float, least: float) -> np.ndarray:
    distance = cv2.resize(wall_distance_m(building), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    gain = least + (1.0 - least) * np.clip(distance / reach_m, 0.0, 1.0)
    return (image * gain[..., None]).astype(np.uint8)


def _paint_ceiling(building: Building, styles: list[_Style], rng: np.random.Generator) -> np.ndarray:
    zones = _pixel_zones(building)
    tint = np.array([style.wall for style in styles], float)[zones]
    ceiling = (0.35 * tint + 0.65 * 225).astype(np.uint8)
    ceiling[::24], ceiling[:, ::24] = 150, 150
    ceiling = _grain(_shade_near_walls(building, ceiling, 0.3, 0.6), 0.03, rng)
    for start_2, end_2 in building.edges_E22:
        x, y = (int(value) for value in (start_2 + end_2) / 2 * PIXELS_PER_M)
        half = (12, 5) if start_2[1] == end_2[1] else (5, 12)
        cv2.rectangle(ceiling, (x - half[0], y - half[1]), (x + half[0], y + half[1]), (255, 255, 250), -1)
    return ceiling
