"""What may be chosen about a simulated run: building, camera, driving, what changes over time, how poses err."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields


def _check(owner: object, unit_of: dict[str, str], low: dict[str, float], high: dict[str, float]) -> None:
    """Raise ValueError when a field of ``owner`` is not a finite number within its bounds (0 and up unless told)."""
    for field in fields(owner):  # type: ignore[arg-type]
        value = getattr(owner, field.name)
        least, most = low.get(field.name, 0.0), high.get(field.name, math.inf)
        if not (math.isfinite(value) and least <= value <= most):
            unit = unit_of.get(field.name, "")
            name = f"{type(owner).__name__}.{field.name}"
            raise ValueError(f"{name} is {value} {unit}".rstrip() + f", expected {least} to {most} {unit}".rstrip())


@dataclass(frozen=True)
class WorldConfig:
    """How a building is made; two buildings of one config differ by their seed.

    Raises:
        ValueError: A value is outside its range.
    """

    corridor_m: float = 1.5
    ceiling_m: float = 2.4
    room_count: int = 7
    niche_count: int = 14
    furniture_count: int = 16
    movable_count: int = 10

    def __post_init__(self) -> None:
        _check(
            self,
            {"corridor_m": "m", "ceiling_m": "m"},
            low={"corridor_m": 1.2, "ceiling_m": 2.0},
            high={"corridor_m": 1.8, "ceiling_m": 4.0, "furniture_count": 60, "movable_count": 60},
        )


@dataclass(frozen=True)
class Camera:
    """The robot's eye, in the middle of the robot and looking ahead.

    ``width_deg`` and ``height_deg`` are the fields of view, ``tilt_deg`` is how far it looks down (up where negative).
    ``exposure`` multiplies every colour before it is cut off at white, ``red`` and ``blue`` one more each, as a white
    balance does.

    Raises:
        ValueError: A value is outside its range.
    """

    width_deg: float = 80.0
    height_deg: float = 64.4
    height_m: float = 0.7
    tilt_deg: float = 0.0
    exposure: float = 1.0
    red: float = 1.0
    blue: float = 1.0

    def __post_init__(self) -> None:
        _check(
            self,
            {"width_deg": "deg", "height_deg": "deg", "height_m": "m", "tilt_deg": "deg"},
            low={"width_deg": 20.0, "height_deg": 20.0, "height_m": 0.05, "tilt_deg": -30.0}
            | dict.fromkeys(("exposure", "red", "blue"), 0.1),
            high={"width_deg": 120.0, "height_deg": 100.0, "height_m": 1.9, "tilt_deg": 30.0}
            | dict.fromkeys(("exposure", "red", "blue"), 10.0),
        )


@dataclass(frozen=True)
class Driving:
    """How the robot drives: speed, wandering, and how late and slowly it does what it is told.

    A command takes effect ``delay_s`` after it was given and the speeds follow it with a first-order lag ``lag_s``.

    Raises:
        ValueError: A value is outside its range.
    """

    speed_m_s: float = 1.2
    delay_s: float = 0.08
    lag_s: float = 0.12
    lateral_std_m: float = 0.03
    speed_std: float = 0.10
    pause_interval_s: float = 60.0
    detour_probability: float = 0.3

    def __post_init__(self) -> None:
        _check(
            self,
            {"speed_m_s": "m/s", "delay_s": "s", "lag_s": "s", "lateral_std_m": "m", "pause_interval_s": "s"},
            low={"speed_m_s": 0.2},
            high={
                "speed_m_s": 1.25,
                "delay_s": 0.5,
                "lag_s": 0.5,
                "lateral_std_m": 0.12,
                "speed_std": 0.2,
                "detour_probability": 1.0,
            },
        )


@dataclass(frozen=True)
class Changes:
    """What becomes different between two visits to a place. An interval of 0 means never.

    Raises:
        ValueError: A value is outside its range.
    """

    daylight_swing: float = 0.20
    daylight_period_s: float = 240.0
    lamp_std: float = 0.12
    lamp_switch_interval_s: float = 120.0
    move_interval_s: float = 60.0
    walker_count: int = 3
    walker_speed_m_s: float = 0.6
    image_noise_std: float = 1.5

    def __post_init__(self) -> None:
        _check(
            self,
            {
                "daylight_period_s": "s",
                "lamp_switch_interval_s": "s",
                "move_interval_s": "s",
                "walker_speed_m_s": "m/s",
                "image_noise_std": "of 255 grey levels",
            },
            low={"daylight_period_s": 1.0},
            high={
                "daylight_swing": 0.6,
                "lamp_std": 0.5,
                "walker_count": 20,
                "walker_speed_m_s": 2.0,
                "image_noise_std": 30.0,
            },
        )


@dataclass(frozen=True)
class PoseNoise:
    """How a measured pose differs from the true one: white noise, slow drift, latency.

    The drift is an Ornstein-Uhlenbeck process: standard deviation ``drift_std_*``, correlation time ``drift_time_s``.
    The latency is Gaussian (mean ``latency_s``, standard deviation ``latency_jitter_s``), never negative, and poses
    arrive in the order they were taken.

    Raises:
        ValueError: A value is outside its range.
    """

    position_std_m: float = 0.02
    yaw_std_rad: float = 0.01
    drift_std_m: float = 0.05
    drift_std_rad: float = 0.01
    drift_time_s: float = 60.0
    latency_s: float = 0.03
    latency_jitter_s: float = 0.005

    def __post_init__(self) -> None:
        _check(
            self,
            {
                "position_std_m": "m",
                "yaw_std_rad": "rad",
                "drift_std_m": "m",
                "drift_std_rad": "rad",
                "drift_time_s": "s",
                "latency_s": "s",
                "latency_jitter_s": "s",
            },
            low={"drift_time_s": 0.1},
            high={"yaw_std_rad": math.pi, "drift_std_rad": math.pi, "latency_s": 10.0, "latency_jitter_s": 10.0},
        )


DEFAULT_CAMERA = Camera()
DEFAULT_CHANGES = Changes()
STILL = Changes(
    daylight_swing=0.0,
    lamp_std=0.0,
    lamp_switch_interval_s=0.0,
    move_interval_s=0.0,
    walker_count=0,
    walker_speed_m_s=0.0,
    image_noise_std=0.0,
)
DEFAULT_POSE_NOISE = PoseNoise()
EXACT = PoseNoise(
    position_std_m=0.0,
    yaw_std_rad=0.0,
    drift_std_m=0.0,
    drift_std_rad=0.0,
    latency_s=0.0,
    latency_jitter_s=0.0,
)
