"""The evaluation of imagination: what is known to be right comes out as right, and the command writes what it says."""

import json

import numpy as np
import pytest

from wm_testing.artifacts import make_random_artifact
from world_model.commands.evaluate import main
from world_model.evaluation import imagination
from world_model.evaluation.imagination import summarised
from world_model.evaluation.imagined_episode import HONEST_BASE, METHODS, WITH_MEMORY, ImaginedEpisode

pytestmark = pytest.mark.training


def imagined(seed: int, count: int = 40) -> ImaginedEpisode:
    rng = np.random.default_rng(seed)
    revisit_NH = np.tile(np.arange(count)[:, None] % 2 == 0, (1, 2))
    error = {name: np.full((count, 2), 1.0) for name in METHODS}
    error[WITH_MEMORY] = np.where(revisit_NH, 0.25, 1.5) * np.ones((count, 2))
    missed_NH2 = np.stack([np.full((count, 2), 0.3), np.full((count, 2), 0.2)], axis=2)
    expected_NH = error[WITH_MEMORY] + 0.01 * rng.random((count, 2))
    return ImaginedEpisode(
        np.arange(count), np.zeros((count, 2), int), error, revisit_NH, expected_NH, missed_NH2,
        np.where(revisit_NH, 0.8, 0.0), {}, np.zeros((count, 2), int),
    )  # fmt: skip


def test_what_is_known_comes_out():
    result = summarised([imagined(0), imagined(1)], ["1", "2"])
    assert result["error"][WITH_MEMORY]["2"]["revisit"] == {"mean": 0.25, "low": 0.25, "high": 0.25, "n": 40}
    assert result["error"][HONEST_BASE]["1"]["first"]["mean"] == 1.0
    assert result["ratio"]["2"]["revisit"] == {"ratio": 0.25, "low": 0.25, "high": 0.25}
    assert result["ratio"]["2"]["first"]["ratio"] == 1.5
    assert result["pose"]["1"] == {"missed_m": 0.3, "told_m": 0.2}
    assert result["gate"]["1"] == {"revisit": 0.8, "first": 0.0}
    assert result["uncertainty"]["1"]["rank_correlation"] > 0.7


def test_where_no_frame_shows_it_nothing_is_judged():
    found = imagined(0)
    for error_NH in found.error.values():
        error_NH[:, 1] = np.nan
    result = summarised([found], ["1", "2"])
    assert result["error"][WITH_MEMORY]["2"]["revisit"]["n"] == 0
    assert result["ratio"]["2"] == {"revisit": {}, "first": {}}
    assert result["error"][WITH_MEMORY]["1"]["revisit"]["n"] == 20


@pytest.mark.slow
def test_the_command_evaluates_a_simulated_building(tmp_path, capsys, monkeypatch):
    """A short drive with revisits: memory helps there."""
    monkeypatch.setattr(imagination, "TIMES_S", (1.0, 2.0))
    make_random_artifact(tmp_path / "artifact", step_s=0.2)
    path = tmp_path / "figures.json"
    arguments = [
        "imagination",
        "sim:9306",
        "--seconds",
        "70",
        "--start-s",
        "50",
        "--every-s",
        "2",
        "--json",
        str(path),
        "--artifact",
        str(tmp_path / "artifact"),
    ]
    assert main([*arguments, "--report", str(tmp_path / "report")], "wm evaluate") == 0
    result = json.loads(path.read_text())
    assert set(result["error"]) == set(METHODS)
    assert result["ratio"]["2"]["revisit"]["ratio"] < 1.0
    assert (
        result["error"]["nothing changes"]["2"]["revisit"]["mean"]
        > result["error"][WITH_MEMORY]["2"]["revisit"]["mean"]
    )
    assert {"remembered", "imagined with memory"} <= set(result["psnr_db"]["1"])
    assert (tmp_path / "report" / "film.png").stat().st_size > 10_000
    assert "with memory over the honest base, 2 s ahead" in capsys.readouterr().out


def test_what_cannot_be_read_is_refused(capsys):
    assert main(["imagination", "/nowhere"], "wm evaluate") == 2
    assert "wm evaluate imagination: /nowhere" in capsys.readouterr().err
