"""What a window holds at a moment, looked through at many places: as the window answers, and not as it changes."""

import numpy as np
import pytest

from wm_core.memory.held import HeldPlaces, Remembered
from wm_core.memory.journal import Area, WindowUpdate
from wm_core.memory.packed import Packed
from wm_core.memory.query import Place, Query
from wm_core.memory.record import MemoryRecord
from wm_core.memory.window import Window

AREA = Area(0.0, 0.0, 8.0)


def records(count, seed, first_id=1):
    rng = np.random.default_rng(seed)
    return [
        MemoryRecord(
            id=first_id + at, latent_D=rng.normal(size=4).astype(np.float32), x=float(x), y=float(y), z=0.0,
            yaw=float(yaw), stamp_ns=at * 1_000_000_000, session="s", encoder_id="e", frame_id="map",
        )
        for at, (x, y, yaw) in enumerate(rng.uniform((-4, -4, -3), (4, 4, 3), size=(count, 3)))
    ]  # fmt: skip


def update(kept, revision, *, whole, removed=()):
    return WindowUpdate(
        1,
        revision,
        whole,
        "",
        AREA,
        10**18,
        None,
        False,
        Packed.of(kept, "e", "map", 4, 0),
        np.array(removed, np.int64),
    )


@pytest.fixture
def window():
    made = Window()
    made.apply(update(records(60, 0), 1, whole=True), AREA)
    return made


def test_it_answers_as_the_window_does(window):
    place_G3 = np.random.default_rng(1).uniform((-4, -4, -3), (4, 4, 3), size=(40, 3))
    newest_ns = 45_000_000_000
    found = window.held().near(place_G3, 5, radius_m=2.0, yaw_tolerance_rad=0.9, yaw_weight_m=1.5, newest_ns=newest_ns)
    for at, (x, y, yaw) in enumerate(place_G3):
        query = Query(k=5, place=Place(x, y, 0.0, yaw), radius_m=2.0, yaw_tolerance_rad=0.9, yaw_weight_m=1.5,
                      time_max_ns=newest_ns, rank_by="pose")  # fmt: skip
        expected = window.neighbours(window.query_batch([query])[0].row_K)
        valid_K = found.valid_GK[at]
        assert found.id_GK[at][valid_K].tolist() == expected.id_K.tolist()
        assert not found.id_GK[at][~valid_K].any()
        np.testing.assert_array_equal(found.latent_GKD[at][valid_K], expected.latent_KD)
        np.testing.assert_array_equal(found.pose_GK3[at][valid_K], expected.pose_K4[:, [0, 1, 3]])
        assert found.stamp_GK[at][valid_K].tolist() == expected.stamp_K.tolist()
    assert found.valid_GK.any()
    assert not found.valid_GK.all()


def test_what_comes_later_does_not_change_it(window):
    held, place_13 = window.held(), np.zeros((1, 3))
    asked = dict(k=8, radius_m=6.0, yaw_tolerance_rad=np.pi, yaw_weight_m=1.0, newest_ns=10**18)
    before = held.near(place_13, **asked)
    gone = before.id_GK[0, :4].tolist()
    window.apply(update(records(40, 3, first_id=100), 2, whole=False, removed=gone), AREA)
    np.testing.assert_array_equal(held.near(place_13, **asked).id_GK, before.id_GK)
    assert not set(window.held().near(place_13, **asked).id_GK[0].tolist()) & set(gone)


def test_it_tells_how_far_it_reaches_and_finds_records_by_id(window):
    held = window.held()
    assert held.reaches(np.array([[0.0, 0.0, 0.0], [7.0, 0.0, 0.0]]), 1.5).tolist() == [True, False]
    row = held.row_of(7)
    pose_4, latent_D, stamp_ns = held.record(row)
    expected = records(60, 0)[6]
    assert (pose_4[0], pose_4[1], stamp_ns) == (expected.x, expected.y, expected.stamp_ns)
    np.testing.assert_array_equal(latent_D, expected.latent_D)
    assert held.row_of(10_000) is None


def test_an_empty_one_finds_nothing():
    held = Window().held()
    found = held.near(np.zeros((3, 3)), 4, radius_m=1.0, yaw_tolerance_rad=1.0, yaw_weight_m=1.0, newest_ns=0)
    assert isinstance(held, HeldPlaces)
    assert isinstance(found, Remembered)
    assert found.valid_GK.shape == (3, 0)
