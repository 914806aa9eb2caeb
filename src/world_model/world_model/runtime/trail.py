"""The path that a robot drove before, where it drives again: it tells how the path goes on.

A held action leads straight on where the robot always turned. What was driven here before knows better, in any robot's
own poses, whatever moved it. The pace is the present one: only the shape of the path is remembered.

Shape suffixes: N = points of the trail, P = former passes, H = horizons, 3 = (forward [m], left [m], turn [rad]).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wm_core.se2 import Pose2
from world_model.runtime.foresight import Awaited, kept, missed, overlaps
from world_model.runtime.motion_paths import relative

POINTS = 20_000
# Points lie apart by this share of the way of one second, or by this turn [rad].
_SPACING, _TURNED_RAD = 0.04, 0.1
# A former pass counts up to this share of the way ahead beside the robot (a radian as far as the way ahead is long),
# and weighs less with this share, against other passes and against the motion.
_REACH, _NEAR = 0.6, 0.3
# So many passes are heard, each by its nearest point; two points of one pass lie less than this many ways ahead apart.
_PASSES, _APART = 4, 2.0
# Of a trail that is full the oldest part is forgotten.
_FORGOTTEN = 0.25
# Less is no way ahead [m].
_LEAST_M = 0.02
# A step so many times as long as the one before is none of the robot's: its localisation jumped, or poses were lost.
_JUMP = 10.0
# Which part of what a trail adds is followed before anything came true.
_FIRST_SHARE = 0.5
# An error counts at most so many times the usual one: a localisation that jumped is no motion.
_LARGEST = 5.0


class Trail:
    """Where a robot drove, and where it went from there.

    Args:
        horizon_s: Furthest time ahead that is asked for [s].
        recent_s: Of what is not this old it is no use to be told [s].
        points: How many are kept.
    """

    def __init__(self, horizon_s: float, recent_s: float, points: int = POINTS) -> None:
        self._horizon_s, self._recent_ns = horizon_s, round(recent_s * 1e9)
        # x, y, yaw (without jumps), metres driven so far, which never become less.
        self._point_N4 = np.empty((points, 4), order="F")  # columns are looked through
        self._stamp_N = np.empty(points, np.int64)
        self._path_N = np.empty(points, np.int64)
        self._count = self._path = 0
        self._last_ns: int | None = None
        self._step_m = 0.0

    def __len__(self) -> int:
        return self._count

    def restart(self) -> None:
        """Let what comes next not follow from what came before; the trail stays."""
        self._path += 1
        self._last_ns = None

    def add(self, stamp_ns: int, pose: Pose2) -> None:
        """Take a pose, where it lies so far from the last that it says something new."""
        last_ns, count = self._last_ns, self._count
        metres, yaw = float(self._point_N4[count - 1, 3]) if count else 0.0, pose.yaw
        if last_ns is not None:
            elapsed_s = (stamp_ns - last_ns) * 1e-9
            former_4 = self._point_N4[count - 1]
            moved_m = math.hypot(pose.x - former_4[0], pose.y - former_4[1])
            turn = math.remainder(pose.yaw - former_4[2], math.tau)
            if elapsed_s <= 0.0:
                return
            spacing_m = _SPACING * self._horizon_s * moved_m / elapsed_s
            if abs(turn) < _TURNED_RAD and moved_m < max(spacing_m, _LEAST_M):
                return
            usual_m, self._step_m = max(self._step_m, _LEAST_M), moved_m
            if moved_m > _JUMP * usual_m:
                self.restart()
            else:
                metres, yaw = former_4[3] + moved_m, former_4[2] + turn
        if count == len(self._stamp_N):
            count = self._forget()
        self._point_N4[count] = pose.x, pose.y, yaw, metres
        self._stamp_N[count], self._path_N[count] = stamp_ns, self._path
        self._count, self._last_ns = count + 1, stamp_ns

    def _forget(self) -> int:
        """Forget the oldest part; return how many points are left."""
        first = math.ceil(_FORGOTTEN * self._count)
        left = self._count - first
        for rows in (self._point_N4, self._stamp_N, self._path_N):
            rows[:left] = rows[first : self._count]
        return left

    def ahead(self, stamp_ns: int, pose: Pose2, moved_H3: np.ndarray) -> np.ndarray | None:
        """Return the displacement at each horizon along what was driven here before, [H, 3].

        A robot that leaves its old path is not expected back on it: beside the path that counts less than what the
        motion expects.

        Args:
            stamp_ns: Now.
            pose: Present pose.
            moved_H3: Displacements that the motion expects, which tell how far: the way along the trail is as long.

        Returns:
            ``None`` where the robot stands, or did not come this way before.
        """
        way_H = np.hypot(moved_H3[:, 0], moved_H3[:, 1])
        way_m = float(way_H.max())
        if way_m < _LEAST_M or not self._count:
            return None
        chosen_P, score_P = self._passes(stamp_ns, pose, moved_H3[int(way_H.argmax())], way_m)
        if not len(chosen_P):
            return None
        weight_P = np.exp(-np.square(score_P / (_NEAR * way_m)))
        weight_P /= weight_P.sum()
        begin_P4 = self._point_N4[chosen_P]
        end_HP3 = self._at(chosen_P, begin_P4[:, 3] + way_H[:, None])
        said_HP3 = relative(end_HP3, begin_P4[:, :3])
        said_H3: np.ndarray = np.einsum("p,hpk->hk", weight_P, said_HP3)
        # The further off the nearest pass is, the less the robot follows it.
        sure = math.exp(-((score_P[0] / (_NEAR * way_m)) ** 2))
        ahead_H3: np.ndarray = moved_H3 + sure * (said_H3 - moved_H3)
        return ahead_H3

    def _passes(self, stamp_ns: int, pose: Pose2, moved_3: np.ndarray, way_m: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest point of each former pass in this direction and how far it is off [m], best first."""
        point_N4, reach_m = self._point_N4[: self._count], _REACH * way_m
        near_N = np.abs(point_N4[:, 0] - pose.x) < reach_m
        near_N &= np.abs(point_N4[:, 1] - pose.y) < reach_m
        row_P = np.flatnonzero(near_N & (self._stamp_N[: self._count] < stamp_ns - self._recent_ns))
        apart_P = np.hypot(point_N4[row_P, 0] - pose.x, point_N4[row_P, 1] - pose.y)
        turned_P = point_N4[row_P, 2] - pose.yaw
        turned_P -= math.tau * np.rint(turned_P / math.tau)
        score_P = np.hypot(apart_P, way_m * turned_P)
        good_P = score_P < reach_m
        row_P, score_P = row_P[good_P], score_P[good_P]
        chosen_P = self._apart(row_P, score_P, way_m)
        row_P, score_P = row_P[chosen_P], score_P[chosen_P]
        good_P = self._goes_on(row_P, moved_3, way_m)
        return row_P[good_P], score_P[good_P]

    def _goes_on(self, row_P: np.ndarray, moved_3: np.ndarray, way_m: float) -> np.ndarray:
        """Return which points have a whole way ahead behind them that leads where the robot is moving, bool [P]."""
        end_P = np.minimum(row_P + 1, self._count - 1)
        step_P3 = relative(self._point_N4[end_P, :3], self._point_N4[row_P, :3])
        leads_P = step_P3[:, 0] * moved_3[0] + step_P3[:, 1] * moved_3[1] > 0.0
        return np.asarray(leads_P & (self._end_m(row_P) >= self._point_N4[row_P, 3] + way_m))

    def _end_m(self, row_P: np.ndarray) -> np.ndarray:
        """Return how many metres had been driven at the end of the path that each point is of, [P]."""
        last_P = np.searchsorted(self._path_N[: self._count], self._path_N[row_P], side="right") - 1
        return np.asarray(self._point_N4[last_P, 3])

    def _apart(self, row_P: np.ndarray, score_P: np.ndarray, way_m: float) -> list[int]:
        """Return which points are the best of their passes, the best of all first."""
        metres_P, path_P = self._point_N4[row_P, 3], self._path_N[row_P]
        chosen: list[int] = []
        left_P = score_P.copy()
        while len(left_P) and len(chosen) < _PASSES and math.isfinite(left_P[best := int(left_P.argmin())]):
            chosen.append(best)
            left_P[(path_P == path_P[best]) & (np.abs(metres_P - metres_P[best]) <= _APART * way_m)] = np.inf
        return chosen

    def _at(self, row_P: np.ndarray, metres_HP: np.ndarray) -> np.ndarray:
        """Return where paths were after so many metres, which they have before them, [H, P, 3]."""
        after_HP = np.searchsorted(self._point_N4[: self._count, 3], metres_HP.reshape(-1)).reshape(metres_HP.shape)
        before_HP4 = self._point_N4[np.maximum(after_HP - 1, row_P)]
        step_HP4 = self._point_N4[after_HP] - before_HP4
        span_HP = step_HP4[..., 3]
        part_HP = (metres_HP - before_HP4[..., 3]) / np.where(span_HP > 0.0, span_HP, 1.0)
        result_HP3: np.ndarray = before_HP4[..., :3] + part_HP[..., None] * step_HP4[..., :3]
        return result_HP3


