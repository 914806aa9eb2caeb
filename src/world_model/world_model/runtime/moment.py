"""From where something is imagined: all that is known of one moment, and nothing that changes later.

Shape suffixes: C = state size, D = latent size, 3 = (forward [m], left [m], turn [rad]).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wm_core.memory.packed import Neighbours
from wm_core.se2 import Pose2
from world_model.runtime.blend import Blend
from world_model.runtime.motion_start import MotionStart


@dataclass(frozen=True)
class Moment:
    """One moment of a predictor, or one that is made up.

    Attributes:
        stamp_ns: When it is; memories have to be older by what the artifact excludes.
        latent_D: What is seen.
        pose: Where the robot is; ``None``: not known.
        motion: How it moves on.
        mean_D: What is usual.
        variance_D: The unit of errors.
        encoder_id: Whose latents these are.
        pose_std_3: Standard errors of the pose (x [m], y [m], yaw [rad]); ``None`` where not told.
        before_1C: State of the transition before the latent was observed; ``None``: nothing was seen before.
        blend: How forecasts are combined.
        appearance: Memories that look like it, and what followed them; ``None``: not asked.
    """

    stamp_ns: int
    latent_D: np.ndarray
    pose: Pose2 | None
    motion: MotionStart
    mean_D: np.ndarray
    variance_D: np.ndarray
    encoder_id: str
    pose_std_3: np.ndarray | None = None
    before_1C: Any = None
    blend: Blend = field(default_factory=Blend.untaught)
    appearance: Neighbours | None = None
