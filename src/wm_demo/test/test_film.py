"""The film: a forecast meets the picture of the moment it was for; what was seen at the place is remembered."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wm_core.images import prepare_image
from wm_demo.film import _MOST_MOMENTS, Film
from wm_demo.measurements import Spot
from wm_demo.strip import psnr_db, strip_of
from wm_testing.artifacts import make_random_artifact
from world_model.runtime.artifacts import load_artifact

STEP_NS = 50_000_000
SECOND_NS = 1_000_000_000


def picture(number: int) -> np.ndarray:
    return np.full((8, 12, 3), number % 256, np.uint8)


def run(film: Film, first: int, last: int, encoder_id: str = "e", x_of=lambda number: 0.1 * number) -> None:
    """Frames, places and forecasts 1 s ahead at 20 Hz; the robot is where ``x_of`` says, and expects to be there."""
    for number in range(first, last):
        ns = number * STEP_NS
        film.frame(ns, lambda number=number: picture(number))
        film.place(Spot(ns, x_of(number), 0.0))
        expected = Spot(ns + SECOND_NS, x_of(number + 20), 0.0)
        film.forecast(ns, ns + SECOND_NS, np.full(32, 0.1, np.float32), encoder_id, expected)


def test_a_forecast_meets_the_picture_of_its_moment():
    film = Film()
    run(film, 0, 60)
    assert [moment.stamp_ns // STEP_NS for moment in film.moments] == [0, 10, 20, 30]
    for moment in film.moments:
        made = moment.stamp_ns // STEP_NS
        assert (moment.seen_HWC[0, 0, 0], moment.real_HWC[0, 0, 0]) == (made, made + 20)
        assert moment.remembered_HWC is None


def test_what_was_seen_at_the_place_long_before_is_remembered():
    film = Film()
    run(film, 0, 200, x_of=lambda number: 0.1 * (number % 140))
    later = [moment for moment in film.moments if moment.stamp_ns >= 140 * STEP_NS]
    assert later
    for moment in later:
        place = (moment.target_ns // STEP_NS) % 140
        assert abs(int(moment.remembered_HWC[0, 0, 0]) - place) <= 5  # scenes are kept twice a second


def test_frames_that_were_lost_leave_no_moment():
    film = Film()
    run(film, 0, 5)
    film.frame(90 * STEP_NS, lambda: picture(90))
    assert film.moments == []


def test_a_recording_that_loops_begins_anew():
    film = Film()
    run(film, 0, 30)
    count = len(film.moments)
    run(film, 0, 30)
    assert len(film.moments) == 2 * count
    assert all(moment.target_ns - moment.stamp_ns == SECOND_NS for moment in film.moments)


def test_a_long_run_is_thinned_out_evenly():
    film = Film()
    run(film, 0, 3 * 10 * _MOST_MOMENTS, x_of=lambda number: 10.0 * number)
    assert len(film.moments) <= _MOST_MOMENTS
    chosen = film.chosen(5)
    gaps = np.diff([moment.stamp_ns for moment in chosen])
    assert len(chosen) == 5
    assert gaps.min() > 0.5 * gaps.max()


def test_the_strip_decodes_what_was_foreseen_and_says_how_near_it_came(tmp_path):
    make_random_artifact(tmp_path)
    artifact = load_artifact(tmp_path)
    film = Film()
    run(film, 0, 40, artifact.manifest.encoder_id)
    strip = strip_of(film.chosen(2), str(tmp_path), 0)
    assert strip.not_decoded == ""
    assert [still.after_s for still in strip.stills] == [1.0, 1.5]
    still, side = strip.stills[0], artifact.manifest.image_size
    assert still.decoded is not None
    assert still.decoded.image_SSC.shape == still.real_SSC.shape == (side, side, 3)
    assert still.seen.near_db == pytest.approx(10 * math.log10(255**2 / 20**2))
    assert still.decoded.near_db == pytest.approx(psnr_db(still.decoded.image_SSC, prepare_image(picture(20), side)))


@pytest.mark.parametrize(
    ("encoder_id", "path", "why"), [("other", "", "own basis"), ("e", "/nowhere/at/all", "no decoder")]
)
def test_the_strip_says_why_nothing_is_decoded(tmp_path, encoder_id: str, path: str, why: str):
    make_random_artifact(tmp_path)
    film = Film()
    run(film, 0, 40, encoder_id)
    strip = strip_of(film.moments, path or str(tmp_path), 0)
    assert why in strip.not_decoded
    assert all(still.decoded is None for still in strip.stills)


def test_without_moments_the_strip_is_empty(tmp_path):
    make_random_artifact(tmp_path)
    assert strip_of([], str(tmp_path), 0).stills == ()


def test_pictures_that_are_the_same_are_infinitely_near():
    assert psnr_db(picture(3), picture(3)) == math.inf
    assert psnr_db(picture(0), picture(255)) == pytest.approx(0.0)
