"""Drives as the nearest remembered drive did: the command given there, put right by how far off its way the robot is.

No model of the robot is needed: a command that was given at a place, given there again, has the same effect, with all
its delay. Off the way, the error is carried ahead with what is already decided, and steered against.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from policy_runner.chunks import Chunk
from policy_runner.drift import Before, Known
from policy_runner.drives import Drives, Place, Ways
from policy_runner.policies import MEMORIES, Observation, PolicyError
from policy_runner.stalled import Stalled
from wm_core.se2 import Pose2, wrap_angle

YAW_RATE, STEERING_ANGLE, NOTHING = "yaw_rate", "steering_angle", "nothing"
STEERINGS = (YAW_RATE, STEERING_ANGLE, NOTHING)
_LEAST_SPEED_M_S = 0.1
_MOST_OFF_M = 0.5
_SPEED_S = 0.4
_SLOW_FROM_RAD, _LEAST_SHARE = 0.8, 0.3
_TURNED_RAD, _TURNS_ONLY_RAD = 2.6, 1.2
# So long beyond what is decided a chunk goes on to turn off its way: by then the next one knows whether it is free.
_FREE_S = 0.4
# And is so slow meanwhile: it goes on for the latency of the next one before that can bring it back.
_HELD_SHARE = 0.4
# Who came free a moment ago stays as slow until it faces its way again, but for this.
_BACK_RAD = 0.3


@dataclass(frozen=True, kw_only=True)
class NearestDriveSettings:
    """How a remembered drive is driven again.

    Attributes:
        steps: Actions of a chunk.
        step_s: Time between them [s].
        most_m: As far from a remembered way as it may begin [m].
        steering: What the second value of a command is: ``yaw_rate`` [rad/s], ``steering_angle`` [rad], or
            ``nothing`` that could be put right.
        wheelbase_m: Of a robot that steers by an angle [m].
        gain_off: Yaw rate against being beside the way, per metre and metre per second [rad/m^2].
        gain_yaw_hz: Yaw rate against facing off it, per radian [1/s].
        most_yaw_rate_rad_s: Most that it puts right [rad/s].
        lag_s: Time in which a robot comes up to the speed of the drive [s].
        most_speed: Greatest first value of a command that the robot is given; where the drive was faster, it is slower.
        most_rate: Greatest change of that in a second: a robot that was stopped is as fast as the drive only later.
        response_s: Time from a command to when the robot does it; what it puts right it puts right for then [s].
        gets_free: Whether a robot that is held by something turns off its way until it is free.
    """

    steps: int = 20
    step_s: float = 0.05
    most_m: float = 1.0
    steering: str = YAW_RATE
    wheelbase_m: float = 0.3
    gain_off: float = 2.0
    gain_yaw_hz: float = 2.8
    most_yaw_rate_rad_s: float = 1.8
    lag_s: float = 0.2
    most_speed: float = math.inf
    most_rate: float = math.inf
    response_s: float = 0.2
    gets_free: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be driven."""
        if self.steering not in STEERINGS:
            raise ValueError(f"steering is '{self.steering}', expected one of {', '.join(STEERINGS)}")
        if self.steps < 1 or not min(self.step_s, self.most_m, self.wheelbase_m, self.lag_s) > 0.0:
            raise ValueError(f"{self} cannot be: one step or more, times and lengths above 0")


@dataclass
class _Off:
    """Place on the way, pace 0..1 and pace told at a command; distance to its left [m] and yaw [rad] at its effect.

    ``free_rad``: how far off the way it is to face, to get free of what holds it [rad], and ``free_s`` for how long.
    ``is_held``: whether it is held when the chunk is made, ``was_held``: or was a moment ago.
    """

    place: Place
    left_m: float
    yaw_rad: float
    pace: float
    told: float
    free_rad: float = 0.0
    free_s: float = 0.0
    is_held: bool = False
    was_held: bool = False

    def pace_after(self, share: float) -> float:
        """Return the pace once this share of what it lacks is made up for."""
        return self.pace + share * (self.told - self.pace)


