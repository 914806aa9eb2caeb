"""What the robot saw, beside what had been foreseen for that moment: what a film strip is cut from. No ROS.

Shape suffixes: HWC = picture, uint8 RGB; D = latent size.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from wm_demo.measurements import Spot

_KEPT_FRAMES = 10
_MOST_MOMENTS = 240
_MOST_SCENES = 2000
_AT_ONCE_NS = 30_000_000
_TOO_LATE_NS = 300_000_000
_FIRST_PERIOD_NS = 500_000_000
_REMEMBERED_AFTER_S = 5.0
_WITHIN_M, _METRES_PER_RAD = 1.0, 0.5

PictureOf = Callable[[], np.ndarray]
"""Returns a frame's picture [H, W, 3], uint8 RGB, no larger than it is to be kept."""


@dataclass
class Moment:
    """A forecast and what came of it: what was seen when it was made and when its time had come.

    Attributes:
        stamp_ns: When the forecast was made.
        target_ns: When it was for.
        latent_D: What was foreseen.
        encoder_id: Of that latent.
        seen_HWC: What was seen when it was made.
        real_HWC: What was seen when its time had come; None: that has not come yet.
        remembered_HWC: What had been seen at the place where the robot was expected, long before; None: nothing.
    """

    stamp_ns: int
    target_ns: int
    latent_D: np.ndarray
    encoder_id: str
    seen_HWC: np.ndarray
    real_HWC: np.ndarray | None = None
    remembered_HWC: np.ndarray | None = None


@dataclass(frozen=True)
class _Scene:
    at: Spot
    image_HWC: np.ndarray


@dataclass
class Film:
    """Gathers moments, evenly over a run of any length, each once its time has come."""

    moments: list[Moment] = field(default_factory=list)
    _frames: OrderedDict[int, PictureOf] = field(default_factory=OrderedDict)
    _open: deque[Moment] = field(default_factory=deque)
    _scenes: list[_Scene] = field(default_factory=list)
    _period_ns: int = _FIRST_PERIOD_NS
    _scene_period_ns: int = _FIRST_PERIOD_NS
    _last_ns: int | None = None

    def frame(self, stamp_ns: int, picture: PictureOf) -> None:
        """Take a camera frame; its picture is only asked for where it is kept."""
        self._frames[stamp_ns] = picture
        while len(self._frames) > _KEPT_FRAMES:
            self._frames.popitem(last=False)
        while self._open and self._open[0].target_ns <= stamp_ns + _AT_ONCE_NS:
            moment = self._open.popleft()
            if abs(stamp_ns - moment.target_ns) <= _TOO_LATE_NS:
                moment.real_HWC = picture()
                self._keep(moment)

    def forecast(
        self, stamp_ns: int, target_ns: int, latent_D: np.ndarray, encoder_id: str, expected: Spot | None
    ) -> None:
        """Take a forecast that was made from the frame of a stamp; most are let go.

        Args:
            stamp_ns: The frame's.
            target_ns: When it is for.
            latent_D: What is foreseen.
            encoder_id: Of that latent.
            expected: Where the robot is expected then; None: not known.
        """
        last_ns = self._last_ns
        if stamp_ns not in self._frames or (last_ns is not None and 0 <= stamp_ns - last_ns < self._period_ns):
            return
        if last_ns is not None and stamp_ns < last_ns:
            self._open.clear()  # a recording that loops: what was foreseen for later does not come
        self._last_ns = stamp_ns
        moment = Moment(stamp_ns, target_ns, latent_D, encoder_id, self._frames[stamp_ns]())
        if expected is not None:
            moment.remembered_HWC = self._remembered(expected, stamp_ns)
        self._open.append(moment)

    def place(self, at: Spot) -> None:
        """Take where the robot was when a frame was taken."""
        last = self._scenes[-1].at.stamp_ns if self._scenes else None
        if at.stamp_ns in self._frames and (last is None or abs(at.stamp_ns - last) >= self._scene_period_ns):
            self._scenes.append(_Scene(at, self._frames[at.stamp_ns]()))
            if len(self._scenes) > _MOST_SCENES:
                self._scenes, self._scene_period_ns = self._scenes[::2], 2 * self._scene_period_ns

    def _remembered(self, expected: Spot, now_ns: int) -> np.ndarray | None:
        """Return what was seen nearest to a place, long enough ago to be a memory."""
        old = [scene for scene in self._scenes if abs(now_ns - scene.at.stamp_ns) > _REMEMBERED_AFTER_S * 1e9]
        nearest = min(old, key=lambda scene: apart_m(scene.at, expected), default=None)
        return nearest.image_HWC if nearest is not None and apart_m(nearest.at, expected) <= _WITHIN_M else None

    def _keep(self, moment: Moment) -> None:
        self.moments.append(moment)
        if len(self.moments) > _MOST_MOMENTS:
            self.moments, self._period_ns = self.moments[::2], 2 * self._period_ns

    def chosen(self, count: int) -> list[Moment]:
        """Return so many moments, evenly over the run; of those in which something was remembered, if they suffice."""
        told = [moment for moment in self.moments if moment.remembered_HWC is not None]
        moments = told if len(told) >= count else self.moments
        if len(moments) <= count:
            return list(moments)
        return [moments[round(at)] for at in np.linspace(0, len(moments) - 1, count)]


def apart_m(one: Spot, other: Spot) -> float:
    """Return how far apart two places are [m]; a turn counts as well."""
    turn = math.remainder(one.yaw - other.yaw, math.tau)
    return math.hypot(one.x - other.x, one.y - other.y) + _METRES_PER_RAD * abs(turn)
