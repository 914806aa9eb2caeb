"""What only some records have, by id, whether committed yet or not."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from spatial_memory.store.extras import GET_EXTRAS, PUT_EXTRA, Extra, pack_extra, unpack_extras
from spatial_memory.store.recent import Read, Recent
from spatial_memory.store.schema import GET_TALLY
from spatial_memory.store.writer import Change

_LOG = logging.getLogger(__name__)
_MOST_KEYS = 10_000
Statement = tuple[str, list[tuple[object, ...]]]


class ExtraTable(Recent[list[bytes]]):
    """Whole rotations and features of a store's records and of what followed them.

    Args:
        read: Returns all committed rows of a query with its values.
        name: What to call the file.

    Attributes:
        is_used: Whether there are any.
    """

    def __init__(self, read: Read, name: str) -> None:
        super().__init__(read, name)
        self.look()

    def look(self) -> None:
        """Take note of whether there are any."""
        rows = self._read(GET_TALLY, ("extra",))
        self.is_used = bool(rows and rows[0][0])

    def get(self, ids: Sequence[int]) -> dict[int, dict[float, Extra]]:
        """Return what some records have, by id and horizon.

        What is damaged is left out, logged, and told by ``damage`` from then on.
        """
        found: dict[int, dict[float, Extra]] = {}
        for at in range(0, len(ids) if self.is_used else 0, _MOST_KEYS):
            found |= self._some(ids[at : at + _MOST_KEYS])
        return found

    def _some(self, ids: Sequence[int]) -> dict[int, dict[float, Extra]]:
        with self._guard:
            recent = {key: b"".join(self._recent[key]) for key in ids if key in self._recent}
        rows = self._read(f"{GET_EXTRAS} WHERE record IN ({','.join('?' * len(ids))})", ids)
        bodies = {key: body if isinstance(body, bytes) and body else b"damaged" for key, body in rows}
        found = {}
        for key in {*bodies, *recent}:
            found[key], is_whole = unpack_extras(key, bodies.get(key, b""))
            found[key] |= unpack_extras(key, recent.get(key, b""))[0]
            if not is_whole:
                self._damaged.add(key)
                _LOG.error("%s: the rotation or a feature of record %d is damaged", self._name, key)
        return found

    def change(
        self, items: Sequence[tuple[int, Extra]], before: Sequence[Statement] = (), oldest_ns: int | None = None
    ) -> Change:
        """Return what keeps items, after other statements; they are read from RAM until it is committed.

        Args:
            items: What some records have, by id.
            before: What to write in the same transaction.
            oldest_ns: The oldest stamp of those records that are new [ns].
        """
        packed = [(record_id, pack_extra(record_id, extra)) for record_id, extra in items]
        with self._guard:
            self.is_used = self.is_used or bool(items)
            for record_id, body in packed:
                self._recent.setdefault(record_id, []).append(body)
        rows = sum(len(values) for _, values in before) + len(packed)
        return Change([*before, (PUT_EXTRA, packed)], oldest_ns, rows, lambda: self._committed(packed))

    def _committed(self, packed: Sequence[tuple[int, bytes]]) -> None:
        with self._guard:
            for record_id, body in packed:
                waiting = self._recent.get(record_id, [])
                if waiting and waiting[0] is body:
                    del waiting[0]
                if not waiting:
                    self._recent.pop(record_id, None)

    def forget_all(self) -> None:
        """Return nothing any more: the table is about to be emptied."""
        super().forget_all()
        self.is_used = False

    @property
    def damage(self) -> str:
        """What was found damaged since the file was opened; empty: nothing."""
        return f"rotation or features of {len(self._damaged)} records are damaged" if self._damaged else ""
