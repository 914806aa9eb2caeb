"""How far the network's foresight of the path is followed, and how sure the expected pose is: as what came true says.

A network learned how drives go on where it was trained. On another robot that may be wrong, and its own idea of how
much it errs as well.

Shape suffixes: H = horizons, 3 = (forward [m], left [m], turn [rad]) in the present frame.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from wm_core.se2 import Pose2

# One expectation in so many is judged: they overlap.
_EVERY = 4
# Older ones count less, with this time constant [s].
_FORGET_S = 60.0
# What is believed before anything came true is left only as far as it is this many standard errors off.
_SURE = 2.0
# ... and once so many expectations were judged.
_LEAST_SEEN = 10.0
# A single error counts at most so many standard errors: a localisation that jumped is no motion.
_LARGEST, _USUAL = 5.0, 2.0
_LEAST_SCALE, _MOST_SCALE = 0.5, 20.0
# Before anything came true a displacement may be off by as much as it is long, and a robot that stands may begin to
# move like this (1 rad counts as 1 m) [m/s].
_UNKNOWN_MPS = 0.25


WaitingT = TypeVar("WaitingT")


class Awaited(Generic[WaitingT]):
    """Expectations of each horizon, until their time comes: one in so many, since they overlap.

    Args:
        horizons_s: Times ahead [s].
        step_s: Time between observations [s].
    """

    def __init__(self, horizons_s: Sequence[float], step_s: float) -> None:
        self._horizons_ns = [round(horizon_s * 1e9) for horizon_s in horizons_s]
        self._slack_ns = step_s * 0.5e9
        self._count = 0
        self.forget()

    def forget(self) -> None:
        """Drop those whose time has not come."""
        self._waiting: list[deque[tuple[int, WaitingT]]] = [deque() for _ in self._horizons_ns]

    def add(self, stamp_ns: int, expected: Callable[[], Sequence[WaitingT]]) -> None:
        """Let what is expected of each horizon now wait, where it is its turn."""
        self._count += 1
        if self._count % _EVERY:
            return
        for waiting, horizon_ns, each in zip(self._waiting, self._horizons_ns, expected()):
            while waiting and waiting[-1][0] >= stamp_ns + horizon_ns:
                waiting.pop()
            waiting.append((stamp_ns + horizon_ns, each))

    def due(self, stamp_ns: int) -> list[tuple[int, WaitingT]]:
        """Return which horizons' expectations are for this time, up to half a step off, and them."""
        found = []
        for row, waiting in enumerate(self._waiting):
            while waiting and waiting[0][0] < stamp_ns - self._slack_ns:
                waiting.popleft()
            if waiting and waiting[0][0] <= stamp_ns + self._slack_ns:
                found.append((row, waiting.popleft()[1]))
        return found


def overlaps(horizons_s: Sequence[float], step_s: float) -> np.ndarray:
    """Return how many of the expectations that wait overlap in time, and are one and the same evidence, [H, 1]."""
    overlap_H1: np.ndarray = np.maximum(np.array(horizons_s)[:, None] / (_EVERY * step_s), 1.0)
    return overlap_H1


def kept(step_s: float) -> float:
    """Return by how much older evidence counts less with each expectation."""
    return math.exp(-_EVERY * step_s / _FORGET_S)


def missed(pose: Pose2, present: Pose2, moved_3: np.ndarray) -> np.ndarray:
    """Return true minus expected displacement, in the frame of where the robot was."""
    forward, left, turn = pose.relative_to(present)
    return np.array([forward - moved_3[0], left - moved_3[1], math.remainder(turn - moved_3[2], math.tau)])


@dataclass(frozen=True)
class _Waiting:
    present: Pose2
    moved_3: np.ndarray
    said_3: np.ndarray
    std_3: np.ndarray
    own_3: np.ndarray


