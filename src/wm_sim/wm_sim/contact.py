"""How far the robot's side is from what it must not touch.

Shape suffixes: S = wall segments, N = bodies, 2 = x, y in metres.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wm_sim.building import Building

ROBOT_RADIUS_M = 0.2


class Surroundings:
    """Walls and bodies around a disc of ``ROBOT_RADIUS_M``.

    Args:
        building: The floor plan.
        radius_N: Radius of every body [m].
        position_N2: Returns where the bodies are now, shape [N, 2].
    """

    def __init__(self, building: Building, radius_N: np.ndarray, position_N2: Callable[[], np.ndarray]) -> None:
        self._start_S2 = building.wall_start_S2
        self._along_S2 = building.wall_end_S2 - building.wall_start_S2
        self._square_S = (self._along_S2**2).sum(1)
        self._radius_N, self._position_N2 = radius_N, position_N2

    def clearance_m(self, x: float, y: float) -> float:
        """Return the distance [m] of a disc at x, y [m] from the next wall or body, negative where it overlaps."""
        place_2 = np.array((x, y))
        offset_S2 = place_2 - self._start_S2
        share_S = np.clip((offset_S2 * self._along_S2).sum(1) / self._square_S, 0.0, 1.0)
        nearest_m = float(np.hypot(*(offset_S2 - share_S[:, None] * self._along_S2).T).min())
        if len(self._radius_N):
            bodies_N = np.hypot(*(self._position_N2() - place_2).T) - self._radius_N
            nearest_m = min(nearest_m, float(bodies_N.min()))
        return nearest_m - ROBOT_RADIUS_M
