#!/usr/bin/env bash
# Cursors of Python's sqlite3 that are made as `Cursor(connection)`, the way to a cursor of one's own kind that converts rows or errors, in a process that
# runs for days (a logger, a memory of places).
#
# Guess: one that is gone is gone, however it was made; `connection.cursor(kind)` and `kind(connection)` differ in nothing that counts.
# Seen with CPython 3.11.7 (SQLite 3.40.1; x86-64; 3.8 to 3.13 alike), 20 000 cursors, each let go of before the next:
#   connection.cursor(Kind).execute(...)         at most 200 words of former cursors in the connection
#   Kind(connection).execute(...)                20 000 of them, 96 bytes each, until the connection is closed; a garbage collection takes none away
#   some hundred connection.cursor() after them  take all of them away: only this call looks for them, each 201st time
# Nothing is raised or logged; at 20 statements a second 160 MB a day. So: always `connection.cursor(Kind)`.
# Exit code 0: still so. 1: it has changed. Installs nothing: it is in Python's library.
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv --without-pip "$scratch/venv"

cat >"$scratch/probe.py" <<'PYTHON'
import gc
import platform
import sqlite3
import sys
import weakref

COUNT = 20_000


class Kind(sqlite3.Cursor):
    """Of one's own."""


def dead():
    """Words of things that are gone."""
    gc.collect()
    return sum(type(one) is weakref.ReferenceType and one() is None for one in gc.get_objects())


def left(make):
    """What is left of many cursors, and of those after one that the connection makes."""
    connection, before = sqlite3.connect(":memory:"), dead()
    for _ in range(COUNT):
        make(connection).execute("SELECT 1").fetchone()
    many = dead() - before
    for _ in range(400):
        connection.cursor().execute("SELECT 1").fetchone()
    after = dead() - before
    connection.close()
    return many, after


asked, (named, later) = left(lambda connection: connection.cursor(Kind))[0], left(Kind)
print(f"CPython {platform.python_version()}, SQLite {sqlite3.sqlite_version}")
print(f"connection.cursor(Kind): {asked} left; Kind(connection): {named} left, {later} after 400 of the connection's own")
sys.exit(not (asked <= 200 and named == COUNT and later <= 401))
PYTHON
"$scratch/venv/bin/python" "$scratch/probe.py"
