"""Leaving a recorded way, and coming back to it.

Shape suffixes: T = frames, B = drives, S = steps, K = steps of a path, A = action size, 2 = (x, y) [m],
3 = (x, y, yaw), 4 = (x, y, z, yaw).
"""

from __future__ import annotations

import numpy as np

from wm_core.se2 import wrap_angle
from wm_policy.heads.trajectory import STEP_S, STEPS

_KNOT_S, _BACK_S, _ALONG_S, _TURN_M = 0.75, 2.0, 1.5, 0.5
_NS = 1_000_000_000


class DrivenWay:
    """The way of a recorded drive, and how to come back to it.

    Args:
        stamp_T: Stamps [ns].
        pose_T4: Poses; NaN where not known.
    """

    def __init__(self, stamp_T: np.ndarray, pose_T4: np.ndarray) -> None:
        known_T = np.isfinite(pose_T4).all(axis=1)
        self._time_T, self._pose_T3 = stamp_T[known_T] / _NS, pose_T4[known_T][:, [0, 1, 3]]

    def __len__(self) -> int:
        return len(self._time_T)

    def back(self, stamp_ns: int, pose_3: np.ndarray, velocity_2: np.ndarray) -> np.ndarray:
        """Return where to be every 0.1 s to come back to the way within 2 s, [K, 2] in the map; NaN after its end.

        It begins at the place with the velocity that the robot has there, and ends in the way's own: what is added to
        the way is a cubic in time.

        Args:
            stamp_ns: When the recorded robot was near [ns].
            pose_3: Where the robot is.
            velocity_2: How it moves there [m/s].
        """
        time_s = self._nearest(stamp_ns / _NS, pose_3)
        after_K = STEP_S * np.arange(1, STEPS + 1)
        way_K2, here_2 = self._at(time_s + after_K), self._at(np.array([time_s]))[0]
        before_2, later_2 = self._at(np.clip(time_s + np.array([-0.2, 0.2]), self._time_T[0], self._time_T[-1]))
        off_2, off_velocity_2 = pose_3[:2] - here_2, velocity_2 - (later_2 - before_2) / 0.4
        share_K1 = np.minimum(after_K / _BACK_S, 1.0)[:, None]
        left_K1 = 1.0 - share_K1
        return np.asarray(way_K2 + left_K1**2 * ((1.0 + 2.0 * share_K1) * off_2 + share_K1 * _BACK_S * off_velocity_2))

    def _nearest(self, time_s: float, pose_3: np.ndarray) -> float:
        """Return when the recorded robot was nearest, within 1.5 s of a time; a radian counts as half a metre."""
        first, end = np.searchsorted(self._time_T, [time_s - _ALONG_S, time_s + _ALONG_S])
        first = int(np.clip(first, 0, len(self) - 1))
        near_X3 = self._pose_T3[first : max(int(end), first + 1)] - pose_3
        far_X = np.hypot(near_X3[:, 0], near_X3[:, 1]) + _TURN_M * np.abs(wrap_angle(near_X3[:, 2]))
        return float(self._time_T[first + int(far_X.argmin())])

    def _at(self, time_X: np.ndarray) -> np.ndarray:
        """Return where the recorded robot was at some times, [X, 2]; NaN where nothing within 0.5 s tells."""
        after_X = np.clip(np.searchsorted(self._time_T, time_X), 1, len(self) - 1)
        start_X, end_X = self._time_T[after_X - 1], self._time_T[after_X]
        share_X1 = ((time_X - start_X) / (end_X - start_X))[:, None]
        place_X2 = self._pose_T3[after_X - 1, :2] * (1.0 - share_X1) + self._pose_T3[after_X, :2] * share_X1
        known_X = (time_X <= self._time_T[-1]) & (end_X - start_X <= 0.5)
        return np.where(known_X[:, None], place_X2, np.nan)


def disturbed(
    action_SA: np.ndarray, std_A: np.ndarray, count: int, step_s: float, rng: np.random.Generator
) -> np.ndarray:
    """Return actions with something added that changes slowly, other for each of ``count`` drives, [B, S, A].

    Args:
        action_SA: As recorded.
        std_A: Standard deviation of what is added; drawn every 0.75 s, linear between, 0 at first.
        count: B.
        step_s: Time of a step [s].
        rng: Draws it.
    """
    steps, size = action_SA.shape
    time_S, knots = np.arange(steps) * step_s, int(np.ceil(steps * step_s / _KNOT_S)) + 1
    drawn_BKA = rng.normal(size=(count, knots, size)) * std_A
    drawn_BKA[:, 0] = 0.0
    place_S = time_S / _KNOT_S
    before_S = np.minimum(place_S.astype(int), knots - 2)
    share_S1 = (place_S - before_S)[:, None]
    added_BSA = drawn_BKA[:, before_S] * (1.0 - share_S1) + drawn_BKA[:, before_S + 1] * share_S1
    return np.asarray(action_SA + added_BSA)
