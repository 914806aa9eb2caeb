"""What walls carry: patterns all over, and doors, posters, windows, shelves, signs and cabinets here and there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

PIXELS_PER_M = 40
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Style:
    """Colours and pattern numbers of one zone (corridor or room)."""

    wall: Colour
    lower: Colour
    floor: Colour
    second: Colour
    wall_pattern: int
    floor_pattern: int


def random_colour(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    """Return a colour of any hue, with saturation and value (0 to 1) within the given bounds."""
    hsv = np.array([[[rng.uniform(0, 180), rng.uniform(*saturation) * 255, rng.uniform(*value) * 255]]])
    red, green, blue = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return int(red), int(green), int(blue)


def _bricks(wall: np.ndarray, style: Style) -> None:
    mortar = tuple(int(value * 0.7) for value in style.wall)
    for index, row in enumerate(range(0, wall.shape[0], 8)):
        wall[row : row + 1] = mortar
        wall[row : row + 8, (index % 2) * 10 :: 20] = mortar


def _stripes(wall: np.ndarray, style: Style) -> None:
    for column in range(0, wall.shape[1], 24):
        wall[:, column : column + 10] = style.lower


def _wainscot(wall: np.ndarray, style: Style) -> None:
    wall[int(wall.shape[0] * 0.62) :] = style.lower
    wall[int(wall.shape[0] * 0.6) : int(wall.shape[0] * 0.62)] = 235


def _tiles(wall: np.ndarray, style: Style) -> None:
    start = int(wall.shape[0] * 0.35)
    wall[start:] = style.lower
    wall[start::12] = 225
    wall[start:, ::12] = 225


def _band(wall: np.ndarray, style: Style) -> None:
    middle = int(wall.shape[0] * 0.66)
    wall[middle : middle + 12] = style.lower
    wall[middle + 4 : middle + 7] = style.second


def _planks(wall: np.ndarray, style: Style) -> None:
    wall[:] = style.lower
    wall[:, ::16] = tuple(int(value * 0.6) for value in style.lower)


WALL_PATTERNS: tuple[Callable[[np.ndarray, Style], None], ...] = (
    _bricks,
    _stripes,
    _wainscot,
    _tiles,
    _band,
    _planks,
)


def _door(wall: np.ndarray, column: int, rng: np.random.Generator) -> None:
    top = wall.shape[0] - round(1.95 * PIXELS_PER_M)
    colour = random_colour(rng, (0.2, 0.8), (0.3, 0.8))
    cv2.rectangle(wall, (column, top - 3), (column + 36, wall.shape[0]), (225, 222, 215), -1)
    cv2.rectangle(wall, (column + 3, top), (column + 33, wall.shape[0]), colour, -1)
    if rng.random() < 0.6:
        cv2.rectangle(wall, (column + 11, top + 10), (column + 25, top + 34), (200, 225, 235), -1)
    cv2.circle(wall, (column + 29, top + 45), 2, (240, 230, 160), -1)


def _poster(wall: np.ndarray, column: int, rng: np.random.Generator) -> None:
    top, width, height = wall.shape[0] - int(rng.integers(50, 66)), int(rng.integers(18, 34)), int(rng.integers(22, 40))
    paper = random_colour(rng, (0.0, 0.9), (0.6, 1.0))
    cv2.rectangle(wall, (column, top), (column + width, top + height), (40, 40, 45), -1)
    cv2.rectangle(wall, (column + 1, top + 1), (column + width - 1, top + height - 1), paper, -1)
    for _ in range(int(rng.integers(2, 6))):
        x, y = column + int(rng.integers(4, width - 3)), top + int(rng.integers(5, height - 4))
        ink, size = random_colour(rng, (0.4, 1.0), (0.2, 1.0)), int(rng.integers(3, 8))
        if rng.random() < 0.5:
            cv2.circle(wall, (x, y), min(size, x - column, column + width - x, y - top, top + height - y), ink, -1)
        else:
            right, bottom = min(x + size, column + width - 2), min(y + size, top + height - 2)
            cv2.rectangle(wall, (x, y), (right, bottom), ink, -1)


def _window(wall: np.ndarray, column: int, rng: np.random.Generator) -> None:
    top, sky = wall.shape[0] - 68, random_colour(rng, (0.1, 0.35), (0.9, 1.0))
    cv2.rectangle(wall, (column, top), (column + 34, top + 40), (245, 245, 240), -1)
    cv2.rectangle(wall, (column + 3, top + 3), (column + 31, top + 37), sky, -1)
    hill = int(rng.integers(8, 22))
    cv2.rectangle(
        wall, (column + 3, top + 37 - hill), (column + 31, top + 37), random_colour(rng, (0.3, 0.6), (0.4, 0.7)), -1
    )
    wall[top : top + 40, column + 16 : column + 18] = 245


def _shelf(wall: np.ndarray, column: int, rng: np.random.Generator) -> None:
    bottom, top = wall.shape[0] - 4, wall.shape[0] - int(rng.integers(40, 70))
    cv2.rectangle(wall, (column, top), (column + 36, bottom), (92, 66, 44), -1)
    for row in range(top + 2, bottom - 9, 13):
        x = column + 2
        while x < column + 31:
            width, height = int(rng.integers(2, 5)), int(rng.integers(7, 12))
            cv2.rectangle(
                wall, (x, row + 11 - height), (x + width - 1, row + 10), random_colour(rng, (0.3, 1), (0.3, 1)), -1
            )
            x += width
        wall[row + 11 : row + 13, column : column + 37] = (140, 104, 70)


def _sign(wall: np.ndarray, column: int, rng: np.random.Generator) -> None:
    row, colour = wall.shape[0] - int(rng.integers(38, 60)), random_colour(rng, (0.6, 1.0), (0.5, 1.0))
    if rng.random() < 0.5:
        cv2.circle(wall, (column + 12, row), 11, colour, -1)
        cv2.circle(wall, (column + 12, row), 5, random_colour(rng, (0.0, 0.5), (0.8, 1.0)), -1)
    else:
        corners = np.array([[column, row + 10], [column + 24, row + 10], [column + 12, row - 11]])
        cv2.fillConvexPoly(wall, corners, colour)
        wall[row : row + 7, column + 11 : column + 13] = 20


def _cabinet(wall: np.ndarray, column: int, rng: np.random.Generator) -> None:
    top, colour = wall.shape[0] - int(rng.integers(36, 46)), random_colour(rng, (0.0, 0.6), (0.4, 0.9))
    dark = tuple(int(value * 0.55) for value in colour)
    cv2.rectangle(wall, (column, top), (column + 34, wall.shape[0] - 3), colour, -1)
    for row in range(top + 8, wall.shape[0] - 4, 10):
        cv2.line(wall, (column, row), (column + 34, row), dark, 1)
        wall[row - 5 : row - 3, column + 14 : column + 20] = dark


DECALS: tuple[Callable[[np.ndarray, int, np.random.Generator], None], ...] = (
    _door,
    _poster,
    _poster,
    _window,
    _shelf,
    _sign,
    _cabinet,
)
