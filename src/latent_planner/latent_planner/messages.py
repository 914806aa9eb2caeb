"""Goals, results and what is published, between messages and the planner.

Shape suffixes: N = memories, M = some of them, F = feature size, C = corners, S = steps, A = action size, B = plans,
2 = x, y [m], 3 = (x, y, yaw).
"""

from __future__ import annotations

import array
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import Pose, PoseStamped, Twist, TwistStamped
from nav_msgs.msg import OccupancyGrid, Path
from std_msgs.msg import Float32MultiArray, Header, MultiArrayDimension

from latent_planner.goals import REFINING, GoalError, GoalPose
from latent_planner.ground import Field
from latent_planner.locate import Wish
from latent_planner.params import ARRAY, TWIST, TWIST_STAMPED
from latent_planner.remembered import Remembered
from wm_core.bounds import LARGEST_POSITION_M
from wm_core.drawing import Shape
from wm_core.memory.recognition import SamePlace
from wm_core.se3 import quaternion_of, yaw_of
from wm_interfaces.action import Plan
from wm_interfaces.msg import MemoryMatches, MemoryQuery
from wm_interfaces.srv import QueryMemoryBatch
from wm_ros import MessageError, float_array_msg, floats, pose_from_msg, pose_to_msg, vector_from_msg

Result = Plan.Result
OUTCOMES = {
    "empty": Result.EMPTY_MEMORY,
    "ambiguous": Result.AMBIGUOUS,
    "unknown": Result.NOT_RECOGNISED,
    "unsure": Result.NOT_RECOGNISED,
    "unreachable": Result.UNREACHABLE,
    "motion": Result.NO_MOTION_MODEL,
    "foreign": Result.REFUSED,
    "missing": Result.REFUSED,
}
"""{why a goal cannot be planned for: outcome}."""
NAMES = {
    getattr(Result, name): name
    for name in (
        "REACHED", "CANCELLED", "PREEMPTED", "REFUSED", "AMBIGUOUS", "NOT_RECOGNISED", "UNREACHABLE", "EMPTY_MEMORY",
        "STALE_INPUTS", "MEMORY_LOST", "NO_MOTION_MODEL", "TIMED_OUT", "STOPPED", "FAILED", "NOT_ENCODED",
    )
}  # fmt: skip
_KINDS = {Plan.Goal.IMAGE: "image", Plan.Goal.LATENT: "latent", Plan.Goal.POSE: "pose", Plan.Goal.MEMORY: "memory_id",
          Plan.Goal.REGION: "region"}  # fmt: skip
_MOST_CORNERS = 1000
_COMPARED = 64
_HIGHEST_COST = 98
_GOAL_COLOR = (0.2, 0.85, 0.3, 0.9)
_CANDIDATE_COLOR = (0.3, 0.6, 1.0, 0.25)
_DRAWN_EVERY = 4


@dataclass(frozen=True)
class Asked:
    """What a goal asks for.

    Attributes:
        wish: What is wanted; of a picture, nothing yet but how.
        is_image: Whether a picture is to be turned into the rest.
        frame_id: Frame of a pose or region; empty: the robot's.
        encoder_id: Of a latent; empty: the memory's.
    """

    wish: Wish
    is_image: bool = False
    frame_id: str = ""
    encoder_id: str = ""


def asked_from_goal(goal: Plan.Goal) -> Asked:
    """Returns what a goal asks for.

    Raises:
        MessageError: ``goal``: nothing or several things are given, or what is given cannot be one.
    """
    kind = _kind(goal)
    least = float(goal.least_confidence)
    if not (0.0 <= least <= 1.0 and 0.0 <= goal.time_limit_s < math.inf):
        raise MessageError("goal", f"least_confidence {least:g} or time_limit_s {goal.time_limit_s:g} makes no sense")
    make = {
        Plan.Goal.IMAGE: lambda: _image(goal),
        Plan.Goal.LATENT: lambda: _latent(goal),
        Plan.Goal.POSE: lambda: _pose(goal),
        Plan.Goal.MEMORY: lambda: Asked(_wish(goal, memory_id=int(goal.memory_id))),
        Plan.Goal.REGION: lambda: _region(goal),
    }
    return make[kind]()


