"""``wm memory``: a backup of a file in use is whole, damage is told, and each way of mending starts again."""

from __future__ import annotations

import contextlib
import os
import resource

import numpy as np
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


ODD_FILES = {
    "pipe": lambda path: os.mkfifo(path), "folder": lambda path: path.mkdir(),
    "device": lambda path: path.symlink_to("/dev/zero"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD_FILES)
@pytest.mark.parametrize(
    "words",
    [
        "mend {odd}", "mend {odd} --empty", "mend {odd} --from {whole}", "mend {whole} --from {odd}", "verify {odd}",
        "backup {odd} {new}", "export-region {odd} {new}", "import-region {whole} {odd}", "import-region {odd} {whole}",
    ],
)  # fmt: skip
def test_what_is_no_file_is_neither_read_nor_waited_for(filled, tmp_path, capsys, kind, words):
    filled.close()
    ODD_FILES[kind](tmp_path / "odd")
    before = contents(tmp_path)
    given = words.format(odd=tmp_path / "odd", whole=tmp_path / "memory.sqlite3", new=tmp_path / "new").split()
    assert main(given) == 2
    assert capsys.readouterr().err.startswith("wm memory: ")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["memory.sqlite3-wal", "copy-shm", "copy.ledger", "copy.LOCK", "copy-journal"])
def test_no_backup_lies_where_another_memory_has_its_own_files(filled, tmp_path, capsys, name):
    (tmp_path / "memory.sqlite3-wal").unlink(missing_ok=True)
    assert main(["backup", str(tmp_path / "memory.sqlite3"), str(tmp_path / name)]) == 2
    assert "those are files beside another one" in capsys.readouterr().err


@contextlib.contextmanager
def files_of_at_most(size):
    """As a disk that is full soon: nothing is written beyond a file's first so many bytes."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def contents(folder):
    skipped = ("-shm", "-wal", ".lock")  # of who only looks
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and not path.name.endswith(skipped)
    }


@pytest.mark.parametrize(
    "command", ["backup", "export-region", "import-region", "import-region new", "mend", "mend --from"]
)
def test_what_the_disk_does_not_take_leaves_everything_as_it_was(command, tmp_path, capsys):
    folder, path, other = tmp_path / "full", tmp_path / "full" / "memory", tmp_path / "other"
    folder.mkdir()
    for at, place in enumerate((path, other)):
        memory = CellMemory(Store(place), CellGrid(LocalMap(), 15))
        memory.insert(World(at).records(900))
        memory.close()
    assert main(["export-region", str(other), str(tmp_path / "region")]) == 0
    main(["backup", str(other), str(folder / "copy")])
    if command == "mend":
        body = bytearray(path.read_bytes())
        body[len(body) // 2 : len(body) // 2 + 9000] = np.random.default_rng(0).bytes(9000)
        path.write_bytes(body)
    words = {
        "backup": ["backup", path, folder / "copy"],
        "export-region": ["export-region", path, folder / "region"],
        "import-region": ["import-region", path, tmp_path / "region"],
        "import-region new": ["import-region", folder / "new", tmp_path / "region"],
        "mend": ["mend", path],
        "mend --from": ["mend", path, "--from", other],
    }[command]
    before = contents(folder)
    capsys.readouterr()
    with files_of_at_most(60_000):
        assert main([str(word) for word in words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("wm memory: ")
    assert said.count("\n") == 1
    assert str(folder) in said
    assert contents(folder) == before
    if command != "export-region":
        assert main([str(word) for word in words]) == 0
