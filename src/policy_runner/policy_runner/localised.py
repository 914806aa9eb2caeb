"""A policy that is asked with poses put right by what the robot sees, so that it need not know of any drift.

Shape suffixes: 3 = x, y [m], yaw [rad].
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from policy_runner.chunks import Chunk
from policy_runner.drift import Drift, DriftSettings, Known
from policy_runner.drives import Ways
from policy_runner.nearest_drive import NearestDrive
from policy_runner.policies import Frame, Memories, Observation, Policy


class Localised:
    """A policy that is asked with poses put right by what the robot sees against what it remembers.

    The path of its chunk is given in measured poses again, as everything else is.

    Args:
        policy: Is asked.
        settings: How far what is seen is believed.
        known: Where the offset is kept.
    """

    def __init__(self, policy: Policy, settings: DriftSettings, known: Known) -> None:
        self._policy, self._known = policy, known
        self.action_dim, self.step_s, self.takes = policy.action_dim, policy.step_s, policy.takes
        self._drift = Drift(settings, known.offset)
        self._ways = policy.ways if isinstance(policy, NearestDrive) else Ways()

    def act(self, observation: Observation) -> Chunk:
        """Return the actions from an observation on; see ``Policy``."""
        if observation.memories is not None and observation.memories.latent_ND is not None:
            self._look(observation.frames, observation.memories)
        off_3 = np.array([*self._drift.off_2, 0.0])
        frames = tuple(
            each if each.pose_3 is None else replace(each, pose_3=each.pose_3 - off_3) for each in observation.frames
        )
        pose_3 = None if observation.pose_3 is None else observation.pose_3 - off_3
        chunk = self._policy.act(replace(observation, pose_3=pose_3, frames=frames))
        return chunk if chunk.path_H3 is None else replace(chunk, path_H3=chunk.path_H3 + off_3)

    def _look(self, frames: tuple[Frame, ...], memories: Memories) -> None:
        drives = self._ways.of(memories)
        if not len(drives):
            return
        for frame in frames:
            self._drift.see(frame, drives)
        self._known.offset = self._drift.offset
