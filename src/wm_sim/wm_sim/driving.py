"""Who drives the vehicle: the robot itself, lap after lap along the corridors, or whoever sends it commands.

It is told what to do every ``CONTROL_PERIOD_S``, whatever the camera's rate.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from wm_sim.building import Building
from wm_sim.settings import Driving
from wm_sim.vehicle import STEP_S, Clearance, Vehicle

CONTROL_PERIOD_S = 0.05
_CONTROL_STEPS = round(CONTROL_PERIOD_S / STEP_S)
_LOOK_AHEAD_M = 0.6
SPEED_LIMIT_M_S = 1.5
YAW_RATE_LIMIT_RAD_S = 2.2
COMMAND_TIMEOUT_S = 0.5
_WANDER_MEMORY_S = 3.0


class Robot:
    """A robot driving in one building, advanced along simulated time; what it does is decided by who derives from it.

    Args:
        start: Where it starts: x, y [m], yaw [rad].
        driving: How late and slowly it obeys.
        clearance: As for ``Vehicle``.
    """

    def __init__(self, start: tuple[float, float, float], driving: Driving, clearance: Clearance | None = None) -> None:
        self._vehicle = Vehicle(start, driving, clearance)
        self.command = (0.0, 0.0)

    def advance(self, time_s: float) -> None:
        """Simulate up to ``time_s``; a time already passed changes nothing."""
        goal = math.floor(time_s / STEP_S + 1e-6)
        while self._vehicle.step_count < goal:
            self._vehicle.step()
            if self._vehicle.step_count % _CONTROL_STEPS == 0:
                self._control()

    @property
    def time_s(self) -> float:
        """Time of the last whole step [s]."""
        return self._vehicle.step_count * STEP_S

    @property
    def speed_m_s(self) -> float:
        """Forward speed now [m/s]."""
        return self._vehicle.speed_m_s

    @property
    def yaw_rate_rad_s(self) -> float:
        """Yaw rate now [rad/s]."""
        return self._vehicle.yaw_rate_rad_s

    @property
    def contact_count(self) -> int:
        """How often it touched a wall, an object or a person so far; 0 where contact is not simulated."""
        return self._vehicle.contact_count

    def pose_at(self, time_s: float) -> tuple[float, float, float]:
        """Return x, y [m] and yaw [rad] at a time less than a step after the last one simulated."""
        return self._vehicle.pose_after(time_s - self.time_s)

    def _command(self, action: tuple[float, float]) -> None:
        self.command = action
        self._vehicle.obey(action)

    def _control(self) -> None:
        """Decide what to do next, every ``CONTROL_PERIOD_S``."""
        raise NotImplementedError


class SteeredRobot(Robot):
    """A robot that does what it is told, and stops when it is told nothing for ``COMMAND_TIMEOUT_S``.

    Commands beyond ``SPEED_LIMIT_M_S`` or ``YAW_RATE_LIMIT_RAD_S`` are carried out at the limit.
    """

    _told_at = -math.inf

    def act(self, action: tuple[float, float]) -> None:
        """Take a command: forward speed [m/s], yaw rate [rad/s].

        Raises:
            ValueError: A value is not finite.
        """
        speed, yaw_rate = (float(value) for value in action)
        if not (math.isfinite(speed) and math.isfinite(yaw_rate)):
            raise ValueError(f"action is ({speed}, {yaw_rate}), expected two finite numbers")
        self._told_at = self.time_s
        speed = max(-SPEED_LIMIT_M_S, min(SPEED_LIMIT_M_S, speed))
        self._command((speed, max(-YAW_RATE_LIMIT_RAD_S, min(YAW_RATE_LIMIT_RAD_S, yaw_rate))))

    def _control(self) -> None:
        if self.time_s - self._told_at >= COMMAND_TIMEOUT_S - 1e-9 and self.command != (0.0, 0.0):
            self._command((0.0, 0.0))


class PathFollower(Robot):
    """A robot that drives round the corridors by itself.

    The first lap goes round the whole ring; later it takes the short cut with ``detour_probability`` each time it
    comes by. It goes through people: only who steers can bump into something.

    Args:
        building: The floor plan.
        driving: Speeds, wandering and actuation.
        seed: Seed of its wandering and detours.
    """

    def __init__(self, building: Building, driving: Driving, seed: int) -> None:
        self._driving = driving
        self._rng = np.random.default_rng([seed, 21])
        self._route = _Route(building, driving.detour_probability, np.random.default_rng([seed, 22]))
        (x, y), way_2 = self._route.start()
        super().__init__((x, y, math.atan2(way_2[1], way_2[0])), driving)
        self._wander = [0.0, 0.0]
        self._pause_left_s = 0.0
        self._control()

    def _control(self) -> None:
        """Steer at a point of the path ahead, slower in bends."""
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
        x, y, yaw = self.pose_at(self.time_s)
        goal_x, goal_y = self._route.look_ahead(x, y, _LOOK_AHEAD_M, driving.lateral_std_m * self._wander[0])
        bearing = math.remainder(math.atan2(goal_y - y, goal_x - x) - yaw, 2 * math.pi)
        speed = driving.speed_m_s * (1.0 + driving.speed_std * self._wander[1]) * max(0.5, 1.0 - 0.7 * abs(bearing))
        if self._pause_left_s > 0:
            speed = 0.0
        distance = max(math.hypot(goal_x - x, goal_y - y), 0.2)
        yaw_rate = 2.0 * speed * math.sin(bearing) / distance
        yaw_rate = max(-YAW_RATE_LIMIT_RAD_S, min(YAW_RATE_LIMIT_RAD_S, yaw_rate))
        self._command((speed, yaw_rate))


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
