"""``wm memory``: a backup of a file in use is whole, damage is told, and each way of mending starts again."""

from __future__ import annotations

import pytest

from spatial_memory import CellGrid, CellMemory, LocalMap, Store
from spatial_memory.region.command import main

from .conftest import World


@pytest.fixture
def filled(tmp_path):
    memory = CellMemory(Store(tmp_path / "memory.sqlite3"), CellGrid(LocalMap(), 15))
    memory.insert(World(1).records(80))
    memory.flush()
    yield memory
    memory.close()


def holds(path) -> int:
    memory = CellMemory(Store(path), CellGrid(LocalMap(), 15))
    count = len(memory)
    memory.close()
    return count


def test_a_backup_of_a_file_in_use_is_whole(filled, tmp_path, capsys):
    path, copy = str(tmp_path / "memory.sqlite3"), str(tmp_path / "backup")
    assert main(["backup", path, copy]) == 0
    assert "80 records" in capsys.readouterr().out
    filled.insert(World(2).records(5))
    filled.flush()
    assert main(["verify", copy]) == main(["verify", path]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "80 records in 3 sessions, encoder e" in said[0]
    assert "85 records" in said[1]
    assert holds(copy) == 80


def test_what_is_no_memory_is_never_written_over(filled, tmp_path, capsys):
    (tmp_path / "letter").write_text("dear")
    for target in (tmp_path / "letter", tmp_path / "memory.sqlite3"):
        assert main(["backup", str(tmp_path / "memory.sqlite3"), str(target)]) == 2
        assert "is no snapshot" in capsys.readouterr().err
    assert (tmp_path / "letter").read_text() == "dear"


def test_damage_is_told_and_mended_in_each_way(filled, tmp_path, capsys):
    path, copy = tmp_path / "memory.sqlite3", tmp_path / "backup"
    assert main(["backup", str(path), str(copy)]) == 0
    filled.insert(World(2).records(5))
    filled.close()
    content = bytearray(path.read_bytes())
    middle = len(content) // 4096 // 2 * 4096
    content[middle : middle + 4096] = bytes(4096)
    for ways, least, most in ((["mend"], 40, 85), (["mend", "--from", str(copy)], 80, 80), (["mend", "--empty"], 0, 0)):
        path.write_bytes(content)
        assert main(["verify", str(path)]) == 2
        assert f"wm memory mend {path}" in capsys.readouterr().err
        assert main([ways[0], str(path), *ways[1:]]) == 0
        assert least <= holds(path) <= most
        capsys.readouterr()
    assert (tmp_path / "memory.sqlite3.damaged-3").exists()


def test_a_file_that_never_was_is_not_mended_and_leaves_nothing(tmp_path, capsys):
    path = tmp_path / "kitchne.sqlite3"
    assert main(["mend", str(path)]) == 2
    assert f"there is no file {path}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_in_use_is_not_mended(filled, tmp_path, capsys):
    assert main(["mend", str(tmp_path / "memory.sqlite3"), "--empty"]) == 2
    assert "held by another process" in capsys.readouterr().err


def test_absent_and_foreign_files_are_refused(tmp_path, capsys):
    (tmp_path / "text").write_text("x" * 5000)
    for name in ("none", "text", "."):
        assert main(["verify", str(tmp_path / name)]) == 2
        assert main(["backup", str(tmp_path / name), str(tmp_path / "copy")]) == 2
    assert not (tmp_path / "copy").exists()
    assert capsys.readouterr().err.count("\n") == 6
