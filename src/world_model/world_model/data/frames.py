"""Frames of whatever source, kept or left out by the rules of the live node, each counted in the account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from wm_core.errors import FrameError, MessageError
from wm_core.images import prepare_image
from wm_core.timeline import Pacer, Passage, Timeline
from world_model.data.account import Account, Fate
from world_model.data.bag_options import BagOptions
from world_model.data.stream import ActionEvent, PoseEvent

_STAMP_FAULTS = {
    Passage.AHEAD: ("frame-ahead", "stamp {0:.3f} s lies far ahead of the frames before it"),
    Passage.REPEATED: ("frame-repeated", "stamp {0:.3f} s came before"),
    Passage.OUT_OF_ORDER: ("frame-out-of-order", "stamp {0:.3f} s is older than the last"),
}


@dataclass(slots=True)
class Frame:
    """One kept frame: stamp, arrival, recorder's clock [ns], row in the account, part of the time, what it holds."""

    stamp_ns: int
    arrival_ns: int
    clock_ns: int
    row: int
    part: int
    image: np.ndarray
    depth: np.ndarray | None = None
    proprioception: np.ndarray | None = None


@dataclass
class Events:
    """What a recording gave: kept frames, poses, actions, and when its time jumped [ns, by arrival]."""

    frames: list[Frame] = field(default_factory=list)
    poses: list[PoseEvent] = field(default_factory=list)
    actions: list[ActionEvent] = field(default_factory=list)
    restarts_ns: list[int] = field(default_factory=list)


class FrameIntake:
    """Keeps the frames that are wanted.

    Args:
        options: Rate, size and time asked for.
        account: Counts what becomes of each.
        events: Takes what is kept.
    """

    def __init__(self, options: BagOptions, account: Account, events: Events) -> None:
        self._options, self._account, self._events = options, account, events
        self._timeline, self._pacer = Timeline(), Pacer(options.rate_hz)
        self._part = self._index = 0
        self._begin: tuple[int, int] | None = None
        self._part_begin: tuple[int, int] | None = None

    def offer(
        self,
        stamp_ns: int,
        arrival_ns: int,
        clock_ns: int,
        picture: Callable[[], np.ndarray],
        depth: np.ndarray | None = None,
        proprioception: np.ndarray | None = None,
    ) -> None:
        """Keeps a frame, or notes in the account why not.

        Args:
            stamp_ns: Its own time.
            arrival_ns: When it was recorded, by a steady clock.
            clock_ns: The same by the recorder's clock.
            picture: Gives RGB [H, W, 3] uint8; asked only where the frame is kept.
            depth: That belongs to it.
            proprioception: That belongs to it.
        """
        account = self._account
        account.camera.read += 1
        passage = self._timeline.check(stamp_ns, arrival_ns)
        if passage in _STAMP_FAULTS:
            reason, text = _STAMP_FAULTS[passage]
            account.note_fault(arrival_ns, Fate.BAD_STAMP, reason, text.format(stamp_ns * 1e-9))
            return
        account.camera.arrivals_ns.append(arrival_ns)
        account.camera.stamps_ns.append(stamp_ns)
        if passage is not Passage.FOLLOWS or self._part_begin is None:
            self._begin_part(stamp_ns, arrival_ns, passage)
        self._index += 1
        if (self._index - 1) % self._options.every or not self._pacer.is_due(stamp_ns):
            account.frames.append((arrival_ns, Fate.THINNED, ""))
        elif not self._is_asked_for(stamp_ns):
            account.frames.append((arrival_ns, Fate.EXCLUDED, ""))
        elif (image := self._prepared(arrival_ns, picture)) is not None:
            times = stamp_ns, arrival_ns, clock_ns
            frame = Frame(*times, len(account.frames), self._part, image, depth, proprioception)
            self._events.frames.append(frame)
            account.frames.append((arrival_ns, Fate.KEPT, ""))

    def _begin_part(self, stamp_ns: int, arrival_ns: int, passage: Passage) -> None:
        if self._part_begin is not None:
            self._part += 1
            self._index = 0
            self._events.restarts_ns.append(arrival_ns)
            self._account.notes.append(f"the frames' time {passage.value} to {stamp_ns * 1e-9:.3f} s: a new timeline")
        self._part_begin = (stamp_ns, arrival_ns)
        self._begin = self._begin or self._part_begin

    def _is_asked_for(self, stamp_ns: int) -> bool:
        assert self._begin is not None
        assert self._part_begin is not None
        # Within a timeline by stamps, as an episode is cut; between timelines only the recorder's clock tells.
        second = (stamp_ns - self._part_begin[0] + self._part_begin[1] - self._begin[1]) * 1e-9
        return self._options.from_s <= second < self._options.to_s

    def _prepared(self, arrival_ns: int, picture: Callable[[], np.ndarray]) -> np.ndarray | None:
        try:
            return prepare_image(picture(), self._options.image_size)
        except MessageError as error:
            self._account.note_fault(arrival_ns, Fate.UNUSABLE, error.reason, str(error))
        except FrameError as error:
            self._account.note_fault(arrival_ns, Fate.UNUSABLE, "frame-unusable", str(error))
        return None
