"""How far poses have drifted since a way was driven: what is seen on it now against what was seen on it then.

Who drives a remembered way again by measured poses is beside it by as much as these have drifted in between. What was
seen along the way tells how far along it the robot is, whatever the poses say; where the way turns, that is another
direction. A Kalman filter makes of it the offset of the poses in both.

Shape suffixes: D = latent size, 2 = x, y [m], 3 = x, y [m], yaw [rad].
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from policy_runner.drives import Drives, Place
from policy_runner.policies import Frame
from policy_runner.stalled import Stalled
from policy_runner.touched import Touched

_NS = 1_000_000_000
_GATE = 9.0


@dataclass(frozen=True, kw_only=True)
class DriftSettings:
    """How far what is seen is believed.

    Attributes:
        most_m: Poses are put right by no more than this [m].
        std_m: How far they usually are off what is remembered, along an axis [m].
        time_s: Time in which that becomes another [s].
        spacing_m: A frame counts when the robot has come so far since the last one that did [m].
        reach_m: How the look changes along the way is taken from what was seen so far behind and ahead [m].
        look_std_m: Error of a place by look, beside what the look itself tells of it [m].
        likeness: Frames that err alike: neighbours are no news.
        way_m: As far from the way as the robot may be [m].
    """

    most_m: float = 0.25
    std_m: float = 0.07
    time_s: float = 60.0
    spacing_m: float = 0.1
    reach_m: float = 0.15
    look_std_m: float = 0.08
    likeness: float = 4.0
    way_m: float = 0.6

    def __post_init__(self) -> None:
        """Refuse what is no length or time."""
        if not min(self.std_m, self.time_s, self.reach_m, self.look_std_m, self.way_m) > 0.0 or self.most_m < 0.0:
            raise ValueError(f"{self} cannot be: lengths and times are above 0")


@dataclass(frozen=True, eq=False)
class Offset:
    """By how much poses are off those that are remembered.

    Attributes:
        stamp_ns: When that was [ns].
        off_2: How far [m].
        spread_22: Its covariance [m^2].
    """

    stamp_ns: int
    off_2: np.ndarray
    spread_22: np.ndarray


class Drift:
    """The offset between poses and what is remembered, frame by frame.

    Args:
        settings: What is believed.
        known: What was known of it before; None: nothing.
    """

    def __init__(self, settings: DriftSettings | None = None, known: Offset | None = None) -> None:
        self._settings = settings or DriftSettings()
        self.offset = known
        self._last_2: np.ndarray | None = None
        self._before: tuple[int, int] | None = None

    @property
    def off_2(self) -> np.ndarray:
        """By how much poses are to be put right [m]."""
        return np.zeros(2) if self.offset is None else self.offset.off_2

    def see(self, frame: Frame, drives: Drives) -> None:
        """Take what was seen at a pose, while a remembered way is driven."""
        pose_3, settings = frame.pose_3, self._settings
        if pose_3 is None or not np.isfinite(pose_3).all():
            return
        off_2, spread_22 = self._expected(frame.stamp_ns)
        here_3 = pose_3 - [*off_2, 0.0]
        place = drives.nearest(here_3, settings.way_m, self._before)
        self.offset = Offset(frame.stamp_ns, off_2, spread_22)
        if place is None:
            return
        self._before = drives.name(place)
        if self._last_2 is not None and math.dist(self._last_2, pose_3[:2]) < settings.spacing_m:
            return
        self._last_2 = pose_3[:2].copy()
        farther = self._farther(drives, place, frame.latent_D)
        if farther is not None:
            self.offset = self._told(self.offset, *farther)

    def _expected(self, stamp_ns: int) -> tuple[np.ndarray, np.ndarray]:
        """Return offset and covariance at a stamp: what was known fades."""
        usual_22 = self._settings.std_m**2 * np.eye(2)
        if self.offset is None or stamp_ns < self.offset.stamp_ns:
            self._last_2 = None
            return np.zeros(2), usual_22
        keeps = math.exp(-(stamp_ns - self.offset.stamp_ns) / _NS / self._settings.time_s)
        return keeps * self.offset.off_2, keeps**2 * self.offset.spread_22 + (1.0 - keeps**2) * usual_22

    def _farther(self, drives: Drives, place: Place, latent_D: np.ndarray) -> tuple[np.ndarray, float, float] | None:
        """Return a direction [2], how much farther in it a view was than a place [m], and the variance of that.

        None: the way does not go on on both sides, or looks the same there.
        """
        reach_s = self._settings.reach_m / max(drives.speed(place), 1e-3)
        behind, ahead = drives.before(place, reach_s), drives.after(place, reach_s, self._settings.way_m)
        if ahead is None:
            return None
        here_D, behind_D, ahead_D = (drives.latent(each) for each in (place, behind, ahead))
        if here_D is None or behind_D is None or ahead_D is None or here_D.shape != latent_D.shape:
            return None
        way_2 = drives.pose(ahead)[:2] - drives.pose(behind)[:2]
        length_m = float(np.hypot(*way_2))
        if length_m < self._settings.reach_m:
            return None
        change_D, missed_D = (ahead_D - behind_D) / length_m, latent_D - here_D
        steep = float(change_D @ change_D)
        if steep <= 0.0:
            return None
        farther_m = float(missed_D @ change_D) / steep
        rest_D = missed_D - farther_m * change_D
        return way_2 / length_m, farther_m, float(rest_D @ rest_D) / max(len(rest_D) - 1, 1) / steep

    def _told(self, offset: Offset, way_2: np.ndarray, farther_m: float, variance: float) -> Offset:
        """Return an offset after the robot was seen farther along a direction than its pose had said."""
        settings, spread_22 = self._settings, offset.spread_22
        variance += settings.look_std_m**2
        known = float(way_2 @ spread_22 @ way_2)
        if farther_m**2 > _GATE * (known + variance):
            return offset
        gain_2 = spread_22 @ way_2 / (known + settings.likeness * variance)
        off_2 = offset.off_2 - gain_2 * farther_m
        off_2 = off_2 * min(1.0, settings.most_m / max(float(np.hypot(*off_2)), 1e-9))
        spread_22 = spread_22 - np.outer(gain_2, way_2 @ spread_22)
        return replace(offset, off_2=off_2, spread_22=0.5 * (spread_22 + spread_22.T))


@dataclass(frozen=True)
class Before:
    """A place on a remembered way that a robot was at.

    Attributes:
        begun_ns: When what it was asked for then began [ns].
        name: Session and stamp [ns] of the place.
    """

    begun_ns: int
    name: tuple[int, int]


class Known:
    """What outlives a policy that is made anew, written by its thread and read by others.

    Attributes:
        offset: By how much poses are off.
        before: Where on a remembered way it was; None: nowhere yet.
        touched: Where on its way it was held.
        stalled: Whether it is held, for what it was asked for last: which way it tries.
    """

    def __init__(self) -> None:
        self.stalled = Stalled()

    offset: Offset | None = None
    touched = Touched()
    before: Before | None = None

    @property
    def text(self) -> str:
        """The offset in words."""
        offset = self.offset
        if offset is None:
            return "not known"
        x, y = offset.off_2
        return f"{x:.3f}, {y:.3f} m (+- {math.sqrt(float(np.trace(offset.spread_22)) / 2.0):.3f})"
