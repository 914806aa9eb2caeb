"""What a recording's topics hold: one pass that tells rates, gaps, clocks and motion, and what would feed the graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wm_core.bags.bag import Bag, BagMessage, header_stamp_ns
from wm_core.bags.errors import BagError
from wm_core.bags.topics import IMAGE_TYPES, Candidate, Choice, choose
from wm_core.errors import MessageError
from wm_core.sources import (
    ACTION_TYPES,
    NO_POSE_TYPES,
    OWN_TOPICS,
    POSE_TYPES,
    STANDS_ASIDE,
    TF_TYPE,
    TransformBuffer,
    action_from_msg,
    pose_sample_from_msg,
)
from wm_core.timeline import NS_PER_S
from wm_core.words import counted

CAMERA, POSE, ACTIONS = "/camera/image_raw", "/pose", "/actions"
TF, TF_STATIC = "/tf", "/tf_static"
VIDEO_TYPES = ("foxglove_msgs/msg/CompressedVideo", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket")
CAMERA_TYPES = (*IMAGE_TYPES, *VIDEO_TYPES)
NONE = "none"
"""What names no topic: the recording is taken without."""

_DEPTH = ("16UC1", "32FC1", "compressedDepth")
_STILL_M, _STILL_RAD, _STILL_ACTION = 0.05, 0.05, 1e-6
_COMMANDS = 4
"""So many of ``ACTION_TYPES`` are commands; the others may be states as well."""


@dataclass
class TopicSurvey:
    """What one topic holds.

    Attributes:
        topic: Its name.
        type: Its type.
        count: Messages read.
        arrivals_ns: When each was recorded [ns].
        stamps_ns: Stamp of each that has one [ns]; of images, poses and stamped actions.
        values: Positions and yaw-like quaternions of poses, or actions, in their order.
        frame_id: Of poses: the frame in which they are told.
        told: Encoding or format of pictures and their size, or how many values actions have.
        aside: Of twists: the largest speed to the left, which is not among the values [m/s].
        faults: {reason: messages} that could not be used.
    """

    topic: str
    type: str
    count: int = 0
    arrivals_ns: list[int] = field(default_factory=list)
    stamps_ns: list[int] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)
    frame_id: str = ""
    told: str = ""
    aside: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def rate_hz(self) -> float:
        """Messages per second by the median interval [Hz]; 0 with fewer than two."""
        times = self.stamps_ns if len(self.stamps_ns) == self.count else self.arrivals_ns
        gaps = np.diff(np.array(times, np.int64))
        gaps = gaps[gaps > 0]
        return NS_PER_S / float(np.median(gaps)) if len(gaps) else 0.0

    @property
    def largest_gap_s(self) -> float:
        """Longest silence by the recorder's clock [s]."""
        return float(np.diff(np.array(self.arrivals_ns, np.int64)).max() / NS_PER_S) if self.count > 1 else 0.0

    @property
    def clock_offset_s(self) -> float | None:
        """How far the stamps lie from the recorder's clock, by the median [s]; None without stamps."""
        if not self.stamps_ns or len(self.stamps_ns) != len(self.arrivals_ns):
            return None
        return float(np.median(np.array(self.stamps_ns, np.int64) - np.array(self.arrivals_ns, np.int64)) / NS_PER_S)

    @property
    def moves(self) -> bool | None:
        """Whether its values change; None where it has none."""
        if not self.values:
            return None
        spread = np.ptp(np.stack(self.values).astype(np.float64), axis=0)
        if self.type in ACTION_TYPES:
            return bool((spread > _STILL_ACTION).any()) or self.aside > STANDS_ASIDE
        return bool((spread[:3] > _STILL_M).any() or (spread[3:] > _STILL_RAD).any())

    def line(self) -> str:
        """Return it in words."""
        parts = [counted(self.count, "message"), f"{self.rate_hz:.1f} Hz", f"largest gap {self.largest_gap_s:.2f} s"]
        offset = self.clock_offset_s
        if offset is not None:
            parts.append(f"stamps {offset:+.3f} s off the recorder's clock")
        parts += [text for text in (self.told, self.frame_id and f"in '{self.frame_id}'") if text]
        parts += [f"speed aside (linear.y) up to {self.aside:.3g} m/s"] if self.aside > STANDS_ASIDE else []
        parts += ["does not change"] if self.moves is False else []
        parts += [f"{count} unusable: {reason}" for reason, count in self.faults.items()]
        return f"{self.topic} ({self.type}): {', '.join(parts)}"


