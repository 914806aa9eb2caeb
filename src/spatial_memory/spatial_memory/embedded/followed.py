"""What followed records, as it is held in RAM: packed, whole or not, and in another basis of its features.

Shape suffixes: N = records, S = successors, M = successors held per record, W = bytes of those, F = feature size.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from spatial_memory.index.columns import HELD
from spatial_memory.store.schema import WHOLE, successor_layout
from wm_core.projection import Projection

_CHECKSUM_SIZE = 4


class Features(Protocol):
    """Who knows the features of what followed records."""

    def followed_features(self, ids: Sequence[int]) -> list[tuple[np.ndarray, float, np.ndarray]]:
        """Return the features of what followed some records: ids [N], horizon [s], features [N, F]."""


class FollowedAnew:
    """Projects the successors that columns hold again.

    Args:
        store: Has their features.
        projection: The basis.

    Attributes:
        complete: Ids of the records of which all that followed was projected.
    """

    def __init__(self, store: Features, projection: Projection) -> None:
        self._store, self._projection = store, projection
        self._layout = successor_layout(projection.z_dim)
        self.complete: list[int] = []

    def __call__(self, id_N: np.ndarray, body_NW: np.ndarray, count_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return successors in the basis and their counts, as columns hold them: 0 where the store is to be asked.

        Args:
            id_N: The records.
            body_NW: Their successors, packed.
            count_N: One more than how many are held; 0: the store is to be asked.
        """
        followed_N = count_N.astype(np.int64) - 1
        good_N = are_whole(body_NW, id_N, followed_N, self._layout.itemsize) & (followed_N >= 0)
        packed_NM = body_NW.view(self._layout).reshape(len(id_N), HELD).copy()
        lacking_NM = np.arange(HELD) < followed_N[:, None]
        order_N = np.argsort(id_N)
        for id_S, horizon_s, feature_SF in self._store.followed_features(id_N[lacking_NM[:, 0]].tolist()):
            if feature_SF.shape[1] == self._projection.space.size:
                row_S = order_N[np.searchsorted(id_N, id_S, sorter=order_N)]
                at_S, place_S = np.nonzero(packed_NM["horizon"][row_S] == horizon_s)
                packed_NM["latent"][row_S[at_S], place_S] = self._projection.project(feature_SF)[at_S]
                lacking_NM[row_S[at_S], place_S] = False
        good_N &= ~lacking_NM.any(axis=1)
        _seal(packed_NM, id_N, np.where(good_N, followed_N, 0))
        self.complete += id_N[good_N].tolist()
        return packed_NM.view(np.uint8).reshape(body_NW.shape), np.where(good_N, count_N, 0)


def _seal(packed_NM: np.ndarray, id_N: np.ndarray, count_N: np.ndarray) -> None:
    """Write the checksums of the first successors of some records."""
    body, size = packed_NM.tobytes(), packed_NM.dtype.itemsize
    whole, crc32 = memoryview(body), zlib.crc32
    row_S, place_S = np.nonzero(np.arange(HELD) < count_N[:, None])
    start_S = (row_S * HELD + place_S) * size
    seeds = (id_N[row_S] & 0xFFFFFFFF).tolist()
    packed_NM["checksum"][row_S, place_S] = [
        crc32(whole[start : start + size - _CHECKSUM_SIZE], seed) for start, seed in zip(start_S.tolist(), seeds)
    ]


def are_whole(body_NW: np.ndarray, id_N: np.ndarray, count_N: np.ndarray, size: int) -> np.ndarray:
    """Return whether the checksums of each record's successors say so.

    Args:
        body_NW: Successors, packed.
        id_N: Their records.
        count_N: How many there are; where that is less than 0, nothing is looked at.
        size: Bytes of one.
    """
    whole, width, crc32 = np.ascontiguousarray(body_NW).reshape(-1).data, body_NW.shape[1], zlib.crc32
    is_whole = []
    for at, (record_id, count) in enumerate(zip(id_N.tolist(), count_N.tolist())):
        seed, first = record_id & 0xFFFFFFFF, at * width
        is_whole.append(
            all(crc32(whole[start : start + size], seed) == WHOLE for start in range(first, first + count * size, size))
        )
    return np.array(is_whole, bool)
