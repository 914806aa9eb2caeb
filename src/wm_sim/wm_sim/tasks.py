"""What a driven robot is to do, where it starts, and how well it does: reward, end and success.

A task is judged by the true pose on the floor plan, which nobody who drives may read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from wm_sim.building import CELL_M, Building, wall_distance_m
from wm_sim.contact import ROBOT_RADIUS_M
from wm_sim.driving import YAW_RATE_LIMIT_RAD_S
from wm_sim.settings import Driving

Pose = tuple[float, float, float]
REACH_IMAGE, FOLLOW_ROUTE, RETURN_TO_START = TASKS = "reach_image", "follow_route", "return_to_start"
REACHED_M, REACHED_RAD, STOPPED_M_S = 0.5, math.radians(30.0), 0.05
CONTACT_COST_M = 1.0
NEAREST_GOAL_M, FURTHEST_GOAL_M = 3.0, 20.0
# Where corridors meet, people come from the side.
_CORNER_M = 1.0
_ROUTE_POINT_M = 2.0
_SIDEWAYS = ((1, 0), (0, 1), (1, 1), (1, -1))


@dataclass(frozen=True)
class Task:
    """One task in one building.

    Attributes:
        name: One of ``TASKS``.
        start: Where the robot starts: x, y [m], yaw [rad].
        waypoints: Poses to pass in this order; the last is the goal, where the robot has to stop and face as told.
        length_m: Shortest way from the start through all of them, round the ring [m].
        shortest_s: Time that the way takes at the usual speed, turning on the spot at its points included [s].
    """

    name: str
    start: Pose
    waypoints: tuple[Pose, ...]
    length_m: float
    shortest_s: float

    @property
    def goal(self) -> Pose:
        """The last waypoint."""
        return self.waypoints[-1]

    @property
    def time_limit_s(self) -> float:
        """Time after which the task has failed [s]: twice the shortest."""
        return 2.0 * self.shortest_s


@dataclass(frozen=True)
class Outcome:
    """How one step went.

    Attributes:
        reward: Progress towards the goal [m] less ``CONTACT_COST_M`` for each new contact.
        goes_on: Whether the task goes on after this step.
        has_succeeded: Whether the goal was reached, stopped, in time and without contact.
    """

    reward: float
    goes_on: bool
    has_succeeded: bool


class FloorPlan:
    """Ways on the free floor of one building, as far from its walls as told.

    Args:
        building: The building.
        clearance_m: Least distance of a way from the walls [m].
        taken_YX: Cells that bodies take; none if None.
    """

    def __init__(
        self, building: Building, clearance_m: float = ROBOT_RADIUS_M, taken_YX: np.ndarray | None = None
    ) -> None:
        self._free_YX = wall_distance_m(building) > clearance_m + CELL_M / 2
        if taken_YX is not None:
            self._free_YX &= ~taken_YX
        self._index_YX = np.cumsum(self._free_YX).reshape(self._free_YX.shape) - 1

    def distances(self, place: tuple[float, float]) -> np.ndarray:
        """Return the shortest way [m] from every cell to the free cell nearest to a place, else infinite.

        Raises:
            ValueError: The place x, y [m] lies outside the building.
        """
        row, column = _cell(place)
        if not (0 <= row < self._free_YX.shape[0] and 0 <= column < self._free_YX.shape[1]):
            raise ValueError(f"place {place} lies outside the building")
        if not self._free_YX[row, column]:
            rows, columns = np.nonzero(self._free_YX)
            nearest = np.hypot(rows - row, columns - column).argmin()
            row, column = int(rows[nearest]), int(columns[nearest])
        found_YX = np.full(self._free_YX.shape, np.inf)
        found_YX[self._free_YX] = dijkstra(self._graph, directed=False, indices=self._index_YX[row, column])
        return found_YX

    @cached_property
    def _graph(self) -> coo_array:
        starts, ends, lengths = [], [], []
        rows, columns = self._free_YX.shape
        for down, right in _SIDEWAYS:
            here = np.s_[: rows - down, max(0, -right) : columns - max(0, right)]
            there = np.s_[down:, max(0, right) : columns + min(0, right)]
            both = self._free_YX[here] & self._free_YX[there]
            starts.append(self._index_YX[here][both])
            ends.append(self._index_YX[there][both])
            lengths.append(np.full(both.sum(), CELL_M * math.hypot(down, right)))
        count = int(self._free_YX.sum())
        pair = (np.concatenate(starts), np.concatenate(ends))
        return coo_array((np.concatenate(lengths), pair), shape=(count, count)).tocsr()


class Judge:
    """Scores a run at one task, step by step.

    Args:
        task: What is to be done.
        building: Where.
        since_s: When the task began [s].
        contact_count: Contacts up to then.
    """

    def __init__(self, task: Task, building: Building, since_s: float = 0.0, contact_count: int = 0) -> None:
        self._task, self._since_s = task, since_s
        self._touched_before = self._contact_count = contact_count
        plan = FloorPlan(building)
        self._fields = [plan.distances(pose[:2]) for pose in task.waypoints]
        legs = [field[_cell(pose[:2])] for field, pose in zip(self._fields[1:], task.waypoints)]
        self._beyond_m = np.cumsum([0.0, *legs[::-1]])[::-1]
        self._passed = 0
        self._left_m = self._left(task.start)

    @property
    def left_m(self) -> float:
        """Shortest way left to the goal [m]."""
        return self._left_m

    def judge(self, time_s: float, pose: Pose, speed_m_s: float, contact_count: int) -> Outcome:
        """Return how the step ended.

        Args:
            time_s: Time of the run [s].
            pose: True pose x, y [m], yaw [rad].
            speed_m_s: Forward speed [m/s].
            contact_count: Contacts since the start of the run.
        """
        while self._passed < len(self._task.waypoints) - 1 and _is_near(pose, self._task.waypoints[self._passed]):
            self._passed += 1
        left_m = self._left(pose)
        reward = self._left_m - left_m - CONTACT_COST_M * (contact_count - self._contact_count)
        self._left_m, self._contact_count = left_m, contact_count
        goal = self._task.goal
        there = self._passed == len(self._task.waypoints) - 1 and _is_near(pose, goal)
        facing = abs(math.remainder(pose[2] - goal[2], 2 * math.pi)) <= REACHED_RAD
        reached = there and facing and abs(speed_m_s) <= STOPPED_M_S
        in_time = time_s - self._since_s <= self._task.time_limit_s
        untouched = contact_count == self._touched_before
        return Outcome(reward, in_time and not reached, reached and in_time and untouched)

    def _left(self, pose: Pose) -> float:
        return float(_nearest_m(self._fields[self._passed], pose) + self._beyond_m[self._passed])


def make_task(name: str, building: Building, seed: int, start: Pose | None = None) -> Task:
    """Return the task of ``seed``: start and goal lie on the ring, 3 to 20 m of way apart, both facing as it is driven.

    Ways are measured as a first lap knows them: round the ring, without the short cut. A ``start`` x, y [m], yaw [rad]
    given takes the place of the drawn one; a route then begins where the ring is nearest.

    ``reach_image``: to a place. ``follow_route``: along the ring, through points 2 m apart. ``return_to_start``: to a
    place and back to where, and as, it started.

    Raises:
        ValueError: No task of that name, or a negative seed.
    """
    if name not in TASKS:
        raise ValueError(f"no task '{name}', expected one of {', '.join(TASKS)}")
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected 0 or more")
    rng = np.random.default_rng([seed, 51, TASKS.index(name)])
    shortcut = len(building.edges_E22) - 1
    ring, plan = _Ring(building.ring_E2), FloorPlan(building, taken_YX=building.zone_YX == shortcut)
    while True:
        ahead_m = rng.uniform(NEAREST_GOAL_M, FURTHEST_GOAL_M)
        start_m = ring.way_m(start) if start else rng.uniform(0.0, ring.length_m)
        goal_m = rng.uniform(0.0, ring.length_m) if name == REACH_IMAGE else start_m + ahead_m
        if (not start and ring.corner_m(start_m) < _CORNER_M) or ring.corner_m(goal_m) < _CORNER_M:
            continue
        origin, goal = start or ring.pose(start_m), ring.pose(goal_m)
        if not NEAREST_GOAL_M <= _nearest_m(plan.distances(goal[:2]), origin) <= FURTHEST_GOAL_M:
            continue
        points = np.arange(start_m + _ROUTE_POINT_M, goal_m, _ROUTE_POINT_M) if name == FOLLOW_ROUTE else ()
        waypoints = (*(ring.pose(point_m) for point_m in points), goal)
        return _task(name, plan, origin, (*waypoints, origin) if name == RETURN_TO_START else waypoints)


def _task(name: str, plan: FloorPlan, start: Pose, waypoints: tuple[Pose, ...]) -> Task:
    places = (start, *waypoints)
    fields = [plan.distances(pose[:2]) for pose in places]
    length_m = sum(_nearest_m(field, pose) for field, pose in zip(fields[1:], places))
    leaving = [_downhill(field, pose) for field, pose in zip(fields[1:], places)]
    arriving = [_downhill(field, pose) + math.pi for field, pose in zip(fields, waypoints)]
    turns = zip((start[2], *arriving), (*leaving, waypoints[-1][2]))
    turn_rad = sum(abs(math.remainder(after - before, 2 * math.pi)) for before, after in turns)
    return Task(name, start, waypoints, length_m, length_m / Driving().speed_m_s + turn_rad / YAW_RATE_LIMIT_RAD_S)


def _downhill(field: np.ndarray, pose: Pose) -> float:
    """Return the direction [rad] in which the way to the field's origin leaves a pose."""
    row, column = _cell(pose[:2])
    block = np.where(np.isfinite(field), field, np.nan)[row - 2 : row + 3, column - 2 : column + 3]
    return math.atan2(-np.nanmean(np.diff(block, axis=0)), -np.nanmean(np.diff(block, axis=1)))


