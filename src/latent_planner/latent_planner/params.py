"""Parameters of the planner."""

from __future__ import annotations

import math
from dataclasses import dataclass

from latent_planner.ground_settings import GroundSettings
from latent_planner.limits import Limits
from latent_planner.mppi import MppiSettings
from latent_planner.planner import PlannerSettings
from wm_ros import ModelParams, param

ARRAY, TWIST, TWIST_STAMPED = OUTPUTS = "float32_multi_array", "twist", "twist_stamped"


@dataclass(frozen=True, kw_only=True)
class LatentPlannerParams(ModelParams):
    """Everything that may differ between two deployments of this node."""

    drive: bool = param(False, "Whether commands go to the robot itself, on /actions; else on /planned_actions only.")
    output: str = param(ARRAY, "What the robot is commanded with on /actions.", choices=OUTPUTS)
    output_frame: str = param("base_link", "Frame of commands that have one.")
    rate: float = param(10.0, "Plans made anew in a second [Hz].", low=0.5, high=50.0)
    max_speed_m_s: float = param(1.0, "Greatest forward speed [m/s].", low=0.01, high=30.0)
    max_reverse_m_s: float = param(0.0, "Greatest speed backwards [m/s]; 0: never.", low=0.0, high=30.0)
    max_yaw_rate_rad_s: float = param(2.0, "Greatest yaw rate [rad/s].", low=0.01, high=20.0)
    max_acceleration_m_s2: float = param(3.0, "Greatest change of speed in a second [m/s^2].", low=0.01, high=100.0)
    max_yaw_acceleration_rad_s2: float = param(
        12.0, "Greatest change of the yaw rate in a second [rad/s^2].", low=0.01, high=1000.0
    )
    max_jerk_m_s3: float = param(60.0, "Greatest change of the acceleration [m/s^3].", low=0.01, high=1e5)
    max_yaw_jerk_rad_s3: float = param(240.0, "Greatest change of the yaw acceleration [rad/s^3].", low=0.01, high=1e5)
    plans: int = param(1000, "Plans sampled each time.", low=32, high=100_000)
    steps: int = param(56, "Steps that each plan reaches ahead.", low=2, high=1000)
    imagine: bool = param(
        True, "Whether the 16 best plans are imagined with memory, and refused where that has little to say."
    )
    surprise_margin: float = param(
        0.2, "By how much less memories may say along a plan than along the best known, a share of the forecast.",
        low=0.0, high=1.0,
    )  # fmt: skip
    reached_m: float = param(0.4, "Distance from a goal at which it is reached [m].", low=0.02, high=10.0)
    reached_rad: float = param(
        0.35, "Difference in yaw from a goal at which it is reached [rad].", low=0.01, high=math.pi
    )
    stopped_m_s: float = param(0.05, "Speed below which the robot stands [m/s].", low=0.001, high=1.0)
    half_width_m: float = param(0.25, "How far beside a drive ground is known [m].", low=0.05, high=10.0)
    gap_m: float = param(1.5, "Memories of a drive this near follow on known ground [m].", low=0.1, high=100.0)
    unknown_cost: float = param(10.0, "Metres of known ground that one never driven costs.", low=1.0, high=1000.0)
    same_place_m: float = param(
        1.0, "Two memories this near, and within 30 degrees, are of one place [m].", low=0.05, high=100.0
    )
    least_confidence: float = param(
        0.5, "A picture recognised with less is no goal, where the goal itself asks for nothing.", low=0.0, high=1.0
    )
    window_radius_m: float = param(
        1000.0, "Memories within this distance of the robot are planned with [m].", low=1.0, high=1e6
    )
    window_max_count: int = param(
        20_000, "Memories planned with at most; where more lie near, the radius becomes smaller.", low=1, high=50_000
    )
    window_period_s: float = param(0.5, "Time between looks at what changed in the memory [s].", low=0.02, high=60.0)
    input_timeout_s: float = param(
        0.5, "Age of the newest latent with a pose at which the robot is stopped [s].", low=0.05, high=60.0
    )
    memory_timeout_s: float = param(
        3.0, "Silence of the memory at which the robot is stopped [s].", low=0.1, high=600.0
    )
    blocked_timeout_s: float = param(
        10.0, "Standing where it is to drive after which a goal is given up, with drive [s]; 0: never.",
        low=0.0, high=600.0,
    )  # fmt: skip
    lookup_timeout_s: float = param(
        5.0, "Longest time to turn a picture into a place and find the way there [s].", low=0.1, high=600.0
    )
    time_limit_s: float = param(
        300.0, "Time after which a goal is given up, where the goal itself names none [s]; 0: never.", low=0.0, high=1e6
    )
    profile: str = param(
        "",
        "Folder of this robot's profile, or the name of one in ~/.ros/world_model/NAMESPACE (or ROS_HOME), where "
        "transition_predictor keeps what it learned of its motion; empty: it is learned anew.",
        env="WM_PROFILE",
    )
    calibrate: bool = param(True, "Whether the motion model is learned while driving.")
    seed: int = param(0, "Seed of the sampled plans.", low=0)
    latent_timeout_s: float = param(2.0, "Silence of /latent/state that is a fault [s].", low=0.1, high=3600.0)

    @property
    def limits(self) -> Limits:
        """What has the last word on commands."""
        return Limits(
            low=(-self.max_reverse_m_s, -self.max_yaw_rate_rad_s),
            high=(self.max_speed_m_s, self.max_yaw_rate_rad_s),
            rate=(self.max_acceleration_m_s2, self.max_yaw_acceleration_rad_s2),
            jerk=(self.max_jerk_m_s3, self.max_yaw_jerk_rad_s3),
        )

    @property
    def planner(self) -> PlannerSettings:
        """When the robot is there."""
        return PlannerSettings(
            reached_m=self.reached_m,
            reached_rad=self.reached_rad,
            stopped_m_s=self.stopped_m_s,
            dock_m=0.5 * self.reached_m,
        )

    @property
    def mppi(self) -> MppiSettings:
        """How plans are sampled."""
        return MppiSettings(plans=self.plans, steps=self.steps)

    @property
    def ground(self) -> GroundSettings:
        """What counts as known ground."""
        return GroundSettings(half_width_m=self.half_width_m, gap_m=self.gap_m, unknown_cost=self.unknown_cost)
