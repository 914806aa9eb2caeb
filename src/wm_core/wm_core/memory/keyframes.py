"""Which states a memory keeps, and the plain exact memory that evaluation and training ask.

The ROS memory node applies the same spacing and the same ranking; a test in its package holds both together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wm_core.se2 import Pose2, wrap_angle

# Kept once, for the node's defaults, training and evaluation.
SPACING_DISTANCE_M = 0.1
SPACING_ANGLE_RAD = math.radians(10.0)
SPACING_TIME_S = 1.0
EXCLUDE_RECENT_S = 20.0
REVISIT_RADIUS_M = 1.0
REVISIT_YAW_RAD = math.radians(30.0)


@dataclass(frozen=True, kw_only=True)
class Spacing:
    """A state is kept when the robot moved or turned this far, or this much time passed, since the last kept one."""

    distance_m: float = SPACING_DISTANCE_M
    angle_rad: float = SPACING_ANGLE_RAD
    time_s: float = SPACING_TIME_S

    def is_due(self, last: tuple[int, Pose2] | None, stamp_ns: int, pose: Pose2) -> bool:
        """Return whether the state at ``stamp_ns`` is to be kept after the last kept (stamp, pose)."""
        if last is None:
            return True
        last_ns, last_pose = last
        elapsed_s = (stamp_ns - last_ns) * 1e-9
        moved_m = math.hypot(pose.x - last_pose.x, pose.y - last_pose.y)
        turned_rad = abs(wrap_angle(pose.yaw - last_pose.yaw))
        # The small slack keeps "every 0.1 m" from depending on the last bit of a coordinate.
        return (
            elapsed_s < 0
            or elapsed_s >= self.time_s - 1e-6
            or moved_m >= self.distance_m - 1e-9
            or turned_rad >= self.angle_rad - 1e-9
        )


def select_states(stamp_T: np.ndarray, pose_T4: np.ndarray, spacing: Spacing | None = None) -> np.ndarray:
    """Return the indices of the states of one drive that a memory keeps.

    Args:
        stamp_T: Stamps, int64 nanoseconds, ascending.
        pose_T4: (x, y, z, yaw); rows that are not finite have no pose and are never kept.
        spacing: Default: the node's.
    """
    spacing = spacing or Spacing()
    kept: list[int] = []
    last: tuple[int, Pose2] | None = None
    for index, (stamp_ns, row) in enumerate(zip(stamp_T.tolist(), pose_T4.tolist())):
        if not all(math.isfinite(value) for value in row):
            continue
        pose = Pose2(*row)
        if spacing.is_due(last, stamp_ns, pose):
            kept.append(index)
            last = (stamp_ns, pose)
    return np.array(kept, np.int64)


@dataclass(frozen=True)
class StateTable:
    """Remembered states as arrays, oldest first.

    Shape suffixes: N = states, D = latent size, A = action size, H = successor horizons, 4 = (x, y, z, yaw).
    """

    stamp_N: np.ndarray
    pose_N4: np.ndarray
    latent_ND: np.ndarray
    action_NA: np.ndarray
    successor_NHD: np.ndarray
    successor_dt_NH: np.ndarray  # NaN where there is none
    known_N: np.ndarray  # stamp at which a state with its successors is known; int64 ns

    def __len__(self) -> int:
        return len(self.stamp_N)


@dataclass(frozen=True)
class Neighbours:
    """Indices into a ``StateTable`` per query, nearest first, -1 where there are fewer than K: [..., K]."""

    index_QK: np.ndarray
    distance_QK: np.ndarray


def nearest_states(
    table: StateTable,
    pose_Q3: np.ndarray,
    stamp_Q: np.ndarray,
    k: int,
    *,
    radius_m: float,
    yaw_tolerance_rad: float,
    yaw_weight_m: float,
    exclude_recent_s: float,
    both_ways: bool = False,
    latent_QD: np.ndarray | None = None,
    chunk: int = 2048,
) -> Neighbours:
    """Return the exact ``k`` nearest states of each query, every filter applied before the ``k`` are chosen.

    Args:
        table: The memory.
        pose_Q3: Query poses (x, y, yaw); a row that is not finite finds nothing.
        stamp_Q: Query stamps, int64 ns.
        k: Neighbours per query.
        radius_m: Planar distance limit.
        yaw_tolerance_rad: Yaw limit.
        yaw_weight_m: Metres that one radian of yaw counts in the ranking by pose.
        exclude_recent_s: Only states at least this much older than the query.
        both_ways: States that much later count too; for practice within one drive.
        latent_QD: Rank by distance to this latent instead of by pose.
        chunk: Queries per block; bounds the working memory.

    Returns:
        Indices and distances (metres, or latent units when ranked by latent), [Q, k].
    """
    count = len(pose_Q3)
    index_QK = np.full((count, k), -1, np.int64)
    distance_QK = np.full((count, k), np.inf, np.float32)
    if len(table) == 0:
        return Neighbours(index_QK, distance_QK)
    for start in range(0, count, chunk):
        rows = slice(start, min(start + chunk, count))
        planar_QN = (pose_Q3[rows, None, 0] - table.pose_N4[:, 0]) ** 2
        planar_QN += (pose_Q3[rows, None, 1] - table.pose_N4[:, 1]) ** 2
        turn_QN = pose_Q3[rows, None, 2] - table.pose_N4[:, 3]
        turn_QN = np.abs(turn_QN - 2 * np.pi * np.round(turn_QN / (2 * np.pi)))
        with np.errstate(invalid="ignore"):
            allowed_QN = (planar_QN <= radius_m**2) & (turn_QN <= yaw_tolerance_rad)
        age_QN = stamp_Q[rows, None] - table.stamp_N
        allowed_QN &= (np.abs(age_QN) if both_ways else age_QN) >= int(exclude_recent_s * 1e9)
        if latent_QD is None:
            rank_QN = planar_QN + (yaw_weight_m * turn_QN) ** 2
        else:
            rank_QN = _squared_distances(latent_QD[rows], table.latent_ND)
        rank_QN = np.where(allowed_QN, rank_QN, np.inf)
        _take_best(rank_QN, k, index_QK[rows], distance_QK[rows])
    return Neighbours(index_QK, distance_QK)


def _squared_distances(latent_QD: np.ndarray, latent_ND: np.ndarray) -> np.ndarray:
    latent_QD, latent_ND = latent_QD.astype(np.float64), latent_ND.astype(np.float64)
    square_QN = np.sum(latent_QD**2, axis=1)[:, None] + np.sum(latent_ND**2, axis=1) - 2.0 * latent_QD @ latent_ND.T
    return np.maximum(square_QN, 0.0)


def _take_best(rank_QN: np.ndarray, k: int, index_QK: np.ndarray, distance_QK: np.ndarray) -> None:
    taken = min(k, rank_QN.shape[1])
    best_QK = np.argpartition(rank_QN, taken - 1, axis=1)[:, :taken]
    value_QK = np.take_along_axis(rank_QN, best_QK, 1)
    order_QK = np.argsort(value_QK, axis=1, kind="stable")
    value_QK = np.take_along_axis(value_QK, order_QK, 1)
    best_QK = np.take_along_axis(best_QK, order_QK, 1)
    index_QK[:, :taken] = np.where(np.isfinite(value_QK), best_QK, -1)
    distance_QK[:, :taken] = np.sqrt(value_QK)


def successors_of(
    stamp_T: np.ndarray, latent_TD: np.ndarray, kept_N: np.ndarray, horizons_s: Sequence[float], tolerance_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return what was seen each horizon after the kept states of one drive.

    Args:
        stamp_T: Stamps of the dense stream, int64 ns, ascending.
        latent_TD: Its latents.
        kept_N: Indices of the kept states.
        horizons_s: Times ahead [s].
        tolerance_s: Largest difference between a horizon and the real time difference.

    Returns:
        Latents [N, H, D] and real time differences [N, H], NaN where there is none.
    """
    latent_NHD = np.zeros((len(kept_N), len(horizons_s), latent_TD.shape[1]), np.float32)
    dt_NH = np.full((len(kept_N), len(horizons_s)), np.nan, np.float32)
    for column, horizon_s in enumerate(horizons_s):
        wanted_N = stamp_T[kept_N] + round(horizon_s * 1e9)
        after_N = np.clip(np.searchsorted(stamp_T, wanted_N), 1, len(stamp_T) - 1)
        before_N = after_N - 1
        nearer_N = wanted_N - stamp_T[before_N] <= stamp_T[after_N] - wanted_N
        chosen_N = np.where(nearer_N, before_N, after_N)
        dt_s_N = (stamp_T[chosen_N] - stamp_T[kept_N]) * 1e-9
        good_N = (np.abs(dt_s_N - horizon_s) <= tolerance_s) & (dt_s_N > 0)
        latent_NHD[good_N, column] = latent_TD[chosen_N[good_N]]
        dt_NH[good_N, column] = dt_s_N[good_N]
    return latent_NHD, dt_NH