@dataclass(frozen=True)
class _Waiting:
    present: Pose2
    moved_3: np.ndarray
    said_3: np.ndarray


class TrailTrust:
    """Learns which share of what a trail adds to the expected displacement is worth following, by horizon and axis.

    Least squares over what came true lately. It begins at a half, as if one expectation, as large as what the motion
    usually misses, had said so: where each round of a course is another, nothing is followed soon.

    Args:
        horizons_s: Times ahead [s].
        step_s: Time between observations [s].

    Attributes:
        share_H3: Those shares (0..1).
    """

    def __init__(self, horizons_s: Sequence[float], step_s: float) -> None:
        self._awaited = Awaited[_Waiting](horizons_s, step_s)
        self._keep, self._overlap_H1 = kept(step_s), overlaps(horizons_s, step_s)
        shape = (len(horizons_s), 3)
        self._seen_H1 = np.zeros((len(horizons_s), 1))
        self._square_H3, self._product_H3, self._missed_H3 = (np.zeros(shape) for _ in range(3))
        self.share_H3 = np.full(shape, _FIRST_SHARE)

    def restart(self) -> None:
        """Drop expectations whose time has not come; what was learned stays."""
        self._awaited.forget()

    def follow(self, stamp_ns: int, present: Pose2, moved_H3: np.ndarray, ahead_H3: np.ndarray) -> np.ndarray:
        """Return the displacement at each horizon, as far towards the trail's as that is worth it, [H, 3].

        Args:
            stamp_ns: Now.
            present: Present pose.
            moved_H3: What the motion expects.
            ahead_H3: Where the trail leads.
        """
        said_H3 = ahead_H3 - moved_H3
        self._awaited.add(stamp_ns, lambda: [_Waiting(present, *each) for each in zip(moved_H3, said_H3)])
        followed_H3: np.ndarray = moved_H3 + self.share_H3 * said_H3
        return followed_H3

    def observe(self, stamp_ns: int, pose: Pose2 | None) -> None:
        """Learn from the expectations for this time, up to half a step off."""
        due = self._awaited.due(stamp_ns)
        if pose is None or not due:
            return
        for row, expected in due:
            missed_3 = missed(pose, expected.present, expected.moved_3)
            if self._seen_H1[row]:
                most_3 = _LARGEST * np.sqrt(self._missed_H3[row] / self._seen_H1[row]) + 1e-6
                missed_3 = np.clip(missed_3, -most_3, most_3)
            self._seen_H1[row] = self._keep * self._seen_H1[row] + 1.0
            for table, value_3 in (
                (self._square_H3, expected.said_3 * expected.said_3),
                (self._product_H3, expected.said_3 * missed_3),
                (self._missed_H3, missed_3 * missed_3),
            ):
                table[row] = self._keep * table[row] + value_3
        prior_H3 = self._overlap_H1 * self._missed_H3 / np.maximum(self._seen_H1, 1.0) + 1e-12
        share_H3 = (self._product_H3 + _FIRST_SHARE * prior_H3) / (self._square_H3 + prior_H3)
        self.share_H3 = np.clip(share_H3, 0.0, 1.0)
