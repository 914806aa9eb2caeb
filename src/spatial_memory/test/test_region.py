"""A region of one memory in another: the same records in a basis of its own, once, and nothing that is damaged."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import math
import shutil
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spatial_memory import (
    CellGrid,
    CellMemory,
    CorruptStoreError,
    EncoderMismatchError,
    FrameMismatchError,
    LocalMap,
    MemoryRecord,
    Store,
    StoreError,
    StoreLockedError,
    Successor,
)
from spatial_memory.region import merge as merging
from spatial_memory.region.command import main
from spatial_memory.region.export import export_region
from spatial_memory.region.file import _HEAD, _MAGIC, read_region, write_region
from spatial_memory.region.merge import Merged, import_region
from spatial_memory.store import files
from wm_core.memory.reference import BruteMemory
from wm_core.projection import FeatureSpace, Projection

from .conftest import World, assert_agree, assert_same_record

SPACE = FeatureSpace("net", 8, 2, 0.1, 0)
AREA = (-3.0, -2.0, 4.0, 5.0)


def fill(path: Path, records: list[MemoryRecord], grid: CellGrid, basis: Projection | None = None) -> None:
    memory = CellMemory(Store(path), grid)
    if basis is not None:
        memory.reproject(basis)
    memory.insert(records)
    memory.close()


def held(path: Path, grid: CellGrid) -> list[MemoryRecord]:
    memory = CellMemory(Store(path), grid)
    records = memory.everything()
    memory.close()
    return records


def in_area(record: MemoryRecord) -> bool:
    return AREA[0] <= record.x <= AREA[2] and AREA[1] <= record.y <= AREA[3]


def by_place(records: list[MemoryRecord]) -> list[MemoryRecord]:
    return sorted(records, key=lambda each: (each.stamp_ns, each.session.rpartition("/")[2], each.x, each.y, each.yaw))


def assert_are(found: list[MemoryRecord], wanted: list[MemoryRecord]) -> None:
    assert len(found) == len(wanted) > 0
    for mine, theirs in zip(by_place(found), by_place(wanted)):
        theirs = replace(theirs, id=mine.id, session=mine.session, h3_cell=mine.h3_cell)
        assert_same_record(mine, theirs)


def projection(seed: int, space: FeatureSpace = SPACE) -> Projection:
    rng = np.random.default_rng(seed)
    return Projection(space, rng.normal(size=space.size), rng.normal(size=(4, space.size)), 1.0)


def featured(basis: Projection, count: int, seed: int) -> list[MemoryRecord]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(-100, 100, (count, 3, SPACE.size)).astype(np.int8)
    latents = [basis.project(each) for each in codes]
    return [
        MemoryRecord(
            stamp_ns=at * 100, latent_D=latents[at][0], x=float(at) / 10, y=0.0, session="s",
            encoder_id=basis.encoder_id,
            feature_F=codes[at][0], feature_id="net", action_A=np.ones(2, np.float32),
            successors=(
                Successor(0.05, 0.05, latents[at][1], codes[at][1]), Successor(1.0, 0.99, latents[at][2], codes[at][2]),
            ),
        )
        for at in range(count)
    ]  # fmt: skip


@pytest.mark.slow
def test_what_lies_in_the_area_comes_over_whole_and_is_found_as_the_reference_finds_it(grid, tmp_path):
    world = World(3)
    theirs, mine = world.records(300), World(4).records(200)
    fill(tmp_path / "a", theirs, grid)
    fill(tmp_path / "b", mine, grid)
    region, size = export_region(tmp_path / "a", tmp_path / "region", AREA)
    wanted = [record for record in theirs if in_area(record)]
    assert (len(region), size) == (len(wanted), (tmp_path / "region").stat().st_size)
    assert import_region(tmp_path / "region", tmp_path / "b") == Merged(len(wanted), 0, is_projected=False)
    found = held(tmp_path / "b", grid)
    assert len({record.id for record in found}) == len(found) == 200 + len(wanted)
    came = [record for record in found if "/" in record.session]
    assert_are(came, wanted)
    assert_are([record for record in found if "/" not in record.session], mine)
    assert {record.session.partition("/")[2] for record in came} == {record.session for record in wanted}
    twin = BruteMemory(grid)
    twin.insert(found)
    memory = CellMemory(Store(tmp_path / "b"), grid)
    assert_agree(memory, twin, [world.query() for _ in range(40)])
    memory.close()


def test_once_more_adds_nothing_and_more_of_it_only_the_rest(grid, tmp_path):
    records = [*World(5).records(100), *World(5).records(3)]  # three of one stamp and session twice
    fill(tmp_path / "a", records, grid)
    fill(tmp_path / "b", World(6).records(10), grid)
    export_region(tmp_path / "a", tmp_path / "part", AREA)
    export_region(tmp_path / "a", tmp_path / "all")
    first = import_region(tmp_path / "part", tmp_path / "b")
    assert import_region(tmp_path / "part", tmp_path / "b") == dataclasses.replace(first, added=0, known=first.added)
    rest = import_region(tmp_path / "all", tmp_path / "b")
    assert (rest.added, rest.known) == (103 - first.added, first.added)
    assert len(held(tmp_path / "b", grid)) == 113


def test_what_comes_back_to_where_it_was_taken_from_is_known(grid, tmp_path):
    fill(tmp_path / "a", World(7).records(50), grid)
    fill(tmp_path / "b", World(8).records(40), grid)
    export_region(tmp_path / "a", tmp_path / "region")
    import_region(tmp_path / "region", tmp_path / "b")
    export_region(tmp_path / "b", tmp_path / "both")
    back = import_region(tmp_path / "both", tmp_path / "a")
    assert (back.added, back.known) == (40, 50)
    assert len(held(tmp_path / "a", grid)) == 90


def test_a_memory_that_is_new_begins_with_the_region(grid, tmp_path):
    records = World(9).records(60)
    fill(tmp_path / "a", records, grid)
    export_region(tmp_path / "a", tmp_path / "region")
    import_region(tmp_path / "region", tmp_path / "new")
    assert_are(held(tmp_path / "new", grid), records)


def test_latents_follow_from_features_in_the_basis_of_who_imports(grid, tmp_path):
    one, other = projection(1), projection(2)
    records, mine = featured(one, 30, 1), featured(other, 20, 2)
    fill(tmp_path / "a", records, grid, one)
    fill(tmp_path / "b", mine, grid, other)
    region, _ = export_region(tmp_path / "a", tmp_path / "region")
    assert not region.has_latents
    assert import_region(tmp_path / "region", tmp_path / "b").is_projected
    wanted = [
        replace(
            record,
            latent_D=other.project(record.feature_F[None])[0],
            encoder_id=other.encoder_id,
            successors=tuple(
                each._replace(latent_D=other.project(each.feature_F[None])[0]) for each in record.successors
            ),
        )
        for record in records
    ]
    came = [record for record in held(tmp_path / "b", grid) if "/" in record.session]
    for mine, theirs in zip(by_place(came), by_place(wanted)):
        np.testing.assert_allclose(mine.latent_D, theirs.latent_D, rtol=1e-5, atol=1e-5)
        for ours, each in zip(mine.successors, theirs.successors):
            np.testing.assert_allclose(ours.latent_D, each.latent_D, rtol=1e-5, atol=1e-5)
            np.testing.assert_array_equal(ours.feature_F, each.feature_F)
    import_region(tmp_path / "region", tmp_path / "new")
    for mine, theirs in zip(by_place(held(tmp_path / "new", grid)), by_place(records)):
        np.testing.assert_allclose(mine.latent_D, theirs.latent_D, rtol=1e-5, atol=1e-5)


def test_damage_anywhere_is_refused_before_the_first_change(grid, tmp_path):
    fill(tmp_path / "a", World(10).records(40), grid)
    fill(tmp_path / "b", World(11).records(5), grid)
    export_region(tmp_path / "a", tmp_path / "region")
    body, before = (tmp_path / "region").read_bytes(), (tmp_path / "b").read_bytes()
    rng = np.random.default_rng(0)
    ends = rng.integers(0, len(body), 40).tolist()
    damaged = [body[:end] for end in (*ends, 0, 7, 8, 12, len(body) - 1)] + [
        body + b"x",
        bytes(len(body)),
        b"text" * 50,
    ]
    for at in rng.integers(0, len(body), 80).tolist():
        damaged.append(body[:at] + bytes([body[at] ^ 1 << int(rng.integers(8))]) + body[at + 1 :])
    for content in damaged:
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(CorruptStoreError, match="bad"):
            import_region(tmp_path / "bad", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == before
    assert not (tmp_path / "b-wal").exists() or not (tmp_path / "b-wal").stat().st_size


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("stamp_N", -1, "stamp -1 ns"),
        ("stamp_N", 2**31 * 10**9, "stamp 2147483648000000000 ns"),
        ("x_N", 1e300, "x is"),
        ("z_N", -1e8, "z is"),
        ("yaw_N", 1e9, "yaw is"),
        ("rotation_N4", (0.5, 0.0, 0.0, 3.0), "rotation"),
        ("rotation_N4", (np.inf, 0.0, 0.0, 1.0), "rotation"),
    ],
)
def test_whole_files_of_what_no_memory_takes_are_refused_too(column, value, says, grid, tmp_path):
    turned = [replace(each, orientation=(0.6, 0.0, 0.0, 0.8), yaw=0.0) for each in World(10).records(9)]
    fill(tmp_path / "a", turned, grid)
    export_region(tmp_path / "a", tmp_path / "region")
    region = read_region(tmp_path / "region")
    values = getattr(region.rows, column).copy()
    values[4] = value
    setattr(region.rows, column, values)
    write_region(region, tmp_path / "region")
    with pytest.raises(CorruptStoreError, match=says):
        import_region(tmp_path / "region", tmp_path / "b")
    assert not list(tmp_path.glob("b*"))


def claims_of(path: Path) -> tuple[dict[str, Any], bytes]:
    """Returns what a region's file says of itself, and its columns."""
    body = path.read_bytes()
    _, size, _ = _HEAD.unpack_from(body)
    return json.loads(body[_HEAD.size : _HEAD.size + size]), body[_HEAD.size + size :]


