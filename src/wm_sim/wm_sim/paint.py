"""The look of a building: one picture (atlas) that holds floor, ceiling and all walls unrolled, at four scales.

The scales lie one below the other, each half the size of the one before (mip maps), so that what is far away is
averaged rather than flickering.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from wm_sim.building import CELL_M, Building, wall_distance_m
from wm_sim.decor import DECALS, PIXELS_PER_M, WALL_PATTERNS, Style, random_colour
from wm_sim.textures import retexture

SCALES = 4
_PAD = 8


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


def paint_atlas(building: Building, texture_seed: int | None = None) -> Atlas:
    """Paint every surface of the building, seeded by it; a texture seed puts random textures over all of it."""
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
    image, offsets = _stack_scales(canvas if texture_seed is None else retexture(canvas, texture_seed))
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


def _zone_styles(count: int, rng: np.random.Generator) -> list[Style]:
    """Return one style per zone; a corridor often continues in its predecessor's style."""
    styles: list[Style] = []
    for _ in range(count):
        if styles and rng.random() < 0.25:
            styles.append(styles[-1])
            continue
        styles.append(
            Style(
                random_colour(rng, (0.08, 0.5), (0.6, 0.95)),
                random_colour(rng, (0.2, 0.75), (0.3, 0.75)),
                random_colour(rng, (0.1, 0.5), (0.3, 0.7)),
                random_colour(rng, (0.1, 0.5), (0.35, 0.8)),
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
    grained: np.ndarray = np.clip(image * (soft + fine)[..., None], 0, 255).astype(np.uint8)
    return grained


def _paint_wall(length: int, height_m: float, style: Style, facing: bool, rng: np.random.Generator) -> np.ndarray:
    height = round(height_m * PIXELS_PER_M)
    wall = np.full((height, max(length, 1), 3), style.wall, np.uint8)
    WALL_PATTERNS[style.wall_pattern](wall, style)
    wall = _grain(wall, 0.05, rng)
    slot, column = PIXELS_PER_M, int(rng.integers(4, 30))
    while column + slot * 0.8 < length:
        if rng.random() < 0.75:
            DECALS[rng.integers(len(DECALS))](wall, column, rng)
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


def _pixel_zones(building: Building) -> np.ndarray:
    scale = round(PIXELS_PER_M * CELL_M)
    return np.repeat(np.repeat(building.zone_YX, scale, axis=0), scale, axis=1)


def _paint_floor(building: Building, styles: list[Style], rng: np.random.Generator) -> np.ndarray:
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
        cv2.ellipse(
            floor, centre, axes, float(rng.uniform(0, 180)), 0, 360, random_colour(rng, (0.1, 0.8), (0.2, 0.9)), -1
        )
    return _shade_near_walls(building, floor, 0.3, 0.55)


def _shade_near_walls(building: Building, image: np.ndarray, reach_m: float, least: float) -> np.ndarray:
    distance = cv2.resize(wall_distance_m(building), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    gain = least + (1.0 - least) * np.clip(distance / reach_m, 0.0, 1.0)
    shaded: np.ndarray = (image * gain[..., None]).astype(np.uint8)
    return shaded


def _paint_ceiling(building: Building, styles: list[Style], rng: np.random.Generator) -> np.ndarray:
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
