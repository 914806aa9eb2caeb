"""The thread that makes changes durable, off the query path."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from spatial_memory.store.schema import PUT_META, Row
from wm_core.memory.errors import StoreError

_RETRY_S = (0.5, 1.0, 2.0, 5.0)
_BATCH_ROWS = 20_000
_WATCH_S = 1.0


class Keeper(Protocol):
    """Makes what is committed to a file survive what may happen to the file."""

    def is_untouched(self) -> bool:
        """Return whether the files are those that were opened, as they were left."""

    def keep(self, connection: sqlite3.Connection | None) -> sqlite3.Connection:
        """Return the connection to go on writing with; raises ``OSError`` where it would write what nobody finds."""

    def look(self, connection: sqlite3.Connection) -> None:
        """Note whether another program wrote to the file."""

    def row(self) -> Row:
        """Return what the next transaction writes about itself."""

    def committed(self) -> None:
        """Note that it was committed."""

    def confirm(self, connection: sqlite3.Connection) -> bool:
        """Make what is committed survive; returns whether that has to be done again when there is time."""


@dataclass(frozen=True)
class Change:
    """Statements that become durable together.

    Attributes:
        statements: SQL and the rows to run it with; no rows: run it once. Any that are made as they are run only for
            ``run_now``, which runs them once.
        oldest_ns: Oldest stamp among the states it inserts [ns]; None: inserts none.
        row_count: About how much work it is.
        done: Called once it is durable, on the writer's thread.
        attach: File that its statements read from as ``snapshot``; only for ``run_now``.
        differences: A query that must find nothing before the change is committed; empty: none is asked.
        around: Entered just before its transaction is committed and left just after, or with the error that ended it;
            only for ``run_now``.
    """

    statements: Iterable[tuple[str, Iterable[Row]]]
    oldest_ns: int | None = None
    row_count: int = 1
    done: Callable[[], None] | None = None
    attach: Path | None = None
    differences: str = ""
    around: contextlib.AbstractContextManager[None] | None = None


class Writer:
    """Collects changes for a moment and commits them in order, a few transactions a second.

    When the disk refuses, changes stay in order in RAM and are tried again, with a pause that grows to 5 s.

    Args:
        connect: Opens the connection to write with; raises ``sqlite3.Error`` or ``OSError`` while that fails.
        commit_every_s: Longest time a change waits before its transaction [s].
        guard: Held while a transaction runs, where the connection is shared.
        keeper: Asked before each transaction, and once a second, whether the file is still there; nothing counts as
            durable before it has confirmed it. None: committed is durable.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        commit_every_s: float,
        guard: threading.Lock | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self._connect = connect
        self._keeper = keeper
        self._is_owing = False
        self._uncheckpointed: list[Change] = []
        self._checkpointed = 0
        self._commit_every_s = commit_every_s
        self._guard = guard or threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._condition = threading.Condition()
        self._pending: deque[Change] = deque()
        self._put = 0
        self._committed = 0
        self._urgent = False
        self._closing = False
        self._trouble: str | None = None
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="memory-writer", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str | None:
        """Why changes are not durable at present, or None."""
        return self._trouble

    @property
    def pending_count(self) -> int:
        """Changes that are not durable yet."""
        return self._put - self._checkpointed

    def oldest_pending_ns(self) -> int | None:
        """Return the oldest stamp among states that are not durable yet [ns], or None where all are."""
        with self._condition:
            every = (*self._uncheckpointed, *self._pending)
            return min((change.oldest_ns for change in every if change.oldest_ns is not None), default=None)

    def put(self, change: Change) -> None:
        """Hand over a change; returns at once."""
        with self._condition:
            self._pending.append(change)
            self._put += 1
            if len(self._pending) == 1:
                self._condition.notify_all()

    def flush(self, timeout_s: float) -> None:
        """Return once everything handed over so far is durable.

        Raises:
            StoreError: It is not, and why.
        """
        deadline = time.monotonic() + timeout_s
        with self._condition:
            wanted = self._put
            failures = self._failures
            self._urgent = True
            self._condition.notify_all()
            while self._checkpointed < wanted:
                if self._trouble is not None and self._failures > failures:
                    raise StoreError(f"not durable: {self._trouble}")
                left_s = deadline - time.monotonic()
                if left_s <= 0 or not self._thread.is_alive():
                    raise StoreError(f"not durable after {timeout_s} s: {self._trouble or 'the disk is slow'}")
                self._condition.wait(left_s)
        if self._keeper is not None and not self._keeper.is_untouched():
            self.watch()

    def run_now(self, change: Change, timeout_s: float) -> None:
        """Make a change durable, after all that were handed over before, or leave no trace of it.

        It never waits in the queue, so that one which cannot be made blocks nothing. What other threads hand over
        meanwhile comes before or after it.

        Raises:
            StoreError: It is not durable, will not be, and why.
        """
        self.flush(timeout_s)
        try:
            self._commit([change])
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"not durable: {error}") from error
        if change.done is not None:
            change.done()
        try:
            self._checkpoint()
        except (sqlite3.Error, OSError) as error:  # it is committed: the thread goes on trying
            self._trouble = str(error)

    def watch(self) -> None:
        """Look at once whether the file is still there.

        Raises:
            StoreError: Another one is, or it was changed.
        """
        try:
            self._checkpoint()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"not durable: {error}") from error

    def close(self) -> None:
        """Commit what is left, if the disk takes it, and end the thread."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        self._thread.join()
        if self._connection is not None:
            self._connection.close()  # closing one twice does no harm, where it is shared

    def _run(self) -> None:
        while True:
            changes, is_over = self._awaited()
            try:
                if changes:
                    self._commit(changes)
                    self._settle(changes)
                self._checkpoint()
            except (sqlite3.Error, OSError) as error:
                if self._rest(error):
                    return
                continue
            if is_over:
                return

    def _awaited(self) -> tuple[list[Change], bool]:
        """Return what to commit next, once there is some or it is time to look after the file; and whether all ends."""
        with self._condition:
            if not self._pending and not self._uncheckpointed and not self._closing:
                self._condition.wait(None if self._keeper is None else _WATCH_S)
            if not self._pending:
                return [], self._closing
            if not self._urgent and not self._closing and self._trouble is None:
                self._condition.wait_for(lambda: self._urgent or self._closing, self._commit_every_s)
            changes = self._next_batch()
            self._urgent = False
            return changes, False

    def _next_batch(self) -> list[Change]:
        """Return the oldest pending changes, as many as one transaction should hold; they stay pending."""
        batch: list[Change] = []
        rows = 0
        for change in self._pending:
            batch.append(change)
            rows += change.row_count
            if rows >= _BATCH_ROWS:
                break
        return batch

    def _commit(self, changes: list[Change]) -> None:
        with self._guard:
            connection = self._kept()
            attach = changes[0].attach
            if attach is None:
                self._transact(connection, changes)
                return
            connection.execute("ATTACH ? AS snapshot", (str(attach),))
            try:
                self._transact(connection, changes)
            finally:
                # What was committed stays committed, whatever becomes of the file it came from.
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("DETACH snapshot")

    def _kept(self) -> sqlite3.Connection:
        if self._keeper is not None:
            # While it cannot say, the connection may be gone, too.
            connection, self._connection = self._connection, None
            try:
                self._connection = self._keeper.keep(connection)
            except OSError:
                self._connection = connection
                raise
        elif self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _transact(self, connection: sqlite3.Connection, changes: list[Change]) -> None:
        if self._keeper is None:
            _transact(connection, changes)
            return
        _transact(connection, [*changes, Change([(PUT_META, [self._keeper.row()])])])
        self._keeper.committed()
        self._is_owing = True

    def _checkpoint(self) -> None:
        """Let count as durable what is committed, once the keeper has confirmed it.

        Raises:
            sqlite3.Error, OSError: It does not at present.
        """
        with self._condition:
            committed = self._committed
        if self._keeper is not None:
            with self._guard:
                if self._is_owing or not self._keeper.is_untouched():
                    connection = self._kept()
                    self._is_owing = self._is_owing and self._keeper.confirm(connection)
                if self._connection is not None:
                    self._keeper.look(self._connection)
        with self._condition:
            del self._uncheckpointed[: max(0, committed - self._checkpointed)]
            self._checkpointed = max(self._checkpointed, committed)
            self._trouble = None
            self._failures = 0
            self._condition.notify_all()

    def _settle(self, changes: list[Change]) -> None:
        for change in changes:
            if change.done is not None:
                change.done()
        with self._condition:
            for _ in changes:
                self._uncheckpointed.append(self._pending.popleft())
            self._committed += len(changes)
            if self._pending and self._committed < self._put:
                self._urgent = self._urgent or len(self._pending) > 1
            self._condition.notify_all()

    def _rest(self, error: Exception) -> bool:
        """Note that the disk refused and wait before the next try; True when it is time to give up."""
        with self._condition:
            self._trouble = str(error)
            self._failures += 1
            self._condition.notify_all()
            if self._closing:
                return True
            pause_s = _RETRY_S[min(self._failures, len(_RETRY_S)) - 1]
            self._urgent = False
            self._condition.wait_for(lambda: self._closing or self._urgent, pause_s)
        return False


def _transact(connection: sqlite3.Connection, changes: list[Change]) -> None:
    """Run changes in one transaction; none of them where one fails.

    Raises:
        StoreError: A change left other rows than it said.
    """
    if connection.in_transaction:  # rolling back failed the last time
        connection.execute("ROLLBACK")
    try:
        connection.execute("BEGIN IMMEDIATE")
        for change in changes:
            for sql, rows in change.statements:
                connection.executemany(sql, rows)
            if change.differences and (found := connection.execute(change.differences).fetchone()):
                raise StoreError(f"not durable: {found} is not as it was to be")
        with contextlib.ExitStack() as around:
            for change in changes:
                if change.around is not None:
                    around.enter_context(change.around)
            connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
