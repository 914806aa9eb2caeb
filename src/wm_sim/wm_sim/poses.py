"""Measured poses: white noise, slow drift and latency on top of the true ones."""

from __future__ import annotations

import math

import numpy as np

from wm_sim.settings import PoseNoise


class PoseSensor:
    """A localisation that errs as ``PoseNoise`` says.

    Args:
        noise: Its errors.
        seed: Seed of this run's errors.
    """

    def __init__(self, noise: PoseNoise, seed: int) -> None:
        self._noise = noise
        self._rng = np.random.default_rng([seed, 31])
        self._drift_std_3 = np.array([noise.drift_std_m, noise.drift_std_m, noise.drift_std_rad])
        self._white_std_3 = np.array([noise.position_std_m, noise.position_std_m, noise.yaw_std_rad])
        self._drift_3 = self._drift_std_3 * self._rng.normal(size=3)
        self._time_s: float | None = None
        self._arrival_s = -math.inf

    def measure(self, time_s: float, pose: tuple[float, float, float]) -> tuple[tuple[float, float, float], float]:
        """Return the pose as measured at ``time_s`` and the time [s] at which it arrives, never before the last one."""
        elapsed_s = 0.0 if self._time_s is None else time_s - self._time_s
        self._time_s = time_s
        keep = math.exp(-elapsed_s / self._noise.drift_time_s)
        kick_3 = self._rng.normal(size=3)
        self._drift_3 = keep * self._drift_3 + math.sqrt(1.0 - keep**2) * self._drift_std_3 * kick_3
        error_3 = self._drift_3 + self._white_std_3 * self._rng.normal(size=3)
        late_s = self._noise.latency_s + self._noise.latency_jitter_s * float(self._rng.normal())
        self._arrival_s = max(time_s + max(late_s, 0.0), self._arrival_s)
        yaw = math.remainder(pose[2] + float(error_3[2]), 2 * math.pi)
        return (pose[0] + float(error_3[0]), pose[1] + float(error_3[1]), yaw), self._arrival_s