def check_frame(asked: Asked, frame_id: str) -> None:
    """Refuses what is placed in another frame than the robot's poses; empty: that is not known.

    Raises:
        MessageError: ``goal``.
    """
    if asked.frame_id and frame_id and asked.frame_id != frame_id:
        raise MessageError("goal", f"in frame '{asked.frame_id}', the robot's poses are in '{frame_id}'")


def check_encoder(asked: Asked, encoder_id: str) -> None:
    """Refuses a latent of another encoder than the memories'; empty: that is not known.

    Raises:
        MessageError: ``goal``.
    """
    if asked.encoder_id and encoder_id and asked.encoder_id != encoder_id:
        raise MessageError("goal", f"the latent is of encoder '{asked.encoder_id}', the memory of '{encoder_id}'")


def check_size(asked: Asked, latent_dim: int) -> None:
    """Refuses a latent of another size than the memories'.

    Raises:
        MessageError: ``goal``.
    """
    latent_D = asked.wish.latent_D
    if latent_D is not None and len(latent_D) != latent_dim:
        raise MessageError("goal", f"the latent has {len(latent_D)} numbers, those of the memories have {latent_dim}")


def _kind(goal: Plan.Goal) -> int:
    given = [kind for kind, is_given in _GIVEN.items() if is_given(goal)]
    # Their defaults are a pose and an id that can be meant.
    if goal.kind in (Plan.Goal.POSE, Plan.Goal.MEMORY) and not given:
        return int(goal.kind)
    if len(given) != 1:
        names = [_KINDS[kind] for kind in given] or ["nothing"]
        text = f"{' and '.join(names)} given, expected exactly one of {', '.join(_KINDS.values())}"
        raise MessageError("goal", text)
    if goal.kind not in (0, given[0]):
        raise MessageError("goal", f"kind {goal.kind} does not fit what is given: {_KINDS[given[0]]}")
    return given[0]


