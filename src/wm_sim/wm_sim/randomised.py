"""Worlds drawn at random: each seed another robot, with another camera, in another building, told in other numbers.

What is learned in many of them is no model of one corridor. ``RANGES`` says what is drawn from where.

Shape suffixes: T = times, 2 = forward speed [m/s] and yaw rate [rad/s], or the two numbers that tell them.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np

from wm_sim.settings import Camera, Changes, Driving, PoseNoise, WorldConfig

TWIST, STEERING, WHEELS = "twist", "steering", "wheels"
KINDS = (TWIST, STEERING, WHEELS)
FRAME_RATES_HZ = (10.0, 15.0, 20.0, 30.0)
POSE_RATES_HZ = (7.0, 10.0, 20.0, 50.0, 100.0)
TEXTURED = 0.8
"""Share of the worlds with random textures over every surface."""
RANGES: dict[str, tuple[float, float]] = {
    "width_deg": (50.0, 110.0),
    "height_of_width": (0.7, 1.0),
    "camera_height_m": (0.15, 1.2),
    "tilt_deg": (-8.0, 25.0),
    "exposure": (0.6, 1.6),
    "white_balance": (0.8, 1.25),
    "corridor_m": (1.3, 1.8),
    "ceiling_m": (2.1, 3.6),
    "furniture_count": (4.0, 28.0),
    "movable_count": (2.0, 20.0),
    "speed_m_s": (0.5, 1.25),
    "delay_s": (0.0, 0.3),
    "lag_s": (0.02, 0.35),
    "lateral_std_m": (0.0, 0.06),
    "speed_std": (0.02, 0.2),
    "pause_interval_s": (20.0, 200.0),
    "detour_probability": (0.0, 0.6),
    "daylight_swing": (0.0, 0.4),
    "lamp_std": (0.0, 0.25),
    "image_noise_std": (0.0, 5.0),
    "position_std_m": (0.0, 0.05),
    "yaw_std_rad": (0.0, 0.02),
    "drift_std_m": (0.0, 0.12),
    "drift_std_rad": (0.0, 0.02),
    "latency_s": (0.0, 0.1),
    "action_scale": (0.3, 3.0),
    "action_offset": (-0.2, 0.2),
    "wheelbase_m": (0.2, 0.6),
}
"""What is drawn evenly between two values; exposure, white balance and scale evenly in their logarithm."""
# How far a robot may be driven before it obeys [m]: later, it cannot keep to a corridor.
_LATE_M = 0.3
_STANDING_M_S = 0.05
_STEERING_LIMIT_RAD = 0.9
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class ActionMeaning:
    """How a robot is told what to do, in two numbers.

    ``twist``: forward speed and yaw rate; ``steering``: forward speed and the angle of the front wheels of a car [rad];
    ``wheels``: speeds of the left and right wheels [m/s]. Each number is multiplied by its scale (negative: the other
    way round) and offset; then the two are swapped, where they are.

    Raises:
        ValueError: An unknown kind, or a wheelbase that is not positive.
    """

    kind: str = TWIST
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    swapped: bool = False
    wheelbase_m: float = 0.3

    def __post_init__(self) -> None:
        """Refuse what no robot is told."""
        if self.kind not in KINDS:
            raise ValueError(f"kind is '{self.kind}', expected {', '.join(KINDS)}")
        if not self.wheelbase_m > 0.0:
            raise ValueError(f"wheelbase_m is {self.wheelbase_m} m, expected more than 0 m")

    def told(self, command_T2: np.ndarray) -> np.ndarray:
        """Return the numbers that tell commands in their order, float32 [T, 2]."""
        speed_T, yaw_rate_T = np.asarray(command_T2, float).T
        told_T2 = np.stack([speed_T, yaw_rate_T], axis=1)
        if self.kind == STEERING:
            told_T2[:, 1] = _steered(speed_T, yaw_rate_T, self.wheelbase_m)
        elif self.kind == WHEELS:
            turn_T = yaw_rate_T * self.wheelbase_m / 2
            told_T2 = np.stack([speed_T - turn_T, speed_T + turn_T], axis=1)
        told_T2 = told_T2 * np.array(self.scale) + np.array(self.offset)
        told_T2 = told_T2[:, ::-1] if self.swapped else told_T2
        return np.asarray(told_T2, np.float32)


def _steered(speed_T: np.ndarray, yaw_rate_T: np.ndarray, wheelbase_m: float) -> np.ndarray:
    """Return the angle of a car's front wheels [rad]; standing, they stay as they were."""
    drives_T = np.abs(speed_T) >= _STANDING_M_S
    angle_T = np.arctan(wheelbase_m * yaw_rate_T / np.where(drives_T, speed_T, 1.0))
    angle_T = np.clip(np.where(drives_T, angle_T, 0.0), -_STEERING_LIMIT_RAD, _STEERING_LIMIT_RAD)
    last_T = np.maximum.accumulate(np.where(drives_T, np.arange(len(angle_T)), -1))
    held_T: np.ndarray = np.where(last_T >= 0, angle_T[last_T], 0.0)
    return held_T


