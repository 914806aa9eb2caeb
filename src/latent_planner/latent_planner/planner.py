"""From a goal to commands, step after step: field once, model-predictive control each time, the limits last.

Shape suffixes: B = plans, S = steps, A = action size, 3 = (x, y [m], yaw [rad]).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from latent_planner.ground import Field
from latent_planner.limits import Limits
from latent_planner.mppi import Mppi, MppiSettings
from latent_planner.vehicle import Vehicle


class State(Enum):
    """How far a plan has come."""

    DRIVING = "driving"
    TURNING = "turning"
    REACHED = "reached"


@dataclass(frozen=True, kw_only=True)
class PlannerSettings:
    """When a goal is reached, and what else counts on the way.

    Attributes:
        reached_m: Distance from the goal at which it is there [m].
        reached_rad: Difference in yaw at which it faces as asked [rad].
        stopped_m_s: Speed below which it stands [m/s].
        dock_m: Distance from which it stops and turns on the spot [m].
        beside_weight: Cost of driving beside known ground, for each metre beside it.
        effort_weight: Cost of turning fast, for the square of a yaw rate.
        slow_weight: Cost of a metre not yet covered at the end of a plan.
    """

    reached_m: float = 0.4
    reached_rad: float = math.radians(20.0)
    stopped_m_s: float = 0.03
    dock_m: float = 0.2
    beside_weight: float = 20.0
    effort_weight: float = 0.01
    slow_weight: float = 5.0


@dataclass(frozen=True)
class Decision:
    """What to do now.

    Attributes:
        command_A: The command.
        state: How far it has come.
        left_m: Way left [m of known ground].
        path_S3: Where the plan leads.
        sample_BS3: The best sampled plans, the best first.
        sample_BSA: Their commands.
    """

    command_A: np.ndarray
    state: State
    left_m: float
    path_S3: np.ndarray
    sample_BS3: np.ndarray
    sample_BSA: np.ndarray


class Planner:
    """Drives a robot with forward speed and yaw rate to a goal, over the ground that it remembers.

    Args:
        vehicle: The robot's motion.
        limits: Of its commands.
        settings: When it is there.
        mppi: How plans are sampled.
        shown: How many samples each decision tells of.
        seed: Seed of the samples.
    """

    def __init__(
        self,
        vehicle: Vehicle,
        limits: Limits,
        settings: PlannerSettings | None = None,
        mppi: MppiSettings | None = None,
        *,
        shown: int = 16,
        seed: int = 0,
    ) -> None:
        self._vehicle, self._limits, self._shown = vehicle, limits, shown
        self._settings = settings or PlannerSettings()
        self._control = Mppi(vehicle, limits, mppi or MppiSettings(), seed)
        self._field: Field | None = None
        self._goal_3 = np.zeros(3)
        self._is_docking = False

    def drive_to(self, goal_3: np.ndarray, field: Field) -> None:
        """Take a new goal x, y [m], yaw [rad] and the field that leads to it."""
        self._goal_3, self._field, self._is_docking = np.asarray(goal_3, float), field, False
        self._control.reset()

    def decide(self, pose_3: np.ndarray, speed_m_s: float) -> Decision:
        """Return what to do at a pose x, y [m], yaw [rad] and a forward speed.

        Raises:
            ValueError: There is no goal, or the pose is not finite.
        """
        if self._field is None:
            raise ValueError("no goal to drive to")
        if not (np.isfinite(pose_3).all() and math.isfinite(speed_m_s)):
            raise ValueError(f"pose {pose_3} or speed {speed_m_s} m/s is not finite")
        away_m = math.dist(pose_3[:2], self._goal_3[:2])
        turn_rad = math.remainder(self._goal_3[2] - pose_3[2], 2 * math.pi)
        settings = self._settings
        self._is_docking = away_m < (settings.reached_m if self._is_docking else settings.dock_m)
        sample_BSA, sample_BS3, cost_B = self._control.plan(np.asarray(pose_3, np.float32), self._cost)
        state, command_A = State.DRIVING, self._control.present[0].astype(float)
        if self._is_docking:
            is_there = abs(turn_rad) < settings.reached_rad and abs(speed_m_s) < settings.stopped_m_s
            state = State.REACHED if is_there else State.TURNING
            wanted_A = np.array([0.0, 0.0 if abs(turn_rad) < 0.5 * settings.reached_rad else 2.0 * turn_rad])
            command_A = self._control.bounded(wanted_A)
        self._vehicle.told(command_A)
        self._control.advance(command_A)
        path_S3 = self._vehicle.roll_out(np.asarray(pose_3, float), self._control.present[None].astype(float))[0]
        best_B = np.argpartition(cost_B, self._shown)[: self._shown]
        best_B = best_B[np.argsort(cost_B[best_B])]
        left_m = float(self._field.at(np.asarray(pose_3[:2], float)[None, None])[0, 0])
        return Decision(command_A, state, left_m, path_S3, sample_BS3[best_B], sample_BSA[best_B])

    def _cost(self, pose_BS3: np.ndarray, plan_BSA: np.ndarray) -> np.ndarray:
        assert self._field is not None
        settings, ground = self._settings, self._field.ground
        place_BS2 = pose_BS3[..., :2]
        cost_BS = self._field.at(place_BS2)
        beside_BS = ground.beside_m_YX[ground.cells(place_BS2)] - ground.settings.half_width_m
        cost_BS = cost_BS + settings.beside_weight * np.maximum(beside_BS, 0.0)
        cost_BS += settings.effort_weight * plan_BSA[..., 1] ** 2
        cost_BS[:, -1] *= settings.slow_weight
        return np.asarray(cost_BS)
