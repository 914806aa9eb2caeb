"""Between messages and plain Python, nothing else; every field is carried over unchanged."""

from __future__ import annotations

import array
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion, Transform

from wm_core.bounds import (
    LARGEST_ACTION,
    LONGEST_HORIZON_S,
    MOST_HORIZONS,
    MOST_VALUES,
    SHORTEST_STEP_S,
    bounded_vector,
    checked_name,
    shown,
)
from wm_core.memory import record as records
from wm_core.memory.place_search import Answer, Sought
from wm_core.memory.protocol import Forget, Rigid
from wm_core.memory.query import Box, Matches, Place, Query
from wm_core.memory.recorder import State
from wm_core.se3 import quaternion_of, yaw_of
from wm_interfaces.msg import (
    LatentState,
    MemoryMatches,
    MemoryQuery,
    MemoryRecord,
    MemorySuccessor,
    RecognisedPlace,
)
from wm_interfaces.srv import DeleteMemory, RecognisePlace
from wm_ros import MessageError, believable_stamp_ns, floats, pose_from_msg, stamp_msg, stamp_ns
from wm_ros.messages import fill_pose, fill_stamp

_RANKS = {
    MemoryQuery.RANK_AUTO: "auto",
    MemoryQuery.RANK_LATENT: "latent",
    MemoryQuery.RANK_POSE: "pose",
    MemoryQuery.RANK_BOTH: "both",
}
MOST_PLACES = 2000
"""Most that are looked at, to learn how far they extend."""
MOST_FORGOTTEN = 65_536
"""Ids of one request to delete."""
_METRICS = {MemoryQuery.METRIC_L2: "l2", MemoryQuery.METRIC_COSINE: "cosine"}
_Named: TypeAlias = LatentState | MemoryQuery | MemoryRecord | DeleteMemory.Request | RecognisePlace.Request


def place_from_msg(pose: Pose) -> Place:
    """Return position and yaw of a pose.

    Raises:
        MessageError: The pose is not finite or its quaternion not of unit length.
    """
    position, quaternion = pose_from_msg(pose)
    x, y, z = (float(value) for value in position)
    return Place(x, y, z, yaw_of(quaternion))


def _feature(values: Sequence[int]) -> np.ndarray:
    if len(values) > MOST_VALUES:
        raise MessageError("feature-length", f"{len(values)} values, expected at most {MOST_VALUES}")
    return np.array(values, np.int8)


def _check_names(msg: _Named, *names: str) -> None:
    for name in names:
        checked_name(getattr(msg, name), name)


def _check_horizons(msg: LatentState) -> None:
    """Refuse a step or horizons that would have the recorder wait for ever, or for everything."""
    horizons_s = list(msg.horizons_s[: MOST_HORIZONS + 1])
    fits = all(0.0 < horizon_s <= LONGEST_HORIZON_S for horizon_s in horizons_s)
    if not (
        fits
        and len(horizons_s) <= MOST_HORIZONS
        and (msg.step_s == 0 or SHORTEST_STEP_S <= msg.step_s <= LONGEST_HORIZON_S)
    ):
        raise MessageError("impossible-horizons", f"step {msg.step_s} s, horizons {shown(msg.horizons_s)} s")


def rotation_from_msg(rotation: Quaternion) -> records.Quaternion | None:
    """Return a rotation, or None where it is a yaw and no more."""
    x, y, z, w = rotation.x, rotation.y, rotation.z, rotation.w
    return (x, y, z, w) if records.has_tilt((x, y, z, w)) else None


def state_from_msg(msg: LatentState) -> State:
    """Return a state of the stream.

    Raises:
        MessageError: Its pose cannot be one.
    """
    _check_names(msg, "encoder_id", "pose_frame_id", "feature_id")
    _check_horizons(msg)
    return State(
        believable_stamp_ns(msg.header.stamp),
        bounded_vector(msg.latent, "latent"),
        msg.encoder_id,
        place_from_msg(msg.pose) if msg.has_pose else None,
        bounded_vector(msg.action, "action", largest=LARGEST_ACTION) if msg.has_action else records.no_action(),
        step_s=msg.step_s,
        horizons_s=tuple(msg.horizons_s),
        frame_id=msg.pose_frame_id if msg.has_pose else "",
        orientation=rotation_from_msg(msg.pose.orientation) if msg.has_pose else None,
        feature_F=_feature(msg.feature),
        feature_id=msg.feature_id,
    )


