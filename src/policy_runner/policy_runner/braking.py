"""Braking along the path of a chunk: who stops before a bend or in it stays on its way.

Shape suffixes: H = actions of a chunk, 3 = x, y [m], yaw [rad].
"""

from __future__ import annotations

import numpy as np

from policy_runner.chunks import Chunk

_NS = 1_000_000_000
# A path is bent as it is over this much of it on both sides.
_REACH_M = 0.1


class Braking:
    """Where on the path of a chunk the commands of a stop act; they are forward speed [m/s] and yaw rate [rad/s].

    Args:
        chunk: Has a path.
        time_ns: The time of the place on it that the robot is at [ns].
        response_s: Time from a command to when the robot does it: what was given before is still to be done [s].
        period_s: Between commands [s].
    """

    def __init__(self, chunk: Chunk, time_ns: int, response_s: float, period_s: float) -> None:
        path_H3 = chunk.path_H3
        assert path_H3 is not None
        self._period_s = period_s
        self._along_H = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path_H3[:, :2], axis=0).T))])
        self._yaw_H = np.unwrap(path_H3[:, 2])
        step = ((time_ns - chunk.stamp_ns) / _NS + response_s) / chunk.step_s
        self._at_m = float(np.interp(step, np.arange(len(path_H3)), self._along_H))

    def yaw_rate(self, speed: float) -> float | None:
        """Return the yaw rate of the next command, by its speed; None: the path is over."""
        ends_m = np.clip([self._at_m - _REACH_M, self._at_m + _REACH_M], 0.0, self._along_H[-1])
        self._at_m += abs(speed) * self._period_s
        length_m = float(ends_m[1] - ends_m[0])
        if length_m < _REACH_M:
            return None
        yaw_2 = np.interp(ends_m, self._along_H, self._yaw_H)
        return abs(speed) * float(yaw_2[1] - yaw_2[0]) / length_m
