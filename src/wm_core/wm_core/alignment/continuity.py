"""Poses that jump: an odometry that began again is carried on in the frame of before, a correction is told from it.

A step is a jump where it is farther than the robot's speed of late allows in the time between two poses. What jumps
onto the origin of its frame is an odometry that began again: the robot is where it was, its frame is another under
the same name. Anything else is a localisation that corrected itself, in the same frame. Times are integer nanoseconds;
quaternions are x, y, z, w. Nothing here reads a clock.
"""

from __future__ import annotations

import enum
import math
from typing import NamedTuple

import numpy as np

from wm_core.se2 import wrap_angle
from wm_core.se3 import turned_about_z, yaw_of
from wm_core.timeline import NS_PER_S

# Smaller steps are corrections, as a loop closure makes them [m, rad]; those onto the origin are told apart sooner.
_CORRECTION, _ONTO_ORIGIN = 1.0, 0.5
# Times the speed of late that a robot may go, what it may gain in a second [m/s, rad/s], and how fast "of late" ends.
_TIMES, _GAIN, _LATE_S = 3.0, 10.0, 2.0
# An odometry that begins again stands on its origin within this, and what was driven since [m, rad].
_EXACT, _DRIVEN_S = 0.02, 0.2
# After a longer silence nobody knows where the robot was carried [s]; so long it went on as it went.
_SILENCE_S, _GOES_ON_S = 30.0, 0.5
# Longer than so many of the longest gaps of late is a silence.
_SILENT_GAPS = 3.0
_BACK_NS = NS_PER_S
# So many poses in a row that follow from nothing are what there is.
_MOST_DOUBTED = 3


# A pose is a few numbers: as plain floats each costs a tenth of what small arrays would.
_Point = tuple[float, float, float]


class Kind(enum.Enum):
    """What a jump was."""

    RESTARTED = "the odometry began again: poses are carried on in the frame of before, and differ from what is told"
    RESTARTED_UNKNOWN = "the odometry began again after a long silence: what is remembered of its frame fits no more"
    RETURNED = "poses are told in the frame of before again, and taken as they are"
    CORRECTED = "the localisation corrected itself: taken as the same frame, and nothing is interpolated across it"


class Jump(NamedTuple):
    """One jump of the poses.

    Attributes:
        stamp_ns: Of the first pose after it.
        kind: What it was.
        moved_m: How far.
        turned_rad: By how much.
        gap_s: Within what time.
    """

    stamp_ns: int
    kind: Kind
    moved_m: float
    turned_rad: float
    gap_s: float

    def __str__(self) -> str:
        """Return it in words."""
        turned = f"{math.degrees(self.turned_rad):.0f} degrees within {self.gap_s:.2f} s"
        at = f"at {self.stamp_ns / NS_PER_S:.3f} s"
        return f"poses jumped by {self.moved_m:.1f} m and {turned} {at}: {self.kind.value}"


class Carried(NamedTuple):
    """A pose that is to be taken.

    Attributes:
        position: [3] m, in the frame of the first pose.
        quaternion: Likewise.
        jump: Where it follows on a jump.
    """

    position: np.ndarray
    quaternion: np.ndarray
    jump: Jump | None = None


class _Told(NamedTuple):
    stamp_ns: int
    position: _Point
    yaw: float

    def step_to(self, other: _Told) -> tuple[float, float]:
        """Return how far [m] and by how much [rad] another is off."""
        return math.dist(self.position, other.position), abs(wrap_angle(other.yaw - self.yaw))


_ORIGIN = _Told(0, (0.0, 0.0, 0.0), 0.0)


