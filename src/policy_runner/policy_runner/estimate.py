"""Where the robot is and how it moves, from poses that err and the commands that it was given.

A Kalman filter over pose and twist. The twist follows each command late and with a lag; a measured pose then counts as
much as it is surer than what was expected, so that white noise does not reach what is steered by. From the commands
that are on their way the pose is foreseen at which a command that is given now will act.

Shape suffixes: A = action size, 3 = x, y [m], yaw [rad], 5 = the same and forward speed [m/s], yaw rate [rad/s].
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from policy_runner.nearest_drive import STEERING_ANGLE, YAW_RATE
from wm_core.se2 import wrap_angle

_NS = 1_000_000_000
_STEP_NS = 10_000_000
_LONGEST_GAP_S = 1.0
_JUMP_M, _JUMP_RAD = 0.7, 1.2
_REMEMBERED_NS = 3 * _NS
_LAG_SHARE = 0.6
# From there on what is missed is no noise: squared error over its variance, of three values, once in 10 000 poses.
_SURPRISING = 21.0
_LEAST_STD = 1e-3

# By when they were given [ns], ascending.
_Commands = Sequence[tuple[int, np.ndarray]]
Twist = Callable[[np.ndarray, float], "tuple[float, float] | None"]
"""Returns forward speed [m/s] and yaw rate [rad/s] that a command [A] asks for at a speed [m/s]; None: not known."""


@dataclass(frozen=True, kw_only=True)
class EstimateSettings:
    """How far poses and commands are believed.

    Attributes:
        response_s: Time from a command to when the robot does it: a part of it nothing, then with a lag [s].
        position_std_m: White noise of x and y of a pose that does not tell its own [m].
        yaw_std_rad: And of its yaw [rad].
        speed_drift: How far speed strays from what is commanded, in a second [m/s].
        yaw_rate_drift: And the yaw rate [rad/s].
    """

    response_s: float = 0.2
    position_std_m: float = 0.02
    yaw_std_rad: float = 0.01
    speed_drift: float = 0.3
    yaw_rate_drift: float = 0.3

    def __post_init__(self) -> None:
        """Refuse what is no noise."""
        if not min(self.position_std_m, self.yaw_std_rad, self.speed_drift, self.yaw_rate_drift) > 0.0:
            raise ValueError(f"{self} cannot be: noise and drift are above 0")


def yaw_rate_twist(action_A: np.ndarray, speed: float) -> tuple[float, float] | None:
    """Return what a command of forward speed and yaw rate asks for; None: it has fewer than two values."""
    return (float(action_A[0]), float(action_A[1])) if len(action_A) >= 2 else None


def twist_of(steering: str, wheelbase_m: float) -> Twist:
    """Return what commands ask for, by what their second value is (one of ``STEERINGS``)."""
    if steering == YAW_RATE:
        return yaw_rate_twist
    if steering == STEERING_ANGLE:
        return lambda action_A, speed: (float(action_A[0]), speed * math.tan(float(action_A[1])) / wheelbase_m)
    return lambda action_A, speed: None


class Estimate:
    """Pose and twist of one robot.

    Args:
        settings: What is believed.
        twist: What commands ask for.
    """

    def __init__(self, settings: EstimateSettings | None = None, twist: Twist = yaw_rate_twist) -> None:
        self._settings, self._twist = settings or EstimateSettings(), twist
        self._lag_s = max(_LAG_SHARE * self._settings.response_s, 1e-3)
        self._delay_ns = round((1.0 - _LAG_SHARE) * self._settings.response_s * _NS)
        self._commands: deque[tuple[int, np.ndarray]] = deque()
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._commands.clear()
        self._stamp_ns: int | None = None
        self._state_5, self._spread_55 = np.zeros(5), np.zeros((5, 5))

    # ---------------------------------------------------------------- what comes in

    def commanded(self, time_ns: int, action_A: np.ndarray) -> None:
        """Take note of a command that the robot was given at a time [ns]."""
        if self._commands and time_ns < self._commands[-1][0]:
            self._commands.clear()
        self._commands.append((time_ns, np.asarray(action_A, float)))
        while len(self._commands) > 1 and self._commands[1][0] < time_ns - _REMEMBERED_NS:
            self._commands.popleft()

    def measured(self, stamp_ns: int, pose_3: np.ndarray, std_3: np.ndarray | None = None) -> np.ndarray:
        """Take a measured pose; return where the robot then was, [3].

        Args:
            stamp_ns: When [ns]; one that is not newer, or much newer, begins anew.
            pose_3: Where.
            std_3: Standard errors; None or not finite: as the settings say.
        """
        pose_3 = np.asarray(pose_3, float)
        noise_3 = self._noise(std_3)
        last_ns = self._stamp_ns
        if last_ns is None or not 0 < stamp_ns - last_ns <= _LONGEST_GAP_S * _NS:
            return self._begin(stamp_ns, pose_3, noise_3)
        state_5, spread_55 = self._expected(stamp_ns)
        missed_3 = pose_3 - state_5[:3]
        missed_3[2] = wrap_angle(missed_3[2])
        if math.hypot(missed_3[0], missed_3[1]) > _JUMP_M or abs(missed_3[2]) > _JUMP_RAD:
            return self._begin(stamp_ns, pose_3, noise_3)
        whole_33 = spread_55[:3, :3] + np.diag(noise_3**2)
        surprise = float(missed_3 @ np.linalg.solve(whole_33, missed_3))
        if surprise > _SURPRISING:
            # Something holds or pushes the robot: what was thought of it is worth so much less.
            spread_55 = spread_55 * surprise / _SURPRISING + np.diag([0.0, 0.0, 0.0, 0.1, 0.1])
            whole_33 = spread_55[:3, :3] + np.diag(noise_3**2)
        gain_53 = np.linalg.solve(whole_33, spread_55[:3]).T
        state_5 = state_5 + gain_53 @ missed_3
        state_5[2] = wrap_angle(state_5[2])
        spread_55 = spread_55 - gain_53 @ spread_55[:3]
        self._stamp_ns, self._state_5, self._spread_55 = stamp_ns, state_5, 0.5 * (spread_55 + spread_55.T)
        return np.array(state_5[:3])

    def _noise(self, std_3: np.ndarray | None) -> np.ndarray:
        settings = self._settings
        usual_3 = np.array([settings.position_std_m, settings.position_std_m, settings.yaw_std_rad])
        if std_3 is None:
            return usual_3
        return np.maximum(np.where(np.isfinite(std_3) & (std_3 > 0.0), std_3, usual_3), _LEAST_STD)

    def _begin(self, stamp_ns: int, pose_3: np.ndarray, noise_3: np.ndarray) -> np.ndarray:
        twist_2 = self._wanted(self._commands, stamp_ns, 0.0) or (0.0, 0.0)
        self._stamp_ns, self._state_5 = stamp_ns, np.array([*pose_3, *twist_2])
        self._spread_55 = np.diag([*noise_3**2, 0.5, 0.5])
        return np.array(pose_3)

    # ---------------------------------------------------------------- what is said

    def at(self, time_ns: int, planned: Sequence[tuple[int, np.ndarray]] = ()) -> np.ndarray | None:
        """Return where the robot is at a time not before the newest pose [ns], [3]; None: not known.

        Args:
            time_ns: When.
            planned: Commands that are still to be given, by their times [ns], ascending; else the last one holds.
        """
        if self._stamp_ns is None or time_ns - self._stamp_ns > _LONGEST_GAP_S * _NS:
            return None
        return self._moved(self._state_5, self._stamp_ns, time_ns, [*self._commands, *planned])[:3]

    # ---------------------------------------------------------------- how it moves

    def _expected(self, stamp_ns: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the state [5] expected at a stamp, and its covariance [5, 5]."""
        assert self._stamp_ns is not None
        elapsed_s = (stamp_ns - self._stamp_ns) / _NS
        state_5 = self._moved(self._state_5, self._stamp_ns, stamp_ns, self._commands)
        yaw, speed = float(self._state_5[2]), float(self._state_5[3])
        keeps = math.exp(-elapsed_s / self._lag_s) if self._wanted(self._commands, stamp_ns, speed) is not None else 1.0
        lasts_s = self._lag_s * (1.0 - keeps) if keeps < 1.0 else elapsed_s
        way_m, middle = speed * elapsed_s, yaw + 0.5 * float(self._state_5[4]) * elapsed_s
        change_55 = np.eye(5)
        change_55[0, 2:4] = -way_m * math.sin(middle), lasts_s * math.cos(middle)
        change_55[1, 2:4] = way_m * math.cos(middle), lasts_s * math.sin(middle)
        change_55[2, 4] = lasts_s
        change_55[3, 3] = change_55[4, 4] = keeps
        strays_2 = np.array([self._settings.speed_drift, self._settings.yaw_rate_drift]) ** 2 * elapsed_s
        noise_55 = np.diag([*(np.full(3, 1e-4**2)), *strays_2])
        return state_5, change_55 @ (self._spread_55 + noise_55) @ change_55.T

    def _wanted(self, commands: _Commands, time_ns: int, speed: float) -> tuple[float, float] | None:
        """Return the twist that the command that acts at a time asks for; None: nothing is known of it."""
        due_ns = time_ns - self._delay_ns
        for sent_ns, action_A in reversed(commands):
            if sent_ns <= due_ns:
                return self._twist(action_A, speed)
        return None

    def _moved(self, state_5: np.ndarray, from_ns: int, to_ns: int, commands: _Commands) -> np.ndarray:
        x, y, yaw, speed, rate = map(float, state_5)
        while from_ns < to_ns:
            step_ns = min(_STEP_NS, to_ns - from_ns)
            step_s = step_ns / _NS
            wanted = self._wanted(commands, from_ns, speed)
            if wanted is not None:
                share = 1.0 - math.exp(-step_s / self._lag_s)
                speed, rate = speed + share * (wanted[0] - speed), rate + share * (wanted[1] - rate)
            middle = yaw + 0.5 * rate * step_s
            x, y = x + speed * step_s * math.cos(middle), y + speed * step_s * math.sin(middle)
            yaw, from_ns = yaw + rate * step_s, from_ns + step_ns
        return np.array([x, y, wrap_angle(yaw), speed, rate])