def write_claims(path: Path, said: object, columns: bytes) -> None:
    """Writes a region whose checksums fit, whatever it says."""
    words = said if isinstance(said, bytes) else json.dumps(said).encode()
    path.write_bytes(_HEAD.pack(_MAGIC, len(words), zlib.crc32(words)) + words + columns)


ABSURD = [-1, 10**9, 2**63, 10**400, math.nan, math.inf, 0.5, "x", None, True, [], [1], {}, ["s", "s"], "O", "<f8"]


@pytest.mark.slow
def test_whatever_a_file_says_of_itself_is_imported_or_refused_by_name(grid, tmp_path):
    fill(tmp_path / "a", World(10).records(20), grid)
    export_region(tmp_path / "a", tmp_path / "region")
    said, columns = claims_of(tmp_path / "region")
    places = [(said, key) for key in said]
    places += [(about, key) for about in said["columns"] for key in about]
    for holder, key in places:
        before = holder[key]
        for value in ABSURD:
            holder[key] = value
            write_claims(tmp_path / "bad", said, columns)
            with contextlib.suppress(CorruptStoreError, EncoderMismatchError, FrameMismatchError):
                import_region(tmp_path / "bad", tmp_path / "b")
            for left in tmp_path.glob("b[!a]*"):
                left.unlink()
            (tmp_path / "b").unlink(missing_ok=True)
        holder[key] = before
    for words in (b"[" * 100_000, b"[]", b"5", b"\xff"):
        write_claims(tmp_path / "bad", words, columns)
        with pytest.raises(CorruptStoreError, match="is refused"):
            import_region(tmp_path / "bad", tmp_path / "b")


