"""Objects that stand or walk about: round bodies with a profile, painted all around."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from wm_sim.building import Building, cell_centres, path_distance_m, wall_distance_m
from wm_sim.settings import WorldConfig

SKIN_SIZE = 48
PATH_CLEARANCE_M = 0.5
_SEATS_PER_MOVABLE = 3
# Outline of a body: share of its height from the top, share of its radius there.
_PROFILES: dict[str, tuple[tuple[float, float], ...]] = {
    "bin": ((0, 0.9), (0.1, 1), (0.12, 0.85), (1, 0.7)),
    "barrel": ((0, 0.85), (0.5, 1), (1, 0.85)),
    "box": ((0, 1), (1, 1)),
    "plant": ((0, 0.3), (0.2, 0.95), (0.45, 0.9), (0.6, 0.25), (0.65, 0.2), (0.66, 0.55), (1, 0.4)),
    "stool": ((0, 1), (0.18, 1), (0.19, 0.2), (0.85, 0.2), (0.9, 0.7), (1, 0.75)),
    "lamp": ((0, 0.5), (0.25, 1), (0.26, 0.12), (0.92, 0.12), (0.94, 0.7), (1, 0.7)),
    "cone": ((0, 0.15), (0.85, 0.7), (0.86, 1), (1, 1)),
    "person": ((0, 0.3), (0.06, 0.45), (0.13, 0.35), (0.16, 0.9), (0.3, 1), (0.5, 0.85), (0.95, 0.5), (1, 0.65)),
}
_SIZES_M: dict[str, tuple[float, float]] = {
    "bin": (0.14, 0.5),
    "barrel": (0.16, 0.75),
    "box": (0.17, 0.4),
    "plant": (0.2, 1.0),
    "stool": (0.16, 0.5),
    "lamp": (0.15, 1.4),
    "cone": (0.14, 0.55),
    "person": (0.24, 1.7),
}


@dataclass(frozen=True)
class Things:
    """Everything that is not a wall: N bodies, furniture first, then movables, then walkers.

    ``skin_NKK4`` is unrolled around the body (column 0 at its front, then anticlockwise seen from above), its fourth
    channel the share of the radius that the body has at that height, in 255ths. ``seats_MP2`` are the places among
    which a movable changes.
    """

    radius_N: np.ndarray
    height_N: np.ndarray
    skin_NKK4: np.ndarray
    position_N2: np.ndarray
    yaw_N: np.ndarray
    furniture_count: int
    seats_MP2: np.ndarray

    @property
    def movable_count(self) -> int:
        """How many bodies change their place."""
        return len(self.seats_MP2)


def make_things(building: Building, config: WorldConfig, walker_count: int) -> Things:
    """Return the seeded bodies of a building, all clear of the robot's path; walkers stand at the origin at first."""
    rng = np.random.default_rng([building.seed, 3])
    seats = _free_seats(building, rng)
    furniture = min(config.furniture_count, len(seats) // 2)
    movables = min(config.movable_count, len(seats) - furniture)
    homes, spare = seats[furniture : furniture + movables], seats[furniture:]
    seats_MP2 = np.stack([_near(home, spare, rng) for home in homes]) if movables else np.zeros((0, 1, 2))
    kinds = [list(_SIZES_M)[rng.integers(len(_SIZES_M) - 1)] for _ in range(furniture + movables)]
    kinds += ["person"] * walker_count
    size_N2 = np.array([_SIZES_M[kind] for kind in kinds]).reshape(-1, 2) * rng.uniform(0.85, 1.15, (len(kinds), 1))
    skins = (
        np.stack([_skin(kind, rng) for kind in kinds]) if kinds else np.zeros((0, SKIN_SIZE, SKIN_SIZE, 4), np.uint8)
    )
    position_N2 = np.concatenate([seats[:furniture], seats_MP2[:, 0], np.zeros((walker_count, 2))])
    yaw_N = rng.uniform(-np.pi, np.pi, len(kinds))
    return Things(size_N2[:, 0], size_N2[:, 1], skins, position_N2, yaw_N, furniture, seats_MP2)


def _free_seats(building: Building, rng: np.random.Generator) -> np.ndarray:
    """Return places in random order, at least 0.5 m apart, near walls and clear of every path, shape [?, 2]."""
    centres_N2 = cell_centres(building.free_YX.shape)
    wall_N = wall_distance_m(building).ravel()
    near = (wall_N >= 0.15) & (wall_N <= 0.6)
    candidates = centres_N2[near]
    candidates = candidates[path_distance_m(building.edges_E22, candidates).min(1) >= PATH_CLEARANCE_M]
    chosen: list[np.ndarray] = []
    for point_2 in candidates[rng.permutation(len(candidates))]:
        if all(np.hypot(*(point_2 - other_2)) >= 0.5 for other_2 in chosen):
            chosen.append(point_2)
    return np.array(chosen).reshape(-1, 2)


def _near(home_2: np.ndarray, seats: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    order = np.argsort(np.linalg.norm(seats - home_2, axis=1), kind="stable")[: _SEATS_PER_MOVABLE + 2]
    others = rng.permutation(order[1:])[: _SEATS_PER_MOVABLE - 1]
    picked = seats[np.r_[order[:1], others]]
    return np.concatenate([picked, np.repeat(home_2[None], _SEATS_PER_MOVABLE - len(picked), axis=0)])


def _skin(kind: str, rng: np.random.Generator) -> np.ndarray:
    hue = rng.uniform(0, 180, 3)
    colours = np.stack([hue, rng.uniform(60, 230, 3), rng.uniform(90, 240, 3)], axis=1).astype(np.uint8)
    main, second, third = (tuple(int(v) for v in c) for c in cv2.cvtColor(colours[None], cv2.COLOR_HSV2RGB)[0])
    image = np.full((SKIN_SIZE, SKIN_SIZE, 3), main, np.uint8)
    if kind == "person":
        _paint_person(image, main, second)
    elif kind == "plant":
        image[:31] = (50, 130, 55)
        image[31:] = second
        image[:29][rng.random((29, SKIN_SIZE)) < 0.35] = (28, 84, 40)
    elif kind == "box":
        for column, colour in ((0, main), (12, second), (24, main), (36, third)):
            image[:, column : column + 12] = colour
        image[:, ::12] = 40
    else:
        band = int(rng.integers(8, 30))
        image[band : band + int(rng.integers(4, 12))] = second
        column = int(rng.integers(0, 36))
        image[16:30, column : column + 10] = third
    share_P2 = np.array(_PROFILES[kind], float)
    profile = np.interp(np.linspace(0, 1, SKIN_SIZE), share_P2[:, 0], share_P2[:, 1])
    outline = np.repeat((profile * 255).astype(np.uint8)[:, None], SKIN_SIZE, axis=1)
    return np.dstack([image, outline])


def _paint_person(image: np.ndarray, shirt: tuple[int, ...], trousers: tuple[int, ...]) -> None:
    image[:7] = (70, 45, 30)
    face = slice(SKIN_SIZE // 8, SKIN_SIZE // 8)
    image[2:7, : face.start], image[2:7, -face.stop :] = (225, 180, 150), (225, 180, 150)
    image[7:25] = shirt
    image[10:20, 18:30] = (60, 60, 70)
    image[25:] = tuple(int(value * 0.6) for value in trousers)
    image[25:, ::24] = 20
    image[45:] = 30