@dataclass(frozen=True)
class Wishes:
    """Which topics are asked for; None leaves the choice to the recording, ``none`` does without.

    Attributes:
        image_topic: Of the camera.
        pose_topic: Of the pose; ``/tf`` looks it up in tf.
        action_topic: Of the actions.
    """

    image_topic: str | None = None
    pose_topic: str | None = None
    action_topic: str | None = None


def survey(
    bag: Bag, topics: Sequence[str] | None = None, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, TopicSurvey]:
    """Return what some topics (by default all that could be of use) hold, by reading them once.

    A tf topic appears as ``/tf`` with the poses that can be looked up in it.
    """
    wanted = list(topics) if topics is not None else [t for t, kind in bag.types.items() if kind in _USEFUL]
    found = {topic: TopicSurvey(topic, bag.types[topic]) for topic in wanted}
    total, buffer = sum(bag.counts[topic] for topic in wanted), TransformBuffer()
    for done, message in enumerate(bag.messages(wanted), start=1):
        of = found[message.topic]
        of.count += 1
        of.arrivals_ns.append(message.steady_ns)
        try:
            _take(bag, message, of, buffer)
        except (MessageError, BagError) as error:
            of.faults[str(getattr(error, "reason", error))] += 1
        if done % 200 == 0 or done == total:
            progress(done, total)
    for topic, of in found.items():
        if of.type == TF_TYPE and topic != TF_STATIC and of.count and not of.values:
            of.faults[buffer.why_not()] = of.count
    return found


def choose_sources(
    bag: Bag,
    wishes: Wishes,
    takes: Mapping[str, Sequence[str]] | None = None,
    hints: Mapping[str, str] | None = None,
) -> dict[str, Choice]:
    """Return what feeds camera, pose and actions, by name: what was asked for, else what the recording suggests.

    Args:
        bag: Recording.
        wishes: What is asked for.
        takes: {topic of the graph: types it takes}; default: all that conversion reads.
        hints: {topic of the graph: how to name one of two equally good ones}.

    Raises:
        BagError: A topic that was asked for is not there or of a type that cannot be used, or two are equally good.
    """
    takes, hints = takes or _TAKES, hints or _NAME_ONE
    asked = {CAMERA: wishes.image_topic, POSE: wishes.pose_topic, ACTIONS: wishes.action_topic}
    choices = {
        target: _as_asked(bag, target, topic, takes[target]) for target, topic in asked.items() if topic is not None
    }
    open_targets = [target for target in asked if target not in choices]
    possible = {target: _possible(bag, takes[target]) for target in open_targets}
    doubtful = [t for topics in possible.values() if len(topics) > 1 for t in topics]
    doubtful += [t for t in possible.get(POSE, ()) if bag.types[t] == TF_TYPE and t not in doubtful]
    surveys = survey(bag, doubtful + [t for t in (TF_STATIC,) if t in bag.types]) if doubtful else {}
    for target in open_targets:
        candidates = [c for topic in possible[target] if (c := _candidate(bag, topic, target, surveys)) is not None]
        why = _why_none(possible[target], surveys) or (_why_no_pose(bag) if target == POSE else "")
        choices[target] = choose(target, candidates, why)
        if choices[target].is_tie:
            raise BagError(f"{target}: {' and '.join(map(str, candidates))} are equally good; {hints[target]}")
    return choices


def take_pose(msg: Any, kind: str, buffer: TransformBuffer, is_static: bool = False) -> list[Any]:
    """Return the poses that a message brings: one, or what is new in tf.

    Raises:
        MessageError: As ``pose_sample_from_msg`` and ``TransformBuffer.insert``.
    """
    return buffer.insert(msg, is_static) if kind == TF_TYPE else [pose_sample_from_msg(msg)]


_TAKES: Mapping[str, Sequence[str]] = {CAMERA: CAMERA_TYPES, POSE: (*POSE_TYPES, TF_TYPE), ACTIONS: ACTION_TYPES}
_USEFUL = {kind for kinds in _TAKES.values() for kind in kinds}
_NAME_ONE = {
    CAMERA: "name one with --image-topic",
    POSE: "name one with --pose-topic, or 'none'",
    ACTIONS: "name one with --action-topic, or 'none'",
}


