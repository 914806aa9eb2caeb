"""Streams of one rate, such as 1 Hz for the slow branch and 10 Hz for the reactive model, with their future frames.

Shape suffixes: T = frames, W = windows, N = frames up to now, F = frames that follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from world_model.data.episodes import Episode
from world_model.data.ticks import tick_rows, windows
from world_model.errors import DataError

_PAST, _LEAST_FUTURE, _FUTURE_S = 4, 4, 1.0


@dataclass(frozen=True)
class Stream:
    """How often a stream shows the world, and what belongs to one moment of it.

    Attributes:
        rate_hz: Frames per second.
        past: Frames up to the present one, itself included.
        future: Frames that follow.
    """

    rate_hz: float
    past: int
    future: int

    @classmethod
    def of_rate(cls, rate_hz: float) -> Stream:
        """Return the stream of a rate: four frames up to now, and what follows for 1 s, at least four frames.

        Raises:
            DataError: The rate is not positive.
        """
        if not 0.0 < rate_hz < float("inf"):
            raise DataError(f"a stream of {rate_hz} Hz, expected more than 0")
        return cls(rate_hz, _PAST, max(_LEAST_FUTURE, round(rate_hz * _FUTURE_S)))

    def entries(self) -> dict[str, Any]:
        """Return it as JSON-ready entries."""
        return {"rate_hz": self.rate_hz, "past": self.past, "future": self.future}

    def windows_of(self, episode: Episode) -> tuple[np.ndarray, np.ndarray]:
        """Return which frames of an episode lie before and after each of them, [W, N] and [W, F].

        One window for each frame that has another after it; -1 stands where the episode begins or ends, or where frames
        are missing (more than half a period too late). Rows are those of the episode's arrays.
        """
        pasts, futures = list[np.ndarray](), list[np.ndarray]()
        for row_K in tick_rows(np.asarray(episode.stamp_T), 1.0 / self.rate_hz):
            for at, into in zip(windows(len(row_K), self.past, self.future), (pasts, futures)):
                into.append(np.where(at >= 0, row_K[np.maximum(at, 0)], -1))
        return np.concatenate(pasts), np.concatenate(futures)

    def told(self, episode: Episode) -> str:
        """Return in words what an episode gives."""
        past_WN, future_WF = self.windows_of(episode)
        whole = int(((past_WN >= 0).all(axis=1) & (future_WF >= 0).all(axis=1)).sum())
        return (
            f"stream of {self.rate_hz:g} Hz: {len(past_WN)} windows, {whole} of them with all "
            f"{self.past} frames up to now and all {self.future} that follow"
        )
