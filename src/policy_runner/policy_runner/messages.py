"""States and goals from messages, commands as messages; types that are not installed everywhere are found by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import Twist
from rclpy.duration import Duration

from policy_runner.execution import Execution, Step
from policy_runner.goals import Goal
from policy_runner.outcomes import Outcome
from policy_runner.params import ACKERMANN, ARRAY, TRAJECTORY, TWIST, PolicyRunnerParams
from policy_runner.policies import Frame
from policy_runner.situation import Seen
from wm_core.se2 import Pose2
from wm_core.se3 import yaw_of
from wm_interfaces.action import ExecutePolicy
from wm_interfaces.msg import LatentState
from wm_ros import (
    MessageError,
    believable_stamp_ns,
    clipped,
    float_array_msg,
    message_class,
    pose_from_msg,
    stamp_msg,
    vector_from_msg,
)

_TOPICS = {ARRAY: "actions", TWIST: "cmd_vel", ACKERMANN: "ackermann_cmd", TRAJECTORY: "joint_trajectory"}
_KINDS = {
    ARRAY: "std_msgs/msg/Float32MultiArray",
    TWIST: "geometry_msgs/msg/Twist",
    ACKERMANN: "ackermann_msgs/msg/AckermannDriveStamped",
    TRAJECTORY: "trajectory_msgs/msg/JointTrajectory",
}
_POSE_STD_COUNT = 6
MOST_SUB_GOALS = 1000
"""Sub-goals of one goal."""
LONGEST_INSTRUCTION = 2000
"""Characters of what a policy is told in words."""
_TWIST_PARTS = {2: "xa", 3: "xya", 6: "xyzrpa"}
_OF_TWIST = {
    "x": ("linear", "x"), "y": ("linear", "y"), "z": ("linear", "z"),
    "r": ("angular", "x"), "p": ("angular", "y"), "a": ("angular", "z"),
}  # fmt: skip


class Output:
    """The message that a command is sent as.

    Args:
        params: Which, and what belongs into it.

    Raises:
        ConfigurationError: The package of the message is not installed; the text names it.
    """

    def __init__(self, params: PolicyRunnerParams) -> None:
        self._params = params
        self.message = message_class(_KINDS[params.output], "output")
        self.topic = params.output_topic or _TOPICS[params.output]
        fill: dict[str, Callable[[np.ndarray, int], Any]] = {
            ARRAY: self._array, TWIST: self._twist, ACKERMANN: self._ackermann, TRAJECTORY: self._trajectory,
        }  # fmt: skip
        self._fill = fill[params.output]

    def msg(self, command_A: np.ndarray, stamp_ns: int) -> Any:
        """Return a command [A] for a time [ns] as a message."""
        return self._fill(command_A, stamp_ns)

    def _array(self, command_A: np.ndarray, stamp_ns: int) -> Any:
        return float_array_msg(command_A, "action")

    def _twist(self, command_A: np.ndarray, stamp_ns: int) -> Any:
        msg = Twist()
        for name, value in zip(_TWIST_PARTS[len(command_A)], command_A):
            part, axis = _OF_TWIST[name]
            setattr(getattr(msg, part), axis, float(value))
        return msg

    def _ackermann(self, command_A: np.ndarray, stamp_ns: int) -> Any:
        msg = self._headed(stamp_ns)
        msg.drive.speed, msg.drive.steering_angle = map(float, command_A)
        return msg

    def _trajectory(self, command_A: np.ndarray, stamp_ns: int) -> Any:
        msg = self._headed(stamp_ns)
        msg.joint_names = list(self._params.joint_names)
        point = message_class("trajectory_msgs/msg/JointTrajectoryPoint", "output")()
        values = [float(value) for value in command_A]
        # A stop of speeds, taken for a position, would move the joints to 0.
        point.positions, point.velocities = (values, []) if self._params.has_third else ([], values)
        point.time_from_start = Duration(seconds=1.0 / self._params.rate_hz).to_msg()
        msg.points = [point]
        return msg

    def _headed(self, stamp_ns: int) -> Any:
        msg = self.message()
        msg.header.stamp, msg.header.frame_id = stamp_msg(stamp_ns), self._params.output_frame
        return msg


def seen_from_msg(msg: LatentState, action_dim: int) -> Seen:
    """Return what a state tells; an action of another size counts as not known.

    Raises:
        MessageError: Stamp, latent, pose or action cannot be.
    """
    latent_D = vector_from_msg(msg.latent, len(msg.latent), "latent")
    place = pose_3 = std_3 = action_A = None
    if msg.has_pose:
        position, turn = pose_from_msg(msg.pose)
        x, y, z = map(float, position)
        place = Pose2(x, y, z, yaw_of(turn))
        pose_3 = np.array([place.x, place.y, place.yaw])
        std_3 = np.array(msg.pose_std, float)[[0, 1, 5]] if len(msg.pose_std) == _POSE_STD_COUNT else None
    if msg.has_action and len(msg.action) == action_dim:
        action_A = vector_from_msg(msg.action, action_dim, "action").astype(float)
    frame = Frame(believable_stamp_ns(msg.header.stamp), latent_D, msg.encoder_id, pose_3, action_A)
    return Seen(frame, place, msg.pose_frame_id, std_3)


def places_from_msg(goal: Any) -> tuple[list[np.ndarray], str]:
    """Return the sub-goals of an ``ExecutePolicy`` goal, each x, y [m], yaw [rad], and their frame; empty: not said.

    Args:
        goal: The message.

    Raises:
        MessageError: A pose cannot be, they are of several frames, or there are too many.
    """
    if len(goal.sub_goals) > MOST_SUB_GOALS:
        raise MessageError("goal", f"{len(goal.sub_goals)} sub-goals, at most {MOST_SUB_GOALS}")
    places, frame_ids = [], sorted({each.header.frame_id for each in goal.sub_goals} - {""})
    if len(frame_ids) > 1:
        raise MessageError("goal-frame", f"sub-goals of several frames: {clipped(', '.join(frame_ids))}")
    for each in goal.sub_goals:
        position, turn = pose_from_msg(each.pose)
        places.append(np.array([position[0], position[1], yaw_of(turn)]))
    return places, frame_ids[0] if frame_ids else ""


def feedback_msg(execution: Execution, goal: Goal, step: Step, now_ns: int) -> Any:
    """Return how an execution goes on."""
    chunk = execution.newest_chunk
    msg = ExecutePolicy.Feedback(mode=step.mode.value, reason=step.reason, sub_goal=goal.number)
    msg.chunk_age_s = math.nan if chunk is None else (now_ns - chunk.stamp_ns) * 1e-9
    msg.queue_length = 0 if chunk is None else chunk.ahead_count(now_ns)
    msg.inference_s, msg.distance_m = execution.latency.last_s, goal.distance_m
    return msg


def result_msg(outcome: Outcome, message: str, execution: Execution | None, time_s: float, *, shadow: bool) -> Any:
    """Return how an execution ended."""
    msg = ExecutePolicy.Result(name=outcome.value, message=message, shadow=shadow, time_s=time_s)
    msg.outcome = getattr(ExecutePolicy.Result, outcome.value)
    if execution is not None:
        counts = execution.counts
        msg.steps, msg.starved_steps, msg.limited_steps = counts.steps, counts.starved, counts.limited
    return msg
