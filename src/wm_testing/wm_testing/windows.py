"""A memory that windows are filled from, for tests of nodes that hold one."""

from __future__ import annotations

import numpy as np

from wm_core.memory.errors import QueryError
from wm_core.memory.journal import Area, WindowAsk, WindowUpdate
from wm_core.memory.packed import Packed
from wm_core.memory.record import MemoryRecord, Successor

START_NS = 1_000_000_000_000_000_000
Z_DIM = 32


class Source:
    """A memory that holds one record per metre along x, and counts what it is asked.

    Args:
        encoder_id: Whose latents.
        count: Records.
        spare_m: Largest radius that it tells all of [m].
        epoch: Which run of a memory it is.
    """

    def __init__(self, encoder_id: str, count: int = 12, spare_m: float = 1e3, epoch: int = 5) -> None:
        followed = tuple(Successor(each, each, np.ones(Z_DIM, np.float32)) for each in (0.05, 1.0))
        self.records = [
            MemoryRecord(START_NS - 60_000_000_000 + at, np.ones(Z_DIM, np.float32), float(at), 0.0, id=at + 1,
                         encoder_id=encoder_id, action_A=np.zeros(2, np.float32), successors=followed)
            for at in range(count)
        ]  # fmt: skip
        self.encoder_id, self.spare_m, self.epoch = encoder_id, spare_m, epoch
        self.asked: list[WindowAsk] = []
        self.refuses = False

    def window(self, ask: WindowAsk) -> WindowUpdate:
        """Return all records to who holds none of them, then that nothing changed.

        Raises:
            QueryError: It is to refuse.
        """
        self.asked.append(ask)
        if self.refuses:
            raise QueryError("no")
        area = Area(ask.area.x, ask.area.y, min(ask.area.radius_m, self.spare_m))
        is_whole = ask.epoch != self.epoch
        packed = Packed.of(self.records if is_whole else [], self.encoder_id, "", Z_DIM, 2)
        newest_ns = self.records[-1].stamp_ns
        return WindowUpdate(
            self.epoch, 1, is_whole, "first", area, newest_ns, None, True, packed, np.empty(0, np.int64)
        )
