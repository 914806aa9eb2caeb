"""Parameters of the node ``wm_sim``. Defaults of what may err or change are those of ``wm_sim.settings``."""

from __future__ import annotations

from dataclasses import dataclass

from wm_ros import param
from wm_sim.settings import Changes, Driving, PoseNoise
from wm_sim.simulation import ACTIONS, PATH
from wm_sim.tasks import TASKS

_CHANGES, _NOISE, _DRIVING = Changes(), PoseNoise(), Driving()


@dataclass(frozen=True)
class WmSimParams:
    """Everything that may differ between two simulated robots."""

    seed: int = param(0, "Seed of all that happens in the run.", low=0)
    building_seed: int = param(-1, "Seed of the building and its look; -1 takes the run's seed.", low=-1)
    width: int = param(160, "Picture width [pixels]; the field of view stays the same.", low=8, high=2160)
    height: int = param(120, "Picture height [pixels]; the field of view stays the same.", low=8, high=2160)
    rate_hz: float = param(20.0, "Camera frames per second.", low=0.1, high=100.0)
    pose_rate_hz: float = param(20.0, "Poses per second.", low=0.1, high=100.0)
    duration_s: float = param(0.0, "Time after which the robot stops sending [s]; 0 goes on for ever.", low=0.0)
    time_scale: float = param(
        0.0,
        "Publish /clock, at most so many simulated seconds in a second, slower where the machine is; 0: real time.",
        low=0.0,
        high=100.0,
    )
    wait_for_camera_subscriber: bool = param(False, "Start driving when somebody subscribes to the camera.")
    driven_by: str = param(
        PATH,
        "Who drives: path (the robot itself, lap after lap), or actions (whoever publishes /actions).",
        choices=(PATH, ACTIONS),
    )
    task: str = param(
        "",
        "What a robot driven by actions is to do; empty: nothing. Start and goal follow from the seed.",
        choices=("", *TASKS),
    )
    depth: bool = param(False, "Also publish /camera/depth/image_raw (32FC1, metres along the camera's axis).")
    proprioception: bool = param(False, "Also publish /proprioception: measured forward speed and yaw rate.")
    map_frame: str = param("map", "Frame of the poses.")
    camera_frame: str = param("camera", "Frame of the pictures.")
    speed_m_s: float = param(_DRIVING.speed_m_s, "Usual speed on a straight [m/s].", low=0.2, high=1.25)
    detour_probability: float = param(
        _DRIVING.detour_probability, "Chance to take the short cut when coming by, after the first lap.", low=0, high=1
    )
    pose_position_std_m: float = param(_NOISE.position_std_m, "White noise of x and y [m].", low=0.0, high=10.0)
    pose_yaw_std_rad: float = param(
        _NOISE.yaw_std_rad, "White noise of the yaw [rad].", low=0.0, high=3.0, alias="pose_heading_std_rad"
    )
    pose_drift_std_m: float = param(_NOISE.drift_std_m, "Slow drift of x and y [m].", low=0.0, high=10.0)
    pose_drift_std_rad: float = param(_NOISE.drift_std_rad, "Slow drift of the yaw [rad].", low=0.0, high=3.0)
    pose_drift_time_s: float = param(_NOISE.drift_time_s, "Correlation time of the drift [s].", low=0.1)
    pose_latency_s: float = param(
        _NOISE.latency_s, "How long after its stamp a pose is published [s].", low=0.0, high=10.0
    )
    pose_latency_jitter_s: float = param(
        _NOISE.latency_jitter_s, "Standard deviation of that latency [s].", low=0.0, high=10.0
    )
    daylight_swing: float = param(_CHANGES.daylight_swing, "How far daylight goes up and down.", low=0.0, high=0.6)
    daylight_period_s: float = param(_CHANGES.daylight_period_s, "Period of the daylight [s].", low=1.0)
    lamp_std: float = param(_CHANGES.lamp_std, "Slow variation of each lamp.", low=0.0, high=0.5)
    lamp_switch_interval_s: float = param(
        _CHANGES.lamp_switch_interval_s, "Mean time until a lamp goes off [s]; 0 never.", low=0.0
    )
    move_interval_s: float = param(
        _CHANGES.move_interval_s, "Mean time until a movable object is moved [s]; 0 never.", low=0.0
    )
    walker_count: int = param(_CHANGES.walker_count, "People walking the corridors.", low=0, high=20)
    walker_speed_m_s: float = param(_CHANGES.walker_speed_m_s, "How fast they walk [m/s].", low=0.0, high=2.0)
    image_noise_std: float = param(
        _CHANGES.image_noise_std, "Noise of the camera [grey levels of 255].", low=0.0, high=30.0
    )

    @property
    def changes(self) -> Changes:
        """What changes over time."""
        return Changes(
            daylight_swing=self.daylight_swing,
            daylight_period_s=self.daylight_period_s,
            lamp_std=self.lamp_std,
            lamp_switch_interval_s=self.lamp_switch_interval_s,
            move_interval_s=self.move_interval_s,
            walker_count=self.walker_count,
            walker_speed_m_s=self.walker_speed_m_s,
            image_noise_std=self.image_noise_std,
        )

    @property
    def pose_noise(self) -> PoseNoise:
        """How poses err."""
        return PoseNoise(
            position_std_m=self.pose_position_std_m,
            yaw_std_rad=self.pose_yaw_std_rad,
            drift_std_m=self.pose_drift_std_m,
            drift_std_rad=self.pose_drift_std_rad,
            drift_time_s=self.pose_drift_time_s,
            latency_s=self.pose_latency_s,
            latency_jitter_s=self.pose_latency_jitter_s,
        )
