"""Complete records side by side as arrays: what a window is filled with and what many lookups are answered with.

Shape suffixes: N = records, S = successors of all records, M = most successors of one, K = neighbours, D = latent size,
A = action size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wm_core.memory.record import MemoryRecord
from wm_core.memory.rows import Rows
from wm_core.se3 import quaternion_of


@dataclass(frozen=True)
class Successors:
    """What followed some records, record by record, of each the nearest in time first.

    Attributes:
        count_N: How many each record has.
        horizon_S: The horizons they stand for [s].
        dt_S: Their real time differences [s].
        latent_SD: What was seen then.
    """

    count_N: np.ndarray
    horizon_S: np.ndarray
    dt_S: np.ndarray
    latent_SD: np.ndarray

    @staticmethod
    def none(count: int, dim: int) -> Successors:
        """Return the successors of some records that have none."""
        nothing = np.empty(0)
        return Successors(np.zeros(count, np.int64), nothing, nothing, np.empty((0, dim), np.float32))

    def padded(self, width: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return horizons and time differences [N, M] [s], NaN where there is none, and latents [N, M, D].

        Args:
            width: Least M.
        """
        count_N = self.count_N
        width = max(width, int(count_N.max(initial=0)))
        shape = (len(count_N), width)
        horizon_NM, dt_NM = np.full(shape, np.nan), np.full(shape, np.nan)
        latent_NMD = np.zeros((*shape, self.latent_SD.shape[1]), np.float32)
        row_S = np.repeat(np.arange(len(count_N)), count_N)
        at_S = np.arange(len(row_S)) - np.repeat(np.cumsum(count_N) - count_N, count_N)
        horizon_NM[row_S, at_S], dt_NM[row_S, at_S] = self.horizon_S, self.dt_S
        latent_NMD[row_S, at_S] = self.latent_SD
        return horizon_NM, dt_NM, latent_NMD


@dataclass(frozen=True)
class Packed:
    """Records side by side, complete but for their features.

    Attributes:
        encoder_id: Whose latents they are; empty while the memory has none.
        frame_id: Frame of their places.
        sessions: Names that ``rows.session_N`` counts in.
        rows: Their columns; the cells may be 0.
        quaternion_N4: Their whole rotations x, y, z, w.
        successors: What followed them.
    """

    encoder_id: str
    frame_id: str
    sessions: tuple[str, ...]
    rows: Rows
    quaternion_N4: np.ndarray
    successors: Successors

    def __len__(self) -> int:
        return len(self.rows)

    @staticmethod
    def nothing(encoder_id: str = "", frame_id: str = "", dim: int = 0, action_dim: int = 0) -> Packed:
        """Return no records."""
        return Packed(encoder_id, frame_id, (), empty_rows(dim, action_dim), np.empty((0, 4)), Successors.none(0, dim))

    @staticmethod
    def of(records: Sequence[MemoryRecord], encoder_id: str, frame_id: str, dim: int, action_dim: int) -> Packed:
        """Return records, as a memory answers with them, side by side.

        Args:
            records: The records.
            encoder_id: The memory's.
            frame_id: The memory's.
            dim: The memory's latent size D.
            action_dim: The memory's action size A.
        """
        names = {name: at for at, name in enumerate(dict.fromkeys(record.session for record in records))}
        followed = [item for record in records for item in record.successors]
        rows = Rows(
            np.array([record.id for record in records], np.int64),
            np.array([record.stamp_ns for record in records], np.int64),
            np.array([record.x for record in records], np.float64),
            np.array([record.y for record in records], np.float64),
            np.array([record.z for record in records], np.float64),
            np.array([record.yaw for record in records], np.float32),
            np.array([names[record.session] for record in records], np.int32),
            np.array([record.surprise for record in records], np.float32),
            _filled([record.action_A for record in records], action_dim),
            _filled([record.previous_action_A for record in records], action_dim),
            np.array([record.h3_cell for record in records], np.uint64),
            np.array([record.latent_D for record in records], np.float32).reshape(len(records), dim),
        )
        quaternions = [record.orientation or quaternion_of(record.yaw) for record in records]
        successors = Successors(
            np.array([len(record.successors) for record in records], np.int64),
            np.array([item.horizon_s for item in followed], np.float64),
            np.array([item.dt_s for item in followed], np.float64),
            np.array([item.latent_D for item in followed], np.float32).reshape(len(followed), dim),
        )
        return Packed(
            encoder_id, frame_id, tuple(names), rows, np.array(quaternions, np.float64).reshape(-1, 4), successors
        )


@dataclass(frozen=True)
class Neighbours:
    """The memories that answer a lookup, nearest first, as the arrays that a network's inputs are made of.

    Attributes:
        id_K: Their ids.
        stamp_K: When they were seen [ns].
        pose_K4: Where: x, y, z [m] and yaw [rad].
        latent_KD: What was seen.
        action_KA: Taken there; NaN: not known.
        horizon_KM: Horizons of their successors [s]; NaN where there is none. M may be 0.
        dt_KM: Real time differences of their successors [s]; NaN where there is none.
        successor_KMD: Latents of their successors.
    """

    id_K: np.ndarray
    stamp_K: np.ndarray
    pose_K4: np.ndarray
    latent_KD: np.ndarray
    action_KA: np.ndarray
    horizon_KM: np.ndarray
    dt_KM: np.ndarray
    successor_KMD: np.ndarray

    def __len__(self) -> int:
        return len(self.id_K)

    @staticmethod
    def none(dim: int, action_dim: int = 0) -> Neighbours:
        """Return no neighbours."""
        ids, nothing = np.empty(0, np.int64), np.empty((0, 0))
        return Neighbours(ids, ids, np.empty((0, 4)), np.empty((0, dim), np.float32),
                          np.empty((0, action_dim), np.float32), nothing, nothing,
                          np.empty((0, 0, dim), np.float32))  # fmt: skip


def empty_rows(dim: int, action_dim: int) -> Rows:
    """Return the columns of no records."""
    ids, places = np.empty(0, np.int64), np.empty(0)
    actions = np.empty((0, action_dim), np.float32)
    return Rows(ids, ids, places, places, places, np.empty(0, np.float32), np.empty(0, np.int32),
                np.empty(0, np.float32), actions, actions, np.empty(0, np.uint64),
                np.empty((0, dim), np.float32))  # fmt: skip


def tilted(quaternion_N4: np.ndarray) -> np.ndarray | None:
    """Return rotations as a memory compares them: NaN where the yaw says it all; None: nowhere is there more."""
    is_tilted_N = (quaternion_N4[:, 0] != 0.0) | (quaternion_N4[:, 1] != 0.0)
    if not is_tilted_N.any():
        return None
    return np.where(is_tilted_N[:, None], quaternion_N4, np.nan).astype(np.float32)


def _filled(actions: Sequence[np.ndarray], action_dim: int) -> np.ndarray:
    """Return actions side by side, NaN where one is unknown."""
    out_NA = np.full((len(actions), action_dim), np.nan, np.float32)
    for row_A, action_A in zip(out_NA, actions):
        if np.size(action_A):
            row_A[:] = action_A
    return out_NA
