"""One tick of the slow branch: embed the views, keep the history, foresee, compare with what was foreseen.

Shape suffixes: V = views, N = past ticks, F = future ticks, E = embedding size, S = image side, 3 = RGB.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from wm_core.errors import FrameError
from wm_core.images import prepare_image
from world_model.errors import ArtifactError
from world_model.runtime.history import HistoryBreak, VisualHistory
from world_model.runtime.served import ServedSlowBranch


@dataclass(frozen=True)
class Look:
    """What one tick gave.

    Attributes:
        stamp_ns: Of the newest frame [ns].
        history: [N, E], oldest first, zeros in front.
        count: Real embeddings in it.
        predicted: Foreseen embeddings [F, E], next first.
        surprise: Mean squared difference between this embedding and the one foreseen a tick ago, in units of the
            training set's variance; NaN when none was foreseen.
        broken: Why the history began anew, or None.
        embed_ms: Time for resizing and embedding [ms].
    """

    stamp_ns: int
    history: np.ndarray
    count: int
    predicted: np.ndarray
    surprise: float
    broken: HistoryBreak | None
    embed_ms: float


class SlowBranch:
    """History and model together; one thread at a time.

    Args:
        model: The artifact's, or anything with its two methods.
        sizes: The manifest's ``world_action`` entry: ``image_size, embedding_dim, history, future, tick_s``.
        tick_s: Time between ticks, the model's own by default [s].
        gap_ticks: See ``VisualHistory``.

    Attributes:
        tick_s: Time between ticks [s].

    Raises:
        ArtifactError: A size is missing.
    """

    def __init__(
        self,
        model: ServedSlowBranch,
        sizes: Mapping[str, Any],
        *,
        tick_s: float | None = None,
        gap_ticks: float = 1.5,
    ) -> None:
        missing = [name for name in ("image_size", "embedding_dim", "history", "tick_s") if name not in sizes]
        if missing:
            raise ArtifactError(f"the manifest's world_action entry lacks {', '.join(missing)}")
        self._model = model
        self._image_size = int(sizes["image_size"])
        self.tick_s = tick_s or float(sizes["tick_s"])
        self._history = VisualHistory(int(sizes["history"]), int(sizes["embedding_dim"]), self.tick_s, gap_ticks)
        self._foreseen_E: np.ndarray | None = None

    @property
    def capacity(self) -> int:
        """Embeddings the history can hold, N."""
        return self._history.capacity

    @property
    def embedding_dim(self) -> int:
        """Values per embedding, E."""
        return self._history.embedding_dim

    def foresee_with(self, model: ServedSlowBranch) -> None:
        """Go on with another model that makes the same embeddings: the history stays, what was foreseen is dropped."""
        self._model, self._foreseen_E = model, None

    def warm_up(self, view_count: int) -> None:
        """Run the model a few times on nothing: its first calls compile it, and take tens of milliseconds."""
        size = self._image_size
        for _ in range(3):
            blank = np.zeros((1, view_count, size, size, 3), np.uint8)
            self._model.embed(blank, np.ones((1, view_count), bool))
            self._foresee(self._history.array())
        self._foreseen_E = None

    def look(self, stamp_ns: int, images: Sequence[np.ndarray | None]) -> Look:
        """Take the views of one tick, uint8 RGB [H, W, 3] of any size, None where one is missing.

        Raises:
            FrameError: No view at all, or one that is no image.
            ValueError: The model's embedding is not finite or has another size.
        """
        started = perf_counter()
        if all(image is None for image in images):
            raise FrameError("no view has an image")
        size = self._image_size
        batch_1VSS3 = np.zeros((1, len(images), size, size, 3), np.uint8)
        for view, image in enumerate(images):
            if image is not None:
                batch_1VSS3[0, view] = prepare_image(image, size)
        valid_1V = np.array([[image is not None for image in images]])
        embedding_E = self._model.embed(batch_1VSS3, valid_1V)[0]
        embed_ms = (perf_counter() - started) * 1e3
        broken = self._history.push(stamp_ns, embedding_E)
        surprise = self._compare(embedding_E, broken)
        history_NE = self._history.array()
        predicted_FE = self._foresee(history_NE)
        return Look(stamp_ns, history_NE, self._history.count, predicted_FE, surprise, broken, embed_ms)

    def _compare(self, embedding_E: np.ndarray, broken: HistoryBreak | None) -> float:
        if self._foreseen_E is None or broken is not None:
            return math.nan
        return float(np.mean((self._foreseen_E - embedding_E) ** 2))

    def _foresee(self, history_NE: np.ndarray) -> np.ndarray:
        count_1 = np.array([self._history.count], np.int64)
        predicted_FE: np.ndarray = self._model.foresee(history_NE[None], count_1)[0]
        self._foreseen_E = predicted_FE[0].copy()
        return predicted_FE
