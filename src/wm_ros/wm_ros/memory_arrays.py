"""Memories as packed arrays, and what a window asks and is told, between messages and ``wm_core.memory``.

Shape suffixes: N = records, S = successors, D = latent size, A = action size.
"""

from __future__ import annotations

import array
from typing import Any

import numpy as np

from wm_core.bounds import LARGEST_ACTION, LARGEST_POSITION_M, LARGEST_VALUE
from wm_core.memory.journal import Area, WindowAsk, WindowUpdate
from wm_core.memory.packed import Packed, Successors
from wm_core.memory.record import MAX_ID
from wm_core.memory.rows import Rows
from wm_interfaces.msg import MemoryArrays
from wm_interfaces.srv import MemoryWindow
from wm_ros.errors import MessageError

_POSE = 7
# Of unit length, and rounded; a surprise is a squared error.
_LARGEST_QUATERNION, _LARGEST_SURPRISE, _LARGEST_TIME_S = 1.01, float(np.finfo(np.float32).max), 1e6


def packed_to_msg(packed: Packed) -> MemoryArrays:
    """Returns records as a message."""
    rows, followed = packed.rows, packed.successors
    pose_N7 = np.empty((len(rows), _POSE))
    pose_N7[:, 0], pose_N7[:, 1], pose_N7[:, 2], pose_N7[:, 3:] = rows.x_N, rows.y_N, rows.z_N, packed.quaternion_N4
    msg = MemoryArrays(version=MemoryArrays.VERSION, encoder_id=packed.encoder_id, frame_id=packed.frame_id)
    msg.latent_dim, msg.action_dim, msg.sessions = (
        rows.latent_ND.shape[1], rows.action_NA.shape[1], list(packed.sessions))  # fmt: skip
    # Assigned one by one: the constructor would copy each number by itself.
    msg.ids = array_of("Q", rows.id_N)
    msg.stamps_ns = array_of("q", rows.stamp_N)
    msg.session_indices = array_of("I", rows.session_N)
    msg.poses = array_of("d", pose_N7)
    msg.yaws = array_of("f", rows.yaw_N)
    msg.surprises = array_of("f", rows.surprise_N)
    msg.latents = array_of("f", rows.latent_ND)
    msg.previous_actions = array_of("f", rows.previous_action_NA)
    msg.actions = array_of("f", rows.action_NA)
    msg.successor_counts = array_of("I", followed.count_N)
    msg.successor_times_s = array_of("d", np.stack([followed.horizon_S, followed.dt_S], axis=1))
    msg.successor_latents = array_of("f", followed.latent_SD)
    return msg


def packed_from_msg(msg: MemoryArrays) -> Packed:
    """Returns the records of a message.

    Raises:
        MessageError: ``arrays-version``, ``arrays-size``: an array is not as long as the others say, or
            ``arrays-value``: a number is not finite, or larger than one can be.
    """
    if msg.version != MemoryArrays.VERSION:
        raise MessageError(
            "arrays-version", f"layout {msg.version} of packed memories, expected {MemoryArrays.VERSION}"
        )
    count, dim, action_dim = len(msg.ids), msg.latent_dim, msg.action_dim
    count_N = _numbers(msg.successor_counts, np.uint32, (count,), "successor_counts").astype(np.int64)
    total = int(count_N.sum())
    pose_N7 = _numbers(msg.poses, np.float64, (count, _POSE), "poses")
    session_N = _numbers(msg.session_indices, np.uint32, (count,), "session_indices").astype(np.int32)
    if count and int(session_N.max()) >= len(msg.sessions):
        raise MessageError("arrays-size", f"session {session_N.max()} of {len(msg.sessions)}")
    rows = Rows(
        _numbers(msg.ids, np.int64, (count,), "ids"),
        _numbers(msg.stamps_ns, np.int64, (count,), "stamps_ns"),
        pose_N7[:, 0],
        pose_N7[:, 1],
        pose_N7[:, 2],
        _numbers(msg.yaws, np.float32, (count,), "yaws"),
        session_N,
        _numbers(msg.surprises, np.float32, (count,), "surprises"),
        _numbers(msg.actions, np.float32, (count, action_dim), "actions"),
        _numbers(msg.previous_actions, np.float32, (count, action_dim), "previous_actions"),
        np.zeros(count, np.uint64),
        _numbers(msg.latents, np.float32, (count, dim), "latents"),
    )
    if (rows.id_N < 0).any():  # as int64
        raise MessageError("arrays-value", f"ids: at most {MAX_ID}")
    _check_within("poses", pose_N7[:, :3], LARGEST_POSITION_M)
    _check_within("rotations", pose_N7[:, 3:], _LARGEST_QUATERNION)
    _check_within("yaws", rows.yaw_N, LARGEST_VALUE)
    _check_within("latents", rows.latent_ND, LARGEST_VALUE)
    _check_within("actions", rows.action_NA, LARGEST_ACTION, may_be_nan=True)
    _check_within("previous_actions", rows.previous_action_NA, LARGEST_ACTION, may_be_nan=True)
    _check_within("surprises", rows.surprise_N, _LARGEST_SURPRISE, may_be_nan=True)
    time_S2 = _numbers(msg.successor_times_s, np.float64, (total, 2), "successor_times_s")
    latent_SD = _numbers(msg.successor_latents, np.float32, (total, dim), "successor_latents")
    _check_within("successor_times_s", time_S2, _LARGEST_TIME_S)
    _check_within("successor_latents", latent_SD, LARGEST_VALUE)
    followed = Successors(count_N, time_S2[:, 0], time_S2[:, 1], latent_SD)
    return Packed(msg.encoder_id, msg.frame_id, tuple(msg.sessions), rows, pose_N7[:, 3:], followed)


