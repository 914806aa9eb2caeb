"""Where each memory's id lies, in four bytes per id."""

from __future__ import annotations

import numpy as np

_BITS = 8
_SIZE = 1 << _BITS
_MASK = _SIZE - 1


class IdMap:
    """Maps ids to slots. Ids given one after the other cost 4 bytes each; scattered ones up to 1 kB.

    Shape suffix: N = ids.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, np.ndarray] = {}
        self._used: dict[int, int] = {}

    def get(self, record_id: int) -> int:
        """Return the slot of an id, or -1."""
        block = self._blocks.get(record_id >> _BITS)
        return -1 if block is None else int(block[record_id & _MASK])

    def set(self, record_id: int, slot: int) -> None:
        """Say where an id lies now."""
        key = record_id >> _BITS
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = np.full(_SIZE, -1, np.int32)
            self._used[key] = 0
        self._used[key] += block[record_id & _MASK] < 0
        block[record_id & _MASK] = slot

    def remove(self, record_id: int) -> None:
        """Forget an id that is held."""
        key = record_id >> _BITS
        self._blocks[key][record_id & _MASK] = -1
        self._used[key] -= 1
        if self._used[key] == 0:
            del self._blocks[key], self._used[key]

    def set_many(self, ids_N: np.ndarray, slots_N: np.ndarray) -> None:
        """Say where many new ids lie."""
        order = np.argsort(ids_N, kind="stable")
        ids_N, slots_N = ids_N[order], slots_N[order]
        keys, starts = np.unique(ids_N >> _BITS, return_index=True)
        for key, start, end in zip(keys.tolist(), starts.tolist(), [*starts[1:].tolist(), len(ids_N)]):
            block = self._blocks.get(key)
            if block is None:
                block = self._blocks[key] = np.full(_SIZE, -1, np.int32)
                self._used[key] = 0
            at = ids_N[start:end] & _MASK
            self._used[key] += int(np.count_nonzero(block[at] < 0))
            block[at] = slots_N[start:end]

    def get_many(self, ids_N: np.ndarray) -> np.ndarray:
        """Return the slots of ids, -1 where there is none, int64."""
        slots_N = np.full(len(ids_N), -1, np.int64)
        keys_N = ids_N >> _BITS
        starts = np.flatnonzero(np.concatenate(([True], keys_N[1:] != keys_N[:-1]))) if len(ids_N) else keys_N
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(ids_N)]):
            block = self._blocks.get(int(keys_N[start]))
            if block is not None:
                slots_N[start:end] = block[ids_N[start:end] & _MASK]
        return slots_N

    def __contains__(self, record_id: int) -> bool:
        return self.get(record_id) >= 0

    @property
    def nbytes(self) -> int:
        """Bytes held, counting a dictionary entry as 200."""
        return len(self._blocks) * (_SIZE * 4 + 200)
