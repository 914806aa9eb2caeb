"""What happens in a building while the robot drives: lamps and daylight, objects that are moved, people who walk.

Shape suffixes: L = lamps, Y X = cells of the light grid, N = bodies, 2 = x, y in metres, 3 = red, green, blue.
"""

from __future__ import annotations

import math

import numpy as np

from wm_sim.building import Building
from wm_sim.settings import Changes
from wm_sim.things import Things

LIGHT_CELLS_PER_M = 4
LIGHT_UNIT = 128.0
_LIGHT_PERIOD_S = 0.1
_LAMP_MEMORY_S = 40.0
_MOVE_DISTANCE_M = 5.0
_WALK_OFFSET_M = 0.55
_ROBOT_RADIUS_M = 0.2
# What people keep from a robot that is driven, and how fast they step aside for it.
_DISTANCE_KEPT_M = 0.4
_STEP_M_S = 1.0


class LivingWorld:
    """The changing part of a building, advanced along simulated time.

    What happens is decided at whole seconds, so it hardly depends on how often the world is looked at.

    Args:
        building: The floor plan.
        things: Its bodies.
        changes: What changes, and how much.
        seed: Seed of this run's happenings; the building keeps its look whatever the seed.
        gives_way: Whether people wait, and step aside, where the robot is in their way.
    """

    def __init__(
        self, building: Building, things: Things, changes: Changes, seed: int, *, gives_way: bool = False
    ) -> None:
        self._changes = changes
        self._gives_way = gives_way
        self._lights = _Lights(building, changes, np.random.default_rng([seed, 11]))
        self._move_rng = np.random.default_rng([seed, 12])
        self._things = things
        self.position_N2 = things.position_N2.copy()
        self.yaw_N = things.yaw_N.copy()
        first_walker = things.furniture_count + things.movable_count
        self._walkers = [
            _Walker(building, changes.walker_speed_m_s, np.random.default_rng([seed, 13, index]))
            for index in range(len(self.position_N2) - first_walker)
        ]
        self._first_walker = first_walker
        self._second = 0
        self.light_YX3 = self._lights.grid_at(0.0)
        self._light_time_s = 0.0
        self._time_s = 0.0
        self._waited_s = [0.0] * len(self._walkers)
        self._aside_N2 = np.zeros((len(self._walkers), 2))
        self._place_walkers(0.0, None)

    def advance(self, time_s: float, robot_2: tuple[float, float]) -> None:
        """Bring the world to ``time_s``; objects change their place only far from the robot at ``robot_2``."""
        while self._second + 1 <= time_s:
            self._second += 1
            self._move_objects(robot_2)
        if time_s - self._light_time_s >= _LIGHT_PERIOD_S - 1e-9:
            self._light_time_s = time_s
            self.light_YX3 = self._lights.grid_at(time_s)
        self._place_walkers(time_s, robot_2 if self._gives_way else None)

    def _move_objects(self, robot_2: tuple[float, float]) -> None:
        count = self._things.movable_count
        if not count or not self._changes.move_interval_s:
            return
        moving = self._move_rng.random(count) < 1.0 / self._changes.move_interval_s
        seat = self._move_rng.integers(self._things.seats_MP2.shape[1], size=count)
        turn = self._move_rng.uniform(-math.pi, math.pi, count)
        for index in np.flatnonzero(moving):
            body = self._things.furniture_count + index
            place_2 = self._things.seats_MP2[index, seat[index]]
            far = min(math.dist(self.position_N2[body], robot_2), math.dist(place_2, robot_2)) > _MOVE_DISTANCE_M
            taken = np.linalg.norm(self.position_N2[: self._first_walker] - place_2, axis=1).min() < 0.3
            if far and not taken:
                self.position_N2[body] = place_2
                self.yaw_N[body] = turn[index]

    def _place_walkers(self, time_s: float, robot_2: tuple[float, float] | None) -> None:
        passed_s, self._time_s = time_s - self._time_s, time_s
        for number, walker in enumerate(self._walkers):
            index = self._first_walker + number
            place_2, yaw = walker.at(time_s - self._waited_s[number])
            if robot_2 is not None:
                place_2 = self._beside(number, place_2, np.array(robot_2), passed_s)
            self.position_N2[index], self.yaw_N[index] = place_2, yaw

    def _beside(self, number: int, lane_2: np.ndarray, robot_2: np.ndarray, passed_s: float) -> np.ndarray:
        """Return where a person of the lane is: it waits while the robot is near, and steps away from it."""
        aside_2 = self._aside_N2[number]
        away_2 = lane_2 + aside_2 - robot_2
        if not away_2.any():
            away_2 = np.array([1e-6, 0.0])
        away_m = float(np.hypot(*away_2))
        kept_m = self._things.radius_N[self._first_walker + number] + _ROBOT_RADIUS_M + _DISTANCE_KEPT_M
        # Nobody stands where the robot starts.
        step_m = _STEP_M_S * passed_s if self._time_s > 0.0 else kept_m
        if away_m < kept_m:
            self._waited_s[number] += passed_s
            aside_2 = aside_2 + min(kept_m - away_m, step_m) * away_2 / away_m
        elif away_m > kept_m + step_m:
            back_m = float(np.hypot(*aside_2))
            aside_2 = aside_2 * (max(back_m - step_m, 0.0) / max(back_m, 1e-6))
        self._aside_N2[number] = aside_2
        place_2: np.ndarray = lane_2 + aside_2
        return place_2


