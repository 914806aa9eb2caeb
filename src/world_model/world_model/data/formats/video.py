"""A video file, with a table of poses and actions by time beside it, to episodes and an account of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from wm_core.errors import MessageError
from world_model.data.account import Account, Fate
from world_model.data.bag_options import BagOptions
from world_model.data.bags import Recording, recording_of
from world_model.data.formats.table import Table, read_table
from world_model.data.frames import Events, FrameIntake
from world_model.data.stream import align
from world_model.errors import DataError


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """What belongs to a video file.

    Attributes:
        table: CSV of poses and actions by time, None without.
        start_s: What the table's clock says at the first picture [s].
        action_columns: Of the action; none: all whose name begins with ``action``.
    """

    table: Path | None = None
    start_s: float = 0.0
    action_columns: tuple[str, ...] = ()


def video_files() -> Any:
    """Return ``wm_core.images.video_files``.

    Raises:
        DataError: PyAV is not installed.
    """
    try:
        return import_module("wm_core.images.video_files")
    except ModuleNotFoundError as error:
        raise DataError(
            f"video files are read through PyAV, and {error.name} is not installed: pip install av"
        ) from error


def read_video(
    path: Path,
    video: VideoOptions | None = None,
    options: BagOptions | None = None,
    *,
    name: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Recording:
    """Return the episodes of a video file and the account of it.

    Each picture has its own stamp: ``start_s`` and the time since the first picture. Poses between two rows of the
    table are interpolated, actions hold until the next row.

    Args:
        path: MP4, MKV or what else PyAV reads.
        video: What belongs to it.
        options: Rate, size and time asked for; topics are not looked at.
        name: Of the episode; default: the file's, without its ending.
        progress: Called with (pictures read, pictures promised).

    Raises:
        DataError: Not a video, not a table, or PyAV is not installed.
    """
    video, options, account = video or VideoOptions(), options or BagOptions(), Account(str(path))
    table = Table()
    if video.table is not None:
        table = read_table(video.table, video.action_columns, account.poses, account.actions)
    else:
        account.poses.why = account.actions.why = "no table was given"
    events = Events(poses=table.poses, actions=table.actions)
    start_ns = round(video.start_s * 1e9)
    try:
        with video_files().VideoFile(path) as file:
            _read(file, path, start_ns, FrameIntake(options, account, events), account, progress)
    except MessageError as error:
        raise DataError(error.detail) from error
    if not events.frames:
        return Recording(account)
    stamp_T = np.array([frame.stamp_ns for frame in events.frames], np.int64)
    action_dim = options.action_dim or (len(events.actions[0].values) if events.actions else 1)
    aligned = align(stamp_T, stamp_T, events.poses, events.actions, action_dim, restart_ns=tuple(events.restarts_ns))
    recording = recording_of(events, aligned, name or path.stem, account)
    _compare_clocks(account)
    return recording


def _read(
    file: Any,
    path: Path,
    start_ns: int,
    intake: FrameIntake,
    account: Account,
    progress: Callable[[int, int], None],
) -> None:
    account.camera.topic, account.camera.type = path.name, f"video/{file.codec}"
    account.camera.why = f"first video stream, {file.codec}"
    first_ns: int | None = None
    upright = video_files().upright_picture
    for time_ns, frame in file.pictures():
        first_ns = time_ns if first_ns is None else first_ns
        stamp_ns = start_ns + time_ns - first_ns
        intake.offer(stamp_ns, stamp_ns, stamp_ns, partial(upright, frame))
        if account.camera.read % 50 == 0:
            progress(account.camera.read, file.promised)
    progress(account.camera.read, file.promised or account.camera.read)
    lost = max(file.promised - account.camera.read, 0) if file.promised else sum(file.faults.values())
    if lost:
        account.damaged = lost
        of = f" of {file.promised}" if file.promised else ""
        account.damages = [f"{path.name}: {lost}{of} pictures do not decode; first: {file.example or 'the file ends'}"]
        account.examples["damaged-block"] = account.damages[0]


def _compare_clocks(account: Account) -> None:
    """Says so where a table lies at another time than the video."""
    kept = [time_ns for time_ns, fate, _ in account.frames if fate is Fate.KEPT]
    for name, stream in (("poses", account.poses), ("actions", account.actions)):
        if stream.stamps_ns and not stream.known:
            account.notes = [note for note in account.notes if not note.startswith(f"{name} on {stream.topic} lie")]
            off_s = (min(stream.stamps_ns) - kept[0]) * 1e-9
            account.notes.append(
                f"{name} in {stream.topic} begin {abs(off_s):.3f} s {'after' if off_s > 0 else 'before'} the video, and"
                f" none belongs to a picture: --start-s says what their clock showed at the first picture"
            )