def query_from_msg(msg: MemoryQuery, top_k: int, yaw_weight_m: float, pose_weight: float) -> Query:
    """Return a query, with the node's defaults where the message leaves a field open.

    Raises:
        MessageError: Its pose cannot be one, or a constant is unknown.
    """
    if msg.rank_by not in _RANKS or msg.metric not in _METRICS:
        raise MessageError("unknown-constant", f"rank_by {msg.rank_by}, metric {msg.metric}")
    _check_names(msg, "encoder_id", "frame_id", "session", "feature_id")
    stamp = stamp_ns(msg.stamp)
    return Query(
        k=msg.k or top_k,
        place=place_from_msg(msg.pose) if msg.has_pose else None,
        latent_D=bounded_vector(msg.latent, "latent") if len(msg.latent) else None,
        rank_by=_RANKS[msg.rank_by],
        metric=_METRICS[msg.metric],
        encoder_id=msg.encoder_id,
        frame_id=msg.frame_id,
        radius_m=msg.radius_m,
        ring_count=msg.ring_count,
        box=box_from_msg(msg.box_min, msg.box_max) if msg.has_box else None,
        yaw_tolerance_rad=msg.yaw_tolerance_rad,
        z_tolerance_m=msg.z_tolerance_m,
        time_min_ns=stamp_ns(msg.time_min) if msg.has_time_min else None,
        time_max_ns=stamp_ns(msg.time_max) if msg.has_time_max else None,
        exclude_recent_s=msg.exclude_recent_s,
        stamp_ns=stamp or None,
        session=msg.session,
        action_A=bounded_vector(msg.action, "action", largest=LARGEST_ACTION) if len(msg.action) else None,
        action_distance=msg.action_distance,
        yaw_weight_m=msg.yaw_weight_m or yaw_weight_m,
        pose_weight=msg.pose_weight or pose_weight,
        successors=msg.successors,
        feature_F=_feature(msg.feature) if len(msg.feature) else None,
        feature_id=msg.feature_id,
        orientation=rotation_from_msg(msg.pose.orientation) if msg.has_pose else None,
        rotation_tolerance_rad=msg.rotation_tolerance_rad,
    )


def asked_of(msgs: Sequence[MemoryQuery], top_k: int) -> tuple[int, int]:
    """Return how many records queries ask for together, and how many numbers they hold, by their lengths alone."""
    values = sum(len(msg.latent) + len(msg.feature) + len(msg.action) for msg in msgs)
    return sum(msg.k or top_k for msg in msgs), values


def values_of(msgs: Sequence[MemoryRecord]) -> int:
    """Return how many numbers records hold, by their lengths alone."""
    own = sum(len(msg.latent) + len(msg.feature) + len(msg.action) + len(msg.previous_action) for msg in msgs)
    return own + sum(len(item.latent) + len(item.feature) for msg in msgs for item in msg.successors)


def box_from_msg(low: Point, high: Point) -> Box:
    """Return a box from its corners."""
    return Box(low.x, low.y, low.z, high.x, high.y, high.z)


def matches_to_msg(
    matches: Matches,
    pace: Callable[[Sequence[Any]], Iterable[Any]] = iter,
    made: dict[int, MemoryRecord] | None = None,
) -> MemoryMatches:
    """Return an answer as a message.

    Args:
        matches: The answer.
        pace: Yields the records, in its own time.
        made: Messages of records by Python's ``id``, added to: what several answers hold is converted once.
    """
    made = {} if made is None else made
    for record in pace(matches.records):
        if id(record) not in made:
            made[id(record)] = record_to_msg(record)
    return MemoryMatches(
        records=[made[id(record)] for record in matches.records],
        distances=floats(matches.distances_K),
        latent_distances=floats(matches.latent_distances_K),
        pose_distances=floats(matches.pose_distances_K),
        candidate_count=matches.candidate_count,
    )


def record_to_msg(record: records.MemoryRecord) -> MemoryRecord:
    """Return a record as a message."""
    # Filled in place: a constructor makes each part once more, and answers carry many records.
    msg = MemoryRecord(id=record.id, session=record.session, encoder_id=record.encoder_id)
    msg.feature_id, msg.frame_id, msg.h3_cell = record.feature_id, record.frame_id, record.h3_cell
    fill_stamp(msg.stamp, record.stamp_ns)
    rotation = record.orientation or quaternion_of(record.yaw)
    fill_pose(msg.position, msg.orientation, (record.x, record.y, record.z), rotation)
    msg.latent, msg.surprise = floats(record.latent_D), record.surprise
    msg.previous_action, msg.action = floats(record.previous_action_A), floats(record.action_A)
    if record.feature_F.size:
        msg.feature = _int8s(record.feature_F)
    if record.successors:
        msg.successors = [
            MemorySuccessor(
                horizon_s=item.horizon_s, dt_s=item.dt_s, latent=floats(item.latent_D), feature=_int8s(item.feature_F)
            )
            for item in record.successors
        ]
    return msg


