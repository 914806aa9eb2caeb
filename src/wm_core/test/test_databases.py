"""Damaged SQLite files end in errors of SQLite's, also where their bytes are no text."""

from __future__ import annotations

import gc
import sqlite3
import weakref
from contextlib import closing

import pytest

from wm_core.bags import Bag, BagError
from wm_core.databases import open_database


@pytest.fixture
def damaged(tmp_path):
    """A file whose schema names a table in bytes that are no UTF-8, and does not make sense."""
    path = tmp_path / "damaged.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE messages(id, topic)")
        connection.commit()
    data = path.read_bytes()
    assert data.count(b"CREATE TABLE messages") == 1
    path.write_bytes(
        data.replace(b"tablemessagesmessages", b"tablem\x80ssagesm\x80ssages").replace(b"CREATE", b"CR\x80ATE")
    )
    return path


@pytest.mark.parametrize(
    "ask",
    [
        lambda connection: connection.execute("SELECT * FROM sqlite_master").fetchall(),
        lambda connection: connection.executescript("SELECT 1 FROM messages"),
        lambda connection: connection.cursor().execute("SELECT * FROM messages"),
        lambda connection: connection.executemany("INSERT INTO messages VALUES (?, ?)", [(1, 2)]),
    ],
)
def test_what_is_wrong_is_an_error_of_sqlites(damaged, ask):
    with closing(open_database(damaged)) as connection, pytest.raises(sqlite3.DatabaseError, match="malformed"):
        ask(connection)


def test_what_is_right_is_read_as_ever(tmp_path):
    with closing(open_database(tmp_path / "right.sqlite3")) as connection:
        connection.execute("CREATE TABLE t(x)")
        connection.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
        assert list(connection.execute("SELECT x FROM t")) == [(1,), (2,)]
        with closing(open_database(":memory:")) as other:
            connection.commit()
            connection.backup(other)
            assert other.execute("SELECT count(*) FROM t").fetchone() == (2,)


def test_text_that_is_none_is_read_and_so_are_the_rows_behind_it(tmp_path):
    with closing(open_database(tmp_path / "text.sqlite3")) as connection:
        connection.execute("CREATE TABLE t(x)")
        connection.executemany("INSERT INTO t VALUES (CAST(? AS TEXT))", [(b"a\x80\xff",), ("ä",)])
        assert list(connection.execute("SELECT x FROM t")) == [("a\\x80\\xff",), ("ä",)]


def test_a_recording_that_is_so_damaged_is_named(damaged, tmp_path):
    path = tmp_path / "bag.db3"
    damaged.rename(path)
    with pytest.raises(BagError, match=r"bag\.db3"):
        Bag(path)


def test_what_was_asked_before_is_forgotten():
    def gone() -> int:
        return sum(type(each) is weakref.ReferenceType and each() is None for each in gc.get_objects())

    with closing(open_database(":memory:")) as connection:
        before = gone()
        for _ in range(2000):
            connection.execute("SELECT 1").fetchone()
        assert gone() - before < 500