class _Ring:
    """The ring of corridors by the way driven along it [m]."""

    def __init__(self, ring_E2: np.ndarray) -> None:
        self._from_E2, self._to_E2 = ring_E2, np.roll(ring_E2, -1, axis=0)
        self._edge_m = np.hypot(*(self._to_E2 - self._from_E2).T)
        self._end_m = np.cumsum(self._edge_m)
        self.length_m = float(self._end_m[-1])

    def _leg(self, way_m: float) -> tuple[int, float]:
        way_m %= self.length_m
        edge = int(np.searchsorted(self._end_m, way_m, side="right"))
        return edge, way_m - (self._end_m[edge] - self._edge_m[edge])

    def corner_m(self, way_m: float) -> float:
        """Return the distance to the nearer end of the corridor [m]."""
        edge, along_m = self._leg(way_m)
        return float(min(along_m, self._edge_m[edge] - along_m))

    def way_m(self, pose: Pose) -> float:
        """Return how far along the ring the centre line is nearest to a pose [m]."""
        along_E2 = self._to_E2 - self._from_E2
        share_E = np.clip(((pose[:2] - self._from_E2) * along_E2).sum(1) / (along_E2**2).sum(1), 0.0, 1.0)
        edge = int(np.hypot(*(self._from_E2 + share_E[:, None] * along_E2 - pose[:2]).T).argmin())
        return float(self._end_m[edge] - self._edge_m[edge] * (1.0 - share_E[edge]))

    def pose(self, way_m: float) -> Pose:
        """Return the pose on the centre line, facing as it is driven."""
        edge, along_m = self._leg(way_m)
        way_2 = (self._to_E2[edge] - self._from_E2[edge]) / self._edge_m[edge]
        x, y = self._from_E2[edge] + along_m * way_2
        return float(x), float(y), math.atan2(way_2[1], way_2[0])


def _cell(place: tuple[float, ...]) -> tuple[int, int]:
    return math.floor(place[1] / CELL_M), math.floor(place[0] / CELL_M)


def _nearest_m(field_YX: np.ndarray, pose: Pose) -> float:
    """Return the distance [m] of a pose; closer to a wall than any cell of the plan, that of the nearest one."""
    row, column = _cell(pose[:2])
    if np.isfinite(field_YX[row, column]):
        return float(field_YX[row, column])
    block = field_YX[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
    return float(block.min())


def _is_near(pose: Pose, other: Pose) -> bool:
    return math.dist(pose[:2], other[:2]) <= REACHED_M
