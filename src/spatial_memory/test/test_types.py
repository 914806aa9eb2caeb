"""A cell of another type or value than a store wrote is damage: refused or told by name, and all else is recovered."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from contextlib import closing

import pytest

from spatial_memory import CorruptStoreError
from spatial_memory.factory import open_cell_memory
from spatial_memory.store.recovery import recover
from spatial_memory.store.verify import verified

from .conftest import World, assert_same_record

COUNT = 30
# Of each table the key, and what else its rows have.
CELLS = {
    "meta": ("key", ("value", "checksum")),
    "session": ("number", ("name", "checksum")),
    "record": ("id", ("body",)),
    "successor": ("record", ("body",)),
    "extra": ("record", ("body",)),
    "thumbnail": ("record", ("body",)),
    "tally": ("name", ("rows", "keys")),
}
VALUES = ("CAST(X'45FF80' AS TEXT)", "'a text'", "7", "-1", "0.5", "9e999", "X''", "X'00FF'")
# Without one of these no record could be trusted, so each is kept twice.
NEEDED = ("dim", "action_dim", "encoder_id", "frame_id", "feature_id", "feature_dim")


@pytest.fixture
def filled(open_memory, tmp_path):
    """Return a store's path, and what it holds by id."""
    memory = open_memory()
    world = World(31)
    ids = memory.insert([world.record(frame_id="map") for _ in range(COUNT)])
    memory.thumbnails.keep({record_id: bytes([255, 216, *range(40)]) for record_id in ids})
    held = {record.id: record for record in memory.everything()}
    memory.close()
    return tmp_path / "memory.sqlite3", held


def changes(path, table):
    """Yield copies of a store with one changed cell, and whether it is the first of its cell.

    Of a large table a row in the middle is taken.
    """
    key, columns = CELLS[table]
    with closing(sqlite3.connect(path)) as connection:
        keys = [found for (found,) in connection.execute(f"SELECT {key} FROM {table} ORDER BY 1")]
    keys = keys if table in ("meta", "tally") else [keys[len(keys) // 2]]
    for number, (row, column, value) in enumerate(itertools.product(keys, columns, VALUES)):
        copy = path.with_name(f"{number}.sqlite3")
        shutil.copy(path, copy)
        one = f"SELECT {column} FROM {table} WHERE {key} = ?"
        with closing(sqlite3.connect(copy)) as connection, connection:
            connection.text_factory = bytes  # a text need not be one of Python's
            before = connection.execute(one, (row,)).fetchone()
            connection.execute(f"UPDATE {table} SET {column} = {value} WHERE {key} = ?", (row,))
            is_changed = connection.execute(one, (row,)).fetchone() != before
        if is_changed:
            yield copy, value == VALUES[0]


def opened(path, grid, held):
    """Return whether a store holds all that it did, after looking that it tells what it does not."""
    memory = open_cell_memory(str(path), grid, 10**6, 1.0, 0.1)
    try:
        found = {record.id: record for record in memory.everything()}
        pictures = memory.thumbnails.get(list(held))
        try:
            assert found.keys() == held.keys() == pictures.keys()
            for record_id, record in found.items():
                assert_same_record(record, held[record_id])
        except AssertionError:
            assert memory.stats().degraded
            return False
    finally:
        memory.close()
    return True


@pytest.mark.parametrize("table", CELLS)
def test_no_cell_is_lost_without_a_word_and_none_takes_others_along(filled, grid, table):
    path, held = filled
    count = refused = told = whole = 0
    for copy, is_first in changes(path, table):
        count += 1
        try:
            is_whole = opened(copy, grid, held)
            whole, told = whole + is_whole, told + (not is_whole)
        except CorruptStoreError as error:
            refused += "wm memory mend" in str(error)
        if not is_first:
            continue
        assert recover(copy) >= COUNT - (table in ("record", "extra"))
        assert verified(copy).records >= COUNT - 1
    assert refused + told + whole == count
    assert refused + told > len(VALUES) - 2


@pytest.mark.parametrize("word", NEEDED)
def test_a_description_is_read_from_its_copy_and_refused_where_that_is_damaged_too(filled, grid, word):
    path, held = filled
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE meta SET key = 'something' WHERE key = ?", (word,))
    shutil.copy(path, path.with_name("twice.sqlite3"))
    assert recover(path) == COUNT
    assert opened(path, grid, held)
    with closing(sqlite3.connect(path.with_name("twice.sqlite3"))) as connection, connection:
        connection.execute("UPDATE meta SET value = value || '7' WHERE key = ?", (f"copy of {word}",))
    with pytest.raises(CorruptStoreError, match="cannot be recovered: its description is unreadable"):
        recover(path.with_name("twice.sqlite3"))


def test_a_word_of_which_only_others_have_a_copy_is_not_left_out(filled):
    """As of a store that was begun before words were kept twice."""
    path, _ = filled
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM meta WHERE key = 'copy of frame_id'")
        connection.execute("UPDATE meta SET value = 'odom' WHERE key = 'frame_id'")
    with pytest.raises(CorruptStoreError, match=r"cannot be recovered: .*'frame_id'"):
        recover(path)


@pytest.mark.parametrize("damage", [bytes(4096), b"\xff" * 4096, None])
def test_the_page_on_which_sqlite_knows_of_the_tables_takes_no_record_along(filled, grid, damage):
    path, held = filled
    whole = path.read_bytes()
    # CREATE TABLE record becomes something that SQLite cannot read.
    path.write_bytes(
        damage + whole[4096:] if damage else whole.replace(b"CREATE TABLE record", b"CREATE \x00ABLE record")
    )
    with pytest.raises(CorruptStoreError, match="wm memory mend"):
        open_cell_memory(str(path), grid, 10**6, 1.0, 0.1)
    assert recover(path) == COUNT
    assert opened(path, grid, held)
    assert not [each for each in path.parent.iterdir() if "rebuilt" in each.name]


def test_a_session_without_a_name_is_given_one(filled, grid):
    path, held = filled
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE session SET name = name || ' and another'")
    assert recover(path) == COUNT
    memory = open_cell_memory(str(path), grid, 10**6, 1.0, 0.1)
    assert {record.session for record in memory.everything()} == {
        f"recovered-{at + 1}" for at in range(len({record.session for record in held.values()}))
    }
    memory.close()
