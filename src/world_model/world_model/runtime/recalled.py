"""What memories say of many places at once, as arrays: for the network, and without any.

Shape suffixes: B = candidates, S = steps, K = memories, D = latent size, F = features, 3 = (x, y, yaw) or
(forward, left, turn).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wm_core.memory.held import HeldPlaces, Remembered
from wm_core.memory.keyframes import REVISIT_RADIUS_M, REVISIT_YAW_RAD
from world_model.runtime.conditioning import Retrieval, anticipated_features, offsets_in_frame
from world_model.runtime.retrieved import ALIKE, FEW


class Recalled(NamedTuple):
    """Memories of where the robot will be at each step of each candidate, nearest first.

    Attributes:
        id_BSK: Their ids; 0 where there are fewer.
        latent_BSKD: What was seen.
        offset_BSK3: How they lie there (forward [m], left [m], turn [rad]).
        feature_BSKF: The same as the network is told.
        valid_BSK: Which are real.
        covered_BS: Whether all that is remembered there was at hand.
    """

    id_BSK: np.ndarray
    latent_BSKD: np.ndarray
    offset_BSK3: np.ndarray
    feature_BSKF: np.ndarray
    valid_BSK: np.ndarray
    covered_BS: np.ndarray

    @property
    def is_any(self) -> np.ndarray:
        """Where anything is remembered, bool [B, S]."""
        return np.asarray(self.valid_BSK.any(axis=2))

    @property
    def is_revisit(self) -> np.ndarray:
        """Where a memory lies within 1 m and 30 degrees of the place, bool [B, S]."""
        far_BSK = np.hypot(self.offset_BSK3[..., 0], self.offset_BSK3[..., 1])
        near_BSK = (far_BSK <= REVISIT_RADIUS_M) & (np.abs(self.offset_BSK3[..., 2]) <= REVISIT_YAW_RAD)
        return np.asarray((near_BSK & self.valid_BSK).any(axis=2))


def recall(
    places: HeldPlaces | None, pose_BS3: np.ndarray, k: int, retrieval: Retrieval, stamp_ns: int, dim: int
) -> Recalled:
    """Return what is remembered where a robot will be.

    Args:
        places: The memories; ``None``: nothing is remembered.
        pose_BS3: Where it will be; NaN: not known, so that nothing is found.
        k: Memories at each place.
        retrieval: Settings of the artifact.
        stamp_ns: Now.
        dim: D.
    """
    shape, pose_G3 = pose_BS3.shape[:2], pose_BS3.reshape(-1, 3)
    if places is None or not len(places):
        found = Remembered.none(len(pose_G3), dim)
        covered_G = np.full(len(pose_G3), places is not None)
    else:
        found = places.near(
            pose_G3, k, radius_m=retrieval.radius_m, yaw_tolerance_rad=retrieval.yaw_tolerance_rad,
            yaw_weight_m=retrieval.yaw_weight_m, newest_ns=stamp_ns - round(retrieval.exclude_recent_s * 1e9),
        )  # fmt: skip
        covered_G = places.reaches(pose_G3, retrieval.radius_m)
    found = _padded(found, k)
    offset_GK3 = offsets_in_frame(found.pose_GK3, pose_G3)
    offset_GK3 = np.where(found.valid_GK[..., None], offset_GK3, 0.0)
    age_s_GK = np.where(found.valid_GK, (stamp_ns - found.stamp_GK) * 1e-9, 0.0)
    feature_GKF = anticipated_features(offset_GK3, age_s_GK, retrieval) * found.valid_GK[..., None]
    latent_GKD = found.latent_GKD * found.valid_GK[..., None]
    values = (found.id_GK, latent_GKD, offset_GK3, feature_GKF, found.valid_GK, covered_G)
    return Recalled(*(value.reshape(*shape, *value.shape[1:]) for value in values))


def _padded(found: Remembered, k: int) -> Remembered:
    """Return answers with just ``k`` columns, so that the network is asked as ever."""
    missing = k - found.id_GK.shape[1]
    if missing <= 0:
        return found
    return Remembered(*(np.pad(each, ((0, 0), (0, missing), *((0, 0),) * (each.ndim - 2))) for each in found))


def copies(recalled: Recalled, std_BS3: np.ndarray, retrieval: Retrieval) -> tuple[np.ndarray, np.ndarray]:
    """Return what memories say without any network, and how much they differ; zeros where there are none.

    Args:
        recalled: The memories.
        std_BS3: Standard errors of the place (forward [m], left [m], turn [rad]).
        retrieval: Settings of the artifact.

    Returns:
        The copy weighed by how likely the robot will see what was seen, the mean of the first four, and the first,
        [B, S, 3, D]; and the spread around the first of these, [B, S, D].
    """
    valid_BSK, latent_BSKD = recalled.valid_BSK, recalled.latent_BSKD
    far_BSK = _unlikely(recalled, std_BS3, retrieval)
    weight_BSK = np.where(valid_BSK, np.exp(far_BSK.min(axis=2, keepdims=True) - far_BSK), 0.0)
    weight_BSK /= np.maximum(weight_BSK.sum(axis=2, keepdims=True), 1e-12)
    few_BSK = valid_BSK & (np.arange(valid_BSK.shape[2]) < FEW)
    few_BSK = few_BSK / np.maximum(few_BSK.sum(axis=2, keepdims=True), 1)
    first_BSK = valid_BSK & (np.arange(valid_BSK.shape[2]) < 1)
    share_BS3K = np.stack([weight_BSK, few_BSK, first_BSK], axis=2).astype(np.float32)
    copy_BS3D = share_BS3K @ latent_BSKD
    square_BSKD = np.square(latent_BSKD - copy_BS3D[:, :, :1])
    return copy_BS3D, np.einsum("bsk,bskd->bsd", weight_BSK, square_BSKD)


def _unlikely(recalled: Recalled, std_BS3: np.ndarray, retrieval: Retrieval) -> np.ndarray:
    offset_BSK3 = recalled.offset_BSK3 / retrieval.scale_3
    spread_BS3 = ALIKE**2 + np.square(std_BS3 / retrieval.scale_3)
    far_BSK = 0.5 * np.sum(np.square(offset_BSK3) / spread_BS3[:, :, None], axis=3)
    return np.where(recalled.valid_BSK, far_BSK, 1e9)
