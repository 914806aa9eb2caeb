"""What a robot's profile adds to an artifact that is evaluated, as the graph's nodes would take it up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wm_core.projection import Projection
from world_model.errors import DataError
from world_model.runtime.adapted import adapted_artifact
from world_model.runtime.artifacts import Artifact
from world_model.runtime.calibration import FUTURES, STATE_VERSION
from world_model.runtime.fitting import saved_projection
from world_model.runtime.handed_on import Learned, known_experts
from world_model.runtime.profile import MOTION, Profile


@dataclass(frozen=True)
class KnownRobot:
    """An artifact, and what is known of the robot that it is evaluated on.

    Attributes:
        artifact: The one given, or the one that the profile names in its place.
        motion_state: What was learned of the motion; ``None`` for nothing.
        projection: The robot's own; ``None`` for none.
        experts: What was learned of experts; ``None`` for nothing.
        is_adapted: Whether the profile names the artifact.
    """

    artifact: Artifact
    motion_state: Mapping[str, Any] | None = None
    projection: Projection | None = None
    experts: Learned | None = None
    is_adapted: bool = False

    def says(self) -> list[str]:
        """Return what was taken from the profile, a line for each part."""
        lines = [f"network of {self.artifact.path}"] if self.is_adapted else []
        if self.motion_state is not None:
            names = ", ".join(f"{self.motion_state['names'][future]} where actions are {future}" for future in FUTURES)
            lines.append(f"motion: {names}")
        if self.projection is not None:
            lines.append(f"projection {self.projection.encoder_id}, in use from the first frame")
        if self.experts is not None:
            lines.append(f"experts, learned in the basis {self.experts.entries.get('encoder_id')}")
        return lines


def known_robot(artifact: Artifact, folder: Path | None) -> KnownRobot:
    """Return an artifact with what a profile adds to it; without a folder, nothing.

    Raises:
        DataError: There is no profile in the folder.
        ProfileError: A part of it is damaged, or does not fit the artifact.
        ArtifactError: The artifact that it names is missing or damaged.
    """
    if folder is None:
        return KnownRobot(artifact)
    profile = Profile(folder)
    if not profile.names():
        raise DataError(f"{folder} holds no profile; `wm adapt RECORDING --profile {folder}` makes one")
    motion, fixed = profile.read(MOTION, STATE_VERSION), artifact.projection
    projection = None if fixed is None else saved_projection(profile, fixed.space, fixed.z_dim)
    state = None if motion is None else motion.entries
    adapted = adapted_artifact(profile, artifact)
    return KnownRobot(adapted or artifact, state, projection, known_experts(profile), adapted is not None)
