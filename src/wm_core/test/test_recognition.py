"""Places from the memories nearest in look, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from wm_core.memory.recognition import Ranked, Recognition, SamePlace, recognise


def ranked(
    x_K: list[float], distance_K: list[float], yaw_K: list[float] | None = None, rotation_K4: np.ndarray | None = None
) -> Ranked:
    yaws = np.array(yaw_K or [0.0] * len(x_K))
    return Ranked(np.array(x_K), np.zeros(len(x_K)), yaws, rotation_K4, np.array(distance_K), True)


def test_nothing_is_recognised_in_nothing():
    assert recognise(lambda _: ranked([], [])) == Recognition()


def test_a_place_that_stands_out_is_sure():
    found = recognise(lambda _: ranked([0.0, 0.3, 0.5, -0.4, 0.1, 9.0], [10.0, 11.0, 12.0, 12.0, 13.0, 30.0]))
    best, second = found.places
    assert (best.at, best.support, second.at, second.support) == (0, 5, 5, 0)
    assert best.confidence > 0.99
    assert best.confidence + second.confidence == pytest.approx(1.0)
    assert (found.second_ratio, found.agreement, found.ambiguity) == (pytest.approx(1 / 3), 1.0, "")


def test_two_places_that_look_alike_are_ambiguous():
    found = recognise(lambda _: ranked([0.0, 9.0, 0.2, 9.1], [10.0, 10.0, 12.0, 12.0]))
    assert [place.at for place in found.places] == [0, 1]
    assert [place.confidence for place in found.places] == pytest.approx([0.5, 0.5])
    assert found.second_ratio == 1.0
    assert "ratio 1.00" in found.ambiguity
    assert "50% lie at the best place" in found.ambiguity


def test_what_lies_just_beside_is_no_second_place():
    found = recognise(lambda _: ranked([0.0, 1.5, 2.5], [10.0, 10.1, 40.0]))
    assert found.second_ratio == pytest.approx(0.25)


def test_views_turned_apart_are_two_places():
    assert len(recognise(lambda _: ranked([0.0, 0.0], [1.0, 2.0], [0.0, math.radians(29)])).places) == 1
    assert len(recognise(lambda _: ranked([0.0, 0.0], [1.0, 2.0], [0.0, math.radians(31)])).places) == 2
    tilted = np.stack([Rotation.from_euler("x", turn, degrees=True).as_quat() for turn in (0.0, 40.0)])
    assert len(recognise(lambda _: ranked([0.0, 0.0], [1.0, 2.0], rotation_K4=tilted)).places) == 2
    tilted[0] = np.nan
    assert len(recognise(lambda _: ranked([0.0, 0.0], [1.0, 2.0], rotation_K4=tilted)).places) == 2


def test_the_same_picture_is_certain():
    found = recognise(lambda _: ranked([0.0, 9.0], [0.0, 5.0]))
    assert (found.places[0].confidence, found.second_ratio) == (1.0, 0.0)


def test_more_are_asked_for_until_one_lies_elsewhere():
    asked = []

    def nearest(k: int) -> Ranked:
        asked.append(k)
        x_K = np.where(np.arange(k) < 900, 0.0, 50.0)
        return Ranked(x_K, 0.0 * x_K, 0.0 * x_K, None, 1.0 + np.arange(k), False)

    found = recognise(nearest, most=1)
    assert asked == [64, 256, 1024]
    assert found.second_ratio == pytest.approx(1.0 / 901.0)
    assert len(found.places) == 1
    assert recognise(nearest, most=9, same=SamePlace(100.0)).second_ratio == 0.0