def test_a_small_file_does_not_become_gigabytes(grid, tmp_path):
    fill(tmp_path / "a", World(10).records(20), grid)
    export_region(tmp_path / "a", tmp_path / "region")
    said, columns = claims_of(tmp_path / "region")
    about = next(each for each in said["columns"] if each["name"] == "yaw")
    about["shape"] = [90_000_000]
    write_claims(tmp_path / "bad", said, columns)
    with pytest.raises(CorruptStoreError, match="bytes would become 36000"):
        import_region(tmp_path / "bad", tmp_path / "b")


def test_latents_without_those_that_followed_are_refused(grid, tmp_path):
    fill(tmp_path / "a", World(10).records(20), grid)
    export_region(tmp_path / "a", tmp_path / "region")
    region = read_region(tmp_path / "region")
    bare = replace(region, followers=replace(region.followers, latent_SD=None))
    write_region(bare, tmp_path / "region")
    with pytest.raises(CorruptStoreError, match="none of what followed"):
        import_region(tmp_path / "region", tmp_path / "b")


def test_where_nothing_could_be_written_nothing_is_left(grid, tmp_path, monkeypatch):
    fill(tmp_path / "a", World(10).records(20), grid)
    export_region(tmp_path / "a", tmp_path / "region")
    before = sorted(tmp_path.iterdir())

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "publish", full)
    with pytest.raises(StoreError, match="No space left"):
        export_region(tmp_path / "a", tmp_path / "new" / "folder" / "region")
    with pytest.raises(StoreError):
        import_region(tmp_path / "region", tmp_path / "new" / "folder" / "b")
    assert main(["backup", str(tmp_path / "a"), str(tmp_path / "new" / "folder" / "copy")]) == 2
    assert sorted(tmp_path.iterdir()) == before


