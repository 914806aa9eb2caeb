"""Episodes of random worlds: each seed another robot, seen, localised and told at rates of its own.

Shape suffixes: T = frames, 2 = forward speed [m/s] and yaw rate [rad/s], or the two numbers that tell them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from world_model.data.stream import ActionEvent, PoseEvent

if TYPE_CHECKING:
    from wm_sim import RandomWorld, Simulation

_ACTION_RATE_HZ = 20.0


@dataclass
class Recorded:
    """What a robot in a random world records, in the order of its times.

    Attributes:
        images: Pictures, uint8 [S, S, 3] each.
        depths: Depth along the camera's axis [m], [S, S] each; empty unless asked for.
        motions: Measured forward speed [m/s] and yaw rate [rad/s] at the frames.
        stamps: Of the frames [ns].
        poses: Measured poses.
        actions: What the robot was told, in the numbers of its own.
    """

    images: list[np.ndarray] = field(default_factory=list)
    depths: list[np.ndarray] = field(default_factory=list)
    motions: list[tuple[float, float]] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)
    poses: list[PoseEvent] = field(default_factory=list)
    actions: list[ActionEvent] = field(default_factory=list)


def record(world: RandomWorld, seed: int, duration_s: float, image_size: int, depth: bool = False) -> Recorded:
    """Return what the robot of a random world records.

    Args:
        world: What it is.
        seed: Of its building and run.
        duration_s: Length [s].
        image_size: Side of the pictures [px].
        depth: Render depth too.
    """
    simulation = _simulation(world, seed, image_size, depth)
    recorded, commands = Recorded(), []
    # At one time the robot is told first, seen and localised then.
    rates = (("action", _ACTION_RATE_HZ), ("frame", world.frame_rate_hz), ("pose", world.pose_rate_hz))
    due = [
        (number / rate_hz, order, kind)
        for order, (kind, rate_hz) in enumerate(rates)
        for number in range(math.ceil(round(duration_s * rate_hz, 6)))
    ]
    told_ns = []
    for time_s, _, kind in sorted(due):
        if kind == "action":
            commands.append(simulation.act(time_s))
            told_ns.append(round(time_s * 1e9))
        elif kind == "pose":
            recorded.poses.append(_pose_event(simulation, time_s))
        else:
            _take_frame(simulation, time_s, recorded)
    told_T2 = world.meaning.told(np.array(commands))
    recorded.actions = [ActionEvent(stamp_ns, told_2) for stamp_ns, told_2 in zip(told_ns, told_T2)]
    return recorded


def described(seed: int, rate_hz: float | None) -> dict[str, Any]:
    """Return the drawn values of a seed's world, as the set's manifest keeps them."""
    return world_of(seed, rate_hz).to_json()


def world_of(seed: int, rate_hz: float | None) -> RandomWorld:
    """Return the world of a seed, its frames at a rate that is given [Hz], or drawn where it is None."""
    # Heavy and only needed to generate: training from bags does without the simulator.
    from wm_sim import draw_world

    world = draw_world(seed)
    return world if rate_hz is None else replace(world, frame_rate_hz=rate_hz)


def _simulation(world: RandomWorld, seed: int, image_size: int, depth: bool) -> Simulation:
    from wm_sim import Simulation

    return Simulation(
        seed,
        rate_hz=world.frame_rate_hz,
        image_size=(image_size, image_size),
        changes=world.changes,
        pose_noise=world.pose_noise,
        depth=depth,
        world=world.world,
        driving=world.driving,
        texture_seed=world.texture_seed,
        camera=world.camera,
    )


def _take_frame(simulation: Simulation, time_s: float, recorded: Recorded) -> None:
    image, depth = simulation.frame(time_s)
    recorded.images.append(image)
    recorded.stamps.append(round(time_s * 1e9))
    recorded.motions.append(simulation.motion)
    if depth is not None:
        recorded.depths.append(depth)


def _pose_event(simulation: Simulation, time_s: float) -> PoseEvent:
    (x, y, yaw), arrival_s = simulation.measure_pose(time_s)
    quaternion = (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2))
    return PoseEvent(round(arrival_s * 1e9), round(time_s * 1e9), (x, y, 0.0), quaternion)