def ask_to_request(ask: WindowAsk) -> MemoryWindow.Request:
    """Returns the request of what a window wants to know."""
    area = ask.area
    return MemoryWindow.Request(
        epoch=ask.epoch, revision=ask.revision, frame_id=area.frame_id, center_x=area.x, center_y=area.y,
        radius_m=area.radius_m, max_age_s=area.max_age_s, max_count=area.max_count,
    )  # fmt: skip


def ask_from_request(request: MemoryWindow.Request) -> WindowAsk:
    """Returns what a window wants to know."""
    area = Area(
        request.center_x, request.center_y, request.radius_m, request.max_age_s, request.max_count, request.frame_id
    )
    return WindowAsk(area, request.epoch, request.revision)


def update_to_response(update: WindowUpdate, response: MemoryWindow.Response) -> MemoryWindow.Response:
    """Returns a response filled with what a window is told."""
    response.success = True
    response.epoch, response.revision = update.epoch, update.revision
    response.whole, response.reason = update.is_whole, update.reason
    response.center_x, response.center_y, response.radius_m = update.area.x, update.area.y, update.area.radius_m
    response.newest_ns = update.newest_ns
    response.has_oldest, response.oldest_ns = update.oldest_ns is not None, update.oldest_ns or 0
    response.is_everything = update.is_everything
    response.records = packed_to_msg(update.records)
    response.removed_ids = array_of("Q", update.removed_N)
    return response


def update_from_response(response: MemoryWindow.Response, asked: Area) -> WindowUpdate:
    """Returns what a window is told.

    Args:
        response: A successful one.
        asked: The area that was asked for.

    Raises:
        MessageError: As ``packed_from_msg``; ``arrays-value`` where its area is none.
    """
    around = np.array([response.center_x, response.center_y, response.radius_m])
    _check_within("area", around, LARGEST_POSITION_M)
    if response.radius_m <= 0.0:
        raise MessageError("arrays-value", f"area of {response.radius_m:g} m, expected more than 0")
    area = Area(response.center_x, response.center_y, response.radius_m, asked.max_age_s, asked.max_count,
                asked.frame_id)  # fmt: skip
    return WindowUpdate(
        response.epoch, response.revision, response.whole, response.reason, area, response.newest_ns,
        response.oldest_ns if response.has_oldest else None, response.is_everything, packed_from_msg(response.records),
        _numbers(response.removed_ids, np.int64, (len(response.removed_ids),), "removed_ids"),
    )  # fmt: skip


_KINDS = {"Q": np.uint64, "q": np.int64, "I": np.uint32, "d": np.float64, "f": np.float32}


def array_of(kind: str, values_N: np.ndarray) -> array.array[Any]:
    """Returns values as what a field of numbers takes without checking each; ``kind`` as ``array`` names it."""
    made: array.array[Any] = array.array(kind)
    made.frombytes(np.ascontiguousarray(values_N, _KINDS[kind]).reshape(-1).view(np.uint8).data)
    return made


def _numbers(values: Any, kind: type, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Returns a field of numbers as an array, without a copy."""
    numbers: np.ndarray = np.frombuffer(values, kind) if len(values) else np.empty(0, kind)
    if numbers.size != int(np.prod(shape)):
        raise MessageError("arrays-size", f"{name} has {numbers.size} values, expected {' x '.join(map(str, shape))}")
    shaped: np.ndarray = numbers.reshape(shape)
    return shaped


def _check_within(name: str, values: np.ndarray, largest: float, *, may_be_nan: bool = False) -> None:
    """Refuse numbers that nothing can be computed with.

    Raises:
        MessageError: ``arrays-value``.
    """
    if not values.size:
        return
    most = max(float(np.fmax.reduce(values, axis=None)), -float(np.fmin.reduce(values, axis=None)))
    if most > largest or (not may_be_nan and bool(np.isnan(values).any())):
        raise MessageError("arrays-value", f"{name}: a value is not finite, or beyond {largest:g}")
