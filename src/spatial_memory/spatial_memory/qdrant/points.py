"""Records as Qdrant points, queries as Qdrant filters.

A filter lets through all that a query wants and little else; what a server cannot compare exactly (circles in a metric
map, yaws, nanoseconds) is compared here afterwards, before the k best are chosen.

Shape suffixes: N = records, D = latent size, A = action size.
"""

from __future__ import annotations

import base64
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from qdrant_client import models

from spatial_memory.embedded.table import optional_columns
from spatial_memory.geometry.cells import CellGrid
from wm_core.bounds import LARGEST_POSITION_M
from wm_core.memory.filters import Limits, is_filtered
from wm_core.memory.protocol import Rigid
from wm_core.memory.query import Query
from wm_core.memory.record import (
    NO_FEATURE,
    MemoryRecord,
    Quaternion,
    Successor,
    check_record,
    check_unit,
    kept_orientation,
    no_action,
)
from wm_core.memory.rows import Rows
from wm_core.se3 import turned_about_z

INDEXES = {
    "robot": models.PayloadSchemaType.KEYWORD,
    "session": models.PayloadSchemaType.KEYWORD,
    "stamp": models.PayloadSchemaType.INTEGER,
    "x": models.PayloadSchemaType.FLOAT,
    "y": models.PayloadSchemaType.FLOAT,
    "z": models.PayloadSchemaType.FLOAT,
}
"""Payload indexes besides one per cell level; all made before the first upload, so that every segment has them."""
COMPARED = ("id", "session", "stamp", "x", "y", "z", "yaw", "surprise", "action", "orientation")
"""What of a payload is needed to compare a record, without successors, which are most of it."""
_NAMESPACE = uuid.UUID("6f1f5f0e-4d2b-5a0c-9d53-2f6f7c1b8a11")
_SLACK_NS = 2_000
_ANY_LATENT = np.zeros(1, np.float32)
_MOST_CELLS = 500


def point_id(robot: str, record_id: int) -> str:
    """Return the id of a robot's record among those of all robots: 122 bits of a hash over both."""
    return str(uuid.uuid5(_NAMESPACE, f"{record_id} {robot}"))


def is_robot(robot: str) -> Any:
    """Return the condition that a record is a robot's."""
    return models.FieldCondition(key="robot", match=models.MatchValue(value=robot))


def level_key(level: int) -> str:
    """Return the payload key of the cell at a level of the grid."""
    return f"cell{level}"


def payload_of(record: MemoryRecord, record_id: int, robot: str, grid: CellGrid) -> dict[str, Any]:
    """Return all of a record but its latent as JSON."""
    cell = grid.cell_of(record.x, record.y)
    return {
        "id": record_id,
        "robot": robot,
        "session": record.session,
        "encoder_id": record.encoder_id,
        "stamp": record.stamp_ns,
        "x": record.x,
        "y": record.y,
        "z": record.z,
        "yaw": float(np.float32(record.yaw)),
        "surprise": None if math.isnan(record.surprise) else float(np.float32(record.surprise)),
        "action": np.asarray(record.action_A, np.float32).tolist(),
        "previous_action": np.asarray(record.previous_action_A, np.float32).tolist(),
        **cells_of(cell, grid),
        **dict(map(successor_item, record.successors)),
        **_some_have(record),
    }


def _some_have(record: MemoryRecord) -> dict[str, Any]:
    """Return what only some records have."""
    orientation = kept_orientation(record)
    some = {
        "frame_id": record.frame_id,
        "feature_id": record.feature_id,
        "orientation": orientation and list(orientation),
        "feature": _encoded(record.feature_F),
    }
    return {key: value for key, value in some.items() if value}


def _encoded(feature_F: np.ndarray) -> str:
    return base64.b64encode(np.asarray(feature_F, np.int8).tobytes()).decode()


def _decoded(feature: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(feature), np.int8) if feature else NO_FEATURE


def feature_size_of(feature: str) -> int:
    """Return how many values a feature has, as a payload holds it; 0: none."""
    return int(_decoded(feature).size)


