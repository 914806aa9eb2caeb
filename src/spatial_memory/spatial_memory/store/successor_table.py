"""What followed records, by id, whether committed yet or not."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from spatial_memory.store.recent import Recent
from spatial_memory.store.schema import GET_SUCCESSORS, PUT_SUCCESSOR, unpack_successors
from spatial_memory.store.writer import Change
from wm_core.memory.record import Successor

_LOG = logging.getLogger(__name__)


class SuccessorTable(Recent[dict[float, Successor]]):
    """The successors of a store's records.

    Args:
        read: Returns all committed rows of a query with its values.
        name: What to call the file.
    """

    def get(
        self, ids: Sequence[int], dim: int, held: Sequence[tuple[int, bytes]] = ()
    ) -> dict[int, tuple[Successor, ...]]:
        """Return the successors of records, nearest in time first.

        One that is damaged is left out, logged, and told by ``damage`` from then on.

        Args:
            ids: Whose to read.
            dim: Latent size D.
            held: Ids of other records, and their successors, packed.
        """
        with self._guard:
            recent = {record_id: dict(self._recent[record_id]) for record_id in ids if record_id in self._recent}
        rows = [*held]
        if ids:
            stored = self._read(f"{GET_SUCCESSORS} WHERE record IN ({','.join('?' * len(ids))})", ids)
            rows += [(record_id, body or b"damaged") for record_id, body in stored]
        packed, damaged = unpack_successors(rows, dim)
        for record_id in damaged:
            self._damaged.add(record_id)
            _LOG.error("%s: a successor of record %d is damaged", self._name, record_id)
        found = {record_id: _in_time(successors) for record_id, successors in packed.items()}
        for record_id, by_horizon in recent.items():
            found[record_id] = _in_time([*found.get(record_id, ()), *by_horizon.values()])
        return found

    def change(self, links: Sequence[tuple[int, Successor]], packed: Sequence[tuple[int, bytes]]) -> Change:
        """Return what keeps successors of records; they are read from RAM until it is committed.

        Args:
            links: Ids of records, and what followed them.
            packed: The same, as ``pack_successor`` returns it.
        """
        with self._guard:
            for record_id, successor in links:
                self._recent.setdefault(record_id, {})[successor.horizon_s] = successor
        return Change([(PUT_SUCCESSOR, packed)], None, len(links), lambda: self._committed(links))

    def _committed(self, links: Sequence[tuple[int, Successor]]) -> None:
        with self._guard:
            for record_id, successor in links:
                by_horizon = self._recent.get(record_id, {})
                if by_horizon.get(successor.horizon_s) is successor:
                    del by_horizon[successor.horizon_s]
                    if not by_horizon:
                        del self._recent[record_id]

    @property
    def damage(self) -> str:
        """What was found damaged since the file was opened; empty: nothing."""
        return f"successors of {len(self._damaged)} records are damaged" if self._damaged else ""


def _in_time(successors: Sequence[Successor]) -> tuple[Successor, ...]:
    """Return successors nearest in time first, the latest of those that stand for the same horizon."""
    if len(successors) < 2 or (len(successors) == 2 and successors[0].horizon_s < successors[1].horizon_s):
        return tuple(successors)
    by_horizon = {successor.horizon_s: successor for successor in successors}
    return tuple(by_horizon[horizon] for horizon in sorted(by_horizon))
