"""A taught route in the simulator: what a first lap leaves in the memory, and how far off it a later drive is.

Shape suffixes: N = memories, P = points of the way, L = legs between them, 3 = x, y [m], yaw [rad].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from policy_runner.policies import Memories
from wm_core.memory.journal import Area, WindowAsk, WindowUpdate
from wm_core.memory.keyframes import Spacing
from wm_core.memory.packed import Packed
from wm_core.memory.record import MemoryRecord
from wm_core.se2 import Pose2
from wm_sim import STILL, Driving, Simulation, make_building

RATE_HZ, SMALLEST, LAP_OVERLAP, USUAL_PACE = 20.0, (8, 8), 1.15, 0.85
NS, Z_DIM, ENCODER_ID = 1_000_000_000, 2, "none"
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


def teach(seed: int, **options: Any) -> Route:
    """Return what a lap through a building, driven by itself, leaves behind; options as for ``Simulation``."""
    world = {"world": options["world"]} if "world" in options else {}
    ring_E2 = make_building(seed, *world.values()).ring_E2
    length_m = float(np.hypot(*(np.roll(ring_E2, -1, axis=0) - ring_E2).T).sum())
    duration_s = LAP_OVERLAP * length_m / TAUGHT.speed_m_s / USUAL_PACE
    run = Simulation(seed, image_size=SMALLEST, changes=STILL, driving=TAUGHT, **options)
    spacing, last = Spacing(), None
    kept: list[tuple[int, tuple[float, float, float], tuple[float, float]]] = []
    way = []
    for number in range(round(duration_s * RATE_HZ)):
        time_s = number / RATE_HZ
        pose, _ = run.measure_pose(time_s)
        way.append(run.robot.pose_at(time_s))
        stamp_ns, place = round(time_s * NS), Pose2(pose[0], pose[1], 0.0, pose[2])
        if spacing.is_due(last, stamp_ns, place):
            last = stamp_ns, place
            kept.append((stamp_ns, pose, run.robot.command))
    stamp_N, pose_N3, action_NA = (np.array(column) for column in zip(*kept))
    memories = Memories(stamp_N, np.zeros(len(stamp_N), int), pose_N3, action_NA)
    return Route(seed, memories, np.array(way), length_m)


def around(memories: Memories, pose_3: np.ndarray, radius_m: float) -> Memories:
    """Return the memories within a distance of a place."""
    near_N = np.hypot(*(memories.pose_N3[:, :2] - pose_3[:2]).T) <= radius_m
    return Memories(
        memories.stamp_N[near_N], memories.session_N[near_N], memories.pose_N3[near_N], memories.action_NA[near_N]
    )


class TaughtMemory:
    """A route as a memory of the same process: what a node's window is filled from.

    Args:
        route: What was taught.
    """

    def __init__(self, route: Route) -> None:
        memories = route.memories
        rows = zip(memories.stamp_N.tolist(), memories.pose_N3.tolist(), memories.action_NA.astype(np.float32))
        self._records = [
            MemoryRecord(
                stamp_ns, np.zeros(Z_DIM, np.float32), x, y, id=number, yaw=yaw, encoder_id=ENCODER_ID,
                session="taught", action_A=action_A,
            )
            for number, (stamp_ns, (x, y, yaw), action_A) in enumerate(rows, 1)
        ]  # fmt: skip

    def window(self, ask: WindowAsk) -> WindowUpdate:
        """Return all of it to who does not hold it yet."""
        is_whole = ask.epoch != 1
        packed = Packed.of(self._records if is_whole else [], ENCODER_ID, "map", Z_DIM, 2)
        area = Area(ask.area.x, ask.area.y, ask.area.radius_m)
        newest_ns = self._records[-1].stamp_ns
        return WindowUpdate(1, 1, is_whole, "first", area, newest_ns, None, True, packed, np.empty(0, int))