def cells_of(cell: int, grid: CellGrid) -> dict[str, int]:
    """Return the cell and its ancestors by payload key."""
    return {level_key(at): each for at, each in enumerate((cell, *grid.parents(cell)))}


def successor_item(successor: Successor) -> tuple[str, list[Any]]:
    """Return payload key and value of a successor; each horizon has a key, so that linking overwrites nothing else."""
    latent = base64.b64encode(np.asarray(successor.latent_D, "<f4").tobytes()).decode()
    feature = [_encoded(successor.feature_F)] if successor.feature_F.size else []
    return f"successor {successor.horizon_s!r}", [successor.horizon_s, successor.dt_s, latent, *feature]


def record_of(payload: Mapping[str, Any], vector: Sequence[float] | None) -> MemoryRecord:
    """Return a point as a record; one of which only what is ``COMPARED`` was asked for stays unknown in the rest.

    Raises:
        ValueError, TypeError, LookupError, AttributeError, ArithmeticError: No record is like that.
    """
    with np.errstate(over="ignore"):  # what single precision cannot hold is refused as infinite
        return _believed(**_fields(payload, vector))


def _fields(payload: Mapping[str, Any], vector: Sequence[float] | None) -> dict[str, Any]:
    surprise = payload.get("surprise")  # a server may leave out what is null
    successors = sorted(value for key, value in payload.items() if key.startswith("successor "))
    return dict(
        stamp_ns=payload["stamp"],
        latent_D=np.array(vector if vector is not None else [], np.float32),
        x=payload["x"],
        y=payload["y"],
        z=payload["z"],
        yaw=payload["yaw"],
        session=payload["session"],
        encoder_id=payload.get("encoder_id", ""),
        previous_action_A=np.array(payload.get("previous_action", ()), np.float32),
        action_A=np.array(payload["action"], np.float32),
        surprise=math.nan if surprise is None else surprise,
        id=payload["id"],
        h3_cell=payload.get(level_key(0), 0),
        successors=tuple(
            Successor(horizon_s, dt_s, np.frombuffer(base64.b64decode(latent), "<f4"), _decoded("".join(feature)))
            for horizon_s, dt_s, latent, *feature in successors
        ),
        frame_id=payload.get("frame_id", ""),
        orientation=_rotation(payload.get("orientation")),
        feature_F=_decoded(payload.get("feature", "")),
        feature_id=payload.get("feature_id", ""),
    )


def _believed(**fields: Any) -> MemoryRecord:
    """Return a record of what a server says, which is refused here where it would break what compares it."""
    record = MemoryRecord(**fields)
    whole = record.latent_D.size > 0
    if any(type(each) is not int for each in (record.id, record.stamp_ns, record.h3_cell)):
        raise ValueError(f"record {record.id!r} of {record.stamp_ns!r} ns in cell {record.h3_cell!r}: no whole numbers")
    if record.id == 0 or not 0 <= record.h3_cell < 2**64:
        raise ValueError(f"record {record.id} in cell {record.h3_cell}")
    if any(each.ndim != 1 for each in (record.latent_D, record.action_A, record.previous_action_A)):
        raise ValueError(f"record {record.id} has arrays of other shapes")
    if any(abs(each) > LARGEST_POSITION_M for each in (record.x, record.y, record.z)):
        raise ValueError(f"record {record.id} lies at {record.x}, {record.y}, {record.z}")
    if record.orientation is not None and not check_unit(record.orientation):
        raise ValueError(f"record {record.id} is turned by {record.orientation}")
    # How both tell the yaw was compared when it came in, and is rounded apart since.
    told = replace(record, orientation=None)
    check_record(told if whole else replace(told, latent_D=_ANY_LATENT, successors=()), 0, -1)
    return record


def _rotation(values: Sequence[float] | None) -> Quaternion | None:
    if not values:
        return None
    x, y, z, w = values
    return x, y, z, w


