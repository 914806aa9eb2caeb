"""SQLite files of rosbag2, read row by row, so that a damaged page costs its own rows only."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from wm_core.bags.errors import BagError, Damage
from wm_core.bags.storage import Channel, Stored, Unwrapped
from wm_core.databases import open_database

_REPAIR = "sqlite3 {0} .recover | sqlite3 recovered.db3"
_ORDERED = "SELECT timestamp, id, topic_id FROM messages ORDER BY timestamp, id"


class SqliteFile:
    """One rosbag2 ``.db3`` file; see ``Storage``.

    Args:
        path: The file.
        promised_count: Messages that the recording's metadata promises, to know how far to look in a damaged file.

    Raises:
        BagError: It is no SQLite file of rosbag2.
    """

    def __init__(self, path: Path, promised_count: int = 0) -> None:
        self._path, self._promised = path, promised_count
        self.damages: list[Damage] = []
        self._database = _open(path)
        try:
            self._by_id = self._find_channels()
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise BagError(f"'{path}' is no readable rosbag2 database: {error}; {_REPAIR.format(path)}") from error
        self.channels = list(self._by_id.values())
        self.counts = {channel: 0 for channel in self.channels}
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        self._keys: list[tuple[int, int, int]] | None = None
        self._steady: dict[int, int] = {}
        self._count()

    def messages(self, topics: frozenset[str]) -> Iterator[Stored]:
        """Yields the messages of some topics in the order of their times, equal ones as they were written."""
        wanted = {number: channel for number, channel in self._by_id.items() if channel.topic in topics}
        lost, why = 0, ""
        for time_ns, key, number in self._keys if self._keys is not None else self._database.execute(_ORDERED):
            if number not in wanted:
                continue
            try:
                row = self._database.execute("SELECT data FROM messages WHERE id = ?", (key,)).fetchone()
            except sqlite3.DatabaseError as error:
                lost, why = lost + 1, str(error)
                continue
            yield Stored(time_ns, wanted[number], bytes(row[0]), self._steady.get(key, time_ns))
        if lost:
            self._blame(f"{lost} messages lie on damaged pages ({why})", lost)

    def _find_channels(self) -> dict[int, Channel]:
        try:
            return self._read_channels()
        except sqlite3.DatabaseError as error:
            # SQLite refuses every page of a file that was cut off, unless told that the schema is being mended.
            self._database.execute("PRAGMA writable_schema = ON")
            channels = self._read_channels()
            self._blame(f"it is damaged or was cut off ({error})")
            return channels

    def _read_channels(self) -> dict[int, Channel]:
        definitions: dict[str, tuple[str, str]] = {}
        if self._database.execute("SELECT 1 FROM sqlite_master WHERE name = 'message_definitions'").fetchone():
            rows = self._database.execute(
                "SELECT topic_type, encoded_message_definition, encoding FROM message_definitions"
            )
            definitions = {kind: (text or "", encoding or "") for kind, text, encoding in rows}
        rows = self._database.execute("SELECT id, name, type, serialization_format FROM topics")
        return {
            number: Channel(topic, kind, *definitions.get(kind, ("", "")), serialization or "cdr")
            for number, topic, kind, serialization in rows
        }

    def _count(self) -> None:
        try:
            rows = self._database.execute(
                "SELECT topic_id, count(*), min(timestamp), max(timestamp) FROM messages GROUP BY topic_id"
            ).fetchall()
        except sqlite3.DatabaseError as error:
            self._keys = self._salvage()
            self._blame(f"the list of its messages is damaged ({error}); {len(self._keys)} were found one by one")
            rows = _summary(self._keys)
        for number, count, first, last in rows:
            if number in self._by_id:
                self.counts[self._by_id[number]] += count
                self.start_ns = first if self.start_ns is None else min(first, self.start_ns)
                self.end_ns = last if self.end_ns is None else max(last, self.end_ns)
        if self._keys is None:
            self._check_order()

    def _check_order(self) -> None:
        """Looks whether the index of times is whole and the recorder's clock steady; else it is not used."""
        clock = Unwrapped()
        try:
            for _ in self._database.execute(_ORDERED):
                pass
            rows = self._database.execute("SELECT id, topic_id, timestamp FROM messages ORDER BY id")
            for _, number, time_ns in rows:
                clock.steady_ns(number, time_ns)
            if clock.steps:
                self._keep_written_order()
        except sqlite3.DatabaseError as error:
            self._keys = self._salvage()
            self._blame(f"the index of its messages is damaged ({error}); {len(self._keys)} were found one by one")

    def _keep_written_order(self) -> None:
        rows = self._database.execute("SELECT timestamp, id, topic_id FROM messages ORDER BY id").fetchall()
        clock = Unwrapped()
        self._steady = {key: clock.steady_ns(number, time_ns) for time_ns, key, number in rows}
        self._keys = sorted(rows, key=lambda row: (self._steady[row[1]], row[1]))

    def _salvage(self) -> list[tuple[int, int, int]]:
        """Returns time, key and topic of every row that can be reached by its key, in order."""
        found: list[tuple[int, int, int]] = []
        for key in range(1, self._last_key() + 1):
            try:
                row = self._database.execute(
                    "SELECT timestamp, id, topic_id FROM messages WHERE id = ?", (key,)
                ).fetchone()
            except sqlite3.DatabaseError:
                continue  # This row lies on a damaged page; how many do is the difference to what was promised.
            if row is not None:
                found.append(row)
        return sorted(found)

    def _last_key(self) -> int:
        for order in ("SELECT max(id) FROM messages", "SELECT id FROM messages ORDER BY timestamp DESC LIMIT 1"):
            try:
                row = self._database.execute(order).fetchone()
            except sqlite3.DatabaseError:
                continue  # The end of this tree is damaged; the next one may not be.
            if row and row[0] is not None:
                return int(row[0])
        return self._promised

    def _blame(self, text: str, lost_count: int = 0) -> None:
        damage = Damage(f"'{self._path.name}': {text}", _REPAIR.format(self._path), lost_count)
        if damage not in self.damages:
            self.damages.append(damage)


def _summary(keys: list[tuple[int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Returns topic, count, first and last time of each topic."""
    times: dict[int, list[int]] = {}
    for time_ns, _, number in keys:
        times.setdefault(number, []).append(time_ns)
    return [(number, len(of), of[0], of[-1]) for number, of in times.items()]


def _open(path: Path) -> sqlite3.Connection:
    # A recorder that was killed leaves a write-ahead log, which only a connection that may write beside it reads.
    writable = os.access(path.parent, os.W_OK)
    # The player reads on a thread of its own, and nobody else meanwhile.
    return open_database(
        f"file:{quote(str(path.resolve()))}?mode=ro{'' if writable else '&immutable=1'}",
        uri=True,
        check_same_thread=False,
    )
