"""Where a robot was and what it was told, step by step: what its motion is learned from.

Shape suffixes: N = rows (one a step), A = action size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wm_core.se2 import Pose2, wrap_angle
from world_model.runtime.stepping import StepCounter

# Frames further apart than this many steps do not belong together.
_GAP_STEPS = 10


@dataclass(frozen=True)
class MotionRows:
    """A stretch of the log, oldest first.

    Attributes:
        pose_N3: x [m], y [m], yaw [rad] that does not jump at half a turn; NaN where not known.
        action_NA: The action taken at each row; NaN where not known.
        fresh_N: Rows since the stretch began that each belongs to: after a gap what came before says nothing.
    """

    pose_N3: np.ndarray
    action_NA: np.ndarray
    fresh_N: np.ndarray

    def __len__(self) -> int:
        return len(self.fresh_N)


class MotionLog:
    """The last rows, on the steps of a model: of a slower camera the poses between are interpolated.

    Args:
        step_s: Step [s].
        action_dim: A.
        capacity: Rows that are kept at least.
    """

    def __init__(self, step_s: float, action_dim: int, capacity: int) -> None:
        self._capacity = capacity
        self._counter = StepCounter(step_s)
        self._pose = np.full((2 * capacity, 3), np.nan)
        self._action = np.full((2 * capacity, action_dim), np.nan)
        self._fresh = np.zeros(2 * capacity, np.int64)
        self._count = self.total = 0
        self._new = True

    def restart(self) -> None:
        """Let the next row not follow from the last one."""
        self._counter.reset()
        self._new = True

    def append(self, stamp_ns: int, pose: Pose2 | None, action_A: np.ndarray | None) -> None:
        """Take one observation; a second one within a step takes the place of the first."""
        steps = self._counter.advance(stamp_ns)
        if self._new or steps > _GAP_STEPS:
            steps, fresh = 1, 0
        else:
            fresh = int(self._fresh[self._count - 1])
        self._new = False
        self._make_room(steps)
        first, last = self._count, max(self._count + steps - 1, 0)
        self._put_pose(first, last, pose, fresh > 0 or steps == 0)
        # Between two frames the action of the first is in force.
        if first < last:
            self._action[first:last] = self._action[first - 1]
            self._fresh[first:last] = np.arange(fresh + 1, fresh + steps)
        self._action[last] = np.nan if action_A is None else action_A
        self._fresh[last] = fresh + steps
        self._count += steps
        self.total += steps

    def rows(self, begin: int, end: int) -> MotionRows:
        """Return a copy of the rows from ``begin`` to before ``end``, counted from the first ever, as far as kept."""
        offset = self.total - self._count
        part = slice(max(begin - offset, 0), max(end - offset, 0))
        return MotionRows(self._pose[part].copy(), self._action[part].copy(), self._fresh[part].copy())

    def _make_room(self, steps: int) -> None:
        if self._count + steps <= len(self._fresh):
            return
        kept = slice(self._count - self._capacity, self._count)
        for table in (self._pose, self._action, self._fresh):
            table[: self._capacity] = table[kept].copy()
        self._count = self._capacity

    def _put_pose(self, first: int, last: int, pose: Pose2 | None, follows: bool) -> None:
        if pose is None:
            self._pose[min(first, last) : last + 1] = np.nan
            return
        before_3 = self._pose[first - 1] if first and follows else None
        if before_3 is None or math.isnan(before_3[2]):
            self._pose[first:last] = np.nan
            self._pose[last] = pose.x, pose.y, pose.yaw
            return
        yaw = float(before_3[2])
        now_3 = np.array([pose.x, pose.y, yaw + wrap_angle(pose.yaw - yaw)])
        if first < last:
            part_S1 = np.arange(1, last - first + 1)[:, None] / (last - first + 1)
            self._pose[first:last] = before_3 + part_S1 * (now_3 - before_3)
        self._pose[last] = now_3
