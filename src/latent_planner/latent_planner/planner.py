"""From a goal to commands, step after step: field once, model-predictive control each time, the limits last.

Shape suffixes: B = plans, S = steps, A = action size, 3 = (x, y [m], yaw [rad]).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from latent_planner.limits import Limits
from latent_planner.mppi import STANDING, Mppi, MppiSettings
from latent_planner.vehicle import Vehicle

if TYPE_CHECKING:
    # Needs SciPy, which whoever reads parameters does without.
    from latent_planner.ground import Field

Judge = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Which of the best plans are good, bool [B]: asked with the pose [3], their commands [B, S, A] and poses [B, S, 3]."""


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
        beside_m: Distance from the robot's own track up to which that costs nothing. Less than ground counts as known:
            where its side has been is free, and no more.
        beside_weight: Cost of driving beside that, for each metre beside it.
        effort_weight: Cost of turning fast, for the square of a yaw rate.
        slow_weight: Cost of a metre not yet covered at the end of a plan.
    """

    reached_m: float = 0.4
    reached_rad: float = math.radians(20.0)
    stopped_m_s: float = 0.03
    dock_m: float = 0.2
    beside_m: float = 0.05
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
        cost: Of the best plan, NaN before the first.
        plan_SA: Commands of the steps after this one.
        path_S3: Where they lead.
        sample_BS3: The best sampled plans, the best first.
        sample_BSA: Their commands.
    """

    command_A: np.ndarray
    state: State
    left_m: float
    cost: float
    plan_SA: np.ndarray
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
        judge: Looks at the best samples, the best first, before the plan is made of them; those it refuses (as too
            surprising when imagined) do not count. None: all of them do.
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
        judge: Judge | None = None,
    ) -> None:
        self._vehicle, self._limits, self._shown, self._judge = vehicle, limits, shown, judge
        self._settings = settings or PlannerSettings()
        self._control = Mppi(vehicle, limits, mppi or MppiSettings(), seed)
        self._field: Field | None = None
        self._goal_3 = np.zeros(3)
        self._is_docking, self._best_cost = False, math.nan
        self._none_shown = np.empty((0, 0, 3)), np.empty((0, 0, vehicle.action_dim))

    def drive_to(self, goal_3: np.ndarray, field: Field) -> None:
        """Take a new goal x, y [m], yaw [rad] (NaN: any) and the field that leads to it."""
        self._goal_3, self._field, self._is_docking = np.asarray(goal_3, float), field, False
        self._best_cost = math.nan
        self._control.reset()

    def lead(self, goal_3: np.ndarray, field: Field) -> None:
        """Go on to the same goal by another field: the ground, or where the goal lies on it, is known better now."""
        self._goal_3, self._field = np.asarray(goal_3, float), field

    def follow(self, action_A: np.ndarray) -> None:
        """Take note that the robot does, and has done for a while, what it was told elsewhere."""
        self._vehicle.settle(action_A)
        self._control.follow(action_A)

    def decide(self, pose_3: np.ndarray, speed_m_s: float, *, replan: bool = True) -> Decision:
        """Return what to do at a pose x, y [m], yaw [rad] and a forward speed.

        Args:
            pose_3: Where the robot is by now.
            speed_m_s: How fast.
            replan: Sample anew; else the plan is followed on, and no samples are shown.

        Raises:
            ValueError: There is no goal, or the pose is not finite.
        """
        if self._field is None:
            raise ValueError("no goal to drive to")
        if not (np.isfinite(pose_3).all() and math.isfinite(speed_m_s)):
            raise ValueError(f"pose {pose_3} or speed {speed_m_s} m/s is not finite")
        sample_BS3, sample_BSA = self._none_shown
        if replan:
            sample_BS3, sample_BSA = self._replan(pose_3)
        state, command_A = self._command(pose_3, speed_m_s)
        self._vehicle.told(command_A)
        self._control.advance(command_A)
        plan_SA = self._control.present
        path_S3 = self._vehicle.roll_out(np.asarray(pose_3, float), plan_SA[None].astype(float))[0]
        left_m = float(self._field.at(np.asarray(pose_3[:2], float)[None, None])[0, 0])
        return Decision(command_A, state, left_m, self._best_cost, plan_SA, path_S3, sample_BS3, sample_BSA)

    def _command(self, pose_3: np.ndarray, speed_m_s: float) -> tuple[State, np.ndarray]:
        """Return how far it has come, and the command: that of the plan, or to turn on the spot at the goal."""
        settings = self._settings
        away_m = math.dist(pose_3[:2], self._goal_3[:2])
        turn_rad = math.remainder(self._goal_3[2] - pose_3[2], 2 * math.pi) if math.isfinite(self._goal_3[2]) else 0.0
        self._is_docking = away_m < (settings.reached_m if self._is_docking else settings.dock_m)
        if not self._is_docking:
            return State.DRIVING, self._control.present[0].astype(float)
        is_there = abs(turn_rad) < settings.reached_rad and abs(speed_m_s) < settings.stopped_m_s
        wanted_A = np.array([0.0, 0.0 if abs(turn_rad) < 0.5 * settings.reached_rad else 2.0 * turn_rad])
        return State.REACHED if is_there else State.TURNING, self._control.bounded(wanted_A)

    def _replan(self, pose_3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sample a new plan; return the poses and commands of the best samples, the best first."""
        judged = self._judged if self._judge is not None else None
        sample_BSA, sample_BS3, cost_B = self._control.plan(np.asarray(pose_3, np.float32), self._cost, judged)
        best_B = _best(cost_B, self._shown)
        self._best_cost = float(cost_B[best_B[0]])
        return sample_BS3[best_B], sample_BSA[best_B]

    def _judged(self, sample_BSA: np.ndarray, sample_BS3: np.ndarray, cost_B: np.ndarray) -> np.ndarray:
        """Return the costs that count: not those of refused samples, nor of unseen ones where most are refused."""
        assert self._judge is not None
        best_B = _best(cost_B, self._shown)
        is_good_B = self._judge(sample_BS3[0, 0], sample_BSA[best_B], sample_BS3[best_B])
        judged_B: np.ndarray = cost_B.copy()
        if 2 * int(is_good_B.sum()) < len(best_B):
            # What was not looked at is no better than what was.
            judged_B[:] = np.inf
            judged_B[best_B] = cost_B[best_B]
        judged_B[best_B[~is_good_B]] = np.inf
        if not is_good_B.any():
            judged_B[STANDING] = cost_B[STANDING]
        return judged_B

    def _cost(self, pose_BS3: np.ndarray, plan_BSA: np.ndarray) -> np.ndarray:
        assert self._field is not None
        settings, ground = self._settings, self._field.ground
        place_BS2 = pose_BS3[..., :2]
        cost_BS = self._field.at(place_BS2)
        beside_BS = ground.beside_m_YX[ground.cells(place_BS2)] - min(settings.beside_m, ground.settings.half_width_m)
        cost_BS = cost_BS + settings.beside_weight * np.maximum(beside_BS, 0.0)
        cost_BS += settings.effort_weight * plan_BSA[..., 1] ** 2
        cost_BS[:, -1] *= settings.slow_weight
        return np.asarray(cost_BS)


def _best(cost_B: np.ndarray, count: int) -> np.ndarray:
    """Return which cost least, the least first."""
    best_B = np.argpartition(cost_B, count)[:count] if count < len(cost_B) else np.arange(len(cost_B))
    return np.asarray(best_B[np.argsort(cost_B[best_B])])
