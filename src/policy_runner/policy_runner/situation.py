"""Where the robot is, how it moves and whether it may: what states tell, one after the other.

Shape suffixes: A = action size, 2 = x, y [m/s], 3 = x, y [m], yaw [rad].
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from policy_runner.estimate import Estimate
from policy_runner.execution import SET_BACK_NS
from policy_runner.goals import Fence, Track
from policy_runner.policies import Frame
from wm_core.se2 import Pose2

_MOST_FRAMES = 64


@dataclass(frozen=True)
class Seen:
    """What one state tells.

    Attributes:
        frame: The frame.
        place: Where, with its height; None: not known.
        frame_id: Frame of the place.
        std_3: Standard errors of the pose: x, y [m], yaw [rad], NaN where not told; None: none is.
    """

    frame: Frame
    place: Pose2 | None
    frame_id: str
    std_3: np.ndarray | None = None


class Situation:
    """The newest state, and what it and those before it say of the robot.

    Args:
        estimate: Where the robot is, from poses and commands.
        fence: Where it may be.
    """

    def __init__(self, estimate: Estimate, fence: Fence) -> None:
        self._estimate, self._fence, self._track = estimate, fence, Track()
        self._frames: deque[Frame] = deque(maxlen=_MOST_FRAMES)
        self.seen: Seen | None = None
        self.pose_3: np.ndarray | None = None

    @property
    def frame_id(self) -> str:
        """Frame of the robot's poses; empty: not known yet."""
        return "" if self.seen is None else self.seen.frame_id

    @property
    def may_go_on(self) -> bool:
        """Whether the newest state is one to act on: where it may not be everywhere, it tells where it is."""
        return self.seen is not None and (self.pose_3 is not None or not self._fence.is_set)

    @property
    def speed_m_s(self) -> float:
        """How fast the robot moves [m/s]; NaN: not known."""
        return float(np.hypot(*self._track.velocity_2))

    def commanded(self, time_ns: int, command_A: np.ndarray) -> None:
        """Take note of a command that the robot was given at a time [ns]."""
        self._estimate.commanded(time_ns, command_A)

    def see(self, seen: Seen, *, is_driven: bool) -> bool:
        """Take a state; return whether it tells anything: one that is no newer than the last does not.

        Args:
            seen: What it tells.
            is_driven: Whether somebody else commands the robot: only states tell what it is told.
        """
        frame = seen.frame
        late_ns = 0 if self.seen is None else self.seen.frame.stamp_ns - frame.stamp_ns
        if self.seen is not None and 0 <= late_ns <= SET_BACK_NS:
            return False
        self.seen, self.pose_3 = seen, None
        if late_ns > 0:
            self._frames.clear()
        self._frames.append(frame)
        if is_driven and frame.action_A is not None:
            self._estimate.commanded(frame.stamp_ns, frame.action_A)
        if frame.pose_3 is not None:
            self.pose_3 = self._estimate.measured(frame.stamp_ns, frame.pose_3, seen.std_3)
            self._track.add(frame.stamp_ns, self.pose_3)
        return True

    def taken_frames(self) -> tuple[Frame, ...]:
        """Return all frames since the last call."""
        frames = tuple(self._frames)
        self._frames.clear()
        return frames

    def at(self, time_ns: int, planned: Sequence[tuple[int, np.ndarray]]) -> np.ndarray | None:
        """Return where the robot will be, [3]; None where the newest state does not tell where it is.

        Args:
            time_ns: When [ns].
            planned: Commands that are still to be given, by their times [ns], ascending.
        """
        return None if self.pose_3 is None else self._estimate.at(time_ns, planned)

    def why_not(self, now_ns: int) -> str | None:
        """Return why the robot may not go on; None: it may."""
        last = self._track.last
        if last is None:
            return None
        return self._fence.why_not(last[1], np.nan_to_num(self._track.velocity_2), max(0.0, (now_ns - last[0]) * 1e-9))
