"""LeRobot data sets to episodes and an account of each. Shape suffixes: T = frames, A = action size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from wm_core.errors import MessageError
from wm_core.images.compressed import decode_file
from wm_core.se3 import yaw_of
from world_model.data.account import Account, Fate, StreamAccount
from world_model.data.bag_options import BagOptions
from world_model.data.bags import Recording, recording_of
from world_model.data.formats.lerobot_layout import EpisodeEntry, LeRobotSet, read_columns
from world_model.data.formats.video import video_files
from world_model.data.frames import Events, FrameIntake
from world_model.data.stream import Aligned
from world_model.errors import DataError

NONE = "none"
_STATE = "observation.state"
_ON_THE_ROBOT = ("wrist", "gripper", "hand")
_SECOND_NS = 1_000_000_000
_POSE_SIZES = "3 (x, y, yaw), 4 (x, y, z, yaw) or 7 (x, y, z, qx, qy, qz, qw)"


@dataclass(frozen=True, kw_only=True)
class LeRobotOptions:
    """Which features are taken; None leaves the choice to the set, ``none`` does without.

    Attributes:
        camera: Of the pictures.
        action: Of the action.
        state: That becomes proprioception.
        pose: Of the robot's pose in a map, never chosen by itself: 3, 4 or 7 numbers.
    """

    camera: str | None = None
    action: str | None = None
    state: str | None = None
    pose: str | None = None


@dataclass(frozen=True)
class Choice:
    """The features that are taken, each with the reason; None where there is none."""

    camera: str
    action: str | None
    state: str | None
    pose: str | None
    why: Mapping[str, str]


def choose_features(of: LeRobotSet, options: LeRobotOptions) -> Choice:
    """Return which features feed what.

    Of several cameras the first in the set's order that does not sit on the moving hand; the others are named.

    Raises:
        DataError: The set has no pictures, or lacks a feature that was asked for.
    """
    cameras, vectors = of.cameras, of.vectors()
    if not cameras:
        raise DataError(f"{of.folder} has no pictures; features: {', '.join(of.features)}")
    still = [name for name in cameras if not any(word in name for word in _ON_THE_ROBOT)]
    camera = _asked(of, "camera", options.camera, cameras) or (still or cameras)[0]
    others = ", ".join(name for name in cameras if name != camera)
    why = {
        "camera": "as asked for" if options.camera else "first that is not on the hand" if others else "the only one"
    }
    why["camera"] += f"; not taken: {others}" if others else ""
    taken: dict[str, str | None] = {}
    for role, asked, usual in (("action", options.action, "action"), ("state", options.state, _STATE)):
        taken[role] = _asked(of, role, asked, vectors) or (usual if asked is None and usual in vectors else None)
        why[role] = "as asked for" if asked else f"called '{usual}'" if taken[role] else f"the set has no '{usual}'"
    taken["pose"] = _asked(of, "pose", options.pose, vectors)
    why["pose"] = "as asked for" if options.pose else "no feature was named with --pose"
    return Choice(camera, taken["action"], taken["state"], taken["pose"], why)


def _asked(of: LeRobotSet, role: str, name: str | None, known: Sequence[str]) -> str | None:
    if name is None or (name == NONE and role != "camera"):
        return None
    if name not in known:
        raise DataError(f"{of.folder} has no {role} '{name}'; it has: {', '.join(known)}")
    return name


def read_lerobot(
    of: LeRobotSet, choice: Choice, entry: EpisodeEntry, name: str, options: BagOptions | None = None
) -> Recording:
    """Return one episode of a data set and the account of it; what cannot be read is told there.

    Each frame has the stamp, action, state and pose of its own row; nothing is interpolated.

    Args:
        of: Data set.
        choice: As ``choose_features`` returned it.
        entry: Which episode.
        name: Of the episode; its place is the set, in which all episodes may show the same room.
        options: Rate, size and time asked for; topics are not looked at.

    Raises:
        DataError: The pose is of no size that is known, or a library is missing.
    """
    options, account = options or BagOptions(), Account(f"{of.folder} episode {entry.index}")
    _describe(of, choice, account)
    columns = [key for key in (choice.action, choice.state, choice.pose) if key is not None]
    columns += [] if of.is_video(choice.camera) else [choice.camera]
    events = Events()
    try:
        rows = read_columns(entry.data, ["timestamp", *columns], entry.index)
    except DataError as error:
        if "not installed" in str(error):
            raise
        account.damages.append(str(error))
        return Recording(account)
    if any(row["timestamp"] is None for row in rows):
        account.damages.append(f"{entry.data}: rows without a timestamp")
        return Recording(account)
    stamps_ns = [round(float(row["timestamp"]) * _SECOND_NS) for row in rows]
    intake = FrameIntake(options, account, events)
    # The pictures first, so that their file is read to its end and closed.
    for picture, stamp_ns, row in zip(_pictures(of, choice, entry, rows, account), stamps_ns, rows):
        if isinstance(picture, MessageError):
            account.camera.read += 1
            account.note_fault(stamp_ns, Fate.UNUSABLE, picture.reason, picture.detail)
            continue
        state = None if choice.state is None or row[choice.state] is None else np.ravel(row[choice.state])
        state = None if state is None else state.astype(np.float32)
        intake.offer(stamp_ns, stamp_ns, stamp_ns, picture, proprioception=state)
    if not events.frames:
        return Recording(account)
    aligned = _aligned(choice, rows, [frame.row for frame in events.frames])
    for stream in (account.poses, account.actions):
        if stream.topic is not None:
            stream.read, stream.arrivals_ns, stream.stamps_ns = len(rows), stamps_ns, stamps_ns
    return recording_of(events, aligned, name, account, place=of.folder.resolve().name)


def _describe(of: LeRobotSet, choice: Choice, account: Account) -> None:
    roles: dict[str, tuple[StreamAccount, str | None]] = {
        "camera": (account.camera, choice.camera),
        "pose": (account.poses, choice.pose),
        "action": (account.actions, choice.action),
    }
    for role, (stream, name) in roles.items():
        stream.topic, stream.why = name, choice.why[role]
        stream.type = "" if name is None else f"lerobot/{of.features[name]['dtype']}"
    state = f"{choice.state} ({choice.why['state']})" if choice.state else choice.why["state"]
    account.notes.append(f"proprioception: {state}")


def _aligned(choice: Choice, rows: Sequence[Mapping[str, Any]], kept: Sequence[int]) -> Aligned:
    poses = _vectors(rows, kept, choice.pose)
    return Aligned(
        np.array([_pose(values) for values in poses]), _vectors(rows, kept, choice.action).astype(np.float32)
    )


def _vectors(rows: Sequence[Mapping[str, Any]], kept: Sequence[int], name: str | None) -> np.ndarray:
    """Returns a feature of the kept rows [T, size], NaN where a row has none; [T, 1] of NaN without a feature.

    Raises:
        DataError: Rows are of different sizes.
    """
    # A feature of one number may stand as a number, not as a list of one.
    cells = [None if name is None or rows[row][name] is None else np.ravel(rows[row][name]) for row in kept]
    sizes = {len(cell) for cell in cells if cell is not None}
    if len(sizes) > 1:
        raise DataError(f"{name} has rows of {', '.join(map(str, sorted(sizes)))} numbers, expected one size")
    values = np.full((len(kept), *(sizes or {1})), np.nan)
    for into, cell in zip(values, cells):
        if cell is not None:
            into[:] = cell
    return values


def _pose(values: np.ndarray) -> tuple[float, float, float, float]:
    if np.isnan(values).all():
        return math.nan, math.nan, math.nan, math.nan
    if len(values) == 3:
        return float(values[0]), float(values[1]), 0.0, float(values[2])
    if len(values) == 4:
        return float(values[0]), float(values[1]), float(values[2]), float(values[3])
    if len(values) == 7:
        yaw_rad = yaw_of(values[3:]) if math.isclose(float(np.linalg.norm(values[3:])), 1.0, abs_tol=0.01) else math.nan
        return float(values[0]), float(values[1]), float(values[2]), yaw_rad
    raise DataError(f"a pose of {len(values)} numbers, expected {_POSE_SIZES}")


def _pictures(
    of: LeRobotSet, choice: Choice, entry: EpisodeEntry, rows: Sequence[Mapping[str, Any]], account: Account
) -> Iterator[Any]:
    """Yields for each row what gives its picture, or the error that says why there is none."""
    if entry.video is None:
        for row in rows:
            yield partial(_still, of.folder, row[choice.camera])
        return
    wanted_ns = [round((entry.from_s + float(row["timestamp"])) * _SECOND_NS) for row in rows]
    yield from _from_video(entry.video, wanted_ns, round(_SECOND_NS / of.fps / 2), account)


def _still(folder: Path, cell: Mapping[str, Any]) -> np.ndarray:
    data, path = cell.get("bytes"), cell.get("path")
    if not data and path:
        try:
            data = (folder / path).read_bytes()
        except OSError as error:
            raise MessageError("image-missing", f"{path}: {error}") from error
    return cv2.cvtColor(decode_file(data or b"", cv2.IMREAD_COLOR, str(path or "image")), cv2.COLOR_BGR2RGB)


def _from_video(path: Path, wanted_ns: Sequence[int], tolerance_ns: int, account: Account) -> Iterator[Any]:
    """Yields for each time the picture within half a frame of it, or the error that says that there is none."""
    files = video_files()
    try:
        with files.VideoFile(path) as file:
            if wanted_ns:
                file.seek(wanted_ns[0])
            pictures = file.pictures()
            found = next(pictures, None)
            for time_ns in wanted_ns:
                while found is not None and found[0] < time_ns - tolerance_ns:
                    found = next(pictures, None)
                if found is not None and found[0] <= time_ns + tolerance_ns:
                    yield partial(files.upright_picture, found[1])
                    found = next(pictures, None)
                else:
                    yield MessageError("no-picture", f"{path.name} has none at {time_ns / _SECOND_NS:.3f} s")
            if file.faults:
                account.notes.append(f"{path.name}: {sum(file.faults.values())} lost; first: {file.example}")
    except MessageError as error:
        account.damages.append(error.detail)
        yield from [error] * len(wanted_ns)
