"""Parameters of the transition predictor."""

from __future__ import annotations

from dataclasses import dataclass

from transition_predictor.showing.strip import KINDS
from wm_ros import TRANSPORTS, ModelParams, param


@dataclass(frozen=True, kw_only=True)
class TransitionPredictorParams(ModelParams):
    """Everything that may differ between two deployments of this node."""

    use_memory: bool = param(True, "Whether forecasts are conditioned on memories.", runtime=True)
    top_k: int = param(
        0, "Memories asked for per forecast; 0 as the artifact was trained.", low=0, high=256, env="TOPK"
    )
    memory_deadline_s: float = param(
        0.015,
        "Longest wait for the memory's answer; then the forecast is made without [s].",
        low=0.001,
        high=1.0,
        runtime=True,
    )
    window_radius_m: float = param(
        30.0, "Memories within this distance of the robot are held at hand [m]; 0: none, each forecast asks.",
        low=0.0, high=10_000.0,
    )  # fmt: skip
    window_max_age_s: float = param(
        0.0, "Only memories at most this much older than the newest are held [s]; 0: any.", low=0.0, high=1e9
    )
    window_max_count: int = param(
        10_000, "Memories held at most; where more lie near, the radius becomes smaller. 0: any number.",
        low=0, high=1_000_000,
    )  # fmt: skip
    window_period_s: float = param(
        0.5, "Time between two looks at what changed in the memory [s].", low=0.02, high=60.0
    )
    use_history: bool = param(False, "Whether forecasts are conditioned on the visual history.")
    history_max_age_s: float = param(2.5, "A visual history older than this is stale [s].", low=0.1, high=60.0)
    expected_frame: str = param(
        "", "Frame on /tf at the pose expected furthest ahead, as base_link_expected; empty: none. Needs tf2_msgs."
    )
    profile: str = param(
        "",
        "Folder of this robot's profile, or the name of one in ~/.ros/world_model/NAMESPACE (or ROS_HOME): what was "
        "learned of its motion is kept there; empty: nothing is kept.",
        env="WM_PROFILE",
    )
    calibrate: bool = param(True, "Whether the motion model is learned while driving.")
    imagination_rate: float = param(
        2.0, "Pictures per second on imagination/image, while somebody looks [Hz]; 0: never.", low=0.0, high=20.0
    )
    imagination_pictures: str = param(
        "auto",
        "What shows the foreseen: pictures that the artifact decodes, those that are remembered, or auto: whichever "
        "was more like what was then seen.",
        choices=KINDS,
    )
    image_transport: str = param("auto", "How the camera's pictures come, as in latent_publisher.", choices=TRANSPORTS)
    latent_timeout_s: float = param(2.0, "Silence of /latent/state that is a fault [s].", low=0.1, high=3600.0)
