"""What the transition is told about retrieved memories; one function for training and for the live predictor.

Shape suffixes: ... = any leading dimensions, K = memories, 3 = (x, y, yaw), F = features.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import numpy as np

from wm_core.memory.keyframes import EXCLUDE_RECENT_S
from world_model.errors import ArtifactError

ANTICIPATED_FEATURES = 6
APPEARANCE_FEATURES = 7
MOTION_FEATURES = 7

_MOST_K, _LARGEST = 4096, 1e6
HORIZON_UNIT_S, HORIZON_LOG_SPAN = 0.05, 3.7
"""Scales of the time ahead that trained weights have taken in, whatever an artifact's own step is: the time whose
logarithm is 0 [s], and what logarithms are divided by, so that two seconds come to about 1."""
# The same of ages: six minutes come to about 1.
_AGE_UNIT_S, _AGE_LOG_SPAN = 20.0, 3.0


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """Which memories a prediction asks for, as the artifact was trained with them.

    Attributes:
        anticipated_k: Anticipated-pose neighbours per horizon: memories nearest in pose to where the robot will be.
        appearance_k: Appearance neighbours: memories nearest in latent among those around where the robot is.
        radius_m: Planar limit of both.
        yaw_tolerance_rad: Yaw limit of both.
        yaw_weight_m: Metres that one radian of yaw counts in the ranking by pose.
        exclude_recent_s: Only memories at least this much older than the present.
        length_scale_m: Length that offsets are divided by before the network sees them.
        FORMER_NAMES: What manifests of format 2 and older configurations call some of these.
    """

    FORMER_NAMES: ClassVar[Mapping[str, str]] = {
        "heading_tolerance_rad": "yaw_tolerance_rad",
        "heading_weight_m": "yaw_weight_m",
        "spot_k": "anticipated_k",
        "twin_k": "appearance_k",
    }

    anticipated_k: int = 8
    appearance_k: int = 4
    radius_m: float = 1.5
    yaw_tolerance_rad: float = 0.7
    yaw_weight_m: float = 1.0
    exclude_recent_s: float = EXCLUDE_RECENT_S
    length_scale_m: float = 1.0

    @classmethod
    def from_manifest(cls, entries: Mapping[str, Any]) -> "Retrieval":
        """Return the settings a manifest lists.

        Raises:
            ArtifactError: An entry is unknown, of another type, or no finite number.
        """
        entries = {cls.FORMER_NAMES.get(name, name): value for name, value in entries.items()}
        unknown = sorted(set(entries) - {f.name for f in fields(cls)})
        if unknown:
            raise ArtifactError(f"manifest: memory has unknown entries: {', '.join(unknown)}")
        for name, value in entries.items():
            most = _MOST_K if name.endswith("_k") else _LARGEST
            kinds = (int,) if name.endswith("_k") else (int, float)
            if type(value) not in kinds or not 0 <= value <= most:
                raise ArtifactError(f"manifest: memory.{name} is {value!r}, expected a number of 0 to {most:g}")
        if entries.get("length_scale_m", 1.0) == 0:
            raise ArtifactError("manifest: memory.length_scale_m is 0")
        return cls(**entries)

    @property
    def scale_3(self) -> np.ndarray:
        """What displacements (forward [m], left [m], turn [rad]) are divided by before the network sees them."""
        return np.array([self.length_scale_m, self.length_scale_m, 1.0])

    def to_manifest(self) -> dict[str, Any]:
        """Return the settings as JSON-ready entries."""
        return asdict(self)


def offsets_in_frame(memory_K3: np.ndarray, frame_3: np.ndarray) -> np.ndarray:
    """Return memory poses [..., K, 3] in the frame of a pose [..., 3]: (forward, left, yaw in -pi..pi)."""
    frame_13 = frame_3[..., None, :]
    dx_K, dy_K = memory_K3[..., 0] - frame_13[..., 0], memory_K3[..., 1] - frame_13[..., 1]
    cosine, sine = np.cos(frame_13[..., 2]), np.sin(frame_13[..., 2])
    turn_K = memory_K3[..., 2] - frame_13[..., 2]
    turn_K = (turn_K + np.pi) % (2 * np.pi) - np.pi
    return np.stack([dx_K * cosine + dy_K * sine, dy_K * cosine - dx_K * sine, turn_K], axis=-1)


def motion_features(moved_3: np.ndarray, std_3: np.ndarray, retrieval: Retrieval) -> np.ndarray:
    """Return the features of an expected displacement, [..., MOTION_FEATURES]; where none is known they are all 0.

    Args:
        moved_3: Displacement (forward [m], left [m], turn [rad]) in the present frame; NaN where not known.
        std_3: Its standard error, in the same units.
        retrieval: Settings of the artifact.
    """
    known = np.isfinite(moved_3).all(axis=-1, keepdims=True)
    features = np.concatenate([moved_3 / retrieval.scale_3, np.ones(known.shape), std_3 / retrieval.scale_3], axis=-1)
    return np.where(known, features, 0.0).astype(np.float32)


def anticipated_features(offset_K3: np.ndarray, age_s_K: np.ndarray, retrieval: Retrieval) -> np.ndarray:
    """Return the features of anticipated-pose neighbours, [..., K, ANTICIPATED_FEATURES].

    Args:
        offset_K3: Memory poses in the forecast frame.
        age_s_K: Present minus memory stamp [s].
        retrieval: Settings of the artifact.
    """
    scaled_K3 = offset_K3 * np.array([1 / retrieval.length_scale_m, 1 / retrieval.length_scale_m, 1.0])
    distance_K = np.hypot(scaled_K3[..., 0], scaled_K3[..., 1])
    return np.stack(
        [*np.moveaxis(scaled_K3, -1, 0), np.sqrt(distance_K), np.abs(scaled_K3[..., 2]), age_feature(age_s_K)], axis=-1
    ).astype(np.float32)


def appearance_features(
    offset_K3: np.ndarray, age_s_K: np.ndarray, action_difference_K: np.ndarray, retrieval: Retrieval
) -> np.ndarray:
    """Return the features of appearance neighbours, [..., K, APPEARANCE_FEATURES].

    Args:
        offset_K3: Memory poses in the present frame.
        age_s_K: Present minus memory stamp [s].
        action_difference_K: Distance between the action taken there and the present one, NaN if unknown.
        retrieval: Settings of the artifact.
    """
    unknown_K = ~np.isfinite(action_difference_K)
    difference_K = np.where(unknown_K, 1.0, action_difference_K)
    place_KF = anticipated_features(offset_K3, age_s_K, retrieval)
    return np.concatenate([place_KF, np.tanh(difference_K)[..., None]], axis=-1).astype(np.float32)


def age_feature(age_s_K: np.ndarray) -> np.ndarray:
    """Return what the network reads of ages [s], [..., K]."""
    feature_K: np.ndarray = np.log1p(np.maximum(age_s_K, 0.0) / _AGE_UNIT_S) / _AGE_LOG_SPAN
    return feature_K
