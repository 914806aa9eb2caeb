"""What another program wrote to a store's file while it is in use: the lock is only among those that ask for it."""

from __future__ import annotations

import logging
import sqlite3

from spatial_memory.store.schema import GET_TALLY

_LOG = logging.getLogger(__name__)


class ForeignWrites:
    """Notices what was committed to a file by another than the one connection that writes.

    Args:
        path: The file.

    Attributes:
        complaint: What was noticed since the file was opened, and what to do; None: nothing.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._version = self._count = 0
        self.complaint: str | None = None

    def begin(self, connection: sqlite3.Connection) -> None:
        """Compare from now on with what a connection, which was just opened, finds.

        Raises:
            sqlite3.Error: It cannot be read.
        """
        self._version, self._count = _version_of(connection), _count_of(connection)

    def look(self, connection: sqlite3.Connection) -> None:
        """Look whether another wrote since the last time.

        Args:
            connection: The one that writes: its own commits leave SQLite's ``data_version`` as it is.

        Raises:
            sqlite3.Error: It cannot be read.
        """
        version, before = _version_of(connection), self._count
        self._count = _count_of(connection)
        if version == self._version:
            return
        self._version = version
        self.complaint = (
            f"another program wrote to {self._path} while it was in use "
            f"({before} records before, {self._count} after): answers are of what was loaded; "
            "restart to go on with what the file holds"
        )
        _LOG.error("%s", self.complaint)


def _version_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _count_of(connection: sqlite3.Connection) -> int:
    found = connection.execute(GET_TALLY, ("record",)).fetchone()
    return int(found[0]) if found else 0
