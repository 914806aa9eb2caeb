"""Ways of getting to what a picture shows, behind one call: what the robot sees and where it is, to a command.

Shape suffixes: N = memories, D = latent size, F = feature size, A = action size, 3 = (x, y [m], yaw [rad]).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from latent_planner.costs import GoalLatent, TotalCost
from latent_planner.goals import GoalError, look_up
from latent_planner.ground import Ground
from latent_planner.ground_settings import GroundSettings
from latent_planner.imagination import Imagination, Standpoint
from latent_planner.limits import Limits
from latent_planner.optimisers import SearchSettings, WeighedMean, towards
from latent_planner.planner import Planner
from latent_planner.vehicle import Vehicle

from benchmarks.planning_learners import Steering
from latent_publisher.encoder import Encoder
from wm_sim import Changes, simulate
from world_model.runtime.artifacts import Artifact
from world_model.runtime.motion_model import MotionModel

LAP_S, KEPT_EVERY, SIDE = 50.0, 4, 64
LIMITS = Limits(high=(1.2, 2.0))
STEP_S, REPLAN_EVERY, LOOK_EVERY = 0.05, 2, 4
PASSED_M = 0.35
# More pictures than go and return have.
_ROUTE = 3


@dataclass(frozen=True)
class Lap:
    """What is remembered of one lap of a building: poses [N, 3], latents [N, D], looks [N, F], commands [N, A]."""

    pose_N3: np.ndarray
    latent_ND: np.ndarray
    look_NF: np.ndarray
    action_NA: np.ndarray

    @cached_property
    def ground(self) -> Ground:
        """The ground that it covers."""
        return Ground(self.pose_N3, np.zeros(len(self.pose_N3), int), GroundSettings())

    @cached_property
    def usual(self) -> float:
        """How much the latent usually changes from one memory to the next."""
        return float(np.median(np.linalg.norm(np.diff(self.latent_ND, axis=0), axis=1)))


@dataclass(frozen=True)
class Sight:
    """What the robot knows at a moment: time [s], measured pose, speed, and on request what it sees.

    Attributes:
        time_s: Since the start.
        pose_3: As measured.
        speed_m_s: Forward.
        image: Returns the picture from here.
    """

    time_s: float
    pose_3: np.ndarray
    speed_m_s: float
    image: Callable[[], np.ndarray]


class Eyes:
    """What pictures become: latents, and looks by which places are recognised.

    Args:
        latents: The robot's encoder.
        looks: The encoder whose features tell places apart; None: the latents do.
    """

    def __init__(self, latents: Encoder, looks: Encoder | None) -> None:
        self._latents, self._looks = latents, looks

    def latent(self, image_HWC: np.ndarray) -> np.ndarray:
        """Return the latent of a picture, [D]."""
        return self._latents.encode(image_HWC)

    def look(self, image_HWC: np.ndarray) -> np.ndarray:
        """Return the look of a picture: a feature of length 1, or the latent."""
        if self._looks is None:
            return self._latents.encode(image_HWC)
        feature_F = self._looks.look(image_HWC).astype(np.float32)
        return np.asarray(feature_F / np.linalg.norm(feature_F))

    def remember(self, seed: int, changes: Changes) -> Lap:
        """Return the memories of a first lap through the building of a seed."""
        kept = list(simulate(seed, LAP_S, image_size=(SIDE, SIDE), changes=changes))[::KEPT_EVERY]
        images = [step.image_HWC for step in kept]
        poses = np.array([step.pose for step in kept])
        latents, looks = (np.stack([see(image) for image in images]) for see in (self.latent, self.look))
        return Lap(poses, latents, looks, np.stack([step.action_A for step in kept]))


@dataclass(frozen=True)
class Robot:
    """What every method has of the robot.

    Attributes:
        artifact: Its model.
        eyes: Its encoders.
        cloned: Policy that was cloned.
        inverse: Inverse model.
        policies: Folders of exported policies, by method.
    """

    artifact: Artifact
    eyes: Eyes
    cloned: Steering
    inverse: Steering
    policies: Mapping[str, Path] = field(default_factory=dict)

    def vehicle(self) -> Vehicle:
        """Return its motion, standing."""
        manifest = self.artifact.manifest
        return Vehicle(MotionModel.from_manifest(manifest.motion), manifest.step_s, manifest.action_dim)


class Method:
    """Gets to what pictures show, one after the other.

    Args:
        robot: What it has.
        lap: What it remembers.
        pictures: What is to be seen, in this order; at the last it is to stop, facing as in the picture.
        allowed_s: Time for all of it [s].

    Raises:
        GoalError: A picture cannot be looked up.
    """

    def __init__(self, robot: Robot, lap: Lap, pictures: list[np.ndarray], allowed_s: float) -> None:
        self.robot, self.lap, self.pictures, self.allowed_s = robot, lap, pictures, allowed_s
        self.at = 0

    def command(self, sight: Sight) -> np.ndarray:
        """Return forward speed [m/s] and yaw rate [rad/s]."""
        raise NotImplementedError


class _ByPose(Method):
    """Looks every picture up, and drives from one pose to the next."""

    def __init__(self, robot: Robot, lap: Lap, pictures: list[np.ndarray], allowed_s: float) -> None:
        super().__init__(robot, lap, pictures, allowed_s)
        self.goals: list[np.ndarray] = []
        for number, picture in enumerate(pictures, start=1):
            try:
                self.goals.append(look_up(robot.eyes.look(picture), lap.look_NF, lap.pose_N3).pose_3)
            except GoalError:
                # Of a route that was taught, the pictures before and after one that is not sure lead past its place.
                if number == len(pictures) or len(pictures) < _ROUTE:
                    raise

    def goal(self, pose_3: np.ndarray) -> tuple[np.ndarray, bool]:
        """Return the present goal, and whether it is another than before."""
        before = self.at
        while self.at < len(self.goals) - 1 and math.dist(pose_3[:2], self.goals[self.at][:2]) < PASSED_M:
            self.at += 1
        return self.goals[self.at], self.at > before


class WithMemory(_ByPose):
    """Field over remembered ground, MPPI over the motion model."""

    def __init__(self, robot: Robot, lap: Lap, pictures: list[np.ndarray], allowed_s: float) -> None:
        super().__init__(robot, lap, pictures, allowed_s)
        self._planner = Planner(robot.vehicle(), LIMITS)
        self._drive_to(self.goals[0])
        self._count = 0

    def _drive_to(self, goal_3: np.ndarray) -> None:
        try:
            field = self.lap.ground.field(goal_3[:2])
        except ValueError as error:
            raise GoalError("unreachable", str(error)) from error
        pose_3 = goal_3.copy()
        if self.at < len(self.goals) - 1:
            pose_3[2] = math.nan
        self._planner.drive_to(pose_3, field)

    def command(self, sight: Sight) -> np.ndarray:
        """Return forward speed [m/s] and yaw rate [rad/s]."""
        goal_3, is_new = self.goal(sight.pose_3)
        if is_new:
            self._drive_to(goal_3)
        self._count += 1
        replan = is_new or self._count % REPLAN_EVERY == 1
        return np.asarray(self._planner.decide(sight.pose_3, sight.speed_m_s, replan=replan).command_A)


class Straight(_ByPose):
    """Straight at the looked-up pose, then as it asks for."""

    def command(self, sight: Sight) -> np.ndarray:
        """Return forward speed [m/s] and yaw rate [rad/s]."""
        goal_3, _ = self.goal(sight.pose_3)
        return towards(sight.pose_3, goal_3, goal_3[:2], LIMITS)


class NearestDrive(_ByPose):
    """On as the remembered lap went, from the memory nearest to the robot, until the goal is near."""

    def command(self, sight: Sight) -> np.ndarray:
        """Return forward speed [m/s] and yaw rate [rad/s]."""
        goal_3, _ = self.goal(sight.pose_3)
        pose_3, pose_N3 = sight.pose_3, self.lap.pose_N3
        turn_N = np.abs(np.angle(np.exp(1j * (pose_N3[:, 2] - pose_3[2]))))
        away_N = np.hypot(*(pose_N3[:, :2] - pose_3[:2]).T) + 0.3 * turn_N
        at = min(int(away_N.argmin()) + 3, len(away_N) - 1)
        is_near = math.dist(pose_3[:2], goal_3[:2]) < 0.6
        return towards(pose_3, goal_3, goal_3[:2] if is_near else pose_N3[at, :2], LIMITS)


class _BySight(Method):
    """Compares what it sees with the pictures, a few times a second; by look alone it knows that it is there."""

    def __init__(self, robot: Robot, lap: Lap, pictures: list[np.ndarray], allowed_s: float) -> None:
        super().__init__(robot, lap, pictures, allowed_s)
        self.latents = [robot.eyes.latent(picture) for picture in pictures]
        self._count, self._command_A = 0, np.zeros(2)

    def command(self, sight: Sight) -> np.ndarray:
        """Return forward speed [m/s] and yaw rate [rad/s]."""
        if self._count % LOOK_EVERY == 0:
            latent_D = self.robot.eyes.latent(sight.image())
            is_there = float(np.linalg.norm(latent_D - self.latents[self.at])) < self.lap.usual
            if is_there and self.at < len(self.latents) - 1:
                self.at, is_there = self.at + 1, False
            self._command_A = np.zeros(2) if is_there else self.steer(sight, latent_D, self.latents[self.at])
        self._count += 1
        return np.clip(self._command_A, LIMITS.low, LIMITS.high)

    def steer(self, sight: Sight, latent_D: np.ndarray, goal_D: np.ndarray) -> np.ndarray:
        """Return the command from what is seen and what is to be seen."""
        raise NotImplementedError


class MemoryOff(_BySight):
    """The same motion model, candidates and limits, in latent space, with nothing remembered."""

    def __init__(self, robot: Robot, lap: Lap, pictures: list[np.ndarray], allowed_s: float) -> None:
        super().__init__(robot, lap, pictures, allowed_s)
        self._vehicle = robot.vehicle()
        self._imagination = Imagination(robot.artifact, self._vehicle, use_memory=False)
        self._search = WeighedMean(LIMITS, SearchSettings())
        self._variance_D = np.array(robot.artifact.manifest.latent_variance)
        self._state_1C = self._imagination.transition.initial(1)
        self._told_A = np.zeros(2)

    def steer(self, sight: Sight, latent_D: np.ndarray, goal_D: np.ndarray) -> np.ndarray:
        """Return the first command of the plan."""
        imagination, before_A = self._imagination, self._told_A
        stamp_ns = int(sight.time_s * 1e9)
        imagination.begin(Standpoint(stamp_ns, sight.pose_3, latent_D, self._state_1C), None)
        cost = TotalCost([(1.0, GoalLatent(goal_D, self._variance_D))])

        def evaluate(plan_BSA: np.ndarray) -> np.ndarray:
            return cost(imagination.imagine(plan_BSA))

        command_A = self._search.plan(evaluate, sight.pose_3, before_A).plan_SA[0].astype(float)
        self._search.advance()
        given = (torch.from_numpy(np.asarray(v, np.float32)[None]) for v in (latent_D, command_A))
        with torch.inference_mode():
            # A step of the context is a quarter of that between two looks.
            latent_1D, action_1A = given
            for _ in range(LOOK_EVERY):
                self._state_1C = imagination.transition.observe(latent_1D, action_1A, self._state_1C)
        for _ in range(LOOK_EVERY):
            self._vehicle.told(command_A)
        self._told_A = command_A
        return np.asarray(command_A)


class _Learned(_BySight):
    """A small network from the latent now and the goal's to a command."""

    steering: Steering

    def steer(self, sight: Sight, latent_D: np.ndarray, goal_D: np.ndarray) -> np.ndarray:
        """Return its command."""
        # Of the time allowed half is the shortest; pictures still to come share it.
        share = (self.at + 1) / len(self.latents)
        left_s = max(0.5 * self.allowed_s * share - sight.time_s, 0.5)
        given = (torch.from_numpy(np.asarray(v, np.float32)[None]) for v in (latent_D, goal_D))
        with torch.inference_mode():
            command_1A = self.steering(*given, torch.tensor([left_s], dtype=torch.float32))
        return np.asarray(command_1A[0].numpy())


class Cloned(_Learned):
    """The cloned policy."""

    def __init__(self, robot: Robot, lap: Lap, pictures: list[np.ndarray], allowed_s: float) -> None:
        super().__init__(robot, lap, pictures, allowed_s)
        self.steering = robot.cloned


class Inverse(_Learned):
    """The inverse model."""

    def __init__(self, robot: Robot, lap: Lap, pictures: list[np.ndarray], allowed_s: float) -> None:
        super().__init__(robot, lap, pictures, allowed_s)
        self.steering = robot.inverse


METHODS: dict[str, type[Method]] = {
    "memory": WithMemory,
    "memory_off": MemoryOff,
    "straight_line": Straight,
    "cloned": Cloned,
    "inverse_model": Inverse,
    "nearest_drive": NearestDrive,
}
