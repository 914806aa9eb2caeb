"""The scale of a robot's world: how far apart what it saw lies, how fast it moves, and what follows from both.

"1 m" is the width of a corridor, in a kitchen it is everything, and at 10 m/s it is two frames. So the radius within
which a place is the same, the spacing of memories and the radius of a retrieval are a building's for a building's
robot, and follow the robot elsewhere.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from wm_core.memory.frames import Metric, Planar
from wm_core.memory.keyframes import REVISIT_RADIUS_M, SPACING_ANGLE_RAD, SPACING_DISTANCE_M, SPACING_TIME_S, Spacing
from wm_core.memory.query import Place

RETRIEVAL_RADIUS_M = 2.0
MOVING_S = 30.0
"""So long a robot has to have moved before its scale is known; until then it is a building's."""
_REVISIT_SHARE = 0.1  # of the extent
_SPACING_SHARE = 0.1  # of the revisit radius
_LEAST_REVISIT_M, _LEAST_SPACING_M = 0.02, 0.002
# A state is stored no more often than at every step of 0.05 s; a retrieval reaches half a second around.
_SPACING_S, _RETRIEVAL_S = 0.05, 0.5
_MOVES_MPS = 1e-3
_GAP_S = 1.0
_SPEEDS = 600


@dataclass(frozen=True)
class Scale:
    """The scale of a robot's world.

    Attributes:
        extent_m: The longest side of the box around what it saw [m]; 0: not known yet.
        speed_mps: How fast it usually moves, standing still aside [m/s]; 0: not known yet.
        tilts: Whether it ever had a rotation that is more than a yaw.
    """

    extent_m: float = 0.0
    speed_mps: float = 0.0
    tilts: bool = False

    @property
    def revisit_radius_m(self) -> float:
        """Within it a place is the same [m]: 1 m, less in a small world, more where memories stand wider."""
        return max(self._revisit_m, 2.0 * self.spacing_m)

    @property
    def _revisit_m(self) -> float:
        if not self.extent_m:
            return REVISIT_RADIUS_M
        return min(REVISIT_RADIUS_M, max(_LEAST_REVISIT_M, _REVISIT_SHARE * self.extent_m))

    @property
    def spacing_m(self) -> float:
        """A state is stored after moving this far [m]."""
        own_m = min(SPACING_DISTANCE_M, max(_LEAST_SPACING_M, _SPACING_SHARE * self._revisit_m))
        return max(own_m, _SPACING_S * self.speed_mps)

    @property
    def retrieval_radius_m(self) -> float:
        """What a query around a place should ask for [m]."""
        share = self._revisit_m / REVISIT_RADIUS_M
        return max(share * RETRIEVAL_RADIUS_M, _RETRIEVAL_S * self.speed_mps, 2.0 * self.spacing_m)

    def spacing(self, distance_m: float = -1.0, angle_rad: float = -1.0, time_s: float = -1.0) -> Spacing:
        """Return when a state is stored; what is not negative was set by the user and wins."""
        return Spacing(
            self.spacing_m if distance_m < 0 else distance_m,
            SPACING_ANGLE_RAD if angle_rad < 0 else angle_rad,
            SPACING_TIME_S if time_s < 0 else time_s,
        )


class ScaleMeter:
    """Measures the scale of a robot's world from its states, one at a time.

    Args:
        metric: What x and y mean.
        known: The scale from an earlier run, until this one has its own; None: a building's.
        spacing_of: When states are stored in a world of some scale; default: as that suggests.
    """

    def __init__(
        self,
        metric: Metric | None = None,
        known: Scale | None = None,
        spacing_of: Callable[[Scale], Spacing] = Scale.spacing,
    ) -> None:
        self._metric, self._spacing_of = metric or Planar(), spacing_of
        self._known = known or Scale()
        self._low_3, self._high_3 = np.full(3, np.inf), np.full(3, -np.inf)
        self._speeds: deque[float] = deque(maxlen=_SPEEDS)
        self._moving_s = 0.0
        self._last: tuple[int, Place] | None = None
        self._tilts = False

    def include(self, place_N3: np.ndarray) -> None:
        """Take places that were seen before: they widen the extent, which is known once the robot moved itself."""
        if len(place_N3):
            self._low_3 = np.minimum(self._low_3, place_N3.min(axis=0))
            self._high_3 = np.maximum(self._high_3, place_N3.max(axis=0))

    def observe(self, stamp_ns: int, place: Place, *, tilts: bool) -> None:
        """Take the next state of the stream."""
        self._tilts = self._tilts or tilts
        self.include(np.array([place[:3]]))
        last, self._last = self._last, (stamp_ns, place)
        if last is None or not 0 < stamp_ns - last[0] <= _GAP_S * 1e9:
            return
        span_s = (stamp_ns - last[0]) / 1e9
        speed_mps = math.hypot(self._distance_m(last[1], place), place.z - last[1].z) / span_s
        if speed_mps > _MOVES_MPS:
            self._moving_s += span_s
            self._speeds.append(speed_mps)

    def _distance_m(self, one: Place, other: Place) -> float:
        at = np.array([one.x]), np.array([one.y])
        return math.sqrt(float(self._metric.distance2(*at, other.x, other.y)[0]))

    @property
    def scale(self) -> Scale:
        """The scale, as far as it is known; an earlier one until the robot has moved for ``MOVING_S``."""
        if self._moving_s < MOVING_S:
            return replace(self._known, tilts=self._tilts or self._known.tilts)
        low, high = Place(*self._low_3.tolist()), Place(*self._high_3.tolist())
        sides = (
            self._distance_m(low, low._replace(x=high.x)),
            self._distance_m(low, low._replace(y=high.y)),
            high.z - low.z,
        )
        return Scale(max(sides), float(np.median(self._speeds)), self._tilts or self._known.tilts)

    @property
    def spacing(self) -> Spacing:
        """When a state is stored, as far as the scale is known."""
        return self._spacing_of(self.scale)