class PoseContinuity:
    """Tells jumps from motion, pose by pose, and carries poses on where the odometry began again.

    A pose that jumps is held until the next one agrees with it: a single one is an error, and left out.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all: another timeline, or another frame."""
        self._last: _Told | None = None
        self._held: _Told | None = None
        self._doubted, self._has_moved, self._gap_s = 0, False, 0.0
        # What "carried on" means: turned by a yaw, then moved.
        self._turn, self._shift = 0.0, (0.0, 0.0, 0.0)
        self._speed, self._turning, self._velocity_4 = 0.0, 0.0, (0.0, 0.0, 0.0, 0.0)

    @property
    def is_carried(self) -> bool:
        """Whether poses are told in another frame than the first one's."""
        return bool(self._turn or any(self._shift))

    def take(self, stamp_ns: int, position: np.ndarray, quaternion: np.ndarray) -> Carried | None:
        """Return a pose as it is to be taken; None: it jumps, and is left out until another agrees."""
        now, last = _Told(stamp_ns, _three(position), yaw_of(quaternion.tolist())), self._last
        if last is not None and stamp_ns < last.stamp_ns - _BACK_NS:
            self.clear()
            last = None
        if last is None:
            self._last = now
            return self._carried(now, quaternion)
        if stamp_ns <= last.stamp_ns:  # late, or told again
            return self._carried(now, quaternion)
        jump = None
        held = self._held
        if held is not None and self._agrees(held, last, now):
            jump = self._believe(last, held)
        elif self._jumps(last, now):
            self._held, self._doubted = now, self._doubted + 1
            if self._doubted < _MOST_DOUBTED:
                return None
            jump = self._believe(last, now)
        else:
            self._follow(last, now)
        self._last, self._held, self._doubted = now, None, 0
        return self._carried(now, quaternion, jump)

    def _carried(self, told: _Told, quaternion: np.ndarray, jump: Jump | None = None) -> Carried:
        if not self.is_carried:
            return Carried(np.array(told.position), quaternion, jump)
        turned = np.array(turned_about_z(quaternion.tolist(), self._turn))
        return Carried(np.array(self._moved(told.position)), turned, jump)

    def _moved(self, position: _Point) -> _Point:
        return _sum(_turned(position, self._turn), self._shift)

    def _follow(self, last: _Told, now: _Told) -> None:
        """Learn the speed."""
        gap_s = (now.stamp_ns - last.stamp_ns) / NS_PER_S
        kept, (moved, turned) = math.exp(-gap_s / _LATE_S), last.step_to(now)
        self._speed, self._turning = max(moved / gap_s, kept * self._speed), max(turned / gap_s, kept * self._turning)
        new = 1.0 - math.exp(-gap_s / _DRIVEN_S)
        self._has_moved, self._gap_s = True, max(gap_s, math.exp(-gap_s / _LATE_S) * self._gap_s)
        steps = (*_sum(now.position, last.position, -1.0), wrap_angle(now.yaw - last.yaw))
        x, y, z, turn = (old + new * (step / gap_s - old) for old, step in zip(self._velocity_4, steps))
        self._velocity_4 = x, y, z, turn

    def _jumps(self, before: _Told, now: _Told) -> bool:
        if not self._has_moved:  # how fast it drives is not known yet
            return False
        gap_s = (now.stamp_ns - before.stamp_ns) / NS_PER_S
        moved, turned = before.step_to(now)
        beyond = _CORRECTION + _GAIN * gap_s * gap_s / 2.0
        if moved > beyond + _TIMES * self._speed * gap_s or turned > beyond + _TIMES * self._turning * gap_s:
            return True
        if not self._is_origin(now, gap_s):
            return False
        driven_s = gap_s if self._is_usual(gap_s) else 0.0
        beyond = _ONTO_ORIGIN + _GAIN * driven_s * driven_s / 2.0
        return moved > beyond + _TIMES * self._speed * driven_s or turned > beyond + _TIMES * self._turning * driven_s

    def _agrees(self, held: _Told, last: _Told, now: _Told) -> bool:
        """Return whether a pose goes on from the one that was held, rather than from the one before."""
        if held.stamp_ns >= now.stamp_ns or self._jumps(held, now):
            return False
        return sum(held.step_to(now)) < sum(last.step_to(now))

    def _is_usual(self, gap_s: float) -> bool:
        """Return whether a gap is none of a silence."""
        return gap_s <= _SILENT_GAPS * self._gap_s

    def _is_origin(self, told: _Told, gap_s: float) -> bool:
        """Return whether a pose is where an odometry begins.

        In a silence a robot may have driven anywhere, but hardly onto the very origin.
        """
        driven_s = _DRIVEN_S if self._is_usual(gap_s) else 0.0
        most_m, most_rad = _EXACT + self._speed * driven_s, _EXACT + self._turning * driven_s
        moved, turned = told.step_to(_ORIGIN)
        return moved <= most_m and turned <= most_rad

    def _believe(self, last: _Told, held: _Told) -> Jump:
        """Take a jump as what it is; ``held`` is the first pose after it."""
        gap_s = (held.stamp_ns - last.stamp_ns) / NS_PER_S
        goes_on_s = gap_s if gap_s <= _GOES_ON_S else 0.0
        x, y, z, turn = self._velocity_4
        position = self._moved(_sum(last.position, (x, y, z), goes_on_s))
        yaw = last.yaw + self._turn + turn * goes_on_s
        kind = Kind.CORRECTED
        if self.is_carried and max(_Told(0, position, yaw).step_to(held)) <= _CORRECTION:
            kind, self._turn, self._shift = Kind.RETURNED, 0.0, (0.0, 0.0, 0.0)
        elif self._is_origin(held, gap_s) and gap_s > _SILENCE_S:
            kind, self._turn, self._shift = Kind.RESTARTED_UNKNOWN, 0.0, (0.0, 0.0, 0.0)
        elif self._is_origin(held, gap_s):
            kind, self._turn = Kind.RESTARTED, wrap_angle(yaw - held.yaw)
            self._shift = _sum(position, _turned(held.position, self._turn), -1.0)
        # The robot goes on as it went; only its direction in the new frame is another.
        self._velocity_4 = 0.0, 0.0, 0.0, 0.0
        return Jump(held.stamp_ns, kind, *last.step_to(held), gap_s)


def _three(position: np.ndarray) -> _Point:
    x, y, z = position.tolist()
    return x, y, z


def _sum(first: _Point, second: _Point, times: float = 1.0) -> _Point:
    return first[0] + times * second[0], first[1] + times * second[1], first[2] + times * second[2]


def _turned(position: _Point, angle: float) -> _Point:
    x, y, z = position
    cos, sin = math.cos(angle), math.sin(angle)
    return cos * x - sin * y, sin * x + cos * y, z
