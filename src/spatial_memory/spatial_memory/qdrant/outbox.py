"""Operations on their way to a server: durable at once, sent in order, however long the server is away."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any

from spatial_memory.qdrant.outbox_file import OutboxFile
from spatial_memory.store import files
from spatial_memory.store.writer import Change, Writer
from wm_core.memory.errors import BackendAwayError, StoreError

_LOG = logging.getLogger(__name__)
_PUT = "INSERT INTO outbox (kind, body) VALUES (?,?)"
_BATCH = 256
_RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
Operation = tuple[str, Any]


class Outbox:
    """A queue on disk that a thread empties.

    Args:
        path: SQLite file of the queue, or ``:memory:``.
        send: Sends operations (kind, body), all or in an order that may be repeated; raises ``BackendAwayError`` while
            the server is away.
        commit_every_s: Longest time an operation waits before it is committed [s].

    Raises:
        StoreLockedError: Another process holds the file.
        CorruptStoreError: It is damaged, or operations that were acknowledged are missing.
    """

    def __init__(self, path: str, send: Callable[[Sequence[Operation]], None], commit_every_s: float) -> None:
        self._send = send
        self._guard = threading.Lock()
        self._file = OutboxFile(path)
        self._connection = self._file.connection
        # One connection for both threads: nothing here is asked for on the query path.
        self._writer = Writer(lambda: self._connection, commit_every_s, guard=self._guard, keeper=self._file)
        self._condition = threading.Condition()
        self._unsent = self._count()
        self._trouble: str | None = None
        self._failures = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="memory-sender", daemon=True)
        self._thread.start()

    def _count(self) -> int:
        with self._guard:
            return int(self._connection.execute("SELECT count(*) FROM outbox").fetchone()[0])

    @property
    def trouble(self) -> str | None:
        """Why operations do not get through at present, or None."""
        return self._writer.trouble or self._trouble

    @property
    def unsent_count(self) -> int:
        """Operations that the server has not taken yet."""
        return self._unsent

    def put(self, operations: Sequence[Operation], oldest_ns: int | None = None) -> None:
        """Hand over operations; returns at once."""
        rows = [(kind, json.dumps(body)) for kind, body in operations]
        with self._condition:
            self._unsent += len(rows)
        self._writer.put(Change([(_PUT, rows)], oldest_ns, len(rows), self._wake))

    def put_now(self, operations: Sequence[Operation], timeout_s: float = 30.0) -> None:
        """Make operations durable, together, before returning, or none of them.

        Raises:
            StoreError: They are not, will not be, and why.
        """
        rows = [(kind, json.dumps(body)) for kind, body in operations]

        def count() -> None:
            with self._condition:
                self._unsent += len(rows)
                self._condition.notify_all()

        self._writer.run_now(Change([(_PUT, rows)], done=count), timeout_s)

    def last_of(self, point_ids: Collection[str]) -> dict[str, str]:
        """Return the kind of the last operation under way, put or drop, on each point that has one."""
        self.flush(10.0)
        with self._guard:
            rows = self._connection.execute("SELECT kind, body FROM outbox WHERE kind != 'set' ORDER BY seq").fetchall()
        last: dict[str, str] = {}
        for kind, text in rows:
            body = json.loads(text)
            last.update((key, kind) for key in body.get("ids", (body.get("id"),)) if key in point_ids)
        return last

    def _wake(self) -> None:
        with self._condition:
            self._condition.notify_all()

    def oldest_pending_ns(self) -> int | None:
        """Return the oldest stamp that is not durable yet [ns]."""
        return self._writer.oldest_pending_ns()

    def flush(self, timeout_s: float) -> None:
        """Return once everything so far is durable.

        Raises:
            StoreError: It is not, and why.
        """
        self._writer.flush(timeout_s)

    def drain(self, timeout_s: float) -> None:
        """Return once the server took everything so far.

        Raises:
            BackendAwayError: It does not answer, or not in time.
        """
        self.flush(timeout_s)
        with self._condition:
            failures = self._failures
            self._condition.notify_all()
            done = self._condition.wait_for(
                lambda: self._unsent == 0 or (self._trouble is not None and self._failures > failures), timeout_s
            )
            if not done or self._unsent:
                raise BackendAwayError(f"the server does not take what it is sent: {self._trouble or 'no answer yet'}")

    def close(self) -> None:
        """Make durable what is left and end; what is unsent is sent after the next start."""
        try:
            self._writer.flush(10.0)
        except StoreError as error:
            _LOG.error("%d operations are lost: %s", self._writer.pending_count, error)
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        self._thread.join()
        self._writer.close()
        self._file.close()

    def _run(self) -> None:
        while True:
            batch = self._next_batch()
            with self._condition:
                if not batch and not self._closing:
                    self._condition.wait(1.0)
                if self._closing:
                    return
            if batch and not self._deliver(batch):
                with self._condition:
                    pause_s = _RETRY_S[min(self._failures, len(_RETRY_S)) - 1]
                    self._condition.wait_for(lambda: self._closing, pause_s)

    def _next_batch(self) -> list[tuple[int, str, str]]:
        """Return the oldest operations; none where the file cannot be read, which ``trouble`` tells."""
        try:
            with self._guard:
                rows = self._connection.execute("SELECT seq, kind, body FROM outbox ORDER BY seq LIMIT ?", (_BATCH,))
                return rows.fetchall()
        except sqlite3.Error as error:
            self._trouble = str(error)
            return []

    def _deliver(self, batch: list[tuple[int, str, str]]) -> bool:
        try:
            self._send([(kind, json.loads(body)) for _, kind, body in batch])
            with self._guard:
                self._connection.execute("DELETE FROM outbox WHERE seq <= ?", (batch[-1][0],))
                self._file.confirm(self._connection)
        except (BackendAwayError, sqlite3.Error, OSError) as error:
            with self._condition:
                self._trouble = str(error)
                self._failures += 1
                self._condition.notify_all()
            return False
        with self._condition:
            self._unsent -= len(batch)
            self._trouble = None
            self._failures = 0
            self._condition.notify_all()
        return True


def next_to(path: str) -> str:
    """Return where the outbox of a memory kept at a path lies."""
    return path if path == files.IN_MEMORY else f"{path}.outbox"
