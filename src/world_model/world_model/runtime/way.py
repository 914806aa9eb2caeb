"""Where the robot will be at each horizon, how surely, and what is asked of the memory there.

Shape suffixes: H = horizons, 3 = (forward [m], left [m], turn [rad]), S = steps ahead, A = action size, M = motion
features.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from wm_core.se2 import Pose2
from wm_core.se3 import turned_about_z
from world_model.runtime.conditioning import Retrieval, motion_features
from world_model.runtime.context import Context
from world_model.runtime.foresight import PathTrust
from world_model.runtime.motion import displacement_at, pose_error
from world_model.runtime.motion_start import MotionStart
from world_model.runtime.own_motion import OwnMotion
from world_model.runtime.prediction import Observation
from world_model.runtime.retrieved import MemoryRequest
from world_model.runtime.switches import CALIBRATION, PATH_FORESIGHT
from world_model.runtime.trail import Trail, TrailTrust


class Way:
    """The expected way of a robot.

    Args:
        motion: The motion of this robot, as far as it was learned.
        horizons_s: Times ahead, ascending [s].
        step_s: Of the artifact [s].
        retrieval: How memories are asked for.
        off: Parts that are switched off.
        trail: What was driven before, where no network foresees paths; ``None``: it is not heard.

    Attributes:
        moved_H3: Displacement at each horizon; ``None``: nothing is known of it.
        std_H3: Its standard error.
        alone_H3: The displacement less what the trail says: what is expected without memories.
    """

    def __init__(
        self,
        motion: OwnMotion,
        horizons_s: Sequence[float],
        step_s: float,
        retrieval: Retrieval,
        off: Collection[str],
        trail: Trail | None = None,
    ) -> None:
        self._trail = trail
        self._motion, self._horizons_s, self._step_s, self._off = motion, tuple(horizons_s), step_s, off
        self._retrieval = retrieval
        self._reach = max(math.ceil(max(horizons_s) / step_s - 1e-6), 1)
        self._trust = PathTrust(self._horizons_s, step_s)
        self._trail_trust = TrailTrust(self._horizons_s, step_s)
        self.restart()

    def restart(self) -> None:
        """Forget where the robot came from: what comes next does not follow from it."""
        self._motion.restart()
        self._trust.restart()
        if self._trail is not None:
            self._trail.restart()
            self._trail_trust.restart()
        self.moved_H3: np.ndarray | None = None
        self.alone_H3: np.ndarray | None = None
        self.std_H3 = self._motion.known_std_H3

    def observe(self, observation: Observation, known_future: bool) -> None:
        """Let the motion model take in an observation; ``known_future``: its actions need not be held."""
        seen = observation.stamp_ns, observation.pose, observation.action_A
        if self._motion.update(*seen, known_future):
            self._trust.doubt()
        self._trust.observe(observation.stamp_ns, observation.pose)
        if self._trail is not None:
            self._trail_trust.observe(observation.stamp_ns, observation.pose)
            if observation.pose is not None:
                self._trail.add(observation.stamp_ns, observation.pose)

    def expect(self, observation: Observation, context: Context, plan_SA: np.ndarray | None) -> None:
        """Work out where the robot will be.

        Args:
            observation: The newest one.
            context: Which took it in; where actions are held, it foresees how the path differs from theirs.
            plan_SA: Actions that will follow; ``None``: they are not known.
        """
        self.alone_H3 = None
        self.moved_H3, self.std_H3 = self._expected(observation, context, plan_SA)
        if self._trail is None:
            self.alone_H3 = self.moved_H3

    def _expected(
        self, observation: Observation, context: Context, plan_SA: np.ndarray | None
    ) -> tuple[np.ndarray | None, np.ndarray]:
        """Return the displacement at each horizon, if anything is known of it, and its standard error, [H, 3] each."""
        known_std_H3, moved_S3 = self._motion.known_std_H3, self._motion.displacements(self._reach, plan_SA)
        if moved_S3 is None:
            return None, known_std_H3
        moved_H3 = self.alone_H3 = displacement_at(moved_S3, self._horizons_s, self._step_s)
        said_H3, std_H3 = np.zeros_like(moved_H3), known_std_H3
        if plan_SA is None and self._trail is not None:
            moved_H3 = self._as_before(observation.stamp_ns, moved_H3, self._trail)
        elif plan_SA is None and PATH_FORESIGHT not in self._off:
            said_H3, std_H3 = self._foreseen(moved_H3, context)
        own_H3 = pose_error(moved_H3, observation.pose, observation.pose_std_3)
        if CALIBRATION in self._off or self._motion.pose is None:
            return moved_H3 + said_H3, np.hypot(std_H3, own_H3)
        return self._trust.expect(observation.stamp_ns, self._motion.pose, moved_H3, said_H3, std_H3, own_H3)

    def _as_before(self, stamp_ns: int, moved_H3: np.ndarray, trail: Trail) -> np.ndarray:
        """Return the displacements as the path that was driven here before has them, as far as that is worth it."""
        present = self._motion.pose
        ahead_H3 = None if present is None else trail.ahead(stamp_ns, present, moved_H3)
        if present is None or ahead_H3 is None:
            return moved_H3
        return self._trail_trust.follow(stamp_ns, present, moved_H3, ahead_H3)

    def _foreseen(self, moved_H3: np.ndarray, context: Context) -> tuple[np.ndarray, np.ndarray]:
        """Return how the path differs from a held action's, and the standard error of that, [H, 3] each.

        The action is held for want of a better guess: the network knows how episodes usually go on, and how surely.
        """
        scale_3 = self._retrieval.scale_3
        motion_1HM = motion_features(moved_H3, self._motion.known_std_H3, self._retrieval)[None]
        said_H6 = context.transition.foresee_path(context.moving(motion_1HM))[0]
        return said_H6[:, :3] * scale_3, said_H6[:, 3:] * scale_3

    def features(self) -> np.ndarray:
        """Return what the transition is told of it, [1, H, M]."""
        unknown_H3 = np.full((len(self._horizons_s), 3), np.nan)
        moved_H3 = unknown_H3 if self.moved_H3 is None else self.moved_H3
        return motion_features(moved_H3, self.std_H3, self._retrieval)[None]

    def start(self) -> MotionStart:
        """Return the motion as it is now, to follow plans; errors that its model does not tell are those missed."""
        start = self._motion.start()
        if start.model.error_std or self.moved_H3 is None or CALIBRATION in self._off:
            return start
        error_std = tuple(map(tuple, self._trust.missed(self.moved_H3).tolist()))
        return replace(start, model=replace(start.model, error_horizons_s=self._horizons_s, error_std=error_std))

    @property
    def present(self) -> Pose2 | None:
        """Where the robot is; ``None``: not known."""
        return self._motion.pose

    def pose(self, index: int) -> Pose2 | None:
        """Return where the robot will be at a horizon; ``None``: not known."""
        present = self._motion.pose
        return None if present is None or self.moved_H3 is None else present.moved(self.moved_H3[index])

    def requests(self, observation: Observation, top_k: int) -> list[MemoryRequest]:
        """Return what to ask of the memory: one request per horizon by pose, then one by latent; empty without a pose.

        Args:
            observation: The newest one.
            top_k: Memories per horizon.
        """
        present = self._motion.pose
        if present is None or self.moved_H3 is None:
            return []
        retrieval, rotation, measured = self._retrieval, observation.orientation, observation.pose

        def request(horizon_s: float, pose: Pose2, latent_D: np.ndarray | None, k: int) -> MemoryRequest:
            return MemoryRequest(
                horizon_s=horizon_s,
                pose=pose,
                latent_D=latent_D,
                rank="pose" if latent_D is None else "latent",
                radius_m=retrieval.radius_m,
                yaw_tolerance_rad=retrieval.yaw_tolerance_rad,
                yaw_weight_m=retrieval.yaw_weight_m,
                k=k,
                exclude_recent_s=retrieval.exclude_recent_s,
                stamp_ns=observation.stamp_ns,
                successors=latent_D is not None,
                # On its way the robot turns; how it is tilted is what is known of its tilt there.
                orientation=None
                if rotation is None or measured is None
                else turned_about_z(rotation, pose.yaw - measured.yaw),
            )

        expected = [present.moved(moved_3) for moved_3 in self.moved_H3]
        anticipated = [request(h, pose, None, top_k) for h, pose in zip(self._horizons_s, expected)]
        return [*anticipated, request(0.0, present, observation.latent_D, retrieval.appearance_k)]
