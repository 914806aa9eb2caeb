"""``wm data video`` and ``wm data lerobot``: what is no recording of ROS into a converted set."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import Progress

from world_model.commands.common import add_pose_delay, pose_delay_s
from world_model.data.account import Account
from world_model.data.bag_options import BagOptions
from world_model.data.bags import Recording
from world_model.data.episodes import DatasetManifest, Episode, EpisodeWriter
from world_model.data.formats.lerobot import LeRobotOptions, choose_features, read_lerobot
from world_model.data.formats.lerobot_layout import LeRobotSet
from world_model.data.formats.video import VideoOptions, read_video
from world_model.data.known import with_pose_delay
from world_model.data.simulated import parse_seeds
from world_model.data.streams import Stream
from world_model.data.views import ALL, with_views
from world_model.errors import DataError

_OTHER = 0.1
"""Share by which the measured step may differ from the one asked for: jitter, not another rate."""


def add_parsers(sources: Any) -> None:
    """Add the two sources to the subcommands of ``wm data``."""
    video = sources.add_parser("video", help="a video file and a table (CSV) of poses and actions by time")
    video.add_argument("file", type=Path, help="MP4, MKV, ...; every picture has its own time, at any rate")
    video.add_argument("out", type=Path)
    video.add_argument("--csv", type=Path, help="columns time; x, y, yaw (or yaw_deg, or qx..qw); action...")
    video.add_argument("--start-s", type=float, default=0.0, help="time in the table at the first picture (default 0)")
    video.add_argument("--action-columns", default="", metavar="A,B", help="default: all that begin with 'action'")
    video.add_argument(
        "--views", type=Path, nargs="+", default=[], metavar="FILE", help="of the robot's further cameras"
    )
    video.add_argument("--from-s", type=float, default=0.0, help="leave out what comes before")
    video.add_argument("--to-s", type=float, default=float("inf"), help="leave out what comes after")
    lerobot = sources.add_parser("lerobot", help="a LeRobot data set, v2.0, v2.1 or v3.0")
    lerobot.add_argument("folder", type=Path)
    lerobot.add_argument("out", type=Path)
    lerobot.add_argument("--camera", help="feature with the pictures; default: the first that is not on the hand")
    lerobot.add_argument("--views", nargs="+", default=[], metavar="FEATURE", help="further cameras, or all")
    lerobot.add_argument("--action", help="feature, or none; default: action")
    lerobot.add_argument("--state", help="feature that becomes proprioception, or none; default: observation.state")
    lerobot.add_argument("--pose", help="feature with the pose in a map: x y yaw, x y z yaw, or x y z qx qy qz qw")
    lerobot.add_argument("--episodes", metavar="0-31,48", help="default: all")
    for parser in (video, lerobot):
        add_sampling(parser)


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Add what every source of pictures takes: rate, size, split, and what to make of losses."""
    defaults = BagOptions()
    parser.add_argument("--rate-hz", type=float, default=defaults.rate_hz, help="most frames per second (default 20)")
    parser.add_argument(
        "--streams",
        type=float,
        nargs="+",
        metavar="HZ",
        help="a set for each of these rates, OUT/1hz, OUT/10hz, ..., whose frames have those that follow",
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take one frame in N")
    parser.add_argument("--image-size", type=int, default=defaults.image_size)
    add_pose_delay(parser)
    parser.add_argument("--split", choices=("train", "valid", "test"), default="train")
    parser.add_argument(
        "--allow-partial", action="store_true", help="exit code 0 however many frames were lost to faults"
    )


class Filler:
    """Fills a set with recordings, and keeps their accounts.

    Args:
        options: Of the command line: ``out`` and what ``add_sampling`` adds.
        source: What the set says of where it comes from.
    """

    def __init__(self, options: argparse.Namespace, source: dict[str, Any]) -> None:
        self._options, self._source = options, dict(source)
        self._stream = None if options.streams is None else Stream.of_rate(options.rate_hz)
        if self._stream is not None:
            self._source["stream"] = self._stream.entries()
        self._pose_delay_s = pose_delay_s(options)
        if self._pose_delay_s is not None:
            self._source["pose_delay_s"] = self._pose_delay_s
        if options.views:
            self._source["views"] = list(map(str, options.views))
        self._writer: EpisodeWriter | None = None
        self.accounts: list[Account] = []

    def has(self, name: str) -> bool:
        """Return whether an episode is there already."""
        return self._writer is not None and self._writer.has(name)

    def add(self, name: str, recording: Recording) -> None:
        """Write what came of a recording; the first one says what the set is to be."""
        self.accounts.append(recording.account)
        if self._stream is not None:
            recording.account.notes += map(self._stream.told, recording.episodes)
        if recording.episodes and self._writer is None:
            manifest = self._manifest(recording.episodes[0], recording.account)
            self._writer = EpisodeWriter(self._options.out, manifest)
        if self._writer is not None:
            delay_s = self._pose_delay_s
            for episode in recording.episodes:
                told = episode if delay_s is None else with_pose_delay(episode, delay_s)
                self._writer.write(told, self._options.split)
            self._writer.note(name, recording.account.entries())

    def _manifest(self, episode: Episode, account: Account) -> DatasetManifest:
        nominal_s = self._options.every / self._options.rate_hz
        # What was measured counts; a camera that only jitters around the rate asked for keeps it.
        step_s = nominal_s if abs(account.step_s / nominal_s - 1.0) <= _OTHER else round(account.step_s, 4)
        return DatasetManifest(
            image_size=self._options.image_size,
            step_s=step_s,
            action_dim=episode.action_TA.shape[1],
            source=self._source,
        )


def _sampling(options: argparse.Namespace) -> BagOptions:
    names = ("rate_hz", "every", "image_size", "from_s", "to_s")
    return BagOptions(**{name: getattr(options, name) for name in names if hasattr(options, name)})


def convert_video(options: argparse.Namespace, bar: Progress) -> list[Account]:
    """Convert one video file; return its account."""
    task = bar.add_task(options.file.name, total=None)
    columns = tuple(name for name in options.action_columns.split(",") if name.strip())
    video = VideoOptions(table=options.csv, start_s=options.start_s, action_columns=columns)
    filler = Filler(options, {"kind": "video", "from_s": options.from_s, "to_s": min(options.to_s, 1e9)})
    progress = partial(_advance, bar, task)
    recording = read_video(options.file, video, _sampling(options), progress=progress)
    at_once = VideoOptions(start_s=options.start_s)
    views = {str(path): read_video(path, at_once, _sampling(options)) for path in options.views}
    filler.add(options.file.stem, with_views(recording, views))
    return filler.accounts


def convert_lerobot(options: argparse.Namespace, bar: Progress) -> list[Account]:
    """Convert a data set episode by episode; return their accounts."""
    found = LeRobotSet(options.folder)
    names = ("camera", "action", "state", "pose")
    choice = choose_features(found, LeRobotOptions(**{name: getattr(options, name) for name in names}))
    entries = found.entries(choice.camera)
    if options.episodes is not None:
        wanted = set(parse_seeds(options.episodes))
        missing = sorted(wanted - {entry.index for entry in entries})
        if missing:
            raise DataError(f"{options.folder} has no episodes {missing}; it has {len(entries)}")
        entries = [entry for entry in entries if entry.index in wanted]
    views = _views(found, choice.camera, options.views)
    entries_of = {view: {entry.index: entry for entry in found.entries(view)} for view in views}
    filler = Filler(options, {"kind": "lerobot", **{name: getattr(choice, name) for name in names}})
    task = bar.add_task(options.folder.name, total=len(entries))
    for done, entry in enumerate(entries, start=1):
        name = f"{options.folder.resolve().name}-{entry.index:06d}"
        if not filler.has(name):
            recording = read_lerobot(found, choice, entry, name, _sampling(options))
            seen = {
                view: read_lerobot(found, replace(choice, camera=view), at[entry.index], name, _sampling(options))
                for view, at in entries_of.items()
            }
            filler.add(name, with_views(recording, seen))
        bar.update(task, completed=done)
    return filler.accounts


def _views(found: LeRobotSet, camera: str, asked: Sequence[str]) -> list[str]:
    """Returns the further cameras that are asked for.

    Raises:
        DataError: There is no such camera.
    """
    others = [name for name in found.cameras if name != camera]
    unknown = sorted(set(asked) - {*others, ALL})
    if unknown:
        raise DataError(
            f"{found.folder} has no further camera {', '.join(unknown)}; it has: {', '.join(others) or 'none'}"
        )
    return others if ALL in asked else list(asked)


def _advance(bar: Progress, task: Any, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total or None)
