"""A robot's profile: what is written is read, what is damaged is refused, and no reader meets half a part."""

import json
import multiprocessing
import string

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from world_model.errors import ProfileError
from world_model.runtime.profile import Profile

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
ENTRIES = st.dictionaries(st.text(string.ascii_letters, min_size=1, max_size=8), VALUES, max_size=5)


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(entries=ENTRIES, table=arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(1, 3))), seed=st.integers(0))
def test_what_is_written_is_read(tmp_path, entries, table, seed):
    profile = Profile(tmp_path / str(seed))
    first = profile.write("projection", 3, entries, {"table": table})
    part = Profile(tmp_path / str(seed)).read("projection", 3)
    assert part is not None
    assert part.entries == entries
    assert part.revision == first
    np.testing.assert_array_equal(part.arrays["table"], table)
    assert part.arrays["table"].dtype == table.dtype


def test_parts_do_not_disturb_one_another_and_count_their_revisions(tmp_path):
    profile = Profile(tmp_path / "new" / "robot")
    assert profile.names() == []
    assert profile.read("motion", 1) is None
    assert profile.signature("motion") is None
    profile.write("motion", 1, {"gain": 2.0})
    before = profile.signature("motion")
    profile.write("projection", 1, {}, {"axes": np.eye(2)})
    assert profile.signature("motion") == before
    assert profile.write("motion", 1, {"gain": 3.0}) == 2
    assert profile.signature("motion") != before
    assert profile.names() == ["motion", "projection"]
    assert profile.read("motion", 1).entries == {"gain": 3.0}


def test_former_arrays_are_cleared_away(tmp_path):
    profile = Profile(tmp_path)
    for _ in range(3):
        profile.write("projection", 1, {}, {"axes": np.eye(2)})
    assert [path.name for path in tmp_path.glob("*.npz")] == ["projection.3.npz"]
    profile.write("projection", 1, {})
    assert not list(tmp_path.glob("*.npz"))


def test_what_does_not_match_is_refused_by_name(tmp_path):
    profile = Profile(tmp_path)
    profile.write("motion", 1, {"gain": 2.0}, {"axes": np.eye(2)})
    with pytest.raises(ProfileError, match=r"version 1; expected .* version 2"):
        profile.read("motion", 2)
    path = tmp_path / "motion.json"
    good = path.read_text()
    for wrong in (good.replace("2.0", "3.0"), good[:-40], "[]", good.replace('"part": "motion"', '"part": "other"')):
        path.write_text(wrong)
        with pytest.raises(ProfileError, match=r"motion\.json"):
            profile.read("motion", 1)
    path.write_text(good)
    stored = tmp_path / "motion.1.npz"
    stored.write_bytes(stored.read_bytes()[:-1])
    with pytest.raises(ProfileError, match=r"arrays .* damaged"):
        profile.read("motion", 1)
    stored.unlink()
    with pytest.raises(ProfileError, match="missing"):
        profile.read("motion", 1)
    assert profile.write("motion", 1, {"gain": 1.0}) == 2
    assert profile.read("motion", 1).entries == {"gain": 1.0}


def test_what_cannot_be_kept_is_refused(tmp_path):
    with pytest.raises(ProfileError, match="names no part"):
        Profile(tmp_path).write("../motion", 1, {})
    with pytest.raises(ProfileError, match="JSON"):
        Profile(tmp_path).write("motion", 1, {"gain": float("nan")})
    (tmp_path / "file").write_text("")
    with pytest.raises(ProfileError, match="cannot be written"):
        Profile(tmp_path / "file").write("motion", 1, {})


def _write_many(folder, count):
    for number in range(count):
        Profile(folder).write("projection", 1, {"number": number}, {"axes": np.full(200, number)})


@pytest.mark.slow
def test_a_reader_meets_whole_parts_only(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=_write_many, args=(tmp_path, 60))
    process.start()
    seen = set()
    while process.is_alive():
        part = Profile(tmp_path).read("projection", 1)
        if part is not None:
            assert (part.arrays["axes"] == part.entries["number"]).all()
            seen.add(part.revision)
    process.join()
    assert process.exitcode == 0
    assert json.loads((tmp_path / "projection.json").read_text())["revision"] == 60


def test_arrays_that_cannot_be_read_are_refused_by_name(tmp_path):
    profile = Profile(tmp_path)
    profile.write("basis", 1, {}, {"mean": np.zeros(3)})
    (arrays,) = tmp_path.glob("basis.*.npz")
    arrays.unlink()
    arrays.mkdir()
    with pytest.raises(ProfileError, match="cannot be read"):
        profile.read("basis", 1)
