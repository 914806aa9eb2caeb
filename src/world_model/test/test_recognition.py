"""Places looked for by their look: figures worked out by hand, and the command end to end."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from world_model.cli import main
from world_model.commands import recognise as command
from world_model.errors import DataError
from world_model.evaluation.recognition import Seen, Tolerance, measure
from world_model.runtime.features import FeatureNetwork

from .test_data import write_bag

pytestmark = pytest.mark.training


def lap(feature_TF: np.ndarray, side_m: float = 0.0, start_ns: int = 0) -> Seen:
    """Return states a metre apart along x, one per second."""
    count = len(feature_TF)
    pose_T4 = np.zeros((count, 4))
    pose_T4[:, 0], pose_T4[:, 1] = np.arange(count), side_m
    return Seen(start_ns + np.arange(count) * 10**9, pose_T4, feature_TF)


LOOKS = np.random.default_rng(0).integers(-100, 101, (30, 16)).astype(np.int8)


def test_the_same_looks_are_all_recognised():
    result = measure(lap(LOOKS), lap(LOOKS, 0.3), Tolerance())
    assert (result["top1"], result["n"], result["rejected"], result["interval"]) == (1.0, 30, 0, [1.0, 1.0])
    assert (result["not_remembered"], result["remembered"], result["ambiguous"]) == (0, 30, 0.0)
    assert result["confidence"] == 1.0


def test_what_looks_like_another_place_counts_as_wrong():
    swapped = LOOKS.copy()
    swapped[:6] = LOOKS[20:26]
    result = measure(lap(LOOKS), lap(swapped), Tolerance())
    assert result["top1"] == pytest.approx(24 / 30)
    assert result["interval"][0] < 0.8 < result["interval"][1]


def test_places_that_are_not_remembered_are_not_judged_and_tolerances_hold():
    held, asked = lap(LOOKS[:20]), lap(LOOKS, 0.4)
    result = measure(held, asked, Tolerance(0.5, math.radians(20)))
    assert (result["n"], result["not_remembered"]) == (20, 10)
    with pytest.raises(DataError, match="near one that is remembered"):
        measure(held, asked, Tolerance(0.3, math.radians(20)))
    turned = Seen(asked.stamp_T, asked.pose_T4 + np.array([0, 0, 0, math.radians(30)]), asked.feature_TF)
    with pytest.raises(DataError, match="near one that is remembered"):
        measure(held, turned, Tolerance())


def test_states_without_a_pose_are_left_out():
    held = lap(LOOKS)
    held.pose_T4[:5] = np.nan
    assert measure(held, lap(LOOKS), Tolerance())["n"] == 25
    held.pose_T4[:] = np.nan
    with pytest.raises(DataError, match="has a pose"):
        measure(held, lap(LOOKS), Tolerance())


class Thumbnails(FeatureNetwork):
    """Stands in for a network: waves whose lengths follow from how red a picture is."""

    def __init__(self) -> None:
        """There is no session."""

    def encode(self, image_BHWC: np.ndarray) -> np.ndarray:
        red_B = image_BHWC[..., 0].reshape(len(image_BHWC), -1).mean(axis=1)
        return np.rint(100.0 * np.sin(np.outer(red_B + 1.0, np.arange(64)))).astype(np.int8)


@pytest.fixture
def bag(tmp_path):
    """A recording whose state i is i metres ahead and sees red i."""
    return str(write_bag(tmp_path / "bag", StoragePlugin.SQLITE3))


def test_the_command_compares_two_recordings(tmp_path, monkeypatch, bag, capsys):
    monkeypatch.setattr(command, "_network", lambda _: Thumbnails())
    target = tmp_path / "deep" / "recognise.json"
    tolerances = ["--tolerance-m", "0.5", "--tolerance-deg", "20"]
    assert main(["evaluate", "recognise", bag, bag, *tolerances, "--json", str(target)]) == 0
    result = json.loads(target.read_text())
    assert {"top1", "n", "rejected", "interval"} <= result.keys()
    assert (result["top1"], result["n"], result["rejected"]) == (1.0, 20, 0)
    told = capsys.readouterr().out
    assert f"of {result['n']} states recognised" in told
    # What was read of both, and from which topics, is said.
    assert told.count("poses: 20 read on") == 2


def test_a_folder_of_recordings_is_told_apart_from_one(tmp_path, monkeypatch, bag, capsys):
    monkeypatch.setattr(command, "_network", lambda _: Thumbnails())
    assert main(["evaluate", "recognise", str(tmp_path), bag]) == 2
    assert "is a folder of recordings, not one: it holds bag; give one of them" in capsys.readouterr().err


def test_an_artifact_without_features_is_refused_by_name(bag, capsys):
    assert main(["evaluate", "recognise", bag, bag, "--artifact", "artifact://tiny"]) == 2
    told = capsys.readouterr().err
    assert "artifact 'tiny'" in told
    assert "makes no features" in told
