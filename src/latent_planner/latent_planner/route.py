"""The shortest way over what the robot has driven: A* over the memories' own graph, in metres.

Two memories are joined where one followed the other in a run, and where they lie so near one another that known ground
joins them. Memories that all but coincide count as one place.

Shape suffixes: N = memories, P = places, G = goals, E = pairs of places, R = points of a way, 2 = x, y [m].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import pairwise

import numpy as np
from scipy.spatial import cKDTree

from latent_planner.ground_settings import GroundSettings

# Memories nearer than this are one place.
_SAME_M = 0.15
# Beyond known ground a way is drawn with a point each so far.
_POINT_M = 0.25


@dataclass(frozen=True)
class Way:
    """A way to a goal.

    Attributes:
        point_R2: From where the robot is, through the remembered places, to the goal.
        length_m: Its length [m].
        unknown_m: How much of it leads over ground never driven [m].
        goal: Which of the goals it leads to.
    """

    point_R2: np.ndarray
    length_m: float
    unknown_m: float
    goal: int


class RouteGraph:
    """Remembered places and which of them are joined.

    Args:
        pose_N3: Memories in the order in which they were made.
        session_N: Which run each belongs to; none are joined across runs as successions.
        settings: As for the ground.
    """

    def __init__(self, pose_N3: np.ndarray, session_N: np.ndarray, settings: GroundSettings) -> None:
        self._settings = settings
        cell_N2 = np.floor(pose_N3[:, :2] / _SAME_M).astype(np.int64)
        _, first_P, place_N = np.unique(cell_N2, axis=0, return_index=True, return_inverse=True)
        self._place_P2 = pose_N3[first_P, :2]
        self._tree = cKDTree(self._place_P2)
        self._joined = self._join(pose_N3, session_N, place_N.reshape(-1))

    def way(self, from_2: np.ndarray, goal_G2: np.ndarray, *, may_leave: bool = False) -> Way | None:
        """Return the cheapest way from a place to one of some goals; None: there is none.

        Args:
            from_2: Where the robot is; no further than ``gap_m`` from a remembered place.
            goal_G2: The goals; so far, too.
            may_leave: Both may lie anywhere, at ``unknown_cost`` for each metre beyond that.
        """
        settings = self._settings
        beyond = settings.unknown_cost if may_leave else math.inf

        def priced(far_m: np.ndarray, free_m: float) -> np.ndarray:
            return np.where(far_m <= free_m, far_m, beyond * np.maximum(far_m, 1e-9))

        goal_tree = cKDTree(goal_G2)
        ahead_m_P, goal_P = goal_tree.query(self._place_P2)
        direct_m, goal = goal_tree.query(from_2)
        first_P = priced(np.hypot(*(self._place_P2 - from_2).T), settings.gap_m)
        direct = float(priced(direct_m, 2.0 * settings.half_width_m))
        places = self._search(first_P, priced(ahead_m_P, settings.gap_m), ahead_m_P, direct)
        if places is None:
            return None
        reached = int(goal_P[places[-1]]) if places else int(goal)
        point_R2 = np.concatenate([from_2[None], self._place_P2[places].reshape(-1, 2), goal_G2[reached][None]])
        step_m = np.hypot(*np.diff(point_R2, axis=0).T)
        free_m = settings.gap_m if places else 2.0 * settings.half_width_m
        ends_m = [float(step_m[0]), float(step_m[-1])] if places else [float(step_m[0])]
        unknown_m = sum(far_m for far_m in ends_m if far_m > free_m)
        return Way(point_R2, float(step_m.sum()), unknown_m, reached)

    def _search(
        self, first_P: np.ndarray, last_P: np.ndarray, ahead_m_P: np.ndarray, direct: float
    ) -> list[int] | None:
        """Return the places of the cheapest way; none where the direct one is, None where there is no way at all.

        Args:
            first_P: Cost from the start to each place.
            last_P: Cost from each place to a goal.
            ahead_m_P: Straight distance from each place to the nearest goal.
            direct: Cost without any place.

        Source: A* (Hart, Nilsson and Raphael 1968); the straight distance left is never more than the cost left.
        """
        best, best_at = direct, -1
        before: dict[int, int] = {}
        open_ = [
            (float(first_P[at] + ahead_m_P[at]), float(first_P[at]), at, -1)
            for at in np.flatnonzero(np.isfinite(first_P)).tolist()
        ]
        heapify(open_)
        while open_:
            bound, cost, at, came_from = heappop(open_)
            if bound >= best:
                break
            if at in before:
                continue
            before[at] = came_from
            if cost + last_P[at] < best:
                best, best_at = cost + float(last_P[at]), at
            for other, far_m in self._joined[at].items():
                if other not in before:
                    heappush(open_, (cost + far_m + float(ahead_m_P[other]), cost + far_m, other, at))
        if math.isinf(best):
            return None
        places = []
        while best_at >= 0:
            places.append(best_at)
            best_at = before[best_at]
        return places[::-1]

    def _join(self, pose_N3: np.ndarray, session_N: np.ndarray, place_N: np.ndarray) -> list[dict[int, float]]:
        """Return for each place those joined to it and how far they are [m]."""
        settings = self._settings
        step_m = np.hypot(*np.diff(pose_N3[:, :2], axis=0).T)
        driven = (step_m <= settings.gap_m) & (session_N[1:] == session_N[:-1]) & (place_N[1:] != place_N[:-1])
        driven_E2 = np.stack([place_N[:-1][driven], place_N[1:][driven]], axis=1)
        beside_E2 = self._tree.query_pairs(2.0 * settings.half_width_m, output_type="ndarray")
        edge_E2 = np.unique(np.sort(np.concatenate([driven_E2, beside_E2]), axis=1), axis=0)
        far_m_E = np.hypot(*(self._place_P2[edge_E2[:, 0]] - self._place_P2[edge_E2[:, 1]]).T)
        joined: list[dict[int, float]] = [{} for _ in self._place_P2]
        for (one, other), far_m in zip(edge_E2.tolist(), far_m_E.tolist()):
            joined[one][other] = joined[other][one] = far_m
        return joined


def densified(point_R2: np.ndarray) -> np.ndarray:
    """Return a way with a point at least each ``_POINT_M`` of it, [.., 2]."""
    parts = [point_R2[:1]]
    for one_2, other_2 in pairwise(point_R2):
        count = max(math.ceil(math.dist(one_2, other_2) / _POINT_M), 1)
        share = np.arange(1, count + 1)[:, None] / count
        parts.append(one_2 + share * (other_2 - one_2))
    return np.concatenate(parts)
