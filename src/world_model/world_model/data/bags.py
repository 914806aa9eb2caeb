"""Recordings (rosbag2, ROS 1) to episodes and an account of them, without a ROS installation.

Shape suffixes: T = frames, S = image side, A = action size, P = proprioception size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from wm_core.bags import IMAGE_TYPES, Bag, BagError, find_bags
from wm_core.bags.survey import ACTIONS, CAMERA, POSE, Wishes, choose_sources
from wm_core.sources import ACTION_TYPES
from world_model.data.account import Account, Fate, StreamAccount
from world_model.data.arrivals import Arrivals
from world_model.data.bag_options import BagOptions
from world_model.data.clocks import WAY_OUT, another_clock, on_cameras_clock
from world_model.data.episodes import Episode
from world_model.data.events import read_events
from world_model.data.frames import Events
from world_model.data.stream import Aligned, align, delayed
from world_model.errors import DataError
from world_model.runtime.artifacts import Artifact
from world_model.runtime.manifest import Manifest
from world_model.runtime.stepping import measured_step_s

__all__ = [
    "BagOptions",
    "Recording",
    "episodes_as_taken",
    "read_bag",
    "read_recording",
    "recording_of",
    "unusable",
    "with_actions_of",
]

_NEVER_NS = 2**62
_TOLD_JUMPS = 5


@dataclass
class Recording:
    """What came of a recording: its episodes, one for each stretch of time without a jump, and the account."""

    account: Account
    episodes: list[Episode] = field(default_factory=list)


def read_bag(
    path: Path,
    options: BagOptions | None = None,
    *,
    name: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> Episode:
    """Return one recording as an episode, aligned as the live node aligns it; where time jumps, its longest part.

    Args:
        path: Recording.
        options: Topics, rate and sizes.
        name: Name of the episode; default: the folder's.
        progress: Called with (messages read, messages in all).
        say: Told the account of the recording, line by line.

    Raises:
        DataError: Not a recording, no images on the topic, or no two frames in order.
    """
    return max(_told(read_recording(path, options, name=name, progress=progress), say), key=len)


def _told(recording: Recording, say: Callable[[str], None]) -> Sequence[Episode]:
    """Tell the account of a recording and return its episodes.

    Raises:
        DataError: It has none.
    """
    for line in recording.account.lines():
        say(line)
    if not recording.episodes:
        raise DataError(unusable(recording.account))
    return recording.episodes


def unusable(account: Account) -> str:
    """Return in words why nothing came of a recording."""
    kept = account.counts[Fate.KEPT]
    why = "; ".join(line.strip() for line in account.lines()[1:] if "lost:" in line or "damaged:" in line)
    text = f"{account.recording} has {kept} usable images on {account.camera.topic}, expected at least 2"
    return f"{text}: {why}" if why else text


def read_recording(
    path: Path,
    options: BagOptions | None = None,
    *,
    name: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Recording:
    """Return the episodes of a recording and the account of it.

    Args:
        path: Recording.
        options: Topics, rate and sizes.
        name: Name of the episode; further parts, where time jumps, get ``-2``, ``-3``, ...; default: the folder's.
        progress: Called with (messages read, messages in all).

    Raises:
        DataError: Not a recording, or a topic that was asked for is not there or cannot be used.
    """
    options, path = options or BagOptions(), Path(path)
    account = Account(str(path))
    try:
        bag = Bag(path)
    except BagError as error:
        raise DataError(str(error)) from error
    try:
        _choose(bag, options, account)
    except BagError as error:
        raise DataError(f"{path}: {error}") from error
    events = read_events(bag, options, account, progress)
    account.damages = [str(damage) for damage in bag.damages]
    of_frames = [damage for damage in bag.damages if damage.topic == account.camera.topic]
    account.damaged = sum(damage.lost_count for damage in of_frames)
    account.examples.setdefault("damaged-block", next(map(str, of_frames), ""))
    if not events.frames:
        account.poses.rate_hz, account.actions.rate_hz = _rate(account.poses), _rate(account.actions)
        return Recording(account)
    action_dim = options.action_dim or (len(events.actions[0].values) if events.actions else options.own_actions or 1)
    stamp_T = np.array([frame.stamp_ns for frame in events.frames], np.int64)
    arrival_T = np.array([frame.arrival_ns for frame in events.frames], np.int64)
    on_cameras_clock(events, account, options.camera_offset_s)
    if options.pose_delay_s is not None:
        events.poses = delayed(events.poses, stamp_T, arrival_T, options.pose_delay_s)
    aligned = align(
        stamp_T,
        arrival_T,
        events.poses,
        events.actions,
        action_dim,
        restart_ns=tuple(events.restarts_ns),
        frame_clock_T=np.array([frame.clock_ns for frame in events.frames], np.int64),
    )
    recording = recording_of(events, aligned, name or path.name.split(".")[0], account)
    if options.camera_offset_s == 0.0 and not events.restarts_ns:
        account.notes += another_clock(account)
    return recording


def episodes_as_taken(path: Path, manifest: Manifest, asked: BagOptions, say: Callable[[str], None]) -> list[Episode]:
    """Return the episodes of a recording as an artifact takes them, one for each stretch of time without a jump.

    One that takes any actions takes the recording's own.

    Args:
        path: Recording, or a folder of recordings.
        manifest: Of the artifact, which says rate and sizes.
        asked: Everything else.
        say: Told the account of each recording, line by line.

    Raises:
        BagError: A path is not there, or holds no recording.
        DataError: As ``read_recording``, or nothing of one can be used.
    """
    own, known = (manifest.action_dim, None) if manifest.takes_any_actions else (None, manifest.action_dim)
    options = replace(
        asked, rate_hz=1.0 / manifest.step_s, image_size=manifest.image_size, action_dim=known, own_actions=own
    )
    episodes: list[Episode] = []
    for bag in find_bags([path]):
        episodes += _told(read_recording(bag, options), say)
    return episodes


def with_actions_of(episodes: Sequence[Episode], artifact: Artifact, say: Callable[[str], None]) -> Artifact:
    """Return an artifact as it takes the actions of some episodes of one robot.

    Args:
        episodes: At least one.
        artifact: Where it takes any actions, it takes as many as these have.
        say: Told where that is another number than the artifact's own.

    Raises:
        DataError: They have different numbers of actions.
        ArtifactError: The artifact knows actions, and has another number of them.
    """
    sizes = sorted({episode.action_TA.shape[1] for episode in episodes})
    if len(sizes) > 1:
        raise DataError(f"the recordings have {' and '.join(map(str, sizes))} actions: they are of different robots")
    manifest = artifact.manifest
    if sizes[0] != manifest.action_dim and manifest.takes_any_actions:
        say(f"{sizes[0]} actions are taken, the robot's own: a graph takes them with ACTION_DIM={sizes[0]}")
    return artifact.with_actions(sizes[0])


def recording_of(events: Events, aligned: Aligned, name: str, account: Account, place: str | None = None) -> Recording:
    """Return the episodes of frames that were read, and their completed account.

    Args:
        events: What was read, frames in the order of their arrival.
        aligned: Pose and action of each frame.
        name: Of the episode; further parts get ``-2``, ``-3``, ...
        account: Of the reading.
        place: Where it was recorded; default: a place of its own.
    """
    _complete(account, aligned, events)
    return Recording(account, list(_episodes(events, aligned, name, place or name, account)))


def _choose(bag: Bag, options: BagOptions, account: Account) -> None:
    wishes = Wishes(options.image_topic, options.pose_topic, options.action_topic)
    choices = choose_sources(bag, wishes)
    for target, stream in ((CAMERA, account.camera), (POSE, account.poses), (ACTIONS, account.actions)):
        choice = choices[target]
        stream.topic, stream.why = choice.topic, choice.why
        stream.type = bag.types[choice.topic] if choice.topic else ""
        if choice.others:
            account.notes.append(str(choice))
    if account.camera.topic is None:
        found = ", ".join(f"{topic} ({bag.types[topic]}, {bag.counts[topic]})" for topic in sorted(bag.types)) or "none"
        raise BagError(f"no topic {CAMERA} or other camera in the recording; topics: {found}")
    for topic, types in ((options.depth_topic, IMAGE_TYPES), (options.proprioception_topic, ACTION_TYPES)):
        if topic is not None and topic not in bag.types:
            raise BagError(f"no topic {topic} in the recording; topics: {', '.join(sorted(bag.types))}")
        if topic is not None and bag.types[topic] not in types:
            raise BagError(f"{topic} is a {bag.types[topic]}, expected one of {', '.join(types)}")


def _complete(account: Account, aligned: Aligned, events: Events) -> None:
    """Fills in what is known after alignment."""
    has_pose_T = np.isfinite(aligned.pose_T4).all(axis=1)
    account.poses.known = int(has_pose_T.sum())
    account.actions.known = int(np.isfinite(aligned.action_TA).all(axis=1).sum())
    account.poses.unusable += aligned.pose_faults
    account.actions.unusable += aligned.action_faults
    if account.poses.topic is not None:
        account.without_pose = {frame.row for frame, known in zip(events.frames, has_pose_T) if not known}
    for stream in (account.camera, account.poses, account.actions):
        stream.rate_hz = _rate(stream)
    if flat := _flat(account.camera, events):
        account.notes.append(flat)
    account.notes += [str(jump) for jump in aligned.jumps[:_TOLD_JUMPS]]
    if len(aligned.jumps) > _TOLD_JUMPS:
        account.notes.append(f"poses jumped {len(aligned.jumps)} times in all")
    for name, stream in (("poses", account.poses), ("actions", account.actions)):
        if standing := _standing(name, stream):
            account.notes.append(standing)
        elif stream.unusable["action-length"]:
            account.notes.append(_of_other_length(stream, events, aligned.action_TA.shape[1]))
        elif stream.read and not stream.known:
            account.notes.append(_why_unknown(name, stream, account.camera))


def _rate(stream: StreamAccount) -> float:
    times = stream.stamps_ns if stream.stamps_ns and all(stream.stamps_ns) else stream.arrivals_ns
    gap_N = np.diff(np.array(times, np.int64))
    gap_N = gap_N[gap_N > 0]
    return 1e9 / float(np.median(gap_N)) if len(gap_N) else 0.0


_SAME_CLOCK_S = 0.05
"""Stamps that lie less apart are of one clock: what keeps poses from frames is something else."""


_LEAST_LEVELS, _FEW_FRAMES, _LOOKED_AT = 16.0, 20, 50
"""Pictures of fewer levels of brightness show an encoder nothing; of less than so many nothing is said; so many are
looked at."""


def _flat(camera: StreamAccount, events: Events) -> str:
    """Returns what to say of pictures that hold hardly any contrast, as those of a camera of few bits in 16 do."""
    if len(events.frames) < _FEW_FRAMES:
        return ""
    looked_at = events.frames[:: max(len(events.frames) // _LOOKED_AT, 1)]
    level_N2 = np.array([np.percentile(frame.image, (1.0, 99.0)) for frame in looked_at])
    levels = float(level_N2[:, 1].max() - level_N2[:, 0].min())
    if levels >= _LEAST_LEVELS:
        return ""
    return (
        f"pictures on {camera.topic} hold hardly any contrast, at most {levels:.0f} of 256 levels: of 16-bit pictures "
        "the high byte is read; let the camera's driver spread what it measures over all 16 bits, or send 8"
    )


def _standing(name: str, stream: StreamAccount) -> str:
    """Returns what to say of messages of which each carries the same stamp, which then belong to that moment only."""
    stamps = {stamp_ns for stamp_ns in stream.stamps_ns if stamp_ns}
    if len(stamps) != 1 or len(stream.stamps_ns) <= 2:
        return ""
    return f"{name} on {stream.topic} all carry one stamp, {stamps.pop() * 1e-9:.3f} s: who sends them fills it once"


def _of_other_length(stream: StreamAccount, events: Events, taken: int) -> str:
    """Returns what to say of actions that have another number of values than is taken."""
    sizes = sorted({len(action.values) for action in events.actions} - {taken})
    had = " or ".join(map(str, sizes))
    return (
        f"{stream.unusable['action-length']} actions on {stream.topic} have {had} values, {taken} are taken: not used"
    )


def _why_unknown(name: str, stream: StreamAccount, camera: StreamAccount) -> str:
    stamped = [(s, a) for s, a in zip(stream.stamps_ns, stream.arrivals_ns) if s]
    if not stamped or not camera.stamps_ns:
        return f"none of {stream.read} {name} on {stream.topic} belongs to a frame"
    own_s = float(np.median([(s - a) * 1e-9 for s, a in stamped]))
    frames_s = float(np.median([(s - a) * 1e-9 for s, a in zip(camera.stamps_ns, camera.arrivals_ns)]))
    off_s = own_s - frames_s
    if abs(off_s) < _SAME_CLOCK_S:
        return f"none of {stream.read} {name} on {stream.topic} belongs to a frame"
    side = "after" if off_s > 0 else "before"
    return f"{name} on {stream.topic} lie {abs(off_s):.3g} s {side} the frames: another clock? {WAY_OUT}"


def _episodes(events: Events, aligned: Aligned, name: str, place: str, account: Account) -> Iterator[Episode]:
    part_T = np.array([frame.part for frame in events.frames])
    parts = [part for part in np.unique(part_T) if (part_T == part).sum() >= 2]
    longest = max(parts, key=lambda part: int((part_T == part).sum()), default=None)
    names = {longest: name}
    for part in parts:
        names.setdefault(part, f"{name}-{len(names) + 1}")
    gaps: list[np.ndarray] = []
    stamps: list[np.ndarray] = []
    for part in parts:
        row_N = np.flatnonzero(part_T == part)
        frames = [events.frames[row] for row in row_N]
        stamp_T = np.array([frame.stamp_ns for frame in frames], np.int64)
        gaps.append(np.diff(stamp_T))
        stamps.append(stamp_T)
        account.parts[names[part]] = len(frames)
        yield Episode(
            names[part],
            place,
            np.stack([frame.image for frame in frames]),
            stamp_T,
            aligned.pose_T4[row_N],
            aligned.action_TA[row_N],
            _side([frame.depth for frame in frames]),
            _side([frame.proprioception for frame in frames]),
            pose_std_T2=None if aligned.pose_std_T2 is None else aligned.pose_std_T2[row_N],
            arrivals=_arrivals(aligned.arrivals, row_N, events.restarts_ns),
        )
    if gaps:
        gap_N = np.concatenate(gaps) * 1e-9
        account.largest_gap_s = float(gap_N.max())
        # Of the longest part: a jump of time is no step.
        account.step_s = measured_step_s(max(stamps, key=len))


def _arrivals(whole: Arrivals | None, row_N: np.ndarray, restarts_ns: Sequence[int]) -> Arrivals | None:
    """Returns what arrived in one part of the time."""
    if whole is None:
        return None
    own = Arrivals(whole.frame_T2[row_N], whole.pose_N, whole.action_M)
    first_ns, last_ns = int(own.frame_T2[0, 0]), int(own.frame_T2[-1, 0])
    begin_ns = max((ns for ns in restarts_ns if ns <= first_ns), default=-_NEVER_NS)
    end_ns = min((ns for ns in restarts_ns if ns > last_ns), default=_NEVER_NS)
    return own.within(begin_ns, end_ns)


def _side(values: list[Any]) -> np.ndarray | None:
    """Returns side inputs [T, ...], unknown ones as zeros; None where there are none at all."""
    known = next((value for value in values if value is not None), None)
    if known is None:
        return None
    return np.stack([np.zeros_like(known) if value is None else value for value in values])
