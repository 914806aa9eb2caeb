"""Chunks of actions by the time that each action is for: what is past is dropped, what overlaps is combined.

Shape suffixes: H = actions of a chunk, A = action size, C = chunks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

ENSEMBLE, BLEND, NEWEST, PREFIX = "ensemble", "blend", "newest", "prefix"
COMBINATIONS = (ENSEMBLE, BLEND, NEWEST, PREFIX)
_NS = 1_000_000_000
_LONGEST_S = 1e9


class ChunkError(ValueError):
    """What a policy gave is no chunk of actions."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """Actions from an observation on, the first at the observation's own time.

    Between two actions' times the command goes over from one to the other; the last one holds for a step. Arrays are
    copied: who made it may use its own again.

    Args:
        stamp_ns: Stamp of the observation [ns].
        step_s: Time between actions [s].
        action_HA: The actions.
        path_H3: Where the robot is expected at each of their times: x, y [m], yaw [rad]; None: that is not said.
        facing_H: How it is to face at each of their times, where it goes nowhere: it is held [rad], without jumps of a
            whole turn; None: that is not said.
        waits_s: From then on, after its first action, it counts on the robot having come free [s]; until it has, it is
            to face as it would then. Inf: by then it is free.

    Raises:
        ChunkError: There is no action, a number is not finite, the step is not positive, path or facing has another
            length, or it lasts for longer than anybody lives.
    """

    stamp_ns: int
    step_s: float
    action_HA: np.ndarray
    path_H3: np.ndarray | None = None
    facing_H: np.ndarray | None = None
    waits_s: float = math.inf

    def __post_init__(self) -> None:
        """Refuse what cannot be executed."""
        for name, what in (("action_HA", "a chunk"), ("path_H3", "a path"), ("facing_H", "facing")):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _own(getattr(self, name), what))
        if self.action_HA.ndim != 2 or not self.action_HA.size:
            raise ChunkError(f"a chunk of shape {list(self.action_HA.shape)}, expected [H, A]")
        if self.path_H3 is not None and self.path_H3.shape != (len(self.action_HA), 3):
            raise ChunkError(f"a path of shape {list(self.path_H3.shape)} beside {len(self.action_HA)} actions")
        if self.facing_H is not None and self.facing_H.shape != (len(self.action_HA),):
            raise ChunkError(f"facing of shape {list(self.facing_H.shape)} beside {len(self.action_HA)} actions")
        self._check_times()

    def _check_times(self) -> None:
        if not isinstance(self.stamp_ns, int | np.integer):
            raise ChunkError(f"a chunk with the stamp {self.stamp_ns!r}, expected nanoseconds, a whole number")
        object.__setattr__(self, "stamp_ns", int(self.stamp_ns))
        if not (self.step_s > 0.0 and len(self.action_HA) * self.step_s <= _LONGEST_S):
            raise ChunkError(f"a chunk with a step of {self.step_s} s")
        if not (0.0 <= self.waits_s <= _LONGEST_S or self.waits_s == math.inf):
            raise ChunkError(f"a chunk that waits for {self.waits_s} s")

    @property
    def is_followed(self) -> bool:
        """Whether it says where the robot is to be or to face: what is commanded is put right by that."""
        is_path = self.path_H3 is not None and len(self.path_H3) > 1
        return is_path or self.facing_H is not None

    @property
    def end_ns(self) -> int:
        """The time from which on it says nothing [ns]."""
        return self.stamp_ns + round(len(self.action_HA) * self.step_s * _NS)

    def covers(self, time_ns: int) -> bool:
        """Return whether it has an action for a time [ns]."""
        return self.stamp_ns <= time_ns < self.end_ns

    def ahead_count(self, time_ns: int) -> int:
        """Return how many of its actions are for a time [ns] or later."""
        return max(0, len(self.action_HA) - max(0, math.ceil((time_ns - self.stamp_ns) / (self.step_s * _NS))))

    def slowed(self, least: float, most: float) -> Chunk:
        """Return the same way at speeds within a range [m/s]: the yaw rate beside a speed keeps its ratio to it.

        Without that a robot that may not be as fast as its policy would have it turns more sharply than that meant.
        """
        speed_H = self.action_HA[:, 0]
        within_H = np.clip(speed_H, least, most)
        if (within_H == speed_H).all():
            return self
        # What may not move at all (backwards) may turn where it stands as it is told.
        share_H = np.where(within_H == 0.0, 1.0, within_H / np.where(speed_H == 0.0, 1.0, speed_H))
        return replace(self, action_HA=np.column_stack([within_H, self.action_HA[:, 1] * share_H]))

    def at(self, time_ns: int) -> np.ndarray:
        """Return the action for a time [ns], [A]; before its first and after its last action these."""
        place = min(max((time_ns - self.stamp_ns) / (self.step_s * _NS), 0.0), len(self.action_HA) - 1.0)
        before = int(place)
        after = min(before + 1, len(self.action_HA) - 1)
        share = place - before
        return np.asarray((1.0 - share) * self.action_HA[before] + share * self.action_HA[after], float)


def _own(value: object, what: str) -> np.ndarray:
    """Return numbers as an array of their own that nobody changes."""
    try:
        found = np.array(value)
    except ValueError as error:
        raise ChunkError(f"{what} that is no array: {error}") from error
    if found.dtype.kind not in "biuf" or not np.isfinite(found).all():
        raise ChunkError(f"{what} with values that are not finite numbers")
    found = found.astype(float, copy=False)
    found.flags.writeable = False
    return found


@dataclass(frozen=True)
class Combining:
    """How chunks that cover the same time become one command.

    Attributes:
        how: ``ensemble``: mean weighted exp(-decay k), k = 0 the oldest. ``blend``: each newer one takes the share
            ``new_share``. ``newest``: the newest alone. ``prefix``: the same, for policies that go on from what is
            already decided.
        decay: Of ``ensemble``.
        new_share: Of ``blend``.
        seam_s: Time over which the jump fades when other chunks than before have a say [s]; 0: it is made at once.
        most: Chunks kept.
    """

    how: str = ENSEMBLE
    decay: float = 0.01
    new_share: float = 0.7
    seam_s: float = 0.3
    most: int = 16

    def __post_init__(self) -> None:
        """Refuse what combines nothing."""
        if self.how not in COMBINATIONS:
            raise ValueError(f"combining is '{self.how}', expected one of {', '.join(COMBINATIONS)}")
        if not (0.0 <= self.new_share <= 1.0 and self.decay >= 0.0 and self.seam_s >= 0.0 and self.most >= 1):
            raise ValueError(f"{self} cannot be: shares are 0..1, times and decays 0 or more, chunks 1 or more")

    def combine(self, action_CA: np.ndarray) -> np.ndarray:
        """Return one action [A] of those of some chunks, the oldest first."""
        if self.how == ENSEMBLE:
            weight_C = np.exp(-self.decay * np.arange(len(action_CA)))
            return np.asarray(weight_C @ action_CA / weight_C.sum())
        if self.how == BLEND:
            blended_A = action_CA[0]
            for action_A in action_CA[1:]:
                blended_A = (1.0 - self.new_share) * blended_A + self.new_share * action_A
            return np.asarray(blended_A)
        return np.asarray(action_CA[-1])


class ChunkBuffer:
    """The chunks that still say something, by stamp.

    Times must not go backwards between calls of ``at``; ``clear`` starts anew.

    Args:
        combining: What is made of overlapping chunks.
    """

    def __init__(self, combining: Combining | None = None) -> None:
        self._combining = combining or Combining()
        self.clear()

    def clear(self) -> None:
        """Forget all chunks."""
        self._chunks: list[Chunk] = []
        self._voices: tuple[Chunk, ...] = ()
        self._last: tuple[int, np.ndarray] | None = None
        self._seam: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self._chunks)

    @property
    def newest(self) -> Chunk | None:
        """The chunk of the newest observation."""
        return self._chunks[-1] if self._chunks else None

    def add(self, chunk: Chunk, now_ns: int, *, replaces: bool = False) -> bool:
        """Take a chunk at its stamp; return whether any of it is still ahead, else it is left.

        Args:
            chunk: What is to be done.
            now_ns: The present [ns].
            replaces: Forget the others, but not what was commanded by them: this one begins there.

        Raises:
            ChunkError: Its actions have another size than those that are there.
        """
        if self._chunks and chunk.action_HA.shape[1] != self._chunks[0].action_HA.shape[1]:
            raise ChunkError(f"actions of {chunk.action_HA.shape[1]} values beside others")
        if chunk.end_ns <= now_ns:
            return False
        self._chunks = [chunk] if replaces else [*self._chunks, chunk]
        self._chunks.sort(key=lambda each: each.stamp_ns)
        del self._chunks[: -self._combining.most]
        return any(each is chunk for each in self._chunks)

    def at(self, now_ns: int, shift_ns: int = 0) -> np.ndarray | None:
        """Return the command for now [A], and drop what is past; None: no chunk covers this time.

        Args:
            now_ns: The present [ns].
            shift_ns: By how much the robot is ahead of the time of the chunks [ns].
        """
        self._chunks = [chunk for chunk in self._chunks if chunk.end_ns > now_ns]
        voices = tuple(chunk for chunk in self._chunks if chunk.covers(now_ns))
        if not voices:
            self._voices, self._last, self._seam = (), None, None
            return None
        if self._last is not None and not _are_same(voices, self._voices):
            time_ns, said_A = self._last
            self._seam = time_ns, said_A - self._combined(voices, time_ns + shift_ns)
        said_A = self._combined(voices, now_ns + shift_ns) + self._fading(now_ns)
        self._voices, self._last = voices, (now_ns, said_A)
        return said_A

    def remaining_s(self, now_ns: int) -> float:
        """Return how long chunks cover all times from now on [s]."""
        end_ns = now_ns
        for chunk in self._chunks:
            if chunk.stamp_ns <= end_ns:
                end_ns = max(end_ns, chunk.end_ns)
        return (end_ns - now_ns) / _NS

    def ahead(self, time_ns: int, shift_ns: int = 0) -> np.ndarray | None:
        """Return what would be commanded at a later time [A] if nothing came in between; None: nothing covers it.

        Args:
            time_ns: That time [ns].
            shift_ns: By how much the robot is ahead of the time of the chunks [ns].
        """
        voices = [chunk for chunk in self._chunks if chunk.covers(time_ns)]
        return self._combined(voices, time_ns + shift_ns) + self._fading(time_ns) if voices else None

    def _combined(self, voices: tuple[Chunk, ...] | list[Chunk], time_ns: int) -> np.ndarray:
        return self._combining.combine(np.stack([chunk.at(time_ns) for chunk in voices]))

    def _fading(self, time_ns: int) -> np.ndarray | float:
        """Return what is left of the last jump."""
        if self._seam is None or not self._combining.seam_s:
            return 0.0
        since_ns, jump_A = self._seam
        return max(0.0, 1.0 - (time_ns - since_ns) / (self._combining.seam_s * _NS)) * jump_A


def _are_same(some: tuple[Chunk, ...], others: tuple[Chunk, ...]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others))
