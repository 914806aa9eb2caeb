"""What the memory keeps: one record per remembered state.

Shape suffixes: D = latent size, A = action size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from wm_core.bounds import LATEST_STAMP_S
from wm_core.memory.errors import EncoderMismatchError, FrameMismatchError, RecordError
from wm_core.se2 import wrap_angle
from wm_core.se3 import yaw_of

MAX_ID = 2**63 - 1
LAST_FOLLOWED_ID = 2**63 - 2**40
"""Ids that the memory chooses follow the largest that was given up to this one, so that a trillion are always left."""
MIN_FREE_IDS = 2**32
"""A stored counter that leaves fewer than these was pushed there by a given id and is not followed."""
LATEST_NS = (LATEST_STAMP_S + 1) * 1_000_000_000 - 1
"""Latest stamp of a record that comes in, by a message, a file or HTTP [ns]; the earliest is 0."""
_MAX_SURPRISE = float(np.finfo(np.float32).max)
_UNIT_TOLERANCE = 0.01
# Half the sine of a pitch of 88 degrees; beyond it a yaw means nothing.
_LOOKS_ALONG_Z = 0.4997

Quaternion = tuple[float, float, float, float]
"""A rotation as x, y, z, w, of unit length."""
MAX_FEATURE = 65_536
"""Most values of a feature: so that products of two fit 32 bits."""
NO_FEATURE = np.empty(0, np.int8)
"""The feature of who has none."""
NO_FEATURE.setflags(write=False)


class Successor(NamedTuple):
    """What was seen some time after a record, in the same session.

    Attributes:
        horizon_s: The horizon it stands for (one step, 1 s) [s].
        dt_s: The real time difference [s].
        latent_D: What was seen then.
        feature_F: What that looked like to the network of the record's ``feature_id``, int8; empty: not known.
    """

    horizon_s: float
    dt_s: float
    latent_D: np.ndarray
    feature_F: np.ndarray = NO_FEATURE


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
        yaw: Where the robot looked [rad, -pi..pi]; always that of ``orientation``.
        session: One run of one robot; successors never cross it.
        encoder_id: Which encoder made the latent.
        previous_action_A: Led here; empty if unknown.
        action_A: Taken here; empty if unknown.
        surprise: Error of the prediction made 1 s earlier (NMSE); NaN if unknown.
        id: 0 lets the memory choose.
        h3_cell: Computed by the memory.
        successors: What followed, nearest in time first.
        frame_id: Frame of the place; empty on insertion: the memory's.
        orientation: The whole rotation, kept as float32; None: no roll, no pitch, only ``yaw``.
        feature_F: What it looked like to the network of ``feature_id``, int8; empty: not known.
        feature_id: Which network makes the memory's features; empty: none does.
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
    frame_id: str = ""
    orientation: Quaternion | None = None
    feature_F: np.ndarray = field(default_factory=lambda: NO_FEATURE)
    feature_id: str = ""


def check_same_source(record: MemoryRecord, frame_id: str, feature_id: str) -> None:
    """Refuse a record whose place, or whose feature, cannot be compared with a memory's.

    Args:
        record: One that leaves its frame or feature open fits any.
        frame_id: The memory's; empty: still open.
        feature_id: The memory's; empty: still open.

    Raises:
        FrameMismatchError: Names both frames.
        EncoderMismatchError: Names both networks.
    """
    if record.frame_id and frame_id and record.frame_id != frame_id:
        raise FrameMismatchError(
            f"pose in frame {record.frame_id}, the memory's are in {frame_id}: move it there (transform), clear it, "
            "or give it another db_path"
        )
    if record.feature_id and feature_id and record.feature_id != feature_id:
        raise EncoderMismatchError(f"feature of network {record.feature_id}, the memory holds those of {feature_id}")


@dataclass(frozen=True)
class Sources:
    """Where a memory's places and features come from, each empty while that is open."""

    frame_id: str = ""
    feature_id: str = ""

    def adopting(self, records: Sequence[MemoryRecord]) -> Sources:
        """Return them once a memory holds some records: what was open is taken from the first that names it."""
        return Sources(adopted(self.frame_id, records, "frame_id"), adopted(self.feature_id, records, "feature_id"))

    def check(self, record: MemoryRecord) -> None:
        """Refuse a record of other sources; see ``check_same_source``."""
        check_same_source(record, self.frame_id, self.feature_id)


def adopted(current: str, records: Sequence[MemoryRecord], name: str) -> str:
    """Return what a memory's frame or network is once it holds some records: the first that one of them names."""
    return current or next((value for record in records if (value := getattr(record, name))), "")


def kept_orientation(record: MemoryRecord) -> Quaternion | None:
    """Return a record's rotation as it is kept: to single precision, and None where the yaw says it all."""
    if record.orientation is None or not has_tilt(record.orientation):
        return None
    x, y, z, w = np.array(record.orientation, np.float32).tolist()
    return x, y, z, w


def kept_yaw(record: MemoryRecord) -> float:
    """Return a record's yaw as it is kept: within half a turn, untouched where it lies there [rad]."""
    return record.yaw if -math.pi <= record.yaw <= math.pi else wrap_angle(record.yaw)


