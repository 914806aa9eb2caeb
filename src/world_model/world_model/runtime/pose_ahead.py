"""Where a robot is by now, from its last measured pose on: an artifact's motion model, for ``wm_core.alignment``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wm_core.se2 import Pose2
from world_model.runtime.motion import MotionTracker, displacement_at
from world_model.runtime.motion_model import MotionModel, expected_error


class PoseAhead:
    """A motion model run along measured poses; a ``wm_core.alignment.Motion``.

    Args:
        model: Fitted parameters.
        step_s: Step that it was fitted at [s].
        action_dim: Action size A.
    """

    def __init__(self, model: MotionModel, step_s: float, action_dim: int) -> None:
        self._model, self._step_s = model, step_s
        self._tracker = MotionTracker(model, step_s, action_dim)

    def reset(self) -> None:
        """Forget what was observed."""
        self._tracker.reset()

    def observe(self, stamp_ns: int, pose: Pose2, action_A: np.ndarray | None) -> None:
        """Take a measured pose and the action in force then."""
        self._tracker.update(stamp_ns, pose, action_A)

    def ahead(self, actions: Sequence[np.ndarray], span_s: float) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the displacement since the last pose and its standard error, [3] each; None: nothing is known.

        Args:
            actions: Those in force one step after that pose, two, ...; the last one holds.
            span_s: Time since that pose [s].
        """
        steps = max(1, math.ceil(span_s / self._step_s - 1e-6))
        plan_SA = np.stack(actions) if len(actions) else None
        moved_S3 = self._tracker.displacements(steps, plan_SA)
        if moved_S3 is None:
            return None
        return displacement_at(moved_S3, [span_s], self._step_s)[0], expected_error(self._model, [span_s])[0]
