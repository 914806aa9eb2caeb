"""The vehicle: a unicycle that obeys late and with lag, and stops where it touches something.

Simulated in steps of ``STEP_S``, whatever the camera's rate.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from wm_sim.settings import Driving

STEP_S = 0.01
Clearance = Callable[[float, float], float]
# A contact is over once the vehicle has come this far away; closer, a touch that trembles would count as many.
_CONTACT_OVER_M = 0.02


class Vehicle:
    """A unicycle driven by speed and yaw rate.

    Args:
        pose: Where it starts: x, y [m], yaw [rad].
        driving: How late and slowly it obeys.
        clearance: Returns for a place x, y [m] how far the vehicle's side is from the next wall or body [m], negative
            where it overlaps; None drives through everything.
    """

    def __init__(self, pose: tuple[float, float, float], driving: Driving, clearance: Clearance | None = None) -> None:
        self.x, self.y, self.yaw = pose
        self.speed_m_s = self.yaw_rate_rad_s = 0.0
        self.contact_count = 0
        self.step_count = 0
        self._clearance = clearance
        self._touches = False
        self._acting = (0.0, 0.0)
        self._pending: deque[tuple[int, tuple[float, float]]] = deque()
        self._delay_steps = round(driving.delay_s / STEP_S)
        self._share = 1.0 - math.exp(-STEP_S / driving.lag_s) if driving.lag_s else 1.0

    def obey(self, action: tuple[float, float]) -> None:
        """Take a command given now: forward speed [m/s], yaw rate [rad/s]."""
        self._pending.append((self.step_count + self._delay_steps, action))

    def step(self) -> None:
        """Simulate ``STEP_S``."""
        while self._pending and self._pending[0][0] <= self.step_count:
            self._acting = self._pending.popleft()[1]
        self.speed_m_s += self._share * (self._acting[0] - self.speed_m_s)
        self.yaw_rate_rad_s += self._share * (self._acting[1] - self.yaw_rate_rad_s)
        x, y, self.yaw = moved(self.x, self.y, self.yaw, self.speed_m_s * STEP_S, self.yaw_rate_rad_s * STEP_S)
        if self._clearance is None or self._may_go(x, y, self._clearance):
            self.x, self.y = x, y
        self.step_count += 1

    def pose_after(self, rest_s: float) -> tuple[float, float, float]:
        """Return the pose less than a step after the last one simulated."""
        if abs(rest_s) < 1e-9:
            return self.x, self.y, self.yaw
        return moved(self.x, self.y, self.yaw, self.speed_m_s * rest_s, self.yaw_rate_rad_s * rest_s)

    def _may_go(self, x: float, y: float, clearance: Clearance) -> bool:
        """Count a contact that begins, and stop where the way leads deeper into what is touched."""
        left_m = clearance(x, y)
        if left_m >= 0.0:
            self._touches = self._touches and left_m < _CONTACT_OVER_M
            return True
        self.contact_count += not self._touches
        self._touches = True
        if left_m > clearance(self.x, self.y):
            return True
        self.speed_m_s = 0.0
        return False


def moved(x: float, y: float, yaw: float, way_m: float, turn_rad: float) -> tuple[float, float, float]:
    """Return the pose after a short arc (midpoint rule), yaw within -pi to pi."""
    middle = yaw + turn_rad / 2
    turned = math.remainder(yaw + turn_rad, 2 * math.pi)
    return x + way_m * math.cos(middle), y + way_m * math.sin(middle), turned