class _Lights:
    """Daylight, and one lamp per corridor with a colour of its own."""

    def __init__(self, building: Building, changes: Changes, rng: np.random.Generator) -> None:
        colours = np.random.default_rng([building.seed, 4])
        lamps_L2 = building.edges_E22.mean(axis=1)
        width, height = (math.ceil(side * LIGHT_CELLS_PER_M) for side in building.size_m)
        y, x = (np.mgrid[:height, :width] + 0.5) / LIGHT_CELLS_PER_M
        square_LYX = (x - lamps_L2[:, 0, None, None]) ** 2 + (y - lamps_L2[:, 1, None, None]) ** 2
        tint_L3 = 1.0 + colours.uniform(-0.12, 0.12, (len(lamps_L2), 3))
        tint_L3 *= colours.uniform(0.75, 1.15, (len(lamps_L2), 1))
        self._basis = (0.62 / (1.0 + square_LYX / 1.2**2) ** 1.5)[..., None] * tint_L3[:, None, None]
        self._basis = self._basis.astype(np.float32)
        self._changes = changes
        self._rng = rng
        self._phase = rng.uniform(0, 2 * math.pi)
        self._drift_L = rng.normal(size=len(lamps_L2))
        self._on_L = np.ones(len(lamps_L2))
        self._knots = [self._level(), self._next_level()]

    def _level(self) -> np.ndarray:
        return self._on_L * np.exp(self._changes.lamp_std * self._drift_L)

    def _next_level(self) -> np.ndarray:
        """Return the lamps' levels one second later: slow random drift, and now and then one goes off or on."""
        keep = math.exp(-1.0 / _LAMP_MEMORY_S)
        self._drift_L = keep * self._drift_L + math.sqrt(1 - keep**2) * self._rng.normal(size=len(self._drift_L))
        switch_L = self._rng.random(len(self._on_L))
        if self._changes.lamp_switch_interval_s:
            # Off lamps come back three times as soon, so most are on.
            rate_L = np.where(self._on_L > 0, 1.0, 3.0) / self._changes.lamp_switch_interval_s
            self._on_L = np.where(switch_L < rate_L, np.where(self._on_L > 0, 0.0, 1.0), self._on_L)
        return self._level()

    def grid_at(self, time_s: float) -> np.ndarray:
        """Return the light grid at a time not before the last asked for: uint8 [Y, X, 3], ``LIGHT_UNIT`` is plain."""
        second = int(time_s)
        while len(self._knots) < second + 2:
            self._knots.append(self._next_level())
        share = time_s - second
        level_L = (1 - share) * self._knots[second] + share * self._knots[second + 1]
        angle = 2 * math.pi * time_s / self._changes.daylight_period_s + self._phase
        day = self._changes.daylight_swing * math.sin(angle)
        sky_3 = 0.48 * np.array([1.0 + 0.9 * day, 1.0 + day, 1.0 + 1.3 * day], np.float32)
        grid = np.einsum("l,lyxc->yxc", level_L.astype(np.float32), self._basis) + sky_3
        light_YX3: np.ndarray = np.minimum(grid * LIGHT_UNIT, 255.0).astype(np.uint8)
        return light_YX3


class _Walker:
    """A person who walks the corridors on the right-hand side, turning at random where they meet."""

    def __init__(self, building: Building, speed_m_s: float, rng: np.random.Generator) -> None:
        self._rng = rng
        self._speed_m_s = speed_m_s
        ring = building.ring_E2
        count = len(ring)
        self._points = ring
        self._next = {node: [(node + 1) % count, (node - 1) % count] for node in range(count)}
        first, second = building.shortcut
        self._next[first].append(second)
        self._next[second].append(first)
        self._from = int(rng.integers(count))
        self._to = self._choose(self._from, None)
        self._after = self._choose(self._to, self._from)
        self._walked_m = 0.0
        self._leg = (self._points[self._from], self._corner())

    def _choose(self, node: int, came_from: int | None) -> int:
        options = [other for other in self._next[node] if other != came_from]
        return int(options[self._rng.integers(len(options))])

    def _corner(self) -> np.ndarray:
        """Return where the right-hand lanes of this corridor and the next one meet."""
        right_2, next_right_2 = (
            np.array([way_2[1], -way_2[0]]) / np.hypot(*way_2)
            for way_2 in (
                self._points[self._to] - self._points[self._from],
                self._points[self._after] - self._points[self._to],
            )
        )
        is_straight = right_2 @ next_right_2 > 0.5
        corner_2: np.ndarray = self._points[self._to] + _WALK_OFFSET_M * (
            right_2 if is_straight else right_2 + next_right_2
        )
        return corner_2

    def at(self, time_s: float) -> tuple[np.ndarray, float]:
        """Return position [m] and yaw [rad] at a time not before the last asked for."""
        walked_m = time_s * self._speed_m_s
        while walked_m - self._walked_m >= math.dist(*self._leg):
            self._walked_m += math.dist(*self._leg)
            self._from, self._to = self._to, self._after
            self._after = self._choose(self._to, self._from)
            self._leg = (self._leg[1], self._corner())
        start_2, end_2 = self._leg
        way_2 = (end_2 - start_2) / math.dist(start_2, end_2)
        return start_2 + (walked_m - self._walked_m) * way_2, math.atan2(way_2[1], way_2[0])
