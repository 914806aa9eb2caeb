"""Many lookups and their answers as packed arrays, between messages and ``wm_core.memory``.

Shape suffixes: Q = lookups, R = memories found by all of them, D = latent size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from wm_core.bounds import LARGEST_POSITION_M, LARGEST_VALUE, shown
from wm_core.memory.errors import QueryError
from wm_core.memory.packed import Packed
from wm_core.memory.query import Matches, Place, Query
from wm_core.memory.record import MemoryRecord, has_tilt
from wm_interfaces.srv import QueryMemoryArrays
from wm_ros.memory_arrays import array_of, packed_to_msg

_POSE = 7
_UNIT_TOLERANCE = 0.01


def queries_from_arrays(request: QueryMemoryArrays.Request, shared: Query) -> list[Query]:
    """Returns the lookups of a request.

    Args:
        request: Their poses, latents and stamps.
        shared: What they share, from ``request.query``.

    Raises:
        QueryError: An array is not as long as ``count`` says, or a pose or a latent cannot be one.
    """
    count = request.count
    for name, values in (("poses", request.poses), ("latents", request.latents), ("stamps_ns", request.stamps_ns)):
        if len(values) and (not count or len(values) % count):
            raise QueryError(f"{name} has {len(values)} values, which {count} lookups cannot share evenly")
    changes: list[dict[str, Any]] = [{} for _ in range(count)]
    if len(request.poses):
        pose_Q7 = np.asarray(request.poses, np.float64).reshape(count, -1)
        for change, place, turn_4 in zip(changes, _places(pose_Q7), pose_Q7[:, 3:].tolist()):
            change["place"], change["orientation"] = place, tuple(turn_4) if has_tilt(turn_4) else None
    if len(request.latents):
        for change, latent_D in zip(changes, _latents(np.array(request.latents, np.float32).reshape(count, -1))):
            change["latent_D"] = latent_D
    if len(request.stamps_ns):
        if len(request.stamps_ns) != count:
            raise QueryError(f"stamps_ns has {len(request.stamps_ns)} values, expected {count}")
        for change, at_ns in zip(changes, request.stamps_ns):
            change["stamp_ns"] = int(at_ns) or None
    return [replace(shared, **change) for change in changes]


def _places(pose_Q7: np.ndarray) -> list[Place]:
    if pose_Q7.shape[1] != _POSE:
        raise QueryError(f"poses has {pose_Q7.shape[1]} values per lookup, expected {_POSE}")
    with np.errstate(over="ignore"):
        norm_Q = np.linalg.norm(pose_Q7[:, 3:], axis=1)
    is_near_Q = (np.abs(pose_Q7[:, :3]) <= LARGEST_POSITION_M).all(axis=1)
    bad_Q = ~(is_near_Q & (np.abs(norm_Q - 1.0) <= _UNIT_TOLERANCE))
    if bad_Q.any():
        at = int(np.argmax(bad_Q))
        raise QueryError(
            f"query {at}: pose {pose_Q7[at].tolist()} is not finite, beyond {LARGEST_POSITION_M:g} m, or its "
            "quaternion not of unit length"
        )
    x_Q, y_Q, z_Q, w_Q = (pose_Q7[:, 3:] / norm_Q[:, None]).T
    yaw_Q = np.arctan2(2.0 * (w_Q * z_Q + x_Q * y_Q), 1.0 - 2.0 * (y_Q * y_Q + z_Q * z_Q))
    return [Place(*values) for values in np.column_stack([pose_Q7[:, :3], yaw_Q]).tolist()]


def _latents(latent_QD: np.ndarray) -> np.ndarray:
    bad_Q = ~(np.abs(latent_QD) <= LARGEST_VALUE).all(axis=1)
    if bad_Q.any():
        at = int(np.argmax(bad_Q))
        raise QueryError(
            f"query {at}: latent {shown(latent_QD[at].tolist())} has values that are not finite, or beyond "
            f"{LARGEST_VALUE:g}"
        )
    return latent_QD


def answers_to_arrays(
    answers: Sequence[Matches], encoder_id: str, frame_id: str, response: QueryMemoryArrays.Response
) -> QueryMemoryArrays.Response:
    """Returns a response filled with answers; each memory found stands in it once.

    Args:
        answers: One per lookup.
        encoder_id: The memory's.
        frame_id: The memory's.
        response: What to fill.

    Raises:
        QueryError: Some were found before the memory was replaced or moved, and others after.
    """
    records = [record for answer in answers for record in answer.records]
    _check_of_one_moment(records, encoder_id, frame_id)
    rows: dict[int, int] = {}
    row_R = np.array([rows.setdefault(record.id, len(rows)) for record in records], np.int64)
    once = list({record.id: record for record in reversed(records)}.values())
    once.sort(key=lambda record: rows[record.id])
    dim = max((record.latent_D.size for record in once), default=0)
    action_dim = max((max(record.action_A.size, record.previous_action_A.size) for record in once), default=0)
    response.success = True
    response.counts = array_of("I", np.array([len(answer.records) for answer in answers]))
    response.candidate_counts = array_of("I", np.array([answer.candidate_count for answer in answers]))
    response.rows = array_of("I", row_R)
    for name in ("distances", "latent_distances", "pose_distances"):
        parts = [getattr(answer, f"{name}_K") for answer in answers]
        setattr(response, name, array_of("f", np.concatenate(parts) if parts else np.empty(0)))
    response.records = packed_to_msg(Packed.of(once, encoder_id, frame_id, dim, action_dim))
    return response


def _check_of_one_moment(records: Sequence[MemoryRecord], encoder_id: str, frame_id: str) -> None:
    """Refuse records that do not stand in one memory side by side: many lookups are answered a part at a time."""
    places: dict[int, tuple[float, ...]] = {}
    for record in records:
        place = (record.x, record.y, record.z, record.yaw)
        same = places.setdefault(record.id, place) == place
        if not same or record.encoder_id != encoder_id or record.frame_id not in ("", frame_id):
            raise QueryError("the memory was moved or replaced while it was asked: ask again")
