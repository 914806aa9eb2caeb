"""Poses and actions by time from a table (CSV), as they stand beside a video file."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np

from wm_core.errors import MessageError
from wm_core.sources.poses import checked_pose
from world_model.data.account import StreamAccount
from world_model.data.stream import ActionEvent, PoseEvent
from world_model.errors import DataError

TIME_UNITS_NS = {"": 10**9, "_s": 10**9, "_ms": 10**6, "_us": 10**3, "_ns": 1}
"""{end of a time column's name: its unit [ns]}."""
TIME_NAMES = ("time", "timestamp", "stamp", "t")
_QUATERNION = ("qx", "qy", "qz", "qw")
_YAWS = {"yaw": 1.0, "yaw_rad": 1.0, "yaw_deg": math.pi / 180.0}
# A table is known as a whole, so a frame need not wait for the pose after it: as wide as a gap that is interpolated.
_AHEAD_NS = 1_000_000_000


@dataclass
class Table:
    """What a table holds, told in ``poses`` and ``actions`` and counted in the two accounts."""

    poses: list[PoseEvent] = field(default_factory=list)
    actions: list[ActionEvent] = field(default_factory=list)


@dataclass(frozen=True)
class _Columns:
    time: str
    unit_ns: int
    pose: tuple[str, ...]
    actions: tuple[str, ...]


def read_table(path: Path, action_columns: Sequence[str], poses: StreamAccount, actions: StreamAccount) -> Table:
    """Return the poses and actions of a table whose first line names its columns.

    Time in a column ``time``, ``timestamp``, ``stamp`` or ``t``, in seconds, or with ``_ms``, ``_us`` or ``_ns`` behind
    its name; the pose in ``x``, ``y`` and perhaps ``z`` [m], with ``yaw`` [rad], ``yaw_deg`` or ``qx``, ``qy``, ``qz``,
    ``qw``. Empty cells say that nothing is known at that time.

    Args:
        path: Comma-, semicolon- or tab-separated, UTF-8.
        action_columns: Of the action, in this order; none: all whose name begins with ``action``, in the table's order.
        poses: Counts poses.
        actions: Counts actions.

    Raises:
        DataError: Not a table, without time, or with columns that do not belong together.
    """
    table = Table()
    with _Opened(path) as lines:
        columns = _columns(path, lines.fieldnames or (), action_columns)
        _describe(path, columns, poses, actions)
        try:
            for row in lines:
                _take(row, columns, table, poses, actions)
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path}, line {lines.line_num}: {error}") from error
    return table


class _Opened:
    """A CSV file as a reader of dictionaries, whichever separator it has."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> csv.DictReader[str]:
        try:
            self._file = self._path.open(newline="", encoding="utf-8-sig")
            header = self._file.readline()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{self._path} is not a readable table: {error}") from error
        self._file.seek(0)
        reader = csv.DictReader(self._file, delimiter=max(",;\t", key=header.count))
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        return reader

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _columns(path: Path, names: Sequence[str], action_columns: Sequence[str]) -> _Columns:
    has = f"{path} has the columns {', '.join(names) or 'none'}"
    times = {name + end: unit for name in TIME_NAMES for end, unit in TIME_UNITS_NS.items() if name + end in names}
    if len(times) != 1:
        raise DataError(f"{has}; expected one of time: time, timestamp, stamp or t, with _s, _ms, _us or _ns behind it")
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DataError(f"{has}: {', '.join(doubled)} more than once")
    pose: tuple[str, ...] = ()
    if {"x", "y"} & set(names):
        turns = [(name,) for name in _YAWS if name in names] + [_QUATERNION] * set(_QUATERNION).issubset(names)
        if not {"x", "y"} <= set(names) or len(turns) != 1:
            raise DataError(f"{has}; a pose takes x, y and one of yaw, yaw_deg, or qx qy qz qw")
        pose = ("x", "y", *(("z",) if "z" in names else ()), *turns[0])
    asked = tuple(name.strip().lower() for name in action_columns)
    missing = [name for name in asked if name not in names]
    if missing:
        raise DataError(f"{has}; no {', '.join(missing)} for the action")
    actions = asked or tuple(name for name in names if name.startswith("action"))
    if not pose and not actions:
        raise DataError(f"{has}: neither a pose (x, y, yaw) nor actions (action_0, ...) among them")
    ((time, unit_ns),) = times.items()
    return _Columns(time, unit_ns, pose, actions)


def _describe(path: Path, columns: _Columns, poses: StreamAccount, actions: StreamAccount) -> None:
    for stream, names in ((poses, columns.pose), (actions, columns.actions)):
        stream.topic = path.name if names else None
        stream.type, stream.why = "csv", f"columns {', '.join(names)}" if names else f"no such columns in {path.name}"


def _take(
    row: Mapping[str, str | None], columns: _Columns, table: Table, poses: StreamAccount, actions: StreamAccount
) -> None:
    for stream, names in ((poses, columns.pose), (actions, columns.actions)):
        cells = [(row.get(name) or "").strip() for name in names]
        if not any(cells):
            continue
        stream.read += 1
        try:
            stamp_ns = _time_ns(row.get(columns.time) or "", columns.unit_ns)
            values = _numbers(cells)
            if stream is poses:
                table.poses.append(_pose(stamp_ns, dict(zip(names, values))))
            else:
                table.actions.append(ActionEvent(stamp_ns, np.array(values, np.float32), stamp_ns))
        except MessageError as error:
            stream.unusable[error.reason] += 1
            continue
        stream.arrivals_ns.append(stamp_ns)
        stream.stamps_ns.append(stamp_ns)


def _time_ns(text: str, unit_ns: int) -> int:
    try:
        return int((Decimal(text.strip()) * unit_ns).to_integral_value())
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise MessageError("row-without-time", f"'{text}' is no time") from error


def _numbers(cells: Sequence[str]) -> list[float]:
    try:
        values = [float(cell) for cell in cells]
    except ValueError as error:
        raise MessageError("row-not-numbers", str(error)) from error
    if not all(map(math.isfinite, values)):
        raise MessageError("row-not-finite", f"{values}")
    return values


def _pose(stamp_ns: int, values: Mapping[str, float]) -> PoseEvent:
    if "qw" in values:
        turn: tuple[float, ...] = tuple(values[name] for name in _QUATERNION)
    else:
        (yaw_rad,) = (values[name] * unit for name, unit in _YAWS.items() if name in values)
        turn = (0.0, 0.0, math.sin(yaw_rad / 2.0), math.cos(yaw_rad / 2.0))
    position, quaternion = checked_pose((values["x"], values["y"], values.get("z", 0.0)), turn)
    return PoseEvent(stamp_ns - _AHEAD_NS, stamp_ns, tuple(position.tolist()), tuple(quaternion.tolist()))