def _as_asked(bag: Bag, target: str, topic: str, kinds: Sequence[str]) -> Choice:
    if topic == NONE and target != CAMERA:
        return Choice(target, None, "as asked for")
    if topic not in bag.types:
        why = f" (it is {bag.unusable[topic]})" if topic in bag.unusable else ""
        found = ", ".join(sorted(bag.types)) or "none"
        raise BagError(f"no topic {topic} in the recording{why}; topics: {found}")
    if bag.types[topic] not in kinds:
        raise BagError(f"{topic} is a {bag.types[topic]}, expected one of {', '.join(kinds)}")
    return Choice(target, topic, f"as asked for, {counted(bag.counts[topic], 'message')}")


def _possible(bag: Bag, kinds: Sequence[str]) -> list[str]:
    topics = [t for t, kind in bag.types.items() if kind in kinds and bag.counts[t] and not t.endswith(OWN_TOPICS)]
    return [t for t in topics if t != TF_STATIC]


def _candidate(bag: Bag, topic: str, target: str, surveys: Mapping[str, TopicSurvey]) -> Candidate | None:
    """Returns a topic as a candidate, None where its content rules it out."""
    of = surveys.get(topic)
    if of is None:
        return Candidate(topic, bag.counts[topic])
    if target == CAMERA:
        is_depth = any(text in of.told for text in _DEPTH) or "depth" in topic
        return None if is_depth else Candidate(topic, of.count, told=of.told)
    usable = len(of.values)
    if not usable:
        return None
    return Candidate(topic, usable, _rank(of, target), of.moves, f"in '{of.frame_id}'" if of.frame_id else of.type)


def _why_none(topics: Sequence[str], surveys: Mapping[str, TopicSurvey]) -> str:
    """Returns in words why topics of a fitting type cannot be used; "" where there are none, or nothing is known."""
    faulty = [surveys[topic] for topic in topics if topic in surveys and surveys[topic].faults]
    return "; ".join(f"{of.topic}: {of.faults.most_common(1)[0][0]}" for of in faulty)


def _why_no_pose(bag: Bag) -> str:
    """Returns in words what a recording has instead of poses; "" for nothing."""
    instead = {topic: kind for topic, kind in sorted(bag.types.items()) if kind in NO_POSE_TYPES and bag.counts[topic]}
    return "; ".join(f"{topic} ({kind}): {NO_POSE_TYPES[kind]}" for topic, kind in instead.items())


def _rank(of: TopicSurvey, target: str) -> int:
    if target == ACTIONS:
        return max(0, ACTION_TYPES.index(of.type) - _COMMANDS + 1)
    frames = {"map": 0, "": 1, "odom": 2}
    # tf is asked last: a topic that says the pose outright is meant to be used.
    return 10 * frames.get(of.frame_id, 1) + (5 if of.type == TF_TYPE else 0)


def _take(bag: Bag, message: BagMessage, of: TopicSurvey, buffer: TransformBuffer) -> None:
    if of.type in CAMERA_TYPES:
        of.stamps_ns.append(header_stamp_ns(message.data))
        if not of.told:
            msg = bag.decode(message)
            size = f"{msg.width}x{msg.height} " if hasattr(msg, "width") else ""
            of.told = f"{size}{getattr(msg, 'encoding', getattr(msg, 'format', ''))}".strip()
        return
    msg = bag.decode(message)
    if of.type in ACTION_TYPES:
        action = action_from_msg(msg)
        of.stamps_ns += [action.stamp_ns] if action.stamp_ns else []
        of.values += [action.values] if not of.values or of.values[0].shape == action.values.shape else []
        of.told = of.told or counted(len(action.values), "value")
        of.aside = max(of.aside, abs(action.left_out))
        return
    for sample in take_pose(msg, of.type, buffer, message.topic == TF_STATIC):
        of.stamps_ns.append(sample.stamp_ns)
        of.values.append(np.concatenate([sample.position, sample.quaternion * np.sign(sample.quaternion[3] or 1.0)]))
        of.frame_id = sample.frame_id