def test_a_region_comes_in_whole_or_not_at_all(grid, tmp_path, monkeypatch):
    fill(tmp_path / "a", World(10).records(90), grid)
    fill(tmp_path / "b", World(11).records(5), grid)
    export_region(tmp_path / "a", tmp_path / "region")
    packed, made = merging._packed, []

    def packed_once(part, catalogue):
        if made:
            raise OSError("the disk is full")
        made.append(part)
        return packed(part, catalogue)

    monkeypatch.setattr(merging, "_CHUNK", 40)
    monkeypatch.setattr(merging, "_packed", packed_once)
    with pytest.raises(StoreError, match="the disk is full"):
        import_region(tmp_path / "region", tmp_path / "b")
    assert len(held(tmp_path / "b", grid)) == 5
    monkeypatch.setattr(merging, "_packed", packed)
    assert import_region(tmp_path / "region", tmp_path / "b").added == 90
    assert len(held(tmp_path / "b", grid)) == 95


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"encoder_id": "other"}, EncoderMismatchError),
        ({"frame_id": "elsewhere"}, FrameMismatchError),
        ({"latent_D": np.zeros(3, np.float32), "successors": ()}, EncoderMismatchError),
        ({"action_A": np.zeros(5, np.float32), "previous_action_A": np.zeros(5, np.float32)}, EncoderMismatchError),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(changes, error, grid, tmp_path):
    strangers = [replace(record, **changes) for record in World(12).records(20)]
    fill(tmp_path / "a", strangers, grid)
    fill(tmp_path / "b", [replace(record, frame_id="map") for record in World(13).records(20)], grid)
    export_region(tmp_path / "a", tmp_path / "region")
    before = (tmp_path / "b").read_bytes()
    with pytest.raises(error, match="region"):
        import_region(tmp_path / "region", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == before


def test_another_map_and_a_memory_in_use_are_refused(grid, tmp_path):
    fill(tmp_path / "a", World(14).records(20), CellGrid(LocalMap(10.0, 20.0), 15))
    fill(tmp_path / "b", World(15).records(20), grid)
    export_region(tmp_path / "a", tmp_path / "region")
    with pytest.raises(FrameMismatchError, match=r"local 10\.0 20\.0"):
        import_region(tmp_path / "region", tmp_path / "b")
    memory = CellMemory(Store(tmp_path / "a"), CellGrid(LocalMap(10.0, 20.0), 15))
    with pytest.raises(StoreLockedError):
        import_region(tmp_path / "region", tmp_path / "a")
    export_region(tmp_path / "a", tmp_path / "again")
    memory.close()
    assert read_region(tmp_path / "again").manifest == read_region(tmp_path / "region").manifest


def test_a_file_that_is_no_region_is_not_written_over_and_an_empty_area_makes_none(grid, tmp_path):
    fill(tmp_path / "a", World(16).records(20), grid)
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(StoreError, match="is no region"):
        export_region(tmp_path / "a", tmp_path / "letter")
    for area in ((90.0, 90.0, 91.0, 91.0), (1.0, 1.0, 0.0, 0.0), (math.nan,) * 4):
        with pytest.raises(StoreError):
            export_region(tmp_path / "a", tmp_path / "region", area)
    assert not (tmp_path / "region").exists()


@pytest.mark.slow
def test_a_record_takes_few_bytes_on_the_wire(grid, tmp_path):
    """As measured in the reports: 32 numbers, two successors and two actions; features of 448 numbers in the other."""
    rng = np.random.default_rng(1)
    latents = rng.normal(size=(2000, 3, 32)).astype(np.float32)
    plain = [
        MemoryRecord(
            stamp_ns=1_700_000_000_000_000_000 + at * 200_000_123, latent_D=latents[at, 0], x=rng.normal() * 9,
            y=rng.normal() * 9, yaw=rng.uniform(-3, 3), session="run", encoder_id="e", surprise=rng.random(),
            action_A=rng.normal(size=2), previous_action_A=rng.normal(size=2),
            successors=(
                Successor(0.05, 0.05 + 1e-9 * rng.integers(10**6), latents[at, 1]), Successor(1.0, 1.0, latents[at, 2]),
            ),
        )
        for at in range(2000)
    ]  # fmt: skip
    fill(tmp_path / "tiny", plain, grid)
    _, size = export_region(tmp_path / "tiny", tmp_path / "region")
    assert size / 2000 <= 450
    space = FeatureSpace("net", 448, 2, 0.1, 0)
    basis = projection(3, space)
    codes = rng.integers(-128, 128, (2000, 3, 448)).astype(np.int8)
    generic = [
        replace(
            record, latent_D=np.zeros(4, np.float32), encoder_id=basis.encoder_id, feature_F=code[0], feature_id="net",
            successors=tuple(
                each._replace(latent_D=np.zeros(4), feature_F=row) for each, row in zip(record.successors, code[1:])
            ),
        )
        for record, code in zip(plain, codes)
    ]  # fmt: skip
    fill(tmp_path / "generic", generic, grid, basis)
    _, size = export_region(tmp_path / "generic", tmp_path / "region")
    assert size / 2000 <= 3 * 448 + 150


def test_the_commands_say_what_they_did_and_what_is_wrong(grid, tmp_path, capsys):
    fill(tmp_path / "a", World(17).records(30), grid)
    shutil.copy(tmp_path / "a", tmp_path / "copy")
    path = str(tmp_path / "region")
    assert main(["export-region", str(tmp_path / "a"), path, "--area", "-9", "-9", "9", "9"]) == 0
    assert main(["import-region", str(tmp_path / "new"), path]) == 0
    assert main(["import-region", str(tmp_path / "copy"), path]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "30 records in 3 sessions" in said[0]
    assert "added 30 records" in said[1]
    assert "added 0 records" in said[2]
    Path(path).write_bytes(b"nothing")
    assert main(["import-region", str(tmp_path / "new"), path]) == 2
    assert "is no region of a memory" in capsys.readouterr().err
