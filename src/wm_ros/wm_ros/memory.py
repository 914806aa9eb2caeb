"""Questions to the spatial memory and its answers, between messages and ``world_model.runtime.predictor``."""

from __future__ import annotations

import math

import numpy as np

from wm_core.se2 import Pose2
from wm_core.se3 import quaternion_of, yaw_of
from wm_interfaces.msg import MemoryMatches, MemoryQuery, MemoryRecord
from wm_ros.messages import floats, pose_to_msg, stamp_msg, stamp_ns
from world_model.runtime.retrieved import Memory, MemoryRequest

_RANKS = {"pose": MemoryQuery.RANK_POSE, "latent": MemoryQuery.RANK_LATENT}


def query_to_msg(request: MemoryRequest, encoder_id: str, frame_id: str = "") -> MemoryQuery:
    """Returns the query message of one request, whose pose is in a frame; empty: whatever the memory's is."""
    pose = request.pose
    msg = MemoryQuery(
        rank_by=_RANKS[request.rank], k=request.k, has_pose=True, encoder_id=encoder_id, frame_id=frame_id
    )
    msg.pose = pose_to_msg((pose.x, pose.y, pose.z), quaternion_of(pose.yaw))
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


def memories_from_msg(matches: MemoryMatches) -> list[Memory]:
    """Returns the memories of one answer, nearest first."""
    return [_memory(record) for record in matches.records]


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
