"""Parameters of the frame broadcaster."""

from __future__ import annotations

from dataclasses import dataclass

from wm_ros import ManagedParams, param


@dataclass(frozen=True, kw_only=True)
class FrameBroadcasterParams(ManagedParams):
    """Everything that may differ between two deployments of this node."""

    fixed_frame: str = param("map", "What viewers show everything in; it exists from the start.")
    robot_frame: str = param("wm_robot", "Name of the frame that follows the robot; no other node may publish it.")
    tie: bool = param(True, "Whether a frame of poses that nobody ties to another is shown as if it were fixed_frame.")
    patience_s: float = param(
        2.0, "How long others have time to say where the frame of the poses lies [s].", low=0.0, high=60.0
    )