@dataclass(frozen=True)
class RandomWorld:
    """One world: everything that a ``Simulation`` takes, and how it is recorded."""

    texture_seed: int | None
    frame_rate_hz: float
    pose_rate_hz: float
    camera: Camera = field(default_factory=Camera)
    world: WorldConfig = field(default_factory=WorldConfig)
    driving: Driving = field(default_factory=Driving)
    changes: Changes = field(default_factory=Changes)
    pose_noise: PoseNoise = field(default_factory=PoseNoise)
    meaning: ActionMeaning = field(default_factory=ActionMeaning)

    def to_json(self) -> dict[str, Any]:
        """Return its values by name, as JSON has them."""
        return {
            name: {key: list(value) if isinstance(value, tuple) else value for key, value in part.items()}
            if isinstance(part, dict)
            else part
            for name, part in asdict(self).items()
        }


def draw_world(seed: int) -> RandomWorld:
    """Return the random world of a seed.

    Raises:
        ValueError: The seed is negative.
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected 0 or more")
    draw = _Draw(seed)
    return RandomWorld(
        texture_seed=seed if draw.chance(TEXTURED) else None,
        frame_rate_hz=draw.one_of(FRAME_RATES_HZ),
        pose_rate_hz=draw.one_of(POSE_RATES_HZ),
        camera=_camera(draw),
        world=WorldConfig(
            corridor_m=draw("corridor_m"),
            ceiling_m=draw("ceiling_m"),
            furniture_count=int(draw("furniture_count")),
            movable_count=int(draw("movable_count")),
        ),
        driving=_driving(draw),
        changes=Changes(
            daylight_swing=draw("daylight_swing"),
            lamp_std=draw("lamp_std"),
            image_noise_std=draw("image_noise_std"),
        ),
        pose_noise=PoseNoise(
            **{name: draw(name) for name in ("position_std_m", "yaw_std_rad", "drift_std_m", "drift_std_rad")},
            latency_s=draw("latency_s"),
        ),
        meaning=_meaning(draw),
    )


class _Draw:
    """Draws values by their name in ``RANGES``, rounded so that they can be written down and read again."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 91])

    def __call__(self, name: str, *, log: bool = False) -> float:
        """Return a value, on a logarithmic scale if told so."""
        low, high = RANGES[name]
        part = float(self._rng.random())
        value = low * (high / low) ** part if log else low + part * (high - low)
        return min(max(round(value, 4), low), high)

    def chance(self, share: float) -> bool:
        """Return True in this share of all draws."""
        return bool(self._rng.random() < share)

    def one_of(self, values: tuple[_Value, ...]) -> _Value:
        """Return one of several values, each as likely."""
        return values[int(self._rng.integers(len(values)))]


def _camera(draw: _Draw) -> Camera:
    width_deg = draw("width_deg")
    tangent = math.tan(math.radians(width_deg / 2)) * draw("height_of_width")
    return Camera(
        width_deg=width_deg,
        height_deg=min(round(2 * math.degrees(math.atan(tangent)), 2), 100.0),
        height_m=draw("camera_height_m"),
        tilt_deg=draw("tilt_deg"),
        exposure=draw("exposure", log=True),
        red=draw("white_balance", log=True),
        blue=draw("white_balance", log=True),
    )


def _driving(draw: _Draw) -> Driving:
    names = ("speed_m_s", "delay_s", "lag_s", "lateral_std_m", "speed_std", "pause_interval_s", "detour_probability")
    drawn = {name: draw(name) for name in names}
    late_m = (drawn["delay_s"] + drawn["lag_s"]) * drawn["speed_m_s"]
    for name in ("delay_s", "lag_s"):
        drawn[name] = round(drawn[name] * min(_LATE_M / late_m, 1.0), 4)
    return Driving(**drawn)


def _meaning(draw: _Draw) -> ActionMeaning:
    kind = draw.one_of(KINDS)
    scale = [draw("action_scale", log=True) * (-1.0 if draw.chance(0.5) else 1.0) for _ in range(2)]
    offset = [draw("action_offset") if draw.chance(0.5) else 0.0 for _ in range(2)]
    return ActionMeaning(kind, (scale[0], scale[1]), (offset[0], offset[1]), draw.chance(0.5), draw("wheelbase_m"))