def _int8s(values_F: np.ndarray) -> array.array[int]:
    """Return a feature as what an ``int8[]`` field takes without checking each."""
    return array.array("b", values_F.tobytes())


def records_from_msgs(
    msgs: Sequence[MemoryRecord], pace: Callable[[Sequence[Any]], Iterable[Any]] = iter
) -> list[records.MemoryRecord]:
    """Return messages as records.

    Args:
        msgs: The messages.
        pace: Yields them, in its own time.

    Raises:
        MessageError: The first whose place cannot be one, by its place in the list.
    """
    made = []
    for at, msg in enumerate(pace(msgs)):
        try:
            made.append(_record_from_msg(msg))
        except MessageError as error:
            raise MessageError(error.reason, f"record {at}: {error.detail}") from error
    return made


def _record_from_msg(msg: MemoryRecord) -> records.MemoryRecord:
    _check_names(msg, "encoder_id", "frame_id", "session", "feature_id")
    if len(msg.successors) > MOST_HORIZONS:
        raise MessageError("too-many-successors", f"{len(msg.successors)} successors, expected at most {MOST_HORIZONS}")
    place = place_from_msg(Pose(position=msg.position, orientation=msg.orientation))
    return records.MemoryRecord(
        stamp_ns=believable_stamp_ns(msg.stamp),
        latent_D=bounded_vector(msg.latent, "latent"),
        x=place.x,
        y=place.y,
        z=place.z,
        yaw=place.yaw,
        session=msg.session,
        encoder_id=msg.encoder_id,
        previous_action_A=bounded_vector(msg.previous_action, "action", largest=LARGEST_ACTION),
        action_A=bounded_vector(msg.action, "action", largest=LARGEST_ACTION),
        surprise=msg.surprise,
        id=msg.id,
        successors=tuple(
            records.Successor(item.horizon_s, item.dt_s, bounded_vector(item.latent, "latent"), _feature(item.feature))
            for item in msg.successors
        ),
        frame_id=msg.frame_id,
        orientation=rotation_from_msg(msg.orientation),
        feature_F=_feature(msg.feature),
        feature_id=msg.feature_id,
    )


def sought_from_msg(msg: RecognisePlace.Request) -> Sought:
    """Return what is to be recognised.

    Raises:
        MessageError: ``exclude_recent_s`` is no time, the feature is too long, or a name is.
    """
    _check_names(msg, "session", "feature_id")
    if not (math.isfinite(msg.exclude_recent_s) and msg.exclude_recent_s >= 0):
        raise MessageError("not-finite", f"exclude_recent_s is {msg.exclude_recent_s}, expected a finite number >= 0")
    return Sought(_feature(msg.feature), msg.feature_id, msg.most, msg.session, msg.exclude_recent_s)


def places_to_msgs(answer: Answer) -> list[RecognisedPlace]:
    """Return recognised places as messages, the likeliest first."""
    return [
        RecognisedPlace(
            id=record.id,
            stamp=stamp_msg(record.stamp_ns),
            session=record.session,
            pose=Pose(
                position=Point(x=record.x, y=record.y, z=record.z),
                orientation=Quaternion(**dict(zip("xyzw", record.orientation or quaternion_of(record.yaw)))),
            ),
            distance=place.distance,
            confidence=place.confidence,
            support=place.support,
        )
        for place, record in answer.places
    ]


def forget_from_msg(msg: DeleteMemory.Request) -> Forget:
    """Return delete criteria.

    Raises:
        MessageError: A name is too long, or too many ids are given.
    """
    _check_names(msg, "session", "frame_id")
    if len(msg.ids) > MOST_FORGOTTEN:
        raise MessageError("too-many", f"{len(msg.ids)} ids, at most {MOST_FORGOTTEN} in one request: delete in parts")
    return Forget(
        ids=tuple(msg.ids),
        box=box_from_msg(msg.box_min, msg.box_max) if msg.has_box else None,
        session=msg.session,
        older_than_s=msg.older_than_s,
        frame_id=msg.frame_id,
    )


def rigid_from_msg(msg: Transform, frame_id: str = "") -> Rigid:
    """Return a transform about z, into a frame of this name; empty: the same frame.

    Raises:
        MessageError: It is not finite, not of unit length, or tilts; or the frame's name is too long.
    """
    checked_name(frame_id, "frame_id")
    pose = Pose(position=Point(x=msg.translation.x, y=msg.translation.y, z=msg.translation.z), orientation=msg.rotation)
    position, quaternion = pose_from_msg(pose)
    if math.hypot(quaternion[0], quaternion[1]) > 1e-3:
        raise MessageError("tilted", f"rotation {quaternion.tolist()} is not about z only")
    x, y, z = (float(value) for value in position)
    return Rigid(x, y, z, yaw_of(quaternion), frame_id)
