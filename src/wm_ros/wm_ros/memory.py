"""Questions to the spatial memory and its answers, between messages and ``world_model.runtime.predictor``."""

from __future__ import annotations

import math

import numpy as np

from wm_core.bounds import LARGEST_ACTION, LARGEST_POSITION_M, LARGEST_VALUE
from wm_core.memory.record import MAX_ID
from wm_core.se2 import Pose2
from wm_core.se3 import quaternion_of, yaw_of
from wm_interfaces.msg import MemoryMatches, MemoryQuery, MemoryRecord
from wm_ros.errors import MessageError
from wm_ros.messages import floats, pose_to_msg, stamp_msg, stamp_ns
from world_model.runtime.retrieved import Memory, MemoryRequest

_RANKS = {"pose": MemoryQuery.RANK_POSE, "latent": MemoryQuery.RANK_LATENT}


def query_to_msg(request: MemoryRequest, encoder_id: str, frame_id: str = "") -> MemoryQuery:
    """Returns the query message of one request, whose pose is in a frame; empty: whatever the memory's is."""
    pose = request.pose
    msg = MemoryQuery(
        rank_by=_RANKS[request.rank], k=request.k, has_pose=True, encoder_id=encoder_id, frame_id=frame_id
    )
    msg.pose = pose_to_msg((pose.x, pose.y, pose.z), request.orientation or quaternion_of(pose.yaw))
    if request.latent_D is not None:
        msg.latent = floats(request.latent_D)
    msg.radius_m = float(request.radius_m)
    # A tolerance of half a turn or more is none; 0 in the message means the same.
    msg.yaw_tolerance_rad = float(request.yaw_tolerance_rad) if request.yaw_tolerance_rad < math.pi else 0.0
    msg.yaw_weight_m = float(request.yaw_weight_m)
    msg.stamp = stamp_msg(request.stamp_ns)
    msg.exclude_recent_s = float(request.exclude_recent_s)
    msg.successors = request.successors
    return msg


def memories_from_msg(matches: MemoryMatches, z_dim: int = 0, action_dim: int = 0, most: int = 0) -> list[Memory]:
    """Returns the memories of one answer, nearest first.

    Args:
        matches: The answer.
        z_dim: Values that each latent must have; 0: any.
        action_dim: Values that each action must have, if it has any; 0: any.
        most: Records that were asked for; 0: any number.

    Raises:
        MessageError: ``memory-answer``: it does not fit the question, or holds a number that is not finite.
    """
    if most and len(matches.records) > most:
        raise MessageError("memory-answer", f"{len(matches.records)} memories, at most {most} were asked for")
    memories = [_memory(record) for record in matches.records]
    for memory in memories:
        _check_sizes(memory, z_dim, action_dim)
    numbers = [array for memory in memories for array in (memory.latent_D, *(s[2] for s in memory.successors))]
    if numbers and not (np.abs(np.concatenate(numbers)) <= LARGEST_VALUE).all():
        raise MessageError("memory-answer", f"a latent is not finite, or beyond {LARGEST_VALUE:g}")
    return memories


def _check_sizes(memory: Memory, z_dim: int, action_dim: int) -> None:
    sizes = {len(memory.latent_D), *(len(latent_D) for _, _, latent_D in memory.successors)}
    if z_dim and sizes != {z_dim}:
        raise MessageError("memory-answer", f"latents of {sorted(sizes)} values, expected {z_dim}")
    if action_dim and memory.action_A is not None and len(memory.action_A) != action_dim:
        raise MessageError("memory-answer", f"an action of {len(memory.action_A)} values, expected {action_dim}")
    if memory.id > MAX_ID:
        raise MessageError("memory-answer", f"id {memory.id}, at most {MAX_ID}")
    pose = memory.pose
    if not all(abs(value) <= LARGEST_POSITION_M for value in (pose.x, pose.y, pose.z, pose.yaw)):
        raise MessageError("memory-answer", f"{pose} is not finite, or beyond {LARGEST_POSITION_M:g} m")
    if memory.action_A is not None and bool((np.abs(memory.action_A) > LARGEST_ACTION).any()):
        raise MessageError("memory-answer", f"an action is beyond {LARGEST_ACTION:g}")
    if not all(math.isfinite(horizon_s) and math.isfinite(dt_s) for horizon_s, dt_s, _ in memory.successors):
        raise MessageError("memory-answer", "the time of a successor is not finite")


def _memory(record: MemoryRecord) -> Memory:
    place, turn = record.position, record.orientation
    return Memory(
        id=record.id,
        stamp_ns=stamp_ns(record.stamp),
        latent_D=np.array(record.latent, np.float32),
        pose=Pose2(place.x, place.y, place.z, yaw_of((turn.x, turn.y, turn.z, turn.w))),
        action_A=np.array(record.action, np.float32) if len(record.action) else None,
        successors=tuple((each.horizon_s, each.dt_s, np.array(each.latent, np.float32)) for each in record.successors),
    )
