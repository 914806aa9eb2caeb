"""A whole run: the robot drives or is driven, the world changes, the camera looks. No ROS."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from wm_sim.building import make_building
from wm_sim.changes import LivingWorld
from wm_sim.contact import Surroundings
from wm_sim.driving import CONTROL_PERIOD_S, PathFollower, Robot, SteeredRobot
from wm_sim.eye import Eye
from wm_sim.poses import PoseSensor
from wm_sim.settings import (
    DEFAULT_CAMERA,
    DEFAULT_CHANGES,
    DEFAULT_POSE_NOISE,
    Camera,
    Changes,
    Driving,
    PoseNoise,
    WorldConfig,
)
from wm_sim.tasks import Judge, Outcome, Pose, Task
from wm_sim.things import make_things

PATH, ACTIONS = "path", "actions"
_NOISE_SLACK = 64


@dataclass(frozen=True)
class SimStep:
    """What is known at one camera frame.

    ``pose`` is the measured pose of time ``stamp_s``, and a live system has it from ``pose_arrival_s`` on.
    ``action_A`` is the command in force at ``stamp_s``: forward speed [m/s], yaw rate [rad/s]. ``motion_2`` is what the
    robot really does: the same two, measured. Poses are x, y [m], yaw [rad] in the map. ``depth_HW`` is metres
    along the camera's axis, None unless asked for. ``contact_count`` counts the contacts of a driven robot so far.
    ``outcome`` tells how the step that led here went, None without a task.
    """

    stamp_s: float
    image_HWC: np.ndarray
    true_pose: Pose
    pose: Pose
    pose_arrival_s: float
    action_A: np.ndarray
    motion_2: np.ndarray
    depth_HW: np.ndarray | None
    contact_count: int = 0
    outcome: Outcome | None = None


class Simulation:
    """A run that can be stepped frame by frame; the same arguments give the same run, bit for bit.

    Motion does not depend on the camera's rate or size, nor on ``changes`` and ``pose_noise``.

    Args:
        seed: Seed of everything that happens in this run.
        building_seed: Seed of the building and its look; ``seed`` when None.
        rate_hz: Camera frames per second.
        image_size: Height and width [pixels].
        changes: What changes over time.
        pose_noise: How measured poses err.
        depth: Whether to render depth too.
        world: How the building is made.
        driving: How the robot drives.
        driven_by: ``path``: the robot drives round the corridors by itself. ``actions``: it does what ``step`` or
            ``command`` tell it, stops when it bumps into something, and when it is told nothing for 0.5 s. People
            give way to it, so that a contact is what it drives into.
        task: What the driven robot is to do. It starts at the task's start; without a task, where a robot that drives
            by itself does.
        texture_seed: Random textures over every surface; none without one.
        camera: How the robot's camera is mounted and set.

    Raises:
        ValueError: A seed is negative, the rate is not 0.1 to 100 Hz, the image is too small or too large, or a task
            is given to a robot that drives by itself.
    """

    def __init__(
        self,
        seed: int,
        *,
        building_seed: int | None = None,
        rate_hz: float = 20.0,
        image_size: tuple[int, int] = (64, 64),
        changes: Changes = DEFAULT_CHANGES,
        pose_noise: PoseNoise = DEFAULT_POSE_NOISE,
        depth: bool = False,
        world: WorldConfig | None = None,
        driving: Driving | None = None,
        driven_by: str = PATH,
        task: Task | None = None,
        texture_seed: int | None = None,
        camera: Camera = DEFAULT_CAMERA,
    ) -> None:
        if driven_by not in (PATH, ACTIONS) or (task and driven_by == PATH):
            raise ValueError(f"driven_by is '{driven_by}', expected {'' if task else f'{PATH} or '}{ACTIONS}")
        if seed < 0:
            raise ValueError(f"seed is {seed}, expected 0 or more")
        if not 0.1 <= rate_hz <= 100.0:
            raise ValueError(f"rate_hz is {rate_hz} Hz, expected 0.1 to 100 Hz")
        world = world or WorldConfig()
        self.building = make_building(seed if building_seed is None else building_seed, world)
        things = make_things(self.building, world, changes.walker_count)
        self._world = LivingWorld(self.building, things, changes, seed, gives_way=driven_by == ACTIONS)
        self.robot: Robot = PathFollower(self.building, driving or Driving(), seed)
        self._steered: SteeredRobot | None = None
        if driven_by == ACTIONS:
            around = Surroundings(self.building, things.radius_N, lambda: self._world.position_N2)
            start = task.start if task else self.robot.pose_at(0.0)
            self.robot = self._steered = SteeredRobot(start, driving or Driving(), around.clearance_m)
            self._world.advance(0.0, start[:2])
        self._judge = Judge(task, self.building) if task else None
        self._radius_N = things.radius_N
        self._renderer = Eye(self.building, things, image_size, texture_seed, camera)
        self._sensor = PoseSensor(pose_noise, seed)
        self._noise = _ImageNoise(changes.image_noise_std, image_size, seed)
        self._rate_hz = rate_hz
        self._depth = depth
        self._frame_count = 0

    def step(self, action: Sequence[float] | np.ndarray | None = None) -> SimStep:
        """Return the next frame and what goes with it; the first is at 0 s.

        Args:
            action: Command given now, at the last frame: forward speed [m/s], yaw rate [rad/s]. Only for a robot that
                is driven; None lets it go on with the last one, 0.5 s at most.

        Raises:
            ValueError: The robot drives by itself, or the action is not two finite numbers.
        """
        if action is not None:
            self.command(action)
        stamp_s = self._frame_count / self._rate_hz
        self._frame_count += 1
        image, depth = self.frame(stamp_s)
        true_pose = self.robot.pose_at(stamp_s)
        pose, arrival_s = self._sensor.measure(stamp_s, true_pose)
        motion_2, action_A = np.array(self.motion, np.float32), np.array(self.robot.command, np.float32)
        contacts, outcome = self.robot.contact_count, self.judge(stamp_s)
        return SimStep(stamp_s, image, true_pose, pose, arrival_s, action_A, motion_2, depth, contacts, outcome)

    def command(self, action: Sequence[float] | np.ndarray, time_s: float | None = None) -> None:
        """Tell a driven robot what to do from now on.

        Args:
            action: Forward speed [m/s], yaw rate [rad/s].
            time_s: When it was told so; a time before the last one asked for counts as that one, which None stands for.

        Raises:
            ValueError: The robot drives by itself, or the action is not two finite numbers.
        """
        if self._steered is None:
            raise ValueError(f"the robot drives by itself, driven_by={ACTIONS} takes actions")
        if len(action) != 2:
            raise ValueError(f"action has {len(action)} values, expected 2: forward speed [m/s], yaw rate [rad/s]")
        if time_s is not None:
            self._drive(time_s)
        self._steered.act((float(action[0]), float(action[1])))

    def assign(self, task: Task) -> None:
        """Give a driven robot its next task, to be done from where it is now.

        Raises:
            ValueError: The robot drives by itself.
        """
        if self._steered is None:
            raise ValueError(f"the robot drives by itself, driven_by={ACTIONS} takes tasks")
        self._judge = Judge(task, self.building, self.robot.time_s, self.robot.contact_count)

    @property
    def bodies(self) -> tuple[np.ndarray, np.ndarray]:
        """Where objects and people are now, shape [N, 2], and their radii, shape [N], [m]."""
        return self._world.position_N2, self._radius_N

    def judge(self, time_s: float) -> Outcome | None:
        """Return how the task goes at a time not before any asked for, None without a task."""
        self._drive(time_s)
        robot = self.robot
        pose = robot.pose_at(time_s)
        return self._judge.judge(time_s, pose, robot.speed_m_s, robot.contact_count) if self._judge else None

    @property
    def motion(self) -> tuple[float, float]:
        """What the robot really does now: forward speed [m/s], yaw rate [rad/s]."""
        return self.robot.speed_m_s, self.robot.yaw_rate_rad_s

    def frame(self, time_s: float) -> tuple[np.ndarray, np.ndarray | None]:
        """Return image [H, W, 3] and depth [H, W] (None unless asked for) at a time not before any asked for."""
        self._drive(time_s)
        pose = self.robot.pose_at(time_s)
        self._world.advance(time_s, pose[:2])
        return self.view(pose)

    def view(self, pose: Pose) -> tuple[np.ndarray, np.ndarray | None]:
        """Return image [H, W, 3] and depth [H, W] (None unless asked for) from x, y [m], yaw [rad], as it looks now."""
        image, depth = self._renderer.render(
            pose, self._world.light_YX3, self._world.position_N2, self._world.yaw_N, self._depth
        )
        return self._noise.add_to(image), depth

    def measure_pose(self, time_s: float) -> tuple[Pose, float]:
        """Return the measured pose of a time not before any asked for, and when it arrives [s]."""
        self._drive(time_s)
        return self._sensor.measure(time_s, self.robot.pose_at(time_s))

    def act(self, time_s: float) -> tuple[float, float]:
        """Return the command in force at a time not before any asked for: speed [m/s], yaw rate [rad/s]."""
        self._drive(time_s)
        return self.robot.command

    def _drive(self, time_s: float) -> None:
        """Drive up to ``time_s``; people walk along where they could be bumped into."""
        while self._steered is not None and self.robot.time_s + CONTROL_PERIOD_S <= time_s:
            soon_s = self.robot.time_s + CONTROL_PERIOD_S
            self.robot.advance(soon_s)
            self._world.advance(soon_s, self.robot.pose_at(soon_s)[:2])
        self.robot.advance(time_s)


def simulate(
    seed: int,
    duration_s: float,
    *,
    building_seed: int | None = None,
    rate_hz: float = 20.0,
    image_size: tuple[int, int] = (64, 64),
    changes: Changes = DEFAULT_CHANGES,
    pose_noise: PoseNoise = DEFAULT_POSE_NOISE,
    depth: bool = False,
    world: WorldConfig | None = None,
    driving: Driving | None = None,
    texture_seed: int | None = None,
    camera: Camera = DEFAULT_CAMERA,
) -> Iterator[SimStep]:
    """Return an iterator over the frames of ``duration_s`` seconds; the rest is as for ``Simulation``.

    Raises:
        ValueError: The duration is not a positive number of seconds, or as ``Simulation``.
    """
    if not 0.0 < duration_s < math.inf:
        raise ValueError(f"duration_s is {duration_s} s, expected more than 0 s")
    simulation = Simulation(
        seed,
        building_seed=building_seed,
        rate_hz=rate_hz,
        image_size=image_size,
        changes=changes,
        pose_noise=pose_noise,
        depth=depth,
        world=world,
        driving=driving,
        texture_seed=texture_seed,
        camera=camera,
    )
    frame_count = math.ceil(round(duration_s * rate_hz, 6))
    return (simulation.step() for _ in range(frame_count))


class _ImageNoise:
    """Sensor noise cut from one large random sheet, a new cut per frame."""

    def __init__(self, std: float, image_size: tuple[int, int], seed: int) -> None:
        self._rng = np.random.default_rng([seed, 41])
        self._std = std
        height, width = image_size
        if std:
            sheet = np.rint(self._rng.normal(0.0, std, (height + _NOISE_SLACK, width + _NOISE_SLACK, 3)))
            self._more = np.maximum(sheet, 0).astype(np.uint8)
            self._less = np.maximum(-sheet, 0).astype(np.uint8)

    def add_to(self, image: np.ndarray) -> np.ndarray:
        """Return the image with noise, within 0 to 255."""
        if not self._std:
            return image
        row, column = (int(value) for value in self._rng.integers(0, _NOISE_SLACK, 2))
        cut = (slice(row, row + image.shape[0]), slice(column, column + image.shape[1]))
        return cv2.subtract(cv2.add(image, self._more[cut]), self._less[cut])