def turned(record: MemoryRecord, rigid: Rigid) -> dict[str, Any]:
    """Return what of frame and rotation a transform changes, as payload."""
    changed: dict[str, Any] = {"frame_id": rigid.frame_id} if rigid.frame_id else {}
    if record.orientation is not None:
        changed["orientation"] = np.array(turned_about_z(record.orientation, rigid.yaw), np.float32).tolist()
    return changed


def rows_of(records: Sequence[MemoryRecord], sessions: dict[str, int], dim: int, feature_dim: int = 0) -> Rows:
    """Return records as rows that filters and ranking work on; numbers their sessions."""
    action_dim = max((record.action_A.size for record in records), default=0)
    action_NA = np.full((len(records), action_dim), np.nan, np.float32)
    for row, record in zip(action_NA, records):
        if record.action_A.size:
            row[:] = record.action_A
    blank_D = np.zeros(dim, np.float32)
    return Rows(
        np.array([record.id for record in records], np.int64),
        np.array([record.stamp_ns for record in records], np.int64),
        np.array([record.x for record in records], np.float64),
        np.array([record.y for record in records], np.float64),
        np.array([record.z for record in records], np.float64),
        np.array([record.yaw for record in records], np.float32),
        np.array([sessions.setdefault(record.session, len(sessions)) for record in records], np.int32),
        np.array([record.surprise for record in records], np.float32),
        action_NA,
        np.empty((len(records), no_action().size), np.float32),
        np.array([record.h3_cell for record in records], np.uint64),
        np.array([record.latent_D if record.latent_D.size else blank_D for record in records], np.float32).reshape(
            len(records), dim
        ),
        *optional_columns(records, feature_dim),
    )


def is_exact(query: Query, bounds: tuple[int | None, int | None]) -> bool:
    """Return whether the server itself compares all that a query filters by exactly: session and rings, no more."""
    return not is_filtered(query, Limits(*bounds))


def filter_of(query: Query, grid: CellGrid, bounds: tuple[int | None, int | None]) -> models.Filter | None:
    """Return a filter that lets through all that a query wants; None: everything."""
    must: list[Any] = [*_area(query, grid)]
    oldest, newest = bounds
    if oldest is not None or newest is not None:
        low = None if oldest is None else float(oldest - _SLACK_NS)
        high = None if newest is None else float(newest + _SLACK_NS)
        must.append(models.FieldCondition(key="stamp", range=models.Range(gte=low, lte=high)))
    if query.session:
        must.append(models.FieldCondition(key="session", match=models.MatchValue(value=query.session)))
    return models.Filter(must=must) if must else None


def _area(query: Query, grid: CellGrid) -> list[Any]:
    place, conditions = query.place, []
    if place is not None and query.ring_count > 0:
        cells = grid.within_rings(grid.cell_of(place.x, place.y), query.ring_count)
        conditions.append(any_of(0, cells.tolist()))
    elif place is not None and query.radius_m > 0:
        found = grid.disc(grid.cell_of(place.x, place.y), query.radius_m, _MOST_CELLS)
        if found is not None:
            conditions.append(any_of(found[0], found[1].tolist()))
    if place is not None and query.radius_m > 0 and grid.map.name == "local":
        conditions += [_within(axis, value, query.radius_m) for axis, value in zip("xy", place)]
    if place is not None and query.z_tolerance_m > 0:
        conditions.append(_within("z", place.z, query.z_tolerance_m))
    if query.box is not None:
        for axis, low, high in zip("xyz", query.box[:3], query.box[3:]):
            if math.isfinite(low) and math.isfinite(high):
                conditions.append(_within(axis, (low + high) / 2.0, (high - low) / 2.0))
    return conditions


def any_of(level: int, cells: list[int]) -> Any:
    """Return the condition that a record lies in one of some cells of a level."""
    return models.FieldCondition(key=level_key(level), match=models.MatchAny(any=cells))


def _within(axis: str, middle: float, reach: float) -> Any:
    """Return a range a little wider than asked for, so that rounding never leaves anything out."""
    slack = 1e-6 * (1.0 + abs(middle) + abs(reach))
    return models.FieldCondition(
        key=axis, range=models.Range(gte=float(middle - reach - slack), lte=float(middle + reach + slack))
    )
