"""How often frames come, and how many steps of a model pass between two observations: by stamps, never by counting."""

from __future__ import annotations

import numpy as np

_SPAN = 6
# A gap so much longer than the usual one lacks a frame; stretches without are enough, where they are so large a share.
_DROPPED, _ENOUGH = 1.5, 0.05
_SHARE_OF_HORIZON, _GAP_OF_HORIZON = 0.1, 0.5


def measured_step_s(stamp_T: np.ndarray) -> float:
    """Return the usual time between frames [s]: the median over short stretches, which drops and pacing leave alone.

    A camera of 30 Hz thinned to 20 has gaps of 33 and 67 ms, so that the median of single gaps is neither. Of a camera
    that loses each tenth frame most stretches lack one: those that lack none count.

    Args:
        stamp_T: Stamps, int64 ns, ascending; 0 is returned for fewer than two.
    """
    stamp_T = np.asarray(stamp_T, np.int64)
    if len(stamp_T) < 2:
        return 0.0
    span = min(_SPAN, len(stamp_T) - 1)
    stretches, gaps = stamp_T[span:] - stamp_T[:-span], np.diff(stamp_T)
    is_whole = np.lib.stride_tricks.sliding_window_view(gaps, span).max(axis=1) <= _DROPPED * np.median(gaps)
    if is_whole.mean() >= _ENOUGH:
        stretches = stretches[is_whole]
    return float(np.median(stretches)) * 1e-9 / span


def judging_tolerance_s(horizon_s: float, step_s: float) -> float:
    """Return how far from the predicted time a frame may lie and still judge the forecast [s].

    Half a step, so that one step ahead is judged only by a camera that keeps the step; or a tenth of the horizon, so
    that every camera of 5 Hz or more judges what lies 1 s ahead.
    """
    return max(0.5 * step_s, _SHARE_OF_HORIZON * horizon_s)


def may_judge_between(gap_s: float, horizon_s: float) -> bool:
    """Return whether two frames so far apart show what lies between them well enough to judge a forecast.

    Up to half the horizon, so that every camera of 2 Hz or more judges what lies 1 s ahead; asked only where no frame
    lies within ``judging_tolerance_s``.
    """
    return 0.0 < gap_s <= _GAP_OF_HORIZON * horizon_s + 1e-9


class StepCounter:
    """Counts a model's steps along stamps: a camera of half the rate makes two at a time, one of twice the rate none.

    Rounding does not add up: a camera that jitters around the step makes one each time, one that is a little off it
    makes one more, or less, now and then.

    Args:
        step_s: Step of the model [s].
    """

    def __init__(self, step_s: float) -> None:
        self._step_ns = step_s * 1e9
        self.reset()

    def reset(self) -> None:
        """Forget the last observation; the next one is the first."""
        self._last_ns: int | None = None
        self._rest = 0.0

    def advance(self, stamp_ns: int) -> int:
        """Return how many steps have passed since the last observation; 1 for the first, or where time stands."""
        last_ns, self._last_ns = self._last_ns, stamp_ns
        if last_ns is None or stamp_ns <= last_ns:
            self._rest = 0.0
            return 1
        passed = (stamp_ns - last_ns) / self._step_ns + self._rest
        steps = round(passed)
        self._rest = passed - steps
        return steps


def between_rows(first_BD: np.ndarray, second_BD: np.ndarray, part: float) -> np.ndarray:
    """Return what lies between two arrays at a part of the way, 0 to 1, in single precision."""
    between_BD: np.ndarray = first_BD + np.float32(part) * (second_BD - first_BD)
    return between_BD
