"""Parameters of the policy runner."""

from __future__ import annotations

import math
from dataclasses import dataclass

from policy_runner.choice import NEAREST_DRIVE
from policy_runner.chunks import COMBINATIONS, PREFIX
from policy_runner.nearest_drive import STEERINGS, YAW_RATE
from wm_core.limits import Limits
from wm_ros import ManagedParams, param

ARRAY, TWIST, ACKERMANN, TRAJECTORY = "float32_multi_array", "twist", "ackermann", "joint_trajectory"
OUTPUTS = (ARRAY, TWIST, ACKERMANN, TRAJECTORY)


@dataclass(frozen=True, kw_only=True)
class PolicyRunnerParams(ManagedParams):
    """Everything that may differ between two deployments of this node."""

    policy: str = param(NEAREST_DRIVE, "What acts: hold_last_action, nearest_drive, or the folder of a policy.")
    shadow: bool = param(True, "Propose on ~/proposed only; false: command the robot.")
    output: str = param(ARRAY, "What is commanded with.", choices=OUTPUTS)
    output_topic: str = param("", "Where to; empty: actions, cmd_vel, ackermann_cmd or joint_trajectory, by output.")
    output_frame: str = param("", "Frame in the header of what has one.")
    joint_names: list[str] = param([""], "Joints of a joint_trajectory, one per action.")
    rate_hz: float = param(50.0, "Commands per second.", low=1.0, high=500.0)
    low: list[float] = param([0.0, -2.2], "Least value of each action; their number is the action's size.")
    high: list[float] = param([1.5, 2.2], "Greatest value of each action.")
    rate: list[float] = param([3.0, 12.0], "Greatest change of each action in a second.")
    jerk: list[float] = param([60.0, 240.0], "Greatest change of that change in a second.")
    third: list[float] = param(
        [0.0], "And of that again, for actions that are positions; 0: actions are speeds, and a stop is 0."
    )
    keep_in: list[float] = param([0.0], "x and y of two corners that the robot may not leave [m]; one value: anywhere.")
    brake_m_s2: float = param(1.0, "How hard the robot brakes, for where it comes to stand [m/s^2].", low=0.01)
    combine: str = param(PREFIX, "How chunks of the same time become one command; see the guide.", choices=COMBINATIONS)
    ensemble_decay: float = param(0.01, "Of ensemble: weight exp(-decay k), k = 0 the oldest.", low=0.0)
    blend_new: float = param(0.7, "Of blend: share of the newer chunk.", low=0.0, high=1.0)
    seam_s: float = param(0.3, "Time over which the jump to a new chunk fades [s].", low=0.0, high=5.0)
    chunk_steps: int = param(60, "Actions of a chunk of the built-in policies.", low=1, high=1000)
    chunk_step_s: float = param(0.05, "Time between these [s].", low=0.005, high=1.0)
    replan_s: float = param(
        0.1, "A newer chunk is asked for this long after the last one; 0: only when it is needed [s].", low=0.0
    )
    latency_guess_s: float = param(0.3, "Latency of inference until it is measured [s].", low=0.0, high=60.0)
    patience_s: float = param(3.0, "Inference that takes longer is given up, and made anew [s].", low=0.01)
    stale_s: float = param(0.5, "Age from which on an observation is not acted on [s].", low=0.01)
    hold_s: float = param(0.1, "How long the last command is held with nothing to execute [s].", low=0.0)
    give_up_s: float = param(10.0, "How long it waits for something to execute before it ends [s].", low=0.1)
    time_limit_s: float = param(600.0, "Time limit of a goal that names none [s].", low=0.1)
    reached_m: float = param(0.4, "Distance at which a goal is reached [m].", low=0.001)
    reached_rad: float = param(math.pi, "And difference in yaw [rad].", low=0.001, high=math.pi)
    session: str = param("", "Only memories of this session are driven again; empty: of all.")
    window_radius_m: float = param(30.0, "Memories held around the robot [m].", low=1.0)
    memory_radius_m: float = param(5.0, "Memories that a policy sees around it [m].", low=0.5)
    most_memories: int = param(1000, "And at most so many, the nearest.", low=1, high=4096)
    drift_m: float = param(
        0.25, "Most that poses are put right by what is seen against what is remembered [m]; 0: not.", low=0.0, high=1.0
    )
    drive_within_m: float = param(1.0, "As far away a remembered drive may be [m].", low=0.01)
    steering: str = param(YAW_RATE, "What the second value of an action is.", choices=STEERINGS)
    wheelbase_m: float = param(0.3, "Of a robot that steers by an angle [m].", low=0.01)
    response_s: float = param(0.2, "Time from a command to when the robot does it [s].", low=0.0, high=2.0)
    pose_std_m: float = param(0.02, "White noise of x and y of poses that do not tell their own [m].", low=1e-4)
    pose_std_rad: float = param(0.01, "White noise of their yaw [rad].", low=1e-4)

    def __post_init__(self) -> None:
        """Refuse limits that leave nothing, and what does not fit together."""
        size = len(self.limits.low)
        if self.has_third and len(self.third) != size:
            raise ValueError(f"third has {len(self.third)} values, expected {size}, or [0.0]")
        if self.has_third and min(self.third) <= 0.0:
            raise ValueError(f"third is {self.third}, expected more than 0 for each action, or [0.0]")
        if not self.has_third and any(not low <= 0.0 <= high for low, high in zip(self.low, self.high)):
            raise ValueError(f"low is {self.low} and high {self.high}: a stop, 0 of each action, is not between them")
        if len(self.keep_in) not in (1, 4):
            raise ValueError(f"keep_in has {len(self.keep_in)} values, expected x, y of two corners, or [0.0]")
        if self.output == TRAJECTORY and (len(self.joint_names) != size or not all(self.joint_names)):
            raise ValueError(f"joint_names is {self.joint_names}, expected a name for each of {size} actions")
        if self.output == ACKERMANN and size != 2:
            raise ValueError(f"{ACKERMANN} takes speed and steering angle, the limits are of {size} actions")
        if self.output == TWIST and size not in (2, 3, 6):
            raise ValueError(f"{TWIST} takes 2, 3 or 6 actions, the limits are of {size}")

    @property
    def limits(self) -> Limits:
        """The limits of commands."""
        return Limits(low=tuple(self.low), high=tuple(self.high), rate=tuple(self.rate), jerk=tuple(self.jerk))

    @property
    def turns_by_rate(self) -> bool:
        """Whether actions are forward speed and yaw rate."""
        return len(self.low) == 2 and self.steering == YAW_RATE and not self.has_third

    @property
    def has_third(self) -> bool:
        """Whether actions are positions."""
        return any(self.third)
