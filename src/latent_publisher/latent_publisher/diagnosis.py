"""Inputs that arrive and cannot be used: what is wrong with them, and what would help, in words. No ROS.

Times are integer nanoseconds, of the data or of a steady clock as the names say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from wm_core.alignment import ActionStatus, Jump, Kind, PoseStatus
from wm_core.timeline import NS_PER_S

JUDGED = 40
"""States and messages that are looked back on."""
_ENOUGH = 20
_UNUSED_SHARE = 0.3
_REFUSED_SHARE = 0.5
_ANOTHER_CLOCK_S = 1.0
_STOPPED_S = 1.0
_NAMED_FOR_NS = 10 * NS_PER_S
# Names come from messages: three of them, sixty characters each, are told.
_NAMED, _SHOWN = 3, 60
_OTHER_CLOCK = "Synchronise both, state camera_offset_s, or let arrivals tell it: camera_offset_by_arrival"
_LET_STAMP = "Let their sender fill header.stamp in each message"


class InputDoctor:
    """Watches poses, actions and frames, and names why they are of no use.

    Args:
        pose_max_age_s: Furthest that a pose is extrapolated [s].
        action_max_age_s: Longest that an action holds [s].
    """

    def __init__(self, pose_max_age_s: float, action_max_age_s: float) -> None:
        self._pose_max_age_s, self._action_max_age_s = pose_max_age_s, action_max_age_s
        self._poses, self._actions = _Stream(), _Stream()
        self._refused: deque[str] = deque(maxlen=JUDGED)
        self._frames: deque[str] = deque(maxlen=JUDGED)
        self._pose_frames: deque[str] = deque(maxlen=JUDGED)
        self._newest_ns: int | None = None
        self._gap_ns = 0
        self._are_actions_stamped = False
        self.restart()

    def restart(self) -> None:
        """Forgets what was aligned: time has jumped."""
        self._poses.clear()
        self._actions.clear()
        self._pose_used: deque[bool] = deque(maxlen=JUDGED)
        self._action_used: deque[bool] = deque(maxlen=JUDGED)
        self._newest_ns = None
        self._frame: str | None = None
        self._jump: tuple[str, int] | None = None

    def frame(self, stamp_ns: int, usable: bool) -> None:
        """Takes note of a frame; an unusable one repeats a stamp."""
        self._frames.append("" if usable else "stamp 0" if stamp_ns == 0 else "the stamp of the frame before")
        if usable:
            self._gap_ns = 0 if self._newest_ns is None else stamp_ns - self._newest_ns
            self._newest_ns = stamp_ns

    def pose(self, stamp_ns: int, steady_ns: int, frame_id: str) -> None:
        """Takes note of a pose that was taken."""
        self._refused.append("")
        self._pose_frames.append(frame_id)
        self._poses.add(stamp_ns, steady_ns, self._newest_ns)

    def jumped(self, jump: Jump, steady_ns: int) -> None:
        """Takes note of a jump of the poses: of one in the same frame for a while."""
        if jump.kind is Kind.CORRECTED:
            self._jump = str(jump), steady_ns + _NAMED_FOR_NS
        else:
            self._frame = None if jump.kind is Kind.RETURNED else str(jump)

    def refused_pose(self, why: str) -> None:
        """Takes note of a pose that was refused."""
        self._refused.append(why)

    def action(self, stamp_ns: int, steady_ns: int, is_stamped: bool) -> None:
        """Takes note of an action that was taken, by its sender's stamp or by its arrival."""
        self._are_actions_stamped = is_stamped
        self._actions.add(stamp_ns, steady_ns, self._newest_ns)

    def state(self, pose: PoseStatus, action: ActionStatus) -> None:
        """Takes note of what a frame got."""
        self._pose_used.append(pose not in (PoseStatus.ABSENT, PoseStatus.TOO_OLD))
        self._action_used.append(action is ActionStatus.HELD)

    def findings(self, steady_ns: int) -> dict[str, str | None]:
        """Returns what is wrong with each input and with jumps of poses, None where nothing is.

        Args:
            steady_ns: The steady clock's present time.
        """
        return {
            "camera_input": self._camera(),
            "pose_input": next(self._pose(steady_ns), None),
            "action_input": next(self._action(), None),
            "pose_frame": self._frame,
            "pose_jump": self._jump[0] if self._jump is not None and steady_ns < self._jump[1] else None,
        }

    def _camera(self) -> str | None:
        # Every state asks: what is usual is told apart without a list.
        count = len(self._frames)
        if count < _ENOUGH or count - self._frames.count("") < _REFUSED_SHARE * count:
            return None
        bad = [frame for frame in self._frames if frame]
        return (
            f"{len(bad)} of the last {len(self._frames)} frames carry {bad[-1]}: is the camera stamped? "
            "Let its driver fill header.stamp"
        )

    def _pose(self, steady_ns: int) -> Iterator[str]:
        count = len(self._refused)
        if count >= _ENOUGH and count - self._refused.count("") > _REFUSED_SHARE * count:
            refused = [why for why in self._refused if why]
            yield (
                f"{len(refused)} of the last {len(self._refused)} poses cannot be used ({refused[-1]}): "
                "is the localisation initialised? Give it a first pose"
            )
        if taking_turns := self._taking_turns():
            yield taking_turns
        if self._poses.newest_steady_ns is None:
            return
        if not _unused(self._pose_used):
            yield from self._ahead()
            return
        silent_s = (steady_ns - self._poses.newest_steady_ns) / NS_PER_S
        off_s, gap_s, limit_s = self._poses.offset_s(), self._poses.gap_s(), self._pose_max_age_s
        if silent_s > max(_STOPPED_S, 3.0 * gap_s):
            yield "poses have stopped: does the localisation still run?"
        elif stamp_s := self._poses.stands_at_s():
            yield f"the stamps of poses do not move ({stamp_s}): does the localisation still run? {_LET_STAMP}"
        elif abs(off_s) > _ANOTHER_CLOCK_S:
            yield f"{_apart('poses', off_s)}: another clock? {_OTHER_CLOCK}"
        elif gap_s > limit_s:
            yield (
                f"poses come each {gap_s:.2f} s, too seldom for pose_max_age_s {limit_s:g} s: "
                "let the localisation publish more often, or raise pose_max_age_s"
            )
        elif abs(off_s) > limit_s:
            yield (
                f"{_apart('poses', off_s)}, more than pose_max_age_s {limit_s:g} s: another clock, or a slow "
                "localisation? Synchronise the clocks, or raise pose_max_age_s"
            )

    def _ahead(self) -> Iterator[str]:
        """Yields what to say of poses that frames find, and that yet are of a later time than what came with them."""
        off_s = self._poses.offset_s()
        if len(self._pose_used) >= _ENOUGH and off_s > _ANOTHER_CLOCK_S + self._gap_ns / NS_PER_S:
            yield f"{_apart('poses', off_s)} that came with them: another clock, or a late camera? {_OTHER_CLOCK}"

    def _taking_turns(self) -> str:
        """Returns what to say of poses in two frames: several may follow one another, two at a time take turns."""
        frames = self._pose_frames
        is_one = not frames or frames.count(frames[0]) == len(frames)
        turns = 0 if is_one else sum(a != b for a, b in zip(frames, list(frames)[1:]))
        if turns <= len(frames) / 4 or len(frames) < _ENOUGH:
            return ""
        names = " and ".join(repr(name[:_SHOWN]) for name in sorted(set(frames))[:_NAMED])
        return f"poses come in turns in the frames {names}: two publishers? Leave one, or remap the other"

    def _action(self) -> Iterator[str]:
        if not _unused(self._action_used):
            return
        off_s = self._actions.offset_s()
        if stamp_s := self._actions.stands_at_s():
            stands = f"the stamps of actions do not move ({stamp_s}): {_LET_STAMP}"
            clock = f"the time at which actions arrive does not move ({stamp_s}): does /clock, for use_sim_time?"
            yield stands if self._are_actions_stamped else clock
        elif abs(off_s) > max(_ANOTHER_CLOCK_S, self._action_max_age_s):
            yield f"{_apart('actions', off_s)}: another clock? {_OTHER_CLOCK}"