class NearestDrive:
    """The policy that needs no training.

    Args:
        action_dim: Action size A.
        settings: How it drives.
        known: Where it was before it was made anew; None: that is not known.
    """

    takes = frozenset({MEMORIES})

    def __init__(
        self, action_dim: int, settings: NearestDriveSettings | None = None, known: Known | None = None
    ) -> None:
        self._settings = settings or NearestDriveSettings()
        self.action_dim, self.step_s = action_dim, self._settings.step_s
        self._steers = action_dim >= 2 and self._settings.steering != NOTHING
        self._turned_rad = _TURNED_RAD if self._steers else 0.0
        # Told to who puts poses right by the same drives.
        self.ways = Ways(self._bend if self._steers else None, self._settings.response_s)
        self._known = known or Known()
        # What it has put right lately: time [ns], yaw rate [rad/s].
        self._against: list[tuple[int, float]] = []

    def act(self, observation: Observation) -> Chunk:
        """Return what was commanded on the way ahead, put right where the robot is off it.

        Raises:
            PolicyError: Its place is not known, or no remembered drive leads on from there.
        """
        drives, off = self._begin(observation)
        settings, decided_PA = self._settings, observation.decided_PA
        actions: list[np.ndarray] = []
        path: list[np.ndarray | None] = []
        against: list[tuple[int, float]] = []
        held_count = 0
        while len(actions) < settings.steps:
            held_count += off.free_rad != 0.0
            action_A, remembered_rad_s = self._command(drives, off)
            if len(actions) < len(decided_PA):
                action_A = np.asarray(decided_PA[len(actions)], float)
            turned_more_rad_s = self._yaw_rate(drives, off, action_A) - remembered_rad_s
            against.append((observation.stamp_ns + round(len(actions) * settings.step_s * 1e9), turned_more_rad_s))
            actions.append(action_A)
            path.append(self._expected(drives, off))
            if not self._carry(drives, off, turned_more_rad_s, action_A):
                break
        if len(actions) <= len(decided_PA):
            raise PolicyError("the remembered drive ends here, and no other goes on")
        self._against = [each for each in self._against if each[0] < observation.stamp_ns] + against
        assert observation.pose_3 is not None
        path_H3 = self._path(observation.pose_3, path)
        chunk = Chunk(observation.stamp_ns, settings.step_s, np.array(actions), path_H3)
        if not off.is_held or path_H3 is None:
            return chunk
        # It is not where the path says: steered by that, it would turn back what gets it free. But it does turn.
        waits_s = math.inf if self._known.stalled.is_moving else (held_count - 1) * settings.step_s
        return replace(chunk, path_H3=None, facing_H=path_H3[:, 2], waits_s=waits_s)

    def _begin(self, observation: Observation) -> tuple[Drives, _Off]:
        if observation.pose_3 is None:
            raise PolicyError("the place of the robot is not known")
        if observation.memories is None or not len(observation.memories):
            raise PolicyError("nothing is remembered around here")
        if observation.memories.action_NA.shape[1] != self.action_dim:
            found = observation.memories.action_NA.shape[1]
            raise PolicyError(f"the memory holds actions of {found} values, expected {self.action_dim}")
        drives, pose_3 = self.ways.of(observation.memories), observation.pose_3
        before, name = self._known.before, None
        if before is not None and before.begun_ns == observation.begun_ns:
            name = before.name
        else:
            self._known.stalled, self._against = Stalled(), []
        stalled = self._known.stalled
        # However it turns where it is held, it comes no farther along its way by that.
        facing_3 = pose_3 if stalled.stood_rad is None else np.array([*pose_3[:2], stalled.stood_rad])
        place = drives.nearest(facing_3, self._settings.most_m, name, turned_rad=self._turned_rad)
        if place is None:
            raise PolicyError(f"no remembered drive within {self._settings.most_m:g} m that faces the same way")
        self._known.before = Before(observation.begun_ns, drives.name(place))
        way_3, speed = drives.pose(place), observation.speed_m_s
        # The robot's speed is a mean over the last moments, so the drive's has to be one, too.
        usual = drives.speed_before(place, _SPEED_S)
        pace = min(1.0, max(0.0, speed / usual)) if math.isfinite(speed) else 1.0
        told = self._told(drives, place, observation.decided_PA[0]) if len(observation.decided_PA) else pace
        # The speed measured is that of some time ago, the command in force that of as long ahead.
        pace = 0.5 * (pace + told)
        off = _Off(place, _left_m(way_3, pose_3), float(wrap_angle(pose_3[2] - way_3[2])), pace, told)
        if len(observation.decided_PA) and self._settings.gets_free:
            told_m_s = float(observation.decided_PA[0][0])
            left_m = self._measured_left_m(drives, observation, facing_3, off.left_m)
            off.free_rad = stalled.see(observation.stamp_ns, pose_3, told_m_s, left_m, off.yaw_rad)
            off.is_held = off.free_rad != 0.0
            off.was_held = stalled.was_held(observation.stamp_ns)
            # Who moves by now is free before anything else can be commanded.
            more_s = 0.0 if stalled.is_moving else _FREE_S
            off.free_s = len(observation.decided_PA) * self._settings.step_s + more_s
            side = stalled.taken_side()
            if side is not None:
                self._known.touched = self._known.touched.noted(way_3, side)
        self._respond(drives, off, observation.stamp_ns)
        return drives, off

    def _measured_left_m(
        self, drives: Drives, observation: Observation, facing_3: np.ndarray, otherwise_m: float
    ) -> float:
        """Return how far to the left of the way it was measured lately [m].

        Who is held is expected ahead of where it is: in a bend that may be the other side of its way.
        """
        place_M2 = np.array([each.pose_3[:2] for each in observation.frames if each.pose_3 is not None])
        if not len(place_M2):
            return otherwise_m
        x, y = place_M2.mean(axis=0)
        name = None if self._known.before is None else self._known.before.name
        here_3 = np.array([x, y, facing_3[2]])
        place = drives.nearest(here_3, self._settings.most_m, name, turned_rad=self._turned_rad)
        if place is None:
            return otherwise_m
        return _left_m(drives.pose(place), here_3)

    def _expected(self, drives: Drives, off: _Off) -> np.ndarray | None:
        """Return where the robot is expected to be when a command that is given now acts, [3]; None: the way ends."""
        # Who is held comes no farther until then, and faces by the way where it is.
        soon_s = self._soon(off) * self._along(off) * self._settings.response_s if self._goes_on(off) else 0.0
        place = drives.after(off.place, soon_s, self._settings.most_m)
        if place is None:
            return None
        x, y, yaw = drives.pose(place)
        return np.array([x - off.left_m * math.sin(yaw), y + off.left_m * math.cos(yaw), yaw + off.yaw_rad])

    def _path(self, pose_3: np.ndarray, effect: list[np.ndarray | None]) -> np.ndarray | None:
        """Return where the robot is expected at each command, from where it is when they act, [H, 3]."""
        late = round(self._settings.response_s / self._settings.step_s)
        known = [each for each in effect if each is not None]
        if self._settings.steering != YAW_RATE or len(known) < len(effect) or len(effect) <= late:
            return None
        path_H3 = np.concatenate([np.tile(pose_3, (late, 1)), np.array(known)])[: len(effect)]
        path_H3[:, 2] = np.unwrap(path_H3[:, 2])
        share_L1 = np.arange(late)[:, None] / max(late, 1)
        path_H3[:late] = path_H3[0] + share_L1 * (path_H3[late] - path_H3[0])
        return path_H3

    def _respond(self, drives: Drives, off: _Off, stamp_ns: int) -> None:
        """Carry the error ahead by what was put right before, and is not done yet."""
        settings, speed = self._settings, self._soon(off) * drives.speed(off.place)
        response_ns = round(settings.response_s * 1e9)
        self._against = [each for each in self._against if each[0] >= stamp_ns - 2 * response_ns]
        for number in range(round(settings.response_s / settings.step_s)):
            time_ns = stamp_ns - response_ns + round(number * settings.step_s * 1e9)
            done = [rate for at_ns, rate in self._against if at_ns <= time_ns]
            self._turn(off, speed, done[-1] if done else 0.0)

    def _turn(self, off: _Off, speed: float, turned_more_rad_s: float) -> None:
        off.left_m += speed * math.sin(off.yaw_rad) * self._settings.step_s
        off.yaw_rad = float(wrap_angle(off.yaw_rad + turned_more_rad_s * self._settings.step_s))

    def _goes_on(self, off: _Off) -> bool:
        """Return whether it comes along its way at a command: who is held turns where it stands."""
        return not off.free_rad or self._settings.steering != YAW_RATE

    def _soon(self, off: _Off) -> float:
        """Return the pace at the effect of a command that is given now."""
        return off.pace_after(1.0 - math.exp(-self._settings.response_s / self._settings.lag_s))

    def _along(self, off: _Off) -> float:
        """Return how much of its way a robot comes along the drive's: facing off it, it goes beside it."""
        return max(0.0, math.cos(off.yaw_rad)) if self._steers else 1.0

    def _told(self, drives: Drives, place: Place, action_A: np.ndarray) -> float:
        """Return the share of the drive's speed that a command brings the robot up to."""
        wanted = float(drives.action(place)[0])
        if not self._steers or wanted <= 0.0:
            return 1.0
        return min(1.0, max(0.0, min(float(action_A[0]), self._settings.most_speed) / wanted))

    def _at_effect(self, drives: Drives, off: _Off) -> np.ndarray:
        """Return what was commanded to do at a place what the robot shall do where it is when this command acts.

        A drive gave its commands before the place that they were for. A robot that is slower than it comes less far
        until they act, and would turn too early.
        """
        late_s = self._settings.response_s * (1.0 - 0.5 * (off.pace + self._soon(off)) * self._along(off))
        return drives.action(drives.before(off.place, late_s) if self._steers else off.place)

    def _bend(self, speed: float, curve: float) -> float:
        if self._settings.steering == YAW_RATE:
            return speed * curve
        return math.atan(self._settings.wheelbase_m * curve)

    def _command(self, drives: Drives, off: _Off) -> tuple[np.ndarray, float]:
        """Return the command at a place off the way, and the yaw rate that was commanded there [rad/s]."""
        action_A = self._at_effect(drives, off)
        remembered_rad_s = self._yaw_rate(drives, off, action_A)
        if not self._steers:
            return action_A, remembered_rad_s
        settings, soon = self._settings, self._soon(off)
        speed = max(soon * drives.speed(off.place), _LEAST_SPEED_M_S)
        touched = self._known.touched
        aside_m = touched.left_m(drives.pose(off.place)) if touched.touches else 0.0
        left_m = min(max(off.left_m - aside_m, -_MOST_OFF_M), _MOST_OFF_M)
        against = -settings.gain_off * speed * left_m - settings.gain_yaw_hz * off.yaw_rad
        if off.free_rad:
            against = -settings.gain_yaw_hz * (off.yaw_rad - off.free_rad)
        against = min(max(against, -settings.most_yaw_rate_rad_s), settings.most_yaw_rate_rad_s)
        action_A = action_A.copy()
        # Facing off the way it is slow, so that it turns before it is farther off.
        least = _LEAST_SHARE if off.free_rad or abs(off.yaw_rad) < _TURNS_ONLY_RAD else 0.0
        is_careful = off.is_held or (off.was_held and abs(off.yaw_rad) > _BACK_RAD)
        most = _HELD_SHARE if is_careful else 1.0
        action_A[0] *= min(most, max(least, 1.25 - abs(off.yaw_rad) / _SLOW_FROM_RAD))
        if settings.steering == YAW_RATE:
            # Slower than the drive was, the same bend takes a smaller yaw rate; who is held is driven round none.
            remembered_rad_s *= 0.0 if off.free_rad else soon
            action_A[1] = remembered_rad_s + against
        else:
            action_A[1] = math.atan(math.tan(action_A[1]) + settings.wheelbase_m * against / speed)
        return action_A, remembered_rad_s

    def _yaw_rate(self, drives: Drives, off: _Off, action_A: np.ndarray) -> float:
        if not self._steers:
            return 0.0
        if self._settings.steering == YAW_RATE:
            return float(action_A[1])
        speed = max(self._soon(off) * drives.speed(off.place), _LEAST_SPEED_M_S)
        return speed * math.tan(action_A[1]) / self._settings.wheelbase_m

    def _carry(self, drives: Drives, off: _Off, turned_more_rad_s: float, action_A: np.ndarray) -> bool:
        """Go a step ahead; return whether the way goes on."""
        settings = self._settings
        told, speed = self._told(drives, off.place, action_A), self._soon(off) * drives.speed(off.place)
        most = settings.most_rate * settings.step_s / max(float(drives.action(off.place)[0]), _LEAST_SPEED_M_S)
        off.told = min(max(told, off.told - most), off.told + most)
        goes_on = self._goes_on(off)
        on_s = off.pace * self._along(off) * settings.step_s if goes_on else 0.0
        place = drives.after(off.place, on_s, settings.most_m)
        if place is None:
            return False
        off.place, speed = place, speed if goes_on else 0.0
        off.free_s -= settings.step_s
        off.free_rad = off.free_rad if off.free_s > 0.0 else 0.0
        self._turn(off, speed, turned_more_rad_s)
        off.pace = off.pace_after(min(1.0, settings.step_s / settings.lag_s))
        return True


def _left_m(way_3: np.ndarray, pose_3: np.ndarray) -> float:
    """Return how far to the left of a place on the way a pose lies [m]."""
    (way_x, way_y, way_yaw), (x, y, yaw) = way_3.tolist(), pose_3.tolist()
    return Pose2(x, y, 0.0, yaw).relative_to(Pose2(way_x, way_y, 0.0, way_yaw))[1]