def feature_size(record: MemoryRecord) -> int:
    """Return how many values a record's feature has, or that of its first successor; 0 where it has none."""
    sizes = (record.feature_F.size, *(each.feature_F.size for each in record.successors))
    return next((size for size in sizes if size), 0)


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


def check_stamps(stamp_N: Sequence[int] | np.ndarray) -> None:
    """Refuse stamps of what comes in that cannot be a time at which something was seen [ns].

    ``check_record`` does not: what a memory holds from before this was asked goes on, and can be undone.

    Raises:
        RecordError: ``impossible-stamp``, with the worst.
    """
    earliest, latest = (int(np.min(stamp_N)), int(np.max(stamp_N))) if len(stamp_N) else (0, 0)
    if earliest >= 0 and latest <= LATEST_NS:
        return
    worst = earliest if earliest < 0 else latest
    raise RecordError("impossible-stamp", f"stamp {worst} ns, expected 0 to {LATEST_STAMP_S} s")


def check_name(name: str, what: str) -> None:
    """Refuse a text that cannot be stored.

    Raises:
        RecordError: It is no Unicode text.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise RecordError("impossible-text", f"{what} {name!r} is no Unicode text") from error


def check_record(record: MemoryRecord, dim: int, action_dim: int, feature_dim: int = 0) -> None:
    """Refuse a record that cannot be kept whole.

    Args:
        record: What is to be kept.
        dim: Latent size D; 0 where the memory is still empty and takes any.
        action_dim: Action size A; negative where none was ever given.
        feature_dim: Feature size F of records; 0 where none was ever given.

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
    for name in ("session", "encoder_id", "frame_id", "feature_id"):
        check_name(getattr(record, name), name)
    check_orientation(record)
    check_feature(record.feature_F, record.feature_id, "feature", feature_dim)
    for successor in record.successors:
        check_successor(successor, latent_D.size)
        check_feature(successor.feature_F, record.feature_id, "feature of a successor")


def check_orientation(record: MemoryRecord) -> None:
    """Refuse a rotation that is none, or whose yaw is another than the record's.

    Raises:
        RecordError: ``impossible-orientation``.
    """
    if record.orientation is None:
        return
    text = f"orientation {record.orientation}"
    if not check_unit(record.orientation):
        raise RecordError("impossible-orientation", f"{text} is no quaternion x, y, z, w of unit length")
    x, y, z, w = record.orientation
    looks_along_z = abs(w * y - z * x) > _LOOKS_ALONG_Z
    if not looks_along_z and abs(wrap_angle(yaw_of(record.orientation) - record.yaw)) > _UNIT_TOLERANCE:
        raise RecordError("impossible-orientation", f"{text} has yaw {yaw_of(record.orientation)}, not {record.yaw}")


def check_unit(orientation: Sequence[float]) -> bool:
    """Return whether a quaternion is of unit length, about."""
    return all(map(math.isfinite, orientation)) and abs(math.hypot(*orientation) - 1.0) <= _UNIT_TOLERANCE


def check_feature(feature_F: np.ndarray, feature_id: str, what: str, dim: int = 0) -> None:
    """Refuse a feature that cannot be kept; ``dim`` is the memory's feature size, 0: still open.

    Raises:
        RecordError: ``impossible-feature``: its values are no int8, or nothing says which network made it;
            ``wrong-size``.
    """
    if not np.size(feature_F):
        return
    if feature_F.dtype != np.int8 or feature_F.ndim != 1:
        raise RecordError("impossible-feature", f"{what} is {feature_F.dtype} {feature_F.shape}, expected int8 [F]")
    if feature_F.size > MAX_FEATURE:
        raise RecordError("impossible-feature", f"{what} has {feature_F.size} values, at most {MAX_FEATURE}")
    if not feature_id:
        raise RecordError("impossible-feature", f"{what} has {feature_F.size} values and no feature_id")
    if dim and feature_F.size != dim:
        raise RecordError("wrong-size", f"{what} has {feature_F.size} values, the memory holds {dim}")


def has_tilt(orientation: Sequence[float]) -> bool:
    """Return whether a rotation x, y, z, w is more than a yaw."""
    return orientation[0] != 0.0 or orientation[1] != 0.0


def check_successor(successor: Successor, dim: int, feature_id: str | None = None) -> None:
    """Refuse a successor that cannot be kept whole.

    Args:
        successor: What is to be kept.
        dim: Latent size D.
        feature_id: Network of its feature; None: checked elsewhere.

    Raises:
        RecordError: Wrong latent or feature, or a time that is not after the record's.
    """
    if feature_id is not None:
        check_feature(successor.feature_F, feature_id, "feature of a successor")
    check_latent(successor.latent_D, dim, "successor")
    if not (successor.horizon_s > 0 and math.isfinite(successor.horizon_s)):
        raise RecordError("impossible-successor", f"successor horizon {successor.horizon_s} s is not positive")
    if not (successor.dt_s > 0 and math.isfinite(successor.dt_s)):
        raise RecordError("impossible-successor", f"successor dt {successor.dt_s} s is not positive")