class PathTrust:
    """Learns the share of the foresight to follow, and by what to scale standard errors, for each horizon and axis.

    Both begin at 1, and depart from it only as far as what came true leaves no doubt: the network is followed else.
    Where no standard error is told, it is what was missed lately.

    Args:
        horizons_s: Times ahead [s].
        step_s: Time between observations [s].

    Attributes:
        share_H3: Share of the foresight that is followed (0..1).
        scale_H3: Factor on the standard errors.
    """

    def __init__(self, horizons_s: Sequence[float], step_s: float) -> None:
        self._awaited = Awaited[_Waiting](horizons_s, step_s)
        self._keep = kept(step_s)
        self._overlap_H1 = overlaps(horizons_s, step_s)
        shape = (len(horizons_s), 3)
        self._seen_H1 = np.zeros((len(horizons_s), 1))
        self._square_H3, self._product_H3, self._missed_H3, self._far_H3 = (np.zeros(shape) for _ in range(4))
        self._unknown_H1 = _UNKNOWN_MPS * np.array(horizons_s)[:, None]
        self.share_H3, self.scale_H3 = np.ones(shape), np.ones(shape)
        self.restart()

    def restart(self) -> None:
        """Drop expectations whose time has not come; what was learned stays."""
        self._awaited.forget()

    def doubt(self) -> None:
        """Believe half of what was learned: what is expected is said by another motion model now."""
        self.restart()
        for table in (self._seen_H1, self._square_H3, self._product_H3, self._missed_H3, self._far_H3):
            table *= 0.5

    def expect(
        self,
        stamp_ns: int,
        present: Pose2,
        moved_H3: np.ndarray,
        said_H3: np.ndarray,
        std_H3: np.ndarray,
        own_H3: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return displacements and standard errors as far as they are to be believed, [H, 3] each.

        Args:
            stamp_ns: Now.
            present: Present pose, as the displacements begin there.
            moved_H3: Displacements less the foresight.
            said_H3: What the foresight adds; zeros without one.
            std_H3: Standard errors of the displacements; a row of zeros: not told.
            own_H3: Standard errors that come of those of the present pose, where they are told.
        """
        std_H3 = np.where(std_H3.any(axis=1, keepdims=True), std_H3, self.missed(moved_H3))
        each = zip(moved_H3, said_H3, std_H3, own_H3)
        self._awaited.add(stamp_ns, lambda: [_Waiting(present, *expected) for expected in each])
        return moved_H3 + self.share_H3 * said_H3, np.hypot(self.scale_H3 * std_H3, own_H3)

    def missed(self, moved_H3: np.ndarray) -> np.ndarray:
        """Return by how much such displacements were missed lately, root mean square, [H, 3].

        Args:
            moved_H3: Displacements, which say how far off they may be where nothing came true yet.
        """
        size_H1 = np.maximum(np.sqrt(np.square(moved_H3).sum(axis=1, keepdims=True)), self._unknown_H1)
        # What is not known counts as one expectation (as many as overlap in time), and ever less.
        seen_H1, overlap_H1 = self._seen_H1, self._overlap_H1
        unknown_H1 = overlap_H1 * overlap_H1 / (overlap_H1 + seen_H1)
        square_H3 = unknown_H1 * np.square(size_H1) + np.maximum(self._far_H3, 0.0)
        missed_H3: np.ndarray = np.sqrt(square_H3 / (unknown_H1 + seen_H1))
        return missed_H3

    def observe(self, stamp_ns: int, pose: Pose2 | None) -> None:
        """Learn from the expectations for this time, up to half a step off."""
        judged = False
        for row, expected in self._awaited.due(stamp_ns):
            if pose is not None:
                self._judge(row, expected, pose)
                judged = True
        if judged:
            self._solve()

    def _judge(self, row: int, expected: _Waiting, pose: Pose2) -> None:
        missed_3 = missed(pose, expected.present, expected.moved_3)
        std_3 = np.maximum(expected.std_3, 1e-4)
        missed_3, said_3, own_3 = missed_3 / std_3, expected.said_3 / std_3, expected.own_3 / std_3
        far_3 = self.scale_H3[row]
        left_3 = np.clip(missed_3 - self.share_H3[row] * said_3, -_LARGEST * far_3, _LARGEST * far_3)
        # What is left where the foresight is followed, of which the few large ones say little.
        followed_3 = np.clip(missed_3 - said_3, -_USUAL * far_3, _USUAL * far_3)
        self._seen_H1[row] = self._keep * self._seen_H1[row] + 1.0
        for table, value_3 in (
            (self._square_H3, said_3 * said_3),
            (self._product_H3, said_3 * (said_3 + followed_3)),
            (self._missed_H3, left_3 * left_3 - own_3 * own_3),
            (self._far_H3, (left_3 * left_3 - own_3 * own_3) * std_3 * std_3),
        ):
            table[row] = self._keep * table[row] + value_3

    def _solve(self) -> None:
        enough_H1 = self._seen_H1 >= _LEAST_SEEN
        # Expectations that overlap in time are one and the same evidence.
        seen_H1 = np.maximum(self._seen_H1 / self._overlap_H1, 1.0)
        square_H3 = self._square_H3 + 1e-9
        left_H3 = np.maximum(self._missed_H3, 1e-9) / np.maximum(self._seen_H1, 1.0)
        doubt_H3 = _SURE * np.sqrt(left_H3 * self._overlap_H1 / square_H3)
        share_H3 = 1.0 - np.maximum(1.0 - self._product_H3 / square_H3 - doubt_H3, 0.0)
        self.share_H3 = np.where(enough_H1, np.clip(share_H3, 0.0, 1.0), 1.0)
        scale_H3 = 0.5 * np.log(left_H3)
        sure_H3 = np.sign(scale_H3) * np.maximum(np.abs(scale_H3) - _SURE / np.sqrt(2.0 * seen_H1), 0.0)
        self.scale_H3 = np.where(enough_H1, np.clip(np.exp(sure_H3), _LEAST_SCALE, _MOST_SCALE), 1.0)
