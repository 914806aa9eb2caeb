"""A teacher that drives a task by the floor plan, for demonstrations and as the best that can be done.

It reads what nobody who is evaluated may read: the plan, the bodies and the true pose.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from wm_sim.building import CELL_M, cell_centres
from wm_sim.contact import ROBOT_RADIUS_M
from wm_sim.settings import Driving
from wm_sim.simulation import SimStep, Simulation
from wm_sim.tasks import REACHED_M, REACHED_RAD, FloorPlan, Pose, Task

_WALL_CLEARANCE_M = 0.45
_BODY_MARGIN_M = 0.1
_LOOK_AHEAD_CELLS = 6
_STOP_M = 0.3
_BESIDE_COST = 5.0
_YAW_GAIN_PER_S = 2.5
_WANDER_MEMORY = 0.95


class Pilot:
    """Drives down the distance to one waypoint after the other, and turns at the goal as it asks for.

    Args:
        simulation: The run it drives in; its bodies where they stand now.
        task: What is to be done.
        wander: Share of random command added to each: 0 drives as well as it can, 0.5 now and then into a wall.
        seed: Seed of its wandering.
    """

    def __init__(self, simulation: Simulation, task: Task, wander: float = 0.0, seed: int = 0) -> None:
        taken_YX = _taken(simulation.building.free_YX.shape, *simulation.bodies)
        plan = FloorPlan(simulation.building, _WALL_CLEARANCE_M, taken_YX)
        self._fields = [_filled(plan.distances(pose[:2])) for pose in task.waypoints]
        self._task, self._passed = task, 0
        self._wander, self._rng = wander, np.random.default_rng([seed, 61])
        self._drift_2 = np.zeros(2)

    def steer(self, step: SimStep) -> tuple[float, float]:
        """Return the command at a frame: forward speed [m/s], yaw rate [rad/s]."""
        command = self._command(step.true_pose)
        spread = math.sqrt(1.0 - _WANDER_MEMORY**2)
        self._drift_2 = _WANDER_MEMORY * self._drift_2 + spread * self._rng.normal(size=2)
        speed, turn = np.array(command) + self._wander * self._drift_2 * (0.5, 1.0)
        return float(speed), float(turn)

    def _command(self, pose: Pose) -> tuple[float, float]:
        x, y, yaw = pose
        last = len(self._fields) - 1
        while self._passed < last and math.dist((x, y), self._task.waypoints[self._passed][:2]) < REACHED_M:
            self._passed += 1
        if self._passed == last and math.dist((x, y), self._task.goal[:2]) < _STOP_M:
            turn = math.remainder(self._task.goal[2] - yaw, 2 * math.pi)
            return 0.0, 0.0 if abs(turn) < REACHED_RAD / 2 else _YAW_GAIN_PER_S * turn
        goal_x, goal_y = self._look_ahead(x, y)
        bearing = math.remainder(math.atan2(goal_y - y, goal_x - x) - yaw, 2 * math.pi)
        usual = Driving().speed_m_s
        return usual if abs(bearing) < 0.4 else 0.1 * usual if abs(bearing) < 0.8 else 0.0, _YAW_GAIN_PER_S * bearing

    def _look_ahead(self, x: float, y: float) -> tuple[float, float]:
        """Return the centre of a cell some cells down the field, x, y [m]."""
        field = self._fields[self._passed]
        row, column = int(y / CELL_M), int(x / CELL_M)
        for _ in range(_LOOK_AHEAD_CELLS):
            block = field[row - 1 : row + 2, column - 1 : column + 2]
            down, right = np.unravel_index(int(np.argmin(block)), block.shape)
            row, column = row + int(down) - 1, column + int(right) - 1
        return (column + 0.5) * CELL_M, (row + 0.5) * CELL_M


def _filled(field_YX: np.ndarray) -> np.ndarray:
    """Return a field whose cells beside the ways lead back to the nearest one."""
    beside_YX = (~np.isfinite(field_YX)).astype(np.uint8)
    away_YX, label_YX = cv2.distanceTransformWithLabels(beside_YX, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    of_label = np.zeros(label_YX.max() + 1)
    of_label[label_YX[beside_YX == 0]] = field_YX[beside_YX == 0]
    filled_YX: np.ndarray = of_label[label_YX] + _BESIDE_COST * CELL_M * away_YX
    return filled_YX


def _taken(shape: tuple[int, ...], position_N2: np.ndarray, radius_N: np.ndarray) -> np.ndarray:
    """Return which cells the robot's centre cannot pass because of bodies, shape [Y, X]."""
    centre_YX2 = cell_centres(shape).reshape(*shape, 2)
    taken_YX = np.zeros(shape, bool)
    for place_2, radius in zip(position_N2, radius_N):
        way_YX = np.hypot(centre_YX2[..., 0] - place_2[0], centre_YX2[..., 1] - place_2[1])
        taken_YX |= way_YX < radius + ROBOT_RADIUS_M + _BODY_MARGIN_M
    return taken_YX
