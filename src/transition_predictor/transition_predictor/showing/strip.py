"""Pictures side by side with a caption each, and which kind of picture shows what is foreseen best.

Shape suffixes: H = height, W = width, S = side, D = latent size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from wm_core.images import prepare_image

AUTO, DECODED, REMEMBERED = "auto", "decoded", "remembered"
KINDS = (AUTO, DECODED, REMEMBERED)
_CAPTION_PX, _SIZE, _GREY, _WHITE = 18, 0.42, 40, (255, 255, 255)
# Of height to width: a strip of any camera is one that can be looked at.
_LEAST_SLIM, _MOST_SLIM = 0.25, 2.0
_MOST_FORESEEN = 200
# What came in one look counts this much less with each that follows.
_KEEP = 0.8
_COMPARED_PX = 64
# Of structural similarity: width of its window [px], and what keeps it from dividing by nothing.
_WINDOW, _C1, _C2 = 1.5, (0.01 * 255) ** 2, (0.03 * 255) ** 2


@dataclass(frozen=True)
class Foreseen:
    """One forecast that waits for its time.

    Attributes:
        made_ns: When it was made [ns].
        target_ns: What time it is for [ns].
        latent_D: What will be seen.
        memory_ids: Memories that conditioned it, nearest first.
    """

    made_ns: int
    target_ns: int
    latent_D: np.ndarray
    memory_ids: tuple[int, ...]


class Forecasts:
    """The newest forecasts, found by the time they are for.

    Args:
        tolerance_ns: How far that may lie from the time asked for [ns].
    """

    def __init__(self, tolerance_ns: int) -> None:
        self._tolerance_ns = tolerance_ns
        self._kept: deque[Foreseen] = deque(maxlen=_MOST_FORESEEN)

    def add(self, foreseen: Foreseen) -> None:
        """Keep one; where time jumped back those before are of another timeline."""
        if self._kept and foreseen.made_ns <= self._kept[-1].made_ns:
            self._kept.clear()
        self._kept.append(foreseen)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()

    def newest(self, made_ns: Container[int]) -> Foreseen | None:
        """Return the last that was made at one of these times [ns]; None: none was."""
        return next((each for each in reversed(self._kept) if each.made_ns in made_ns), None)

    def due(self, now_ns: int) -> Foreseen | None:
        """Return the one for a time; None: there is none near it."""
        nearest = min(self._kept, key=lambda each: abs(each.target_ns - now_ns), default=None)
        return nearest if nearest is not None and abs(nearest.target_ns - now_ns) <= self._tolerance_ns else None


class Preference:
    """Learns which kind of picture has shown best what was then seen.

    Args:
        wanted: ``auto``, or the kind that is always shown.
    """

    def __init__(self, wanted: str = AUTO) -> None:
        self._wanted = wanted
        self._error: dict[str, float] = {}

    def learn(self, seen_HW3: np.ndarray, shown: dict[str, np.ndarray]) -> None:
        """Compare pictures of one moment, by kind, with what was seen; of a single kind there is nothing to learn."""
        if len(shown) < 2:
            return
        for kind, picture_HW3 in shown.items():
            error = 1.0 - similarity(picture_HW3, seen_HW3)
            self._error[kind] = _KEEP * self._error.get(kind, error) + (1.0 - _KEEP) * error

    def order(self) -> tuple[str, ...]:
        """Return the kinds to show, the best first."""
        if self._wanted != AUTO:
            return (self._wanted,)
        is_better = self._error.get(REMEMBERED, np.inf) < self._error.get(DECODED, np.inf)
        return (REMEMBERED, DECODED) if is_better else (DECODED, REMEMBERED)


def similarity(one_HW3: np.ndarray, other_HW3: np.ndarray) -> float:
    """Return the structural similarity of two pictures, at most 1: a blur of the mean is like nothing.

    Source: Wang, Bovik, Sheikh and Simoncelli, Image Quality Assessment: From Error Visibility to Structural Similarity
        (2004).
    """
    one, other = (_grey(picture_HW3) for picture_HW3 in (one_HW3, other_HW3))
    mean_one, mean_other = _around(one), _around(other)
    variance_one = _around(one * one) - mean_one**2
    variance_other = _around(other * other) - mean_other**2
    shared = _around(one * other) - mean_one * mean_other
    light = (2 * mean_one * mean_other + _C1) / (mean_one**2 + mean_other**2 + _C1)
    structure = (2 * shared + _C2) / (variance_one + variance_other + _C2)
    return float((light * structure).mean())


def _grey(picture_HW3: np.ndarray) -> np.ndarray:
    small_SSC = prepare_image(picture_HW3, _COMPARED_PX)
    return np.asarray(cv2.cvtColor(small_SSC, cv2.COLOR_RGB2GRAY), np.float64)


def _around(value_SS: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(value_SS, (0, 0), _WINDOW))


def read_jpeg(jpeg: bytes) -> np.ndarray | None:
    """Return the RGB picture of a JPEG file; None: it is none."""
    bgr_HW3 = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if jpeg else None
    return None if bgr_HW3 is None else cv2.cvtColor(bgr_HW3, cv2.COLOR_BGR2RGB)


def side_by_side(tiles: Sequence[tuple[np.ndarray | None, str]], width_px: int) -> np.ndarray:
    """Return pictures in a row, each with its caption below, uint8 RGB.

    All have the shape of the first one: what is foreseen or remembered was squeezed into a square.

    Args:
        tiles: Pictures, None where there is none, and captions.
        width_px: Of each [px].
    """
    shape = next((picture_HW3.shape for picture_HW3, _ in tiles if picture_HW3 is not None), (1, 1))
    height_px = max(round(width_px * min(max(shape[0] / shape[1], _LEAST_SLIM), _MOST_SLIM)), 1)
    columns = []
    for picture_HW3, caption in tiles:
        tile_HW3 = np.full((height_px + _CAPTION_PX, width_px, 3), _GREY, np.uint8)
        if picture_HW3 is not None:
            tile_HW3[:height_px] = _fitted(picture_HW3, width_px, height_px)
        place = (4, height_px + _CAPTION_PX - 5)
        cv2.putText(tile_HW3, caption, place, cv2.FONT_HERSHEY_SIMPLEX, _SIZE, _WHITE, 1, cv2.LINE_AA)
        columns.append(tile_HW3)
    return np.concatenate(columns, axis=1)


def _fitted(picture_HW3: np.ndarray, width_px: int, height_px: int) -> np.ndarray:
    is_larger = picture_HW3.shape[0] >= height_px and picture_HW3.shape[1] >= width_px
    way = cv2.INTER_AREA if is_larger else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture_HW3, (width_px, height_px), interpolation=way))
