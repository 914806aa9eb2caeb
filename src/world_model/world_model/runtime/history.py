"""The FIFO of the last few slow embeddings, shared by the node and by training.

Shape suffixes: N = embeddings kept, E = values per embedding.
"""

from __future__ import annotations

from enum import Enum

import numpy as np

NANOSECONDS = 1_000_000_000


class HistoryBreak(str, Enum):
    """Why a history was emptied before an embedding entered it."""

    BACKWARD = "backward-jump"
    GAP = "gap"


class VisualHistory:
    """The last ``capacity`` embeddings, one tick apart, oldest first, left-padded with zeros.

    Neighbours in it are always one tick apart: an embedding that does not follow the newest one by about a tick (time
    went backwards, or a gap) starts a new history, so nobody downstream reads an old view as "one second ago".

    Args:
        capacity: Embeddings kept, N.
        embedding_dim: Values per embedding, E.
        tick_s: Time between embeddings [s].
        gap_ticks: A longer interval than this many ticks is a gap.

    Raises:
        ValueError: A size or a time is not positive, or ``gap_ticks`` is below 1.
    """

    def __init__(
        self, capacity: int = 4, embedding_dim: int = 224, tick_s: float = 1.0, gap_ticks: float = 1.5
    ) -> None:
        if capacity < 1 or embedding_dim < 1 or not tick_s > 0.0:
            raise ValueError(f"capacity {capacity}, embedding_dim {embedding_dim}, tick_s {tick_s} must be positive")
        if not gap_ticks >= 1.0:
            raise ValueError(f"gap_ticks is {gap_ticks}, expected at least 1")
        self._capacity = capacity
        self._embedding_dim = embedding_dim
        self._gap_ns = round(gap_ticks * tick_s * NANOSECONDS)
        self._embeddings_NE = np.zeros((capacity, embedding_dim), np.float32)
        self._count = 0
        self._stamp_ns: int | None = None

    @property
    def capacity(self) -> int:
        """Embeddings it can hold, N."""
        return self._capacity

    @property
    def embedding_dim(self) -> int:
        """Values per embedding, E."""
        return self._embedding_dim

    @property
    def count(self) -> int:
        """Real embeddings in it; the first ``capacity - count`` rows are padding."""
        return self._count

    @property
    def stamp_ns(self) -> int | None:
        """Stamp of the newest embedding [ns]; None when empty."""
        return self._stamp_ns

    def reset(self) -> None:
        """Forget everything: a new sequence begins."""
        self._embeddings_NE[:] = 0.0
        self._count = 0
        self._stamp_ns = None

    def push(self, stamp_ns: int, embedding_E: np.ndarray) -> HistoryBreak | None:
        """Append the embedding of a tick.

        Returns:
            Why the history was emptied first, or None when the embedding continues it.

        Raises:
            ValueError: The embedding has another shape than [E] or is not finite; the history is unchanged.
        """
        embedding_E = np.asarray(embedding_E, np.float32)
        if embedding_E.shape != (self._embedding_dim,):
            raise ValueError(f"embedding has shape {embedding_E.shape}, expected ({self._embedding_dim},)")
        if not np.isfinite(embedding_E).all():
            raise ValueError("embedding has values that are not finite")
        broken = self._break_before(stamp_ns)
        if broken is not None:
            self.reset()
        self._embeddings_NE[:-1] = self._embeddings_NE[1:]
        self._embeddings_NE[-1] = embedding_E
        self._count = min(self._count + 1, self._capacity)
        self._stamp_ns = stamp_ns
        return broken

    def array(self) -> np.ndarray:
        """Copy as [N, E] float32, oldest first, zeros in front."""
        copy_NE: np.ndarray = self._embeddings_NE.copy()
        return copy_NE

    def vector(self) -> np.ndarray:
        """Copy as [N * E] float32, oldest first, zeros in front."""
        return self.array().reshape(-1)

    def _break_before(self, stamp_ns: int) -> HistoryBreak | None:
        if self._stamp_ns is None:
            return None
        if stamp_ns <= self._stamp_ns:
            return HistoryBreak.BACKWARD
        return HistoryBreak.GAP if stamp_ns - self._stamp_ns > self._gap_ns else None
