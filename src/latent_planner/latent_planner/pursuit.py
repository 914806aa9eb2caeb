"""From observations to commands: where the robot is by now, how fast, and what it is told next.

An observation is of the past: the frame was taken, encoded and sent. Where the robot is by now follows from the
commands since, by its motion model.

Shape suffixes: S = steps, A = action size, 3 = (x, y [m], yaw [rad]).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from latent_planner.goals import GoalError
from latent_planner.ground import Field
from latent_planner.limits import Limits
from latent_planner.mppi import MppiSettings
from latent_planner.planner import Decision, Judge, Planner, PlannerSettings
from latent_planner.vehicle import Vehicle
from wm_core.se2 import Pose2
from world_model.runtime.own_motion import OwnMotion

# Poses of so long tell whether the robot stands [s].
_SPEED_OVER_S = 1.0
# More lag than this is a clock that is set wrong, not the robot's [s].
_MOST_LAG_S = 1.0
ACTIONS = 2


@dataclass(frozen=True, kw_only=True)
class PursuitSettings:
    """How a robot is driven.

    Attributes:
        step_s: Time between two commands [s].
        replan_every: Steps from one plan to the next.
        limits: Of commands.
        planner: When it is there.
        mppi: How plans are sampled.
        is_obeyed: Whether the robot does what it is told; else what it does is observed.
        seed: Of the samples.
    """

    step_s: float
    replan_every: int = 2
    limits: Limits = Limits()
    planner: PlannerSettings = PlannerSettings()
    mppi: MppiSettings = MppiSettings()
    is_obeyed: bool = False
    seed: int = 0


class Pursuit:
    """Drives after one goal at a time.

    Args:
        motion: What is known of the robot's motion; follows the observations.
        settings: How it is driven.
        judge: Which of the best plans are no good; None: all are.
    """

    def __init__(self, motion: OwnMotion, settings: PursuitSettings, judge: Judge | None = None) -> None:
        self._motion, self._settings, self._judge = motion, settings, judge
        self._planner: Planner | None = None
        self._vehicle: Vehicle | None = None
        self._told: deque[np.ndarray] = deque(maxlen=max(math.ceil(_MOST_LAG_S / settings.step_s), 1))
        self._seen: deque[tuple[int, Pose2]] = deque()
        self._action_A = np.zeros(ACTIONS)
        self._count = 0

    @property
    def pose_3(self) -> np.ndarray | None:
        """Where the robot was at the last observation: x, y [m], yaw [rad]; None: not known."""
        pose = self._motion.pose
        return None if pose is None else np.array([pose.x, pose.y, pose.yaw])

    @property
    def is_driving(self) -> bool:
        """Whether it has a goal."""
        return self._planner is not None

    @property
    def is_replanning(self) -> bool:
        """Whether the next step samples plans anew."""
        return not self._settings.is_obeyed or self._count % self._settings.replan_every == 0

    def observe(self, stamp_ns: int, pose: Pose2 | None, action_A: np.ndarray | None) -> None:
        """Take one observation; ``action_A`` is the one in force then.

        Where the robot is without a measured pose follows from the last one, as between observations.
        """
        if pose is None or (self._seen and stamp_ns == self._seen[-1][0]):
            return
        if self._seen and stamp_ns < self._seen[-1][0]:
            self._seen.clear()
            self._motion.restart()
        self._motion.update(stamp_ns, pose, action_A, known_future=True)
        self._motion.learn()
        if action_A is not None:
            self._action_A = np.asarray(action_A, float)
        if self._motion.pose is not None:
            self._seen.append((stamp_ns, self._motion.pose))
        while len(self._seen) > 2 and self._seen[-1][0] - self._seen[0][0] > _SPEED_OVER_S * 1e9:
            self._seen.popleft()

    def speed_m_s(self) -> float:
        """Return how fast the robot moved lately [m/s]: the slope of its poses; NaN: not known."""
        if len(self._seen) < 2:
            return math.nan
        time_s = np.array([stamp_ns - self._seen[0][0] for stamp_ns, _ in self._seen]) * 1e-9
        place_S2 = np.array([(pose.x, pose.y) for _, pose in self._seen])
        time_s -= time_s.mean()
        slope_2 = time_s @ (place_S2 - place_S2.mean(axis=0)) / (time_s @ time_s)
        return float(np.hypot(*slope_2))

    def check(self) -> None:
        """Refuse to drive a robot whose motion is not known.

        Raises:
            GoalError: ``motion``.
        """
        try:
            Vehicle(self._motion.steered, self._settings.step_s, ACTIONS)
        except ValueError as error:
            text = "drive it by hand for half a minute, or give it a profile that knows"
            raise GoalError("motion", f"{error}; {text}") from error

    def drive_to(self, goal_3: np.ndarray, field: Field) -> None:
        """Begin to drive to a goal x, y [m], yaw [rad] (NaN: any) by the field that leads there.

        Raises:
            GoalError: ``motion``: how the robot moves is not known.
        """
        self.check()
        settings = self._settings
        self._vehicle = Vehicle(self._motion.steered, settings.step_s, ACTIONS)
        self._planner = Planner(
            self._vehicle, settings.limits, settings.planner, settings.mppi, seed=settings.seed, judge=self._judge
        )
        self._planner.drive_to(goal_3, field)
        self._planner.follow(self._action_A)
        self._count = 0

    def lead(self, goal_3: np.ndarray, field: Field) -> None:
        """Go on to the same goal by another field."""
        if self._planner is not None:
            self._planner.lead(goal_3, field)

    def stop(self) -> None:
        """Have no goal any more; the robot is told to stand."""
        self._planner = self._vehicle = None
        self._told.append(np.zeros(ACTIONS))

    def step(self, lag_s: float) -> tuple[Decision, np.ndarray]:
        """Return what to tell the robot for the step that begins now, and where it is by now, [3].

        Args:
            lag_s: How old the last observation is [s].

        Raises:
            ValueError: No goal, or no pose.
        """
        if self._planner is None or self._motion.pose is None:
            raise ValueError("no goal to drive to, or no pose to drive from")
        if not self._settings.is_obeyed:
            self._planner.follow(self._action_A)
        pose_3 = self._present(min(max(lag_s, 0.0), _MOST_LAG_S))
        replans = self.is_replanning
        self._count += 1
        speed_m_s = self.speed_m_s()
        # One that is not known yet is none that could be taken for standing.
        speed_m_s = speed_m_s if math.isfinite(speed_m_s) else self._settings.limits.high[0]
        decision = self._planner.decide(pose_3, speed_m_s, replan=replans)
        self._told.append(decision.command_A)
        return decision, pose_3

    def _present(self, lag_s: float) -> np.ndarray:
        pose = self._motion.pose
        assert pose is not None
        steps = round(lag_s / self._settings.step_s)
        if steps:
            told = list(self._told)[-steps:] if self._settings.is_obeyed else []
            moved_S3 = self._motion.displacements(steps, np.array(told) if told else None)
            if moved_S3 is not None:
                pose = pose.moved(moved_S3[-1])
        return np.array([pose.x, pose.y, pose.yaw])


def stepwise(rate_hz: float, step_s: float) -> int:
    """Return how many steps lie between plans at a rate, at least one."""
    return max(round(1.0 / (rate_hz * step_s)), 1)
