"""Parameters of the latent publisher."""

from __future__ import annotations

from dataclasses import dataclass

from wm_core.alignment import Waits
from wm_ros import ACTION_SOURCES, AUTO, POSE_SOURCES, TRANSPORTS, ModelParams, param

_WAITS = Waits()


@dataclass(frozen=True, kw_only=True)
class LatentPublisherParams(ModelParams):
    """Everything that may differ between two deployments of this node."""

    publish_rate: float = param(20.0, "Most latents per second, by the frames' stamps [Hz].", low=0.1, high=200.0,
                                runtime=True)  # fmt: skip
    image_transport: str = param(
        "auto",
        "raw, compressed (TOPIC/compressed), foxglove_video, ffmpeg (TOPIC/ffmpeg), or auto: raw, else compressed.",
        choices=TRANSPORTS,
    )
    pose_source: str = param(
        AUTO,
        "Type on the pose topic, or tf; auto: what is published there, else tf, and it says what it took.",
        choices=(AUTO, *POSE_SOURCES),
    )
    action_source: str = param(
        AUTO,
        "Type on the action topic; auto: what is published there, and it says what it took.",
        choices=(AUTO, *ACTION_SOURCES),
    )
    tf_map_frame: str = param("", "Frame that tf gives the pose in; empty: the first of map, odom, world it connects.")
    tf_body_frame: str = param("", "Frame whose pose tf gives; empty: base_link, base_footprint or an optical one.")
    pose_wait_s: float = param(
        _WAITS.pose_wait_s,
        "Longest that /latent/state waits for a measured pose after the frame [s]; 0: the expected one does.",
        low=0.0,
        high=1.0,
    )
    action_wait_s: float = param(
        _WAITS.action_wait_s,
        "Longest that /latent/state waits for an action given with the frame [s].",
        low=0.0,
        high=1.0,
    )
    pose_max_age_s: float = param(
        _WAITS.pose_max_age_s, "Furthest that a pose is extrapolated [s].", low=0.001, high=10.0
    )
    action_max_age_s: float = param(
        _WAITS.action_max_age_s, "Longest that an action holds without another [s].", low=0.001, high=60.0
    )
    profile: str = param(
        "",
        "Folder of this robot's profile, or the name of one in ~/.ros/world_model/NAMESPACE (or ROS_HOME): its own "
        "projection is kept there; empty: nothing is kept.",
        env="WM_PROFILE",
    )
    projection_frames: int = param(
        600,
        "Frames in motion that the robot's own projection of features is fitted on, a third of them where a slow "
        "camera takes as long for those; 0: the artifact's stays.",
        low=0,
        high=100_000,
    )
    camera_offset_s: float = param(
        0.0,
        "Added to the camera's stamps to get the clock of poses and actions, where it has one of its own [s].",
        low=-(2.0**32),
        high=2.0**32,
    )
    camera_offset_by_arrival: bool = param(
        False,
        "Let the times at which frames and poses arrive tell that offset: right to the difference of their delays.",
    )
    image_timeout_s: float = param(2.0, "Silence of an input that is a fault [s].", low=0.1, high=3600.0)

    def waits(self) -> Waits:
        """How long is waited for what belongs to a frame, and how old it may be."""
        return Waits(
            pose_wait_s=self.pose_wait_s,
            action_wait_s=self.action_wait_s,
            pose_max_age_s=self.pose_max_age_s,
            action_max_age_s=self.action_max_age_s,
        )
