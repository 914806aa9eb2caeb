"""Which plans lead to what the memory can foresee: each is imagined, and refused where that surprises.

Shape suffixes: B = plans, S = steps, A = action size, 3 = (x, y [m], yaw [rad]).
"""

from __future__ import annotations

import numpy as np

from latent_planner.imagination import Imagination, Standpoint
from latent_planner.vehicle import Vehicle
from wm_core.memory.errors import QueryError
from wm_core.memory.window import Window
from world_model.runtime.artifacts import Artifact
from world_model.runtime.motion_model import MotionModel

DECISION_S, REACH_S = 0.2, 2.0
# Plans that lead less far stay where the robot is [m].
_STAYS_M = 0.3
_ANY = MotionModel(weights=((0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)))


class SurpriseJudge:
    """A ``Judge`` that refuses plans along which memories have less to say than along the best known of them.

    How much they have to say is the share that the forecast takes from them, the mean over the steps up to ``REACH_S``.
    What is asked is only which of some plans is better known, so that at least one always passes. That is asked of
    plans that go somewhere: who stays where it is, or turns round there, is on known ground, though it may look a way
    that was never seen; and standing still, which is foreseen best of all, is nothing to compare a drive with.

    Args:
        artifact: Whose forecast.
        step_s: Step of the plans [s].
        margin: By how much the share may be less than that of the best known plan.
    """

    def __init__(self, artifact: Artifact, step_s: float, margin: float) -> None:
        # Plans come with their poses, so of the vehicle only the step counts.
        self._imagination = Imagination(artifact, Vehicle(_ANY, step_s, artifact.manifest.action_dim))
        self._every, self._margin = max(round(DECISION_S / step_s), 1), margin
        self._encoder_id = artifact.manifest.encoder_id
        self._is_begun = False
        self.refused_count = 0

    def begin(self, stamp_ns: int, pose_3: np.ndarray, latent_D: np.ndarray, window: Window | None) -> None:
        """Take where the robot is and what it sees, and the memories; without usable ones nothing is refused.

        Args:
            stamp_ns: Of the newest latent [ns].
            pose_3: Where it was seen.
            latent_D: What was seen.
            window: The memories.
        """
        usable = window is not None and len(window) > 0 and window.encoder_id in ("", self._encoder_id)
        self._is_begun = usable
        if not usable:
            return
        try:
            self._imagination.begin(Standpoint(stamp_ns, pose_3, latent_D), window)
        except QueryError:
            self._is_begun = False

    def __call__(self, pose_3: np.ndarray, plan_BSA: np.ndarray, pose_BS3: np.ndarray) -> np.ndarray:
        """Return which plans are no more surprising than need be, bool [B]."""
        last = min(plan_BSA.shape[1], round(REACH_S / DECISION_S) * self._every)
        reached_BS3 = np.asarray(pose_BS3[:, self._every - 1 : last : self._every], np.float64)
        if not self._is_begun or not reached_BS3.shape[1] or not len(reached_BS3):
            return np.ones(len(plan_BSA), bool)
        told_BSA = plan_BSA[:, : last : self._every][:, : reached_BS3.shape[1]]
        try:
            at_BSK = self._imagination.look_up(reached_BS3)
        except QueryError:
            # They lead out of the window, or it holds whole rotations, which only the memory itself compares.
            return np.ones(len(plan_BSA), bool)
        _, said_BS = self._imagination.foresee(told_BSA, reached_BS3, at_BSK)
        said_B = said_BS.mean(axis=1)
        far_B = np.hypot(*np.moveaxis(reached_BS3[..., :2] - pose_3[:2], 2, 0)).max(axis=1)
        goes_B = far_B >= _STAYS_M
        good_B: np.ndarray = ~goes_B | (said_B >= said_B.max(where=goes_B, initial=-np.inf) - self._margin)
        self.refused_count += int((~good_B).sum())
        return good_B
