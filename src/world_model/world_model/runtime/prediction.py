"""What goes into the predictor and what comes out of it.

Shape suffixes: D = latent size, A = action size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wm_core.memory.keyframes import REVISIT_RADIUS_M, REVISIT_YAW_RAD
from wm_core.se2 import Pose2


@dataclass(frozen=True)
class Observation:
    """One latent with the pose and action that belong to its stamp.

    ``pose_std_3`` are the standard errors of the pose (x [m], y [m], yaw [rad]), NaN where not told; ``code_F`` is the
    int8 feature that the latent was projected from, where the encoder makes features; ``orientation`` is the pose's
    whole rotation x, y, z, w where it is more than a yaw.
    """

    stamp_ns: int
    latent_D: np.ndarray
    pose: Pose2 | None = None
    action_A: np.ndarray | None = None
    pose_std_3: np.ndarray | None = None
    code_F: np.ndarray | None = None
    orientation: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Forecast:
    """The latent expected ``horizon_s`` ahead.

    ``gate`` is 0 when memories had no say and 1 when they alone spoke. ``pose`` is where the robot is expected to be,
    ``pose_std_3`` that pose's standard errors (x [m], y [m], yaw [rad]); ``revisit`` tells whether a memory lies within
    1 m and 30 degrees of it. ``latent_D`` and ``without_memory_D`` are the online combinations of
    what uses memories and of what does not (``world_model.runtime.experts``). Parts of them: ``network_D`` is what the
    network made of the memories, ``network_without_D`` what it says without any, ``copied_D`` what memories say without
    any network (``None`` without memories), ``mean_D`` the robot's own mean, ``ridge_D`` what the regression says.
    """

    horizon_s: float
    latent_D: np.ndarray
    network_D: np.ndarray
    copied_D: np.ndarray | None
    without_memory_D: np.ndarray
    network_without_D: np.ndarray
    mean_D: np.ndarray
    ridge_D: np.ndarray
    persistence_D: np.ndarray
    gate: float
    memory_ids: tuple[int, ...]
    memory_poses: tuple[Pose2, ...]
    pose: Pose2 | None
    revisit: bool
    pose_std_3: np.ndarray | None = None


@dataclass(frozen=True)
class Prediction:
    """The forecasts made from one observation, ordered by horizon.

    ``outside`` says, one sentence each, what of that observation lay outside the range the model was trained on.
    """

    stamp_ns: int
    forecasts: tuple[Forecast, ...]
    outside: tuple[str, ...] = ()


def is_revisit(pose: Pose2, memory_poses: Sequence[Pose2]) -> bool:
    """Return whether one of the remembered poses lies within 1 m and 30 degrees of ``pose``."""
    for other in memory_poses:
        forward, left, turn = other.relative_to(pose)
        if forward * forward + left * left <= REVISIT_RADIUS_M**2 and abs(turn) <= REVISIT_YAW_RAD:
            return True
    return False
