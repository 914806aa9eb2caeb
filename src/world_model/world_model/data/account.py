"""What became of a recording: an account of what was read, kept, left out and why, for people and for the set."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wm_core.timeline import NS_PER_S
from wm_core.words import counted

PARTIAL_SHARE = 0.1
"""Share of the frames in the covered time that may be lost to faults."""


class Fate(enum.Enum):
    """What became of one frame."""

    KEPT = "kept"
    THINNED = "thinned to the rate"
    EXCLUDED = "excluded by an option"
    BAD_STAMP = "bad stamp"
    UNUSABLE = "unusable"


_FREE = {Fate.THINNED, Fate.EXCLUDED}


@dataclass
class StreamAccount:
    """Poses or actions of a recording.

    Attributes:
        topic: Which topic fed it, None without one.
        type: Its type.
        why: Why this one, or why none.
        read: Messages read.
        unusable: {reason: messages}.
        known: Kept frames that have one.
        rate_hz: Measured rate [Hz].
        arrivals_ns: When each usable one was recorded [ns].
        stamps_ns: Stamp of each usable one [ns], 0 where not stamped.
    """

    topic: str | None = None
    type: str = ""
    why: str = ""
    read: int = 0
    unusable: Counter[str] = field(default_factory=Counter)
    known: int = 0
    rate_hz: float = 0.0
    arrivals_ns: list[int] = field(default_factory=list)
    stamps_ns: list[int] = field(default_factory=list)

    def entries(self) -> dict[str, Any]:
        """Return it as JSON-ready entries."""
        return {
            "topic": self.topic,
            "type": self.type,
            "why": self.why,
            "read": self.read,
            "unusable": dict(self.unusable),
            "known": self.known,
            "rate_hz": round(self.rate_hz, 3),
        }


@dataclass
class Account:
    """What became of one recording.

    Attributes:
        recording: Where it lies.
        camera: Topic, type and reason of the choice; ``read`` counts frames.
        poses: Where poses came from.
        actions: Where actions came from.
        frames: (when recorded [ns], fate, reason) of every frame read, in their order.
        examples: {reason: first message that says it in full}.
        without_pose: Rows of ``frames`` that were kept and have no pose.
        damaged: Frames that were promised and could not be read.
        damages: What of the recording could not be read, in words.
        notes: What else is worth knowing, in words.
        step_s: Usual time between kept frames [s]; NaN with fewer than two.
        largest_gap_s: Longest time between kept frames [s].
        parts: {episode: frames} that came of it.
        camera_info: First sensor_msgs/CameraInfo of the camera, if recorded.
    """

    recording: str
    camera: StreamAccount = field(default_factory=StreamAccount)
    poses: StreamAccount = field(default_factory=StreamAccount)
    actions: StreamAccount = field(default_factory=StreamAccount)
    frames: list[tuple[int, Fate, str]] = field(default_factory=list)
    examples: dict[str, str] = field(default_factory=dict)
    without_pose: set[int] = field(default_factory=set)
    damaged: int = 0
    damages: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    step_s: float = float("nan")
    largest_gap_s: float = 0.0
    parts: dict[str, int] = field(default_factory=dict)
    camera_info: dict[str, Any] | None = None

    def note_fault(self, time_ns: int, fate: Fate, reason: str, detail: str) -> None:
        """Count a frame that was lost, and keep the first detail of its kind."""
        self.frames.append((time_ns, fate, reason))
        self.examples.setdefault(reason, detail)

    @property
    def counts(self) -> Counter[Fate]:
        """Frames by fate."""
        return Counter(fate for _, fate, _ in self.frames)

    @property
    def reasons(self) -> Counter[str]:
        """Frames lost to a fault, by reason; those without a pose in the covered time and damaged ones included."""
        reasons = Counter(reason for _, fate, reason in self.frames if fate in (Fate.BAD_STAMP, Fate.UNUSABLE))
        within = self._covered()
        poseless = sum(1 for row in self.without_pose if within[row])
        return reasons + Counter({"no-pose": poseless, "damaged-block": self.damaged})

    @property
    def is_usable(self) -> bool:
        """Whether anything came of it."""
        return bool(self.parts)

    @property
    def lost_share(self) -> float:
        """Share of the frames in the covered time that were lost to faults.

        Damage and bad stamps strike before frames are thinned to the rate, the rest after: both shares are joined.
        """
        within = self._covered()
        fates = [fate for (_, fate, _), inside in zip(self.frames, within) if inside]
        stamps, total = fates.count(Fate.BAD_STAMP) + self.damaged, len(fates) + self.damaged
        due = [fate for fate in fates if fate not in _FREE and fate is not Fate.BAD_STAMP]
        late = due.count(Fate.UNUSABLE) + sum(1 for row in self.without_pose if within[row])
        before, after = stamps / total if total else 0.0, late / len(due) if due else 0.0
        return 1.0 - (1.0 - before) * (1.0 - after)

    @property
    def is_partial(self) -> bool:
        """Whether too much was lost, or all."""
        return not self.is_usable or self.lost_share > PARTIAL_SHARE

    def _covered(self) -> list[bool]:
        """Returns for each frame whether it lies in the time that poses cover; all do without a pose topic."""
        times = self.poses.arrivals_ns
        if self.poses.topic is None or not times:
            return [True] * len(self.frames)
        first, last = min(times), max(times)
        return [first <= time_ns <= last for time_ns, _, _ in self.frames]

    def uncovered(self) -> int:
        """Return how many kept frames lie before the first or after the last pose."""
        return sum(1 for row in self.without_pose if not self._covered()[row])

    def lines(self) -> list[str]:
        """Return the account in words."""
        counts, camera = self.counts, self.camera
        read = f"{counted(camera.read, 'frame')} read on {camera.topic} ({camera.why})"
        first = f"{self.recording}: {read}, {counts[Fate.KEPT]} kept"
        for fate in sorted(_FREE, key=lambda fate: fate.value):
            first += f", {counts[fate]} {fate.value}" if counts[fate] else ""
        lines = [first]
        for reason, count in sorted(self.reasons.items()):
            example = self.examples.get(reason)
            lines.append(f"  lost: {_in_words(reason, count, camera)}{f'; first: {example}' if example else ''}")
        lines += [f"  {self._stream('poses', self.poses)}", f"  {self._stream('actions', self.actions)}"]
        if self.uncovered():
            lies = "lies" if self.uncovered() == 1 else "lie"
            lines.append(f"  {counted(self.uncovered(), 'kept frame')} {lies} before the first or after the last pose")
        if np.isfinite(self.step_s):
            rhythm = f"a frame each {self.step_s:.3f} s, largest gap {self.largest_gap_s:.2f} s"
            lines.append(f"  covers {self._covered_s():.1f} s, {rhythm}")
        if len(self.parts) > 1:
            lines.append(f"  time jumps, so it became {len(self.parts)} episodes: {self.parts}")
        lines += [f"  damaged: {damage}" for damage in self.damages] + [f"  note: {note}" for note in self.notes]
        if not self.is_usable:
            lines.append("  nothing usable came of it")
        elif self.is_partial:
            lines.append(f"  {self.lost_share:.0%} of the frames in the covered time were lost to faults")
        return lines

    def _stream(self, name: str, stream: StreamAccount) -> str:
        if stream.topic is None:
            return f"no {name}: {stream.why}"
        unusable = ", ".join(f"{count} {reason}" for reason, count in sorted(stream.unusable.items()))
        text = f"{name}: {stream.read} read on {stream.topic} ({stream.why}) at {stream.rate_hz:.1f} Hz"
        text += f", unusable: {unusable}" if unusable else ""
        return f"{text}; known for {stream.known} of {self.counts[Fate.KEPT]} frames"

    def _covered_s(self) -> float:
        kept = [time_ns for time_ns, fate, _ in self.frames if fate is Fate.KEPT]
        return (kept[-1] - kept[0]) / NS_PER_S if kept else 0.0

    def entries(self) -> dict[str, Any]:
        """Return the account as JSON-ready entries."""
        counts = self.counts
        return {
            "recording": self.recording,
            "frames": {"read": self.camera.read, **{fate.name.lower(): counts[fate] for fate in Fate}},
            "lost": dict(self.reasons),
            "lost_share": round(self.lost_share, 4),
            "before_first_or_after_last_pose": self.uncovered(),
            "camera": {"topic": self.camera.topic, "type": self.camera.type, "why": self.camera.why},
            "camera_info": self.camera_info,
            "poses": self.poses.entries(),
            "actions": self.actions.entries(),
            "camera_hz": round(self.camera.rate_hz, 3),
            "step_s": None if np.isnan(self.step_s) else round(self.step_s, 6),
            "largest_gap_s": round(self.largest_gap_s, 3),
            "covered_s": round(self._covered_s(), 3),
            "parts": self.parts,
            "damages": self.damages,
            "notes": self.notes,
        }


def exit_code(accounts: Sequence[Account], allow_partial: bool) -> int:
    """Return 2 where nothing usable came, 1 where too much of a recording was lost, else 0."""
    if not any(account.is_usable for account in accounts):
        return 2
    return 1 if any(account.is_partial for account in accounts) and not allow_partial else 0


def _in_words(reason: str, count: int, camera: StreamAccount) -> str:
    if reason == "frame-repeated":
        return f"{count} of {camera.read} images on {camera.topic} repeat a stamp; is the camera stamped?"
    return f"{counted(count, 'frame')}, {reason}"
