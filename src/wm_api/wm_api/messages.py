"""Between messages of the graph and what is served, nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Point
from nav_msgs.msg import Path

from spatial_memory.messages import records_from_msgs
from wm_core.bounds import LARGEST_ACTION, LARGEST_LATENT_STDS
from wm_core.memory.protocol import Stats
from wm_core.memory.query import Box, Matches, Query
from wm_core.memory.record import MemoryRecord
from wm_core.se2 import Pose2
from wm_core.se3 import quaternion_of, yaw_of
from wm_interfaces.msg import LatentForecast, LatentState, MemoryMatches, MemoryQuery, PredictionError
from wm_interfaces.msg import MemoryRecord as RecordMsg
from wm_interfaces.srv import MemoryStats
from wm_ros import believable_stamp_ns, floats, pose_from_msg, pose_to_msg, stamp_msg, stamp_ns, vector_from_msg
from wm_ros.messages import pose_std_from_values
from world_model.runtime.artifacts import Manifest
from world_model.runtime.prediction import Observation

_RANKS = {"auto": MemoryQuery.RANK_AUTO, "latent": MemoryQuery.RANK_LATENT, "pose": MemoryQuery.RANK_POSE,
          "both": MemoryQuery.RANK_BOTH}  # fmt: skip
_METRICS = {"l2": MemoryQuery.METRIC_L2, "cosine": MemoryQuery.METRIC_COSINE}
_NUMBERS = ("radius_m", "yaw_tolerance_rad", "rotation_tolerance_rad", "z_tolerance_m", "exclude_recent_s",
            "action_distance", "yaw_weight_m", "pose_weight")  # fmt: skip
_TINY = 1e-30
_MOST_POINTS = 100


def query_to_msg(query: Query) -> MemoryQuery:
    """Return a query as a message."""
    msg = MemoryQuery(
        rank_by=_RANKS[query.rank_by], metric=_METRICS[query.metric], k=query.k, encoder_id=query.encoder_id,
        frame_id=query.frame_id, ring_count=query.ring_count, session=query.session, successors=query.successors,
        feature_id=query.feature_id,
    )  # fmt: skip
    for name in _NUMBERS:
        setattr(msg, name, float(getattr(query, name)))
    for name in ("yaw_weight_m", "pose_weight"):
        # In a message 0 means the memory's own weight.
        setattr(msg, name, getattr(msg, name) or _TINY)
    if query.place is not None:
        rotation = query.orientation or quaternion_of(query.place.yaw)
        msg.has_pose, msg.pose = True, pose_to_msg(query.place[:3], rotation)
    if query.latent_D is not None:
        msg.latent = floats(query.latent_D)
    if query.action_A is not None:
        msg.action = floats(query.action_A)
    if query.box is not None:
        msg.has_box, (msg.box_min, msg.box_max) = True, corners(query.box)
    for name in ("time_min", "time_max"):
        value = getattr(query, f"{name}_ns")
        if value is not None:
            setattr(msg, f"has_{name}", True)
            setattr(msg, name, stamp_msg(value))
    msg.stamp = stamp_msg(query.stamp_ns) if query.stamp_ns else Time()
    return msg


def corners(box: Box) -> tuple[Point, Point]:
    """Return the corners of a box."""
    low, high = (float(value) for value in box[:3]), (float(value) for value in box[3:])
    return Point(**dict(zip("xyz", low))), Point(**dict(zip("xyz", high)))


def celled_records(msgs: Sequence[RecordMsg]) -> list[MemoryRecord]:
    """Return records of an answer, with the cells that the memory says they lie in.

    Raises:
        MessageError: One of them cannot be one.
    """
    return [replace(record, h3_cell=each.h3_cell) for record, each in zip(records_from_msgs(msgs), msgs)]


def matches_from_msg(msg: MemoryMatches) -> Matches:
    """Return an answer to one query.

    Raises:
        MessageError: A record of it cannot be one.
    """
    records = celled_records(msg.records)
    ranked, by_latent, by_pose = (
        np.array(values, np.float64) for values in (msg.distances, msg.latent_distances, msg.pose_distances)
    )
    return Matches(records, ranked, by_latent, by_pose, msg.candidate_count)


def stats_from_response(response: MemoryStats.Response) -> Stats:
    """Return how the memory says that it is doing."""
    names = ("memory_count", "capacity", "cell_count", "encoder_id", "frame_id", "feature_id", "backend",
             "pending_writes", "ram_bytes", "disk_bytes")  # fmt: skip
    given = {name: getattr(response, name) for name in names}
    durable = stamp_ns(response.durable_until)
    return Stats(**given, durable_until_ns=durable, degraded=tuple(response.degraded))


def observation_from_msg(msg: LatentState, manifest: Manifest) -> Observation:
    """Return what a latent of the graph says.

    Raises:
        MessageError: It is of another size than the artifact's, or holds a number that cannot be.
    """
    latent_D = vector_from_msg(msg.latent, manifest.z_dim, "latent", math.inf)
    offset_D = np.abs(latent_D - np.array(manifest.latent_mean)) / np.sqrt(np.array(manifest.latent_variance))
    latent_D = latent_D if float(offset_D.max()) <= LARGEST_LATENT_STDS else np.array(manifest.latent_mean, np.float32)
    action_A = vector_from_msg(msg.action, manifest.action_dim, "action", LARGEST_ACTION) if msg.has_action else None
    pose, std_3 = None, None
    if msg.has_pose:
        position, quaternion = pose_from_msg(msg.pose)
        x_m, y_m, z_m = position.tolist()
        pose, std_3 = Pose2(x_m, y_m, z_m, yaw_of(quaternion)), pose_std_from_values(msg.pose_std)
    return Observation(believable_stamp_ns(msg.header.stamp), latent_D, pose, action_A, std_3)


def forecast_from_msg(msg: LatentForecast) -> dict[str, Any]:
    """Return a forecast of the graph as JSON says it.

    Raises:
        MessageError: Its pose cannot be one.
    """
    pose = None
    if msg.has_pose:
        position, quaternion = pose_from_msg(msg.pose)
        pose = {**dict(zip("xyz", position.tolist())), "yaw": yaw_of(quaternion)}
    std_3 = pose_std_from_values(msg.pose_std)
    return {
        "horizon_s": round(msg.horizon_s, 6),
        "latent": [value if math.isfinite(value) else 0.0 for value in msg.latent],
        "gate": _finite(msg.gate) or 0.0,
        "pose": pose,
        "pose_std": None if std_3 is None or not np.isfinite(std_3).all() else std_3.tolist(),
        "revisit": len(msg.memory_ids) > 0,
        "memory_ids": list(msg.memory_ids),
    }


def error_from_msg(msg: PredictionError) -> dict[str, Any]:
    """Return the errors of a forecast of the graph as JSON says them."""
    return {
        "horizon_s": round(msg.horizon_s, 6),
        "stamp_ns": stamp_ns(msg.header.stamp),
        "error": _finite(msg.error),
        "without_memory": _finite(msg.error_without_memory),
        "persistence": _finite(msg.error_persistence),
        "gate": _finite(msg.gate) or 0.0,
        "revisit": bool(msg.revisit),
    }


def diagnostics_entry(status: DiagnosticStatus) -> dict[str, Any]:
    """Return what a node says of itself."""
    level = status.level[0] if isinstance(status.level, bytes) else int(status.level)
    values = {each.key[:256]: each.value[:1000] for each in status.values[:200]}
    return {"node": status.name[:256], "level": level, "message": status.message[:2000], "values": values}


def points_from_msg(msg: Path) -> list[list[float]]:
    """Return x, y [m] along a path, of a long one about as many as a map shows; empty where one is not finite."""
    every = max(-(-len(msg.poses) // _MOST_POINTS), 1)
    kept = [*msg.poses[:-1:every], *msg.poses[-1:]]
    points = [[round(each.pose.position.x, 3), round(each.pose.position.y, 3)] for each in kept]
    return points if all(math.isfinite(x) and math.isfinite(y) for x, y in points) else []


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def ids_of(values: Sequence[int]) -> list[int]:
    """Return ids as plain numbers."""
    return [int(value) for value in values]
