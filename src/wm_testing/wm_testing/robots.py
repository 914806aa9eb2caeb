"""Robots that obey late, slowly and in their own units, driven at random: what motion models are tested with.

Shape suffixes: T = frames, A = action size, 3 = (forward [m/s], left [m/s], turn [rad/s]).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Command = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Drive:
    """What a robot was told and where it was: stamps [T] ns, (x, y, z, yaw) [T, 4], actions [T, A]."""

    stamp_T: np.ndarray
    pose_T4: np.ndarray
    action_TA: np.ndarray


def unicycle(forward_gain: float = 1.0, turn_gain: float = 1.0, offset: tuple[float, float] = (0.0, 0.0)) -> Command:
    """Return how (speed, yaw rate), each in its own unit and with its own zero, command a twist."""

    def command(action_A: np.ndarray) -> np.ndarray:
        return np.array([forward_gain * (action_A[0] - offset[0]), 0.0, turn_gain * (action_A[1] - offset[1])])

    return command


def ackermann(curvature: float) -> Command:
    """Return how (speed, steering) command a twist: the yaw rate is speed times steering times ``curvature``."""
    return lambda action_A: np.array([action_A[0], 0.0, curvature * action_A[0] * action_A[1]])


def wheels(track_m: float) -> Command:
    """Return how (left, right) wheel speeds command a twist."""
    return lambda action_A: np.array([action_A.mean(), 0.0, (action_A[1] - action_A[0]) / track_m])


def drive(
    command: Command,
    action_dim: int,
    *,
    seed: int,
    delay_s: float = 0.1,
    lag_s: float = 0.1,
    seconds: float = 60.0,
    step_s: float = 0.05,
    noise_m: float = 0.0,
    noise_rad: float = 0.0,
    spread: float = 0.5,
    mean: float = 0.5,
) -> Drive:
    """Return a drive under random actions that last for about a second each, simulated in steps of 5 ms."""
    rng, count, fine = np.random.default_rng(seed), round(seconds / step_s), 10
    kept = math.exp(-step_s / 0.7)
    action_TA = np.zeros((count, action_dim))
    wander_A = np.zeros(action_dim)
    for row in range(count):
        wander_A = kept * wander_A + math.sqrt(1.0 - kept * kept) * rng.normal(size=action_dim)
        action_TA[row] = np.where(np.arange(action_dim) == 0, mean, 0.0) + spread * wander_A
    delay, share = round(delay_s / step_s * fine), 1.0 if lag_s <= 0 else 1.0 - math.exp(-step_s / fine / lag_s)
    told_N3 = np.repeat(np.stack([command(action_A) for action_A in action_TA]), fine, axis=0)
    pose_T4, twist_3, x, y, yaw = np.zeros((count, 4)), np.zeros(3), 0.0, 0.0, 0.3
    for index in range(count * fine):
        if index % fine == 0:
            pose_T4[index // fine] = x, y, 0.0, yaw
        twist_3 = twist_3 + share * (told_N3[max(index - delay, 0)] - twist_3)
        middle = yaw + 0.5 * twist_3[2] * step_s / fine
        x += (twist_3[0] * math.cos(middle) - twist_3[1] * math.sin(middle)) * step_s / fine
        y += (twist_3[0] * math.sin(middle) + twist_3[1] * math.cos(middle)) * step_s / fine
        yaw += twist_3[2] * step_s / fine
    pose_T4[:, :2] += noise_m * rng.normal(size=(count, 2))
    pose_T4[:, 3] = np.remainder(pose_T4[:, 3] + noise_rad * rng.normal(size=count) + math.pi, math.tau) - math.pi
    return Drive((np.arange(count) * step_s * 1e9).astype(np.int64), pose_T4, action_TA)
