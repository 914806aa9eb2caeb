"""What the memory keeps: one record per remembered state.

Shape suffixes: D = latent size, A = action size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from wm_core.memory.errors import RecordError

MAX_ID = 2**63 - 1
LAST_FOLLOWED_ID = 2**63 - 2**40
"""Ids that the memory chooses follow the largest that was given up to this one, so that a trillion are always left."""
MIN_FREE_IDS = 2**32
"""A stored counter that leaves fewer than these was pushed there by a given id and is not followed."""
_MAX_SURPRISE = float(np.finfo(np.float32).max)


class Successor(NamedTuple):
    """What was seen some time after a record, in the same session.

    Attributes:
        horizon_s: The horizon it stands for (one step, 1 s) [s].
        dt_s: The real time difference [s].
        latent_D: What was seen then.
    """

    horizon_s: float
    dt_s: float
    latent_D: np.ndarray


def no_action() -> np.ndarray:
    """Return the action of a record whose action is unknown: no values."""
    return np.empty(0, np.float32)


@dataclass(frozen=True)
class MemoryRecord:
    """One remembered state; mirrors ``wm_interfaces/MemoryRecord``.

    Attributes:
        stamp_ns: When it was seen [ns].
        latent_D: What was seen, float32.
        x: Position in the map frame [m] (degrees of longitude in a ``wgs84`` map).
        y: Position in the map frame [m] (degrees of latitude in a ``wgs84`` map).
        z: Height [m].
        yaw: Where the robot looked [rad, -pi..pi].
        session: One run of one robot; successors never cross it.
        encoder_id: Which encoder made the latent.
        previous_action_A: Led here; empty if unknown.
        action_A: Taken here; empty if unknown.
        surprise: Error of the prediction made 1 s earlier (NMSE); NaN if unknown.
        id: 0 lets the memory choose.
        h3_cell: Computed by the memory.
        successors: What followed, nearest in time first.
    """

    stamp_ns: int
    latent_D: np.ndarray
    x: float
    y: float
    z: float = 0.0
    yaw: float = 0.0
    session: str = ""
    encoder_id: str = ""
    previous_action_A: np.ndarray = field(default_factory=no_action)
    action_A: np.ndarray = field(default_factory=no_action)
    surprise: float = math.nan
    id: int = 0
    h3_cell: int = 0
    successors: tuple[Successor, ...] = ()


def action_size(record: MemoryRecord) -> int:
    """Return how many values a record's actions have; 0 where both are unknown."""
    return max(np.size(record.action_A), np.size(record.previous_action_A))


def check_latent(latent_D: np.ndarray, dim: int, what: str) -> np.ndarray:
    """Return the latent as contiguous float32.

    Raises:
        RecordError: Wrong size or a value that is not finite.
    """
    latent_D = np.ascontiguousarray(latent_D, dtype=np.float32).reshape(-1)
    if latent_D.size == 0 or (dim and latent_D.size != dim):
        raise RecordError("wrong-size", f"{what} has {latent_D.size} values, the memory holds {dim or 'at least 1'}")
    if not np.isfinite(latent_D).all():
        raise RecordError("not-finite", f"{what} has values that are not finite")
    return latent_D


def check_action(action_A: np.ndarray, dim: int, what: str) -> np.ndarray:
    """Return the action as float32 [A]; an empty one is unknown.

    Raises:
        RecordError: Wrong size or a value that is not finite.
    """
    action_A = np.asarray(action_A, dtype=np.float32).reshape(-1)
    if action_A.size and dim >= 0 and action_A.size != dim:
        raise RecordError("wrong-action-size", f"{what} has {action_A.size} values, the memory holds {dim}")
    if not np.isfinite(action_A).all():
        raise RecordError("not-finite", f"{what} has values that are not finite")
    return action_A


def check_surprise(surprise: float) -> None:
    """Refuse a surprise that single precision cannot hold; NaN is unknown.

    Raises:
        RecordError: It is infinite, or would be.
    """
    if abs(surprise) > _MAX_SURPRISE:
        raise RecordError("not-finite", f"surprise is {surprise}, which single precision cannot hold")


def check_name(name: str, what: str) -> None:
    """Refuse a text that cannot be stored.

    Raises:
        RecordError: It is no Unicode text.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise RecordError("impossible-text", f"{what} {name!r} is no Unicode text") from error


def check_record(record: MemoryRecord, dim: int, action_dim: int) -> None:
    """Refuse a record that cannot be kept whole.

    Args:
        record: What is to be kept.
        dim: Latent size D; 0 where the memory is still empty and takes any.
        action_dim: Action size A; negative where none was ever given.

    Raises:
        RecordError: Names the field and what was expected.
    """
    latent_D = check_latent(record.latent_D, dim, "latent")
    check_action(record.action_A, action_dim, "action")
    check_action(record.previous_action_A, action_dim, "previous_action")
    if record.action_A.size and record.previous_action_A.size and record.action_A.size != record.previous_action_A.size:
        raise RecordError("wrong-action-size", "action and previous_action differ in size")
    for name in ("x", "y", "z", "yaw"):
        value = getattr(record, name)
        if not math.isfinite(value):
            raise RecordError("not-finite", f"{name} is {value}")
    if not 0 <= record.id <= MAX_ID:
        raise RecordError("impossible-id", f"id {record.id} is not within 0..2**63-1")
    if not -(2**63) < record.stamp_ns < 2**63:
        raise RecordError("impossible-stamp", f"stamp {record.stamp_ns} ns does not fit 64 bits")
    check_surprise(record.surprise)
    for name in ("session", "encoder_id"):
        check_name(getattr(record, name), name)
    for successor in record.successors:
        check_successor(successor, latent_D.size)


def check_successor(successor: Successor, dim: int) -> None:
    """Refuse a successor that cannot be kept whole.

    Raises:
        RecordError: Wrong latent, or a time that is not after the record's.
    """
    check_latent(successor.latent_D, dim, "successor")
    if not (successor.horizon_s > 0 and math.isfinite(successor.horizon_s)):
        raise RecordError("impossible-successor", f"successor horizon {successor.horizon_s} s is not positive")
    if not (successor.dt_s > 0 and math.isfinite(successor.dt_s)):
        raise RecordError("impossible-successor", f"successor dt {successor.dt_s} s is not positive")
