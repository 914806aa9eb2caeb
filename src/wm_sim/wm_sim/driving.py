"""The robot: a unicycle that follows the corridors lap after lap, obeying late and with lag.

Simulated in steps of ``STEP_S`` and told what to do every ``CONTROL_PERIOD_S``, whatever the camera's rate.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from wm_sim.building import Building
from wm_sim.settings import Driving

STEP_S = 0.01
CONTROL_PERIOD_S = 0.05
_CONTROL_STEPS = round(CONTROL_PERIOD_S / STEP_S)
_LOOK_AHEAD_M = 0.6
_YAW_LIMIT_RAD_S = 2.2
_WANDER_MEMORY_S = 3.0


class Robot:
    """A robot driving in one building, advanced along simulated time.

    The first lap goes round the whole ring; later the robot takes the short cut with ``detour_probability`` each time
    it comes by.

    Args:
        building: The floor plan.
        driving: Speeds, wandering and actuation.
        seed: Seed of its wandering and detours.
    """

    def __init__(self, building: Building, driving: Driving, seed: int) -> None:
        self._driving = driving
        self._rng = np.random.default_rng([seed, 21])
        self._route = _Route(building, driving.detour_probability, np.random.default_rng([seed, 22]))
        start_2, way_2 = self._route.start()
        self.x, self.y = start_2
        self.yaw = math.atan2(way_2[1], way_2[0])
        self.speed_m_s = self.yaw_rate_rad_s = 0.0
        self.command = (0.0, 0.0)
        self._acting = (0.0, 0.0)
        self._pending: deque[tuple[int, tuple[float, float]]] = deque()
        self._delay_steps = round(driving.delay_s / STEP_S)
        self._step_count = 0
        self._wander = [0.0, 0.0]
        self._pause_left_s = 0.0
        self._control()

    def advance(self, time_s: float) -> None:
        """Simulate up to ``time_s``; a time already passed changes nothing."""
        goal = math.floor(time_s / STEP_S + 1e-6)
        while self._step_count < goal:
            self._step()

    @property
    def time_s(self) -> float:
        """Time of the last whole step [s]."""
        return self._step_count * STEP_S

    def pose_at(self, time_s: float) -> tuple[float, float, float]:
        """Return x, y [m] and yaw [rad] at a time less than a step after the last one simulated."""
        rest_s = time_s - self.time_s
        if abs(rest_s) < 1e-9:
            return self.x, self.y, self.yaw
        return _moved(self.x, self.y, self.yaw, self.speed_m_s * rest_s, self.yaw_rate_rad_s * rest_s)

    def _step(self) -> None:
        while self._pending and self._pending[0][0] <= self._step_count:
            self._acting = self._pending.popleft()[1]
        share = 1.0 - math.exp(-STEP_S / self._driving.lag_s) if self._driving.lag_s else 1.0
        self.speed_m_s += share * (self._acting[0] - self.speed_m_s)
        self.yaw_rate_rad_s += share * (self._acting[1] - self.yaw_rate_rad_s)
        self.x, self.y, self.yaw = _moved(
            self.x, self.y, self.yaw, self.speed_m_s * STEP_S, self.yaw_rate_rad_s * STEP_S
        )
        self._step_count += 1
        if self._step_count % _CONTROL_STEPS == 0:
            self._control()

    def _control(self) -> None:
        """Give a new command: steer at a point of the path ahead, slower in bends."""
        driving = self._driving
        noise = self._rng.normal(size=2)
        chance, length_s = self._rng.random(), self._rng.uniform(0.6, 2.0)
        keep = math.exp(-CONTROL_PERIOD_S / _WANDER_MEMORY_S)
        spread = math.sqrt(1 - keep**2)
        self._wander = [
            max(-2.0, min(2.0, keep * old + spread * float(kick))) for old, kick in zip(self._wander, noise)
        ]
        self._pause_left_s -= CONTROL_PERIOD_S
        if driving.pause_interval_s and chance < CONTROL_PERIOD_S / driving.pause_interval_s:
            self._pause_left_s = float(length_s)
        goal_x, goal_y = self._route.look_ahead(self.x, self.y, _LOOK_AHEAD_M, driving.lateral_std_m * self._wander[0])
        bearing = math.remainder(math.atan2(goal_y - self.y, goal_x - self.x) - self.yaw, 2 * math.pi)
        speed = driving.speed_m_s * (1.0 + driving.speed_std * self._wander[1]) * max(0.5, 1.0 - 0.7 * abs(bearing))
        if self._pause_left_s > 0:
            speed = 0.0
        distance = max(math.hypot(goal_x - self.x, goal_y - self.y), 0.2)
        yaw_rate = 2.0 * speed * math.sin(bearing) / distance
        yaw_rate = max(-_YAW_LIMIT_RAD_S, min(_YAW_LIMIT_RAD_S, yaw_rate))
        self.command = (speed, yaw_rate)
        self._pending.append((self._step_count + self._delay_steps, self.command))


def _moved(x: float, y: float, yaw: float, way_m: float, turn_rad: float) -> tuple[float, float, float]:
    """Return the pose after a short arc (midpoint rule), yaw within -pi to pi."""
    middle = yaw + turn_rad / 2
    turned = math.remainder(yaw + turn_rad, 2 * math.pi)
    return x + way_m * math.cos(middle), y + way_m * math.sin(middle), turned


class _Route:
    """The endless sequence of ring nodes that the robot passes."""

    def __init__(self, building: Building, detour_probability: float, rng: np.random.Generator) -> None:
        self._points = [(float(x), float(y)) for x, y in building.ring_E2]
        self._partner = dict([building.shortcut, building.shortcut[::-1]])
        self._probability = detour_probability
        self._rng = rng
        self._first_lap_left = len(self._points)
        self._just_cut = False
        self._path: deque[int] = deque([0])
        self._extend()
        self._extend()
        self._extend()

    def start(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return where the robot starts and the direction (not normalised) it starts in."""
        a, b = self._points[self._path[0]], self._points[self._path[1]]
        return a, (b[0] - a[0], b[1] - a[1])

    def _extend(self) -> None:
        node = self._path[-1]
        following = (node + 1) % len(self._points)
        self._first_lap_left -= 1
        if node in self._partner:
            take = self._rng.random() < self._probability and self._first_lap_left < 0 and not self._just_cut
            self._just_cut = take
            if take:
                following = self._partner[node]
        self._path.append(following)

    def look_ahead(self, x: float, y: float, ahead_m: float, lateral_m: float) -> tuple[float, float]:
        """Return the point ``ahead_m`` further along the path than the robot, shifted to the left."""
        while self._distance(x, y, 1)[0] <= self._distance(x, y, 0)[0]:
            self._path.popleft()
            self._extend()
        along_m = self._distance(x, y, 0)[1] + ahead_m
        index = 0
        while along_m > (length_m := self._length(index)):
            along_m -= length_m
            index += 1
        (ax, ay), (bx, by) = self._leg(index)
        way_x, way_y = (bx - ax) / length_m, (by - ay) / length_m
        return ax + along_m * way_x - lateral_m * way_y, ay + along_m * way_y + lateral_m * way_x

    def _leg(self, index: int) -> tuple[tuple[float, float], tuple[float, float]]:
        return self._points[self._path[index]], self._points[self._path[index + 1]]

    def _length(self, index: int) -> float:
        return math.dist(*self._leg(index))

    def _distance(self, x: float, y: float, index: int) -> tuple[float, float]:
        """Return the distance [m] to a leg and how far along it the nearest point is [m]."""
        (ax, ay), (bx, by) = self._leg(index)
        length_m = math.hypot(bx - ax, by - ay)
        along_m = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length_m
        along_m = max(0.0, min(length_m, along_m))
        share = along_m / length_m
        return math.hypot(x - ax - share * (bx - ax), y - ay - share * (by - ay)), along_m
