"""The memories that a plan is made from, side by side in the order in which they were made.

Shape suffixes: N = memories, D = latent size, C = corners, 2 = x, y [m], 3 = (x, y, yaw).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wm_core.memory.rows import Rows


@dataclass(frozen=True)
class Remembered:
    """Memories in the order in which they were made, run by run.

    Attributes:
        pose_N3: Where: x, y [m], yaw [rad].
        session_N: Which run each belongs to.
        latent_ND: What was seen.
        id_N: Their ids.
        encoder_id: Whose latents they are.
        frame_id: Frame of the poses.
    """

    pose_N3: np.ndarray
    session_N: np.ndarray
    latent_ND: np.ndarray
    id_N: np.ndarray
    encoder_id: str = ""
    frame_id: str = ""

    def __len__(self) -> int:
        return len(self.id_N)

    @staticmethod
    def of(rows: Rows, encoder_id: str, frame_id: str) -> Remembered:
        """Return what a window holds, put in order.

        Args:
            rows: Its columns, in any order.
            encoder_id: Whose latents.
            frame_id: Frame of the poses.
        """
        rows = rows.take(np.lexsort((rows.stamp_N, rows.session_N)))
        pose_N3 = np.stack([rows.x_N, rows.y_N, rows.yaw_N], axis=1).astype(np.float64)
        return Remembered(pose_N3, rows.session_N, rows.latent_ND, rows.id_N, encoder_id, frame_id)

    def row(self, memory_id: int) -> int:
        """Return the row of a memory, -1 where it is not held."""
        found = np.flatnonzero(self.id_N == memory_id)
        return int(found[0]) if len(found) else -1


def inside(place_N2: np.ndarray, corner_C2: np.ndarray) -> np.ndarray:
    """Return which places lie in a polygon, by the even-odd rule, bool [N]."""
    x_N, y_N = place_N2.T
    is_in_N = np.zeros(len(place_N2), bool)
    for (x0, y0), (x1, y1) in zip(corner_C2, np.roll(corner_C2, -1, axis=0)):
        if y0 == y1:
            continue
        crosses_N = (y_N < y0) != (y_N < y1)
        is_in_N ^= crosses_N & (x_N < x0 + (y_N - y0) * (x1 - x0) / (y1 - y0))
    return is_in_N