class _Stream:
    """The last messages of one input: their stamps, and by how much those lie off the newest frame's."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._stamps: deque[int] = deque(maxlen=JUDGED)
        self._offsets: deque[int] = deque(maxlen=JUDGED)
        self.newest_steady_ns: int | None = None

    def add(self, stamp_ns: int, steady_ns: int, frame_ns: int | None) -> None:
        self._stamps.append(stamp_ns)
        self.newest_steady_ns = steady_ns
        if frame_ns is not None:
            self._offsets.append(stamp_ns - frame_ns)

    def offset_s(self) -> float:
        """Returns how long after the newest frame they are stamped, in the middle [s]; negative before it."""
        return float(np.median(self._offsets)) / NS_PER_S if self._offsets else 0.0

    def stands_at_s(self) -> str:
        """Returns the stamp that all of them carry, in words; empty where they move or are few."""
        is_one = len(self._stamps) >= _ENOUGH and self._stamps.count(self._stamps[0]) == len(self._stamps)
        return f"{self._stamps[0] / NS_PER_S:.3f} s" if is_one else ""

    def gap_s(self) -> float:
        """Returns the usual time between them, by their stamps [s]."""
        return float(np.median(np.abs(np.diff(self._stamps)))) / NS_PER_S if len(self._stamps) > 1 else 0.0


def _unused(used: deque[bool]) -> bool:
    return len(used) >= _ENOUGH and used.count(False) > _UNUSED_SHARE * len(used)


def _apart(name: str, off_s: float) -> str:
    return f"{name} lie {abs(off_s):.3g} s {'after' if off_s > 0 else 'before'} the frames"
