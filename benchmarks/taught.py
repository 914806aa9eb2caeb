"""A taught route in the simulator: what a first lap leaves in the memory, and how far off it a later drive is.

Shape suffixes: N = memories, P = points of the way, L = legs between them, D = latent size, 3 = x, y [m], yaw [rad].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from policy_runner.policies import Memories
from wm_core.memory.journal import Area, WindowAsk, WindowUpdate
from wm_core.memory.keyframes import Spacing
from wm_core.memory.packed import Packed
from wm_core.memory.record import MemoryRecord
from wm_core.se2 import Pose2
from wm_sim import STILL, Driving, Simulation
from wm_sim.contact import Surroundings

RATE_HZ, SMALLEST, PICTURE = 20.0, (8, 8), (64, 64)
CLOSED_M, OVERLAP_M, LONGEST_LAPS = 1.0, 4.0, 3.0
MOST_LAPS, ANOTHER_LAP = 50, 10_000
NS, Z_DIM, ENCODER_ID = 1_000_000_000, 2, "none"
Look = Callable[[np.ndarray], np.ndarray]
"""Returns what a picture [H, W, 3] looks like, [D]."""
# Taught and driven again the same way: the ring, without the short cut.
TAUGHT = Driving(detour_probability=0.0)


@dataclass(frozen=True, eq=False)
class Route:
    """What was taught.

    Attributes:
        seed: Of the building.
        memories: As the spatial memory keeps them: measured poses at its spacing, with the command there.
        way_P3: Where the robot truly was.
        length_m: Of one round.
    """

    seed: int
    memories: Memories
    way_P3: np.ndarray
    length_m: float

    def off_m(self, pose_3: tuple[float, float, float]) -> float:
        """Return how far beside the taught way a true pose is [m]: the nearest leg that faces the same way."""
        begin_L2, end_L2 = self.way_P3[:-1, :2], self.way_P3[1:, :2]
        way_L2 = end_L2 - begin_L2
        from_L2 = np.array(pose_3[:2]) - begin_L2
        length2_L = np.maximum((way_L2**2).sum(axis=1), 1e-12)
        share_L = np.clip((from_L2 * way_L2).sum(axis=1) / length2_L, 0.0, 1.0)
        off_L2 = from_L2 - share_L[:, None] * way_L2
        turn_L = np.abs(np.angle(np.exp(1j * (self.way_P3[:-1, 2] - pose_3[2]))))
        off_L = np.where(turn_L < math.radians(90.0), np.hypot(off_L2[:, 0], off_L2[:, 1]), np.inf)
        return float(off_L.min())


def blind(image_HW3: np.ndarray) -> np.ndarray:
    """Return the same for every picture."""
    return np.zeros(Z_DIM)


def picture_size(look: Look) -> tuple[int, int]:
    """Return how large pictures are to be for a look."""
    return SMALLEST if look is blind else PICTURE


class Lap:
    """Whether a lap is closed: it came by where it began, and went on from there.

    Args:
        length_m: Of a round, about.
    """

    def __init__(self, length_m: float) -> None:
        self._length_m, self._way_m, self._closed_m = length_m, 0.0, math.inf
        self._first: Sequence[float] | None = None
        self._last: Sequence[float] = ()

    def is_closed(self, pose_3: Sequence[float]) -> bool:
        """Take a pose; return whether the lap is over, or will never be."""
        if self._first is None:
            self._first = self._last = pose_3
        self._way_m += math.dist(self._last[:2], pose_3[:2])
        self._last = pose_3
        is_round = self._way_m > 0.5 * self._length_m and math.dist(self._first[:2], pose_3[:2]) < CLOSED_M
        self._closed_m = min(self._closed_m, self._way_m) if is_round else self._closed_m
        return self._way_m > min(self._closed_m + CLOSED_M + OVERLAP_M, LONGEST_LAPS * self._length_m)


def ring_length_m(building: Any) -> float:
    """Return how long a round through a building is [m]."""
    return float(np.hypot(*(np.roll(building.ring_E2, -1, axis=0) - building.ring_E2).T).sum())


def lap_seed(seed: int, **options: Any) -> int:
    """Return the first seed of a run in a building whose lap touches nothing.

    A robot that drives by itself goes through everything: what it does there no robot of its size could do again.

    Args:
        seed: Of the building, and of the first run tried.
        options: As for ``Simulation``.

    Raises:
        ValueError: None of ``MOST_LAPS`` runs does.
    """
    for number in range(MOST_LAPS):
        run = Simulation(seed + number * ANOTHER_LAP, **_usual(seed, options) | {"image_size": SMALLEST})
        if _touches_nothing(run):
            return seed + number * ANOTHER_LAP
    raise ValueError(f"building {seed}: each of {MOST_LAPS} laps touches something")


def _touches_nothing(run: Simulation) -> bool:
    around = Surroundings(run.building, run.bodies[1], lambda: run.bodies[0])
    return all(around.clearance_m(*pose[:2]) >= 0.0 for pose in _lap(run, Lap(_length_m(run))))


def _usual(seed: int, options: dict[str, Any]) -> dict[str, Any]:
    return {"building_seed": seed, "changes": STILL, "driving": TAUGHT} | options


def _length_m(run: Simulation) -> float:
    return ring_length_m(run.building)


def _lap(run: Simulation, lap: Lap) -> Iterator[tuple[float, float, float]]:
    """Yield where the robot truly is at each frame, until the lap is over."""
    for number in count():
        run.act(number / RATE_HZ)
        pose = run.robot.pose_at(number / RATE_HZ)
        yield pose
        if lap.is_closed(pose):
            return


def teach(seed: int, look: Look = blind, **options: Any) -> Route:
    """Return what a lap through a building, driven by itself, leaves behind; options as for ``Simulation``.

    Raises:
        ValueError: No lap was found that touches nothing.
    """
    run = Simulation(lap_seed(seed, **options), **_usual(seed, {"image_size": picture_size(look)} | options))
    length_m = _length_m(run)
    spacing, last = Spacing(), None
    kept: list[tuple[int, tuple[float, float, float], tuple[float, float], np.ndarray]] = []
    way: list[tuple[float, float, float]] = []
    for true_pose in _lap(run, Lap(length_m)):
        time_s = len(way) / RATE_HZ
        pose, _ = run.measure_pose(time_s)
        way.append(true_pose)
        stamp_ns, place = round(time_s * NS), Pose2(pose[0], pose[1], 0.0, pose[2])
        if spacing.is_due(last, stamp_ns, place):
            last = stamp_ns, place
            kept.append((stamp_ns, pose, run.robot.command, look(run.frame(time_s)[0])))
    stamp_N, pose_N3, action_NA, latent_ND = (np.array(column) for column in zip(*kept))
    memories = Memories(stamp_N, np.zeros(len(stamp_N), int), pose_N3, action_NA, latent_ND)
    return Route(seed, memories, np.array(way), length_m)


def around(memories: Memories, pose_3: np.ndarray, radius_m: float) -> Memories:
    """Return the memories within a distance of a place."""
    near_N = np.hypot(*(memories.pose_N3[:, :2] - pose_3[:2]).T) <= radius_m
    latent_ND = memories.latent_ND
    return Memories(
        memories.stamp_N[near_N], memories.session_N[near_N], memories.pose_N3[near_N], memories.action_NA[near_N],
        None if latent_ND is None else latent_ND[near_N],
    )  # fmt: skip


class TaughtMemory:
    """A route as a memory of the same process: what a node's window is filled from.

    Args:
        route: What was taught.
    """

    def __init__(self, route: Route) -> None:
        memories = route.memories
        assert memories.latent_ND is not None
        columns = (
            memories.pose_N3.tolist(),
            memories.action_NA.astype(np.float32),
            memories.latent_ND.astype(np.float32),
        )
        self._records = [
            MemoryRecord(
                stamp_ns, latent_D, x, y, id=number, yaw=yaw, encoder_id=ENCODER_ID, session="taught", action_A=action_A
            )
            for number, (stamp_ns, (x, y, yaw), action_A, latent_D) in enumerate(
                zip(memories.stamp_N.tolist(), *columns), 1
            )
        ]
        self._z_dim = memories.latent_ND.shape[1]

    def window(self, ask: WindowAsk) -> WindowUpdate:
        """Return all of it to who does not hold it yet."""
        is_whole = ask.epoch != 1
        packed = Packed.of(self._records if is_whole else [], ENCODER_ID, "map", self._z_dim, 2)
        area = Area(ask.area.x, ask.area.y, ask.area.radius_m)
        newest_ns = self._records[-1].stamp_ns
        return WindowUpdate(1, 1, is_whole, "first", area, newest_ns, None, True, packed, np.empty(0, int))
