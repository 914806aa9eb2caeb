"""Lookups in a window: the scene is what it says, and figures come out."""

from __future__ import annotations

import json

import numpy as np

from benchmarks import lookups


def test_a_lookup_has_about_as_many_candidates_whatever_the_number_of_records():
    for records in (2_000, 20_000):
        scene = lookups.make_scene(records, 300, seed=3)
        found = scene.look_up(scene.window(compiled=False))
        assert 0.9 < found.candidate_count_G.mean() / lookups.CANDIDATES < 1.1
        assert (found.row_GK >= 0).all()


def test_the_same_seed_is_the_same_scene():
    one, other = (lookups.make_scene(500, 20, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.pose_G3, other.pose_G3)
    np.testing.assert_array_equal(one.packed.rows.x_N, other.packed.rows.x_N)


def test_figures_name_what_was_asked(tmp_path):
    lookups.main(
        ["--places", "30", "--records", "1k", "--seed", "7", "--rounds", "2", "--json", str(tmp_path / "a.json")]
    )
    found = json.loads((tmp_path / "a.json").read_text())
    assert (found["seed"], found["places"], found["records"], found["k"]) == (7, 30, 1000, 8)
    assert found["portable_cpu_ms"]["n"] == 2