def _is_pose_given(goal: Plan.Goal) -> bool:
    turn, point = goal.pose.pose.orientation, goal.pose.pose.position
    values = (point.x, point.y, point.z, turn.x, turn.y, turn.z, turn.w)
    return bool(goal.pose.header.frame_id) or values != (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


_GIVEN: dict[int, Callable[[Plan.Goal], bool]] = {
    Plan.Goal.IMAGE: lambda goal: bool(len(goal.image.data) or len(goal.compressed.data)),
    Plan.Goal.LATENT: lambda goal: bool(len(goal.latent)),
    Plan.Goal.POSE: _is_pose_given,
    Plan.Goal.MEMORY: lambda goal: bool(goal.memory_id),
    Plan.Goal.REGION: lambda goal: bool(len(goal.region.polygon.points)),
}


def _wish(
    goal: Plan.Goal,
    pose: GoalPose | None = None,
    latent_D: np.ndarray | None = None,
    memory_id: int | None = None,
    corner_C2: np.ndarray | None = None,
) -> Wish:
    return Wish(
        pose=pose, latent_D=latent_D, memory_id=memory_id, corner_C2=corner_C2, any_yaw=goal.any_yaw,
        may_leave=goal.may_leave_known_ground, least_confidence=float(goal.least_confidence),
    )  # fmt: skip


def _image(goal: Plan.Goal) -> Asked:
    image = goal.image
    if len(image.data) and not 0 < image.height * image.step <= len(image.data):
        text = f"image of {image.width} x {image.height} pixels, {image.step} bytes a row, in {len(image.data)} bytes"
        raise MessageError("goal", text)
    return Asked(_wish(goal), is_image=True)


def _latent(goal: Plan.Goal) -> Asked:
    latent_D = vector_from_msg(goal.latent, len(goal.latent), "latent")
    return Asked(_wish(goal, latent_D=latent_D), encoder_id=goal.encoder_id)


def _pose(goal: Plan.Goal) -> Asked:
    position, quaternion = pose_from_msg(goal.pose.pose)
    pose_3 = np.array([position[0], position[1], yaw_of(quaternion)])
    return Asked(_wish(goal, pose=GoalPose(pose_3, 1.0)), frame_id=goal.pose.header.frame_id)


def _region(goal: Plan.Goal) -> Asked:
    points = goal.region.polygon.points
    text = f"region of {len(points)} corners: expected 3 to {_MOST_CORNERS}, finite [m]"
    if not 3 <= len(points) <= _MOST_CORNERS:
        raise MessageError("goal", text)
    corner_C2 = np.array([(point.x, point.y) for point in points], float)
    if not (np.abs(corner_C2) <= LARGEST_POSITION_M).all():
        raise MessageError("goal", text)
    return Asked(_wish(goal, corner_C2=corner_C2), frame_id=goal.region.header.frame_id)


# ---------------------------------------------------------------- looking pictures up


def sample_queries(remembered: Remembered) -> QueryMemoryBatch.Request:
    """Returns what asks for the features of some memories, spread evenly."""
    count = len(remembered)
    row_M = np.unique(np.linspace(0, count - 1, _COMPARED).round().astype(int))
    queries = []
    for x, y, yaw in remembered.pose_N3[row_M].tolist():
        query = MemoryQuery(rank_by=MemoryQuery.RANK_POSE, k=1, has_pose=True, frame_id=remembered.frame_id)
        query.pose = pose_to_msg((x, y, 0.0), quaternion_of(yaw))
        queries.append(query)
    return QueryMemoryBatch.Request(queries=queries)


def place_query(feature: Sequence[int], feature_id: str, pose_3: np.ndarray, frame_id: str, same: SamePlace) -> Any:
    """Returns what asks for the memories of one place that look most like a feature, with their features."""
    query = MemoryQuery(rank_by=MemoryQuery.RANK_LATENT, k=REFINING, has_pose=True, frame_id=frame_id)
    query.pose = _pose_msg(pose_3, 0.0)
    query.radius_m, query.yaw_tolerance_rad = same.radius_m, same.rotation_rad
    query.feature, query.feature_id = feature, feature_id
    return QueryMemoryBatch.Request(queries=[query])


def features_from_answers(answers: list[MemoryMatches]) -> tuple[np.ndarray, np.ndarray]:
    """Returns features of memories scaled to length 1, [M, F], and their poses [M, 3]; none where they have none."""
    return features_of([answer.records[0] for answer in answers if len(answer.records)])


def features_of(records: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Returns features of records scaled to length 1, [M, F], and their poses [M, 3]; none where one has none."""
    records = [record for record in records if len(record.feature)]
    sizes = {len(record.feature) for record in records}
    if len(sizes) != 1:
        return np.empty((0, 0)), np.empty((0, 3))
    look_MF = np.array([np.array(record.feature, np.float32) for record in records])
    look_MF /= np.maximum(np.linalg.norm(look_MF, axis=1, keepdims=True), 1e-9)
    pose_M3 = np.array([(r.position.x, r.position.y, _yaw(r.orientation)) for r in records])
    return look_MF, pose_M3


def _yaw(turn: object) -> float:
    return float(yaw_of(np.array([getattr(turn, axis) for axis in "xyzw"])))


# ---------------------------------------------------------------- what is published


def pose_stamped(header: Header, pose_3: np.ndarray, z_m: float = 0.0) -> PoseStamped:
    """Returns a pose x, y [m], yaw [rad]; a yaw that is NaN as 0."""
    return PoseStamped(header=header, pose=_pose_msg(pose_3, z_m))


def _pose_msg(pose_3: np.ndarray, z_m: float) -> Pose:
    x, y, yaw = (float(value) for value in pose_3)
    return pose_to_msg((x, y, z_m), quaternion_of(yaw if math.isfinite(yaw) else 0.0))


def path_msg(header: Header, pose_S3: np.ndarray, z_m: float) -> Path:
    """Returns poses x, y [m], yaw [rad] as a path."""
    return Path(header=header, poses=[pose_stamped(header, pose_3, z_m) for pose_3 in pose_S3])


def route_msg(header: Header, point_R2: np.ndarray, z_m: float) -> Path:
    """Returns a way as a path; each pose looks at the next."""
    ahead_R2 = np.diff(point_R2, axis=0)
    yaw_R = np.arctan2(ahead_R2[:, 1], ahead_R2[:, 0])
    return path_msg(header, np.column_stack([point_R2, np.append(yaw_R, yaw_R[-1:])]), z_m)


def actions_msg(plan_SA: np.ndarray) -> Float32MultiArray:
    """Returns commands, the first of them for now, as rows of a labelled array."""
    steps, actions = plan_SA.shape
    msg = Float32MultiArray()
    msg.layout.dim = [
        MultiArrayDimension(label="step", size=steps, stride=steps * actions),
        MultiArrayDimension(label="action", size=actions, stride=actions),
    ]
    msg.data = floats(plan_SA.reshape(-1))
    return msg


COMMANDS = {ARRAY: Float32MultiArray, TWIST: Twist, TWIST_STAMPED: TwistStamped}
"""{what the robot is commanded with: its message}."""


def command_msg(output: str, header: Header, command_A: np.ndarray) -> Any:
    """Returns a command (forward speed [m/s], yaw rate [rad/s]) as the message that the robot takes."""
    if output == ARRAY:
        return float_array_msg(command_A.astype(np.float32), "action")
    twist = Twist()
    twist.linear.x, twist.angular.z = map(float, command_A)
    return twist if output == TWIST else TwistStamped(header=header, twist=twist)


def field_msg(header: Header, field: Field, z_m: float) -> OccupancyGrid:
    """Returns the cost to a goal as a grid: 0 at the goal to 98 at the dearest known cell, -1 never driven."""
    known_YX = field.ground.known_YX
    cost_YX = np.where(known_YX, field.cost_YX, 0.0)
    share_YX = cost_YX / max(float(cost_YX.max()), 1e-6)
    value_YX = np.where(known_YX, np.rint(share_YX * _HIGHEST_COST), -1).astype(np.int8)
    msg = OccupancyGrid(header=header)
    msg.info.map_load_time, msg.info.resolution = header.stamp, field.ground.cell_m
    msg.info.height, msg.info.width = value_YX.shape
    msg.info.origin.position.x, msg.info.origin.position.y = field.ground.origin
    msg.info.origin.position.z = z_m
    # Assigned as an array: a list would be checked number by number.
    msg.data = array.array("b", value_YX.tobytes())
    return msg


def shapes_of(goal_3: np.ndarray, sample_BS3: np.ndarray, z_m: float) -> list[Shape]:
    """Returns what a viewer is shown: the goal, with where it looks, and the best sampled plans faintly.

    Args:
        goal_3: x, y [m], yaw [rad], which is NaN where any will do.
        sample_BS3: Poses along the plans; none keep the last ones out of sight.
        z_m: Height of it all.
    """
    goal_13 = np.array([[goal_3[0], goal_3[1], z_m]])
    drawn = [Shape("goal", 0, "spheres", goal_13, _GOAL_COLOR, 0.2)]
    if math.isfinite(goal_3[2]):
        ahead_13 = goal_13 + 0.5 * np.array([math.cos(goal_3[2]), math.sin(goal_3[2]), 0.0])
        drawn.append(Shape("goal", 1, "lines", np.concatenate([goal_13, ahead_13]), _GOAL_COLOR, 0.05))
    point_BS3 = np.array(sample_BS3[:, ::_DRAWN_EVERY], float)
    if point_BS3.size:
        point_BS3[..., 2] = z_m
        line_N3 = np.stack([point_BS3[:, :-1], point_BS3[:, 1:]], axis=2).reshape(-1, 3)
        drawn.append(Shape("candidates", 0, "lines", line_N3, _CANDIDATE_COLOR, 0.01))
    return drawn


def outcome_of(error: GoalError | MessageError) -> int:
    """Returns the outcome of a goal that cannot be planned for."""
    return int(OUTCOMES.get(error.reason, Result.REFUSED))
