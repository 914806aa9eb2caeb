"""Evaluation in comparable units, by hand, and the RC car: out of the box no worse than what learns nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from world_model.data.episodes import Episode
from world_model.evaluation.comparable import LEARNING_S, NAMES, comparable
from world_model.evaluation.report import own_table, without_unit
from world_model.evaluation.runner import EpisodeForecasts

RECORDING = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "donkeycar_laps" / "bag"
pytestmark = pytest.mark.training
PLAIN = ("persistence", "running_mean", "nearest", "mean_of_four")


def made_up(frames=400, dim=2):
    """Return an episode and forecasts of one step that miss by a known share of the recording's spread."""
    rng = np.random.default_rng(0)
    latent_TD = (rng.normal(size=(frames, dim)) * [2.0, 0.5]).astype(np.float32)
    image_TSSC = rng.integers(0, 255, (frames, 4, 4, 3), np.uint8)
    stamp_T = np.arange(frames, dtype=np.int64) * 50_000_000
    episode = Episode("made up", "nowhere", image_TSSC, stamp_T, np.zeros((frames, 4)), np.zeros((frames, 2)))
    target_THD = latent_TD[:, None]
    spread_D = latent_TD.std(axis=0)
    shares = {"ours": 0.5, "ours, memory emptied": 1.0, "persistence": 2.0}
    forecast = {name: target_THD + share * spread_D for name, share in shares.items()}
    forecast["ours"][: round(LEARNING_S * 20)] = 1e6
    revisit_TH = np.arange(frames)[:, None] >= 300
    rows_TH = np.arange(frames)[:, None]
    judged_T = np.ones(frames, bool)
    run = EpisodeForecasts(
        "made up", stamp_T, latent_TD, target_THD, rows_TH, forecast, np.zeros((frames, 1)), revisit_TH, judged_T
    )
    return episode, run


def test_errors_are_in_units_of_the_recording_and_the_first_seconds_do_not_count():
    episode, run = made_up()
    result = comparable({"held": [run]}, [episode], [run.latent_TD], [0.05], np.full(2, 100.0))
    cell = result["latent_own"]["held"]["0.05"]["revisits"]
    assert (cell["ours"], cell["honest_base"], cell["persistence"]) == pytest.approx((0.25, 1.0, 4.0), rel=1e-4)
    assert (cell["n"], cell["ratio"]) == (100, 0.25)
    assert cell["interval"] == pytest.approx([0.25, 0.25])
    assert result["latent_own"]["held"]["0.05"]["first"]["n"] == 300 - 201
    in_training_units = result["latent"]["held"]["0.05"]["first"]["ours"]
    assert in_training_units == pytest.approx(0.25 * run.latent_TD.var(axis=0).sum() / 2 / 100.0, rel=1e-2)


def test_a_kind_of_visit_that_never_came_is_empty():
    episode, run = made_up()
    run.revisit_TH[:] = False
    cell = comparable({"held": [run]}, [episode], [run.latent_TD], [0.05], np.ones(2))["latent"]["held"]["0.05"]
    assert (cell["revisits"]["n"], cell["revisits"]["ours"], cell["revisits"]["interval"]) == (0, None, None)


def test_errors_in_the_recordings_own_variance_are_told_with_their_count():
    episode, run = made_up()
    cells = comparable({"held": [run]}, [episode], [run.latent_TD], [0.05], np.ones(2))["latent_own"]["held"]
    head, _, ours, *_, count = own_table(cells).splitlines()
    assert head == "| predictor | 0.05 s rev | 0.05 s first |"
    assert (ours, count) == ("| ours | 0.250 | 0.250 |", "| forecasts | 100 | 99 |")


def test_frames_before_there_is_a_unit_are_told_of():
    _, run = made_up()
    part = replace(run, has_unit=False)
    assert "latents of 400 frames are not scored in the live unit" in without_unit([part, run])
    assert without_unit([part]).startswith("latents are not scored in the live unit")
    assert not without_unit([run])


def test_one_report_shows_one_artifact(tmp_path, capsys):
    from world_model.commands.evaluate import main

    assert main(["artifact://tiny", "artifact://tiny", "sim:9100", "--report", str(tmp_path)]) == 2
    assert "--report shows one artifact" in capsys.readouterr().err


def test_of_each_artifact_it_is_written_what_it_is_and_what_of_it_was_not_scored():
    from world_model.commands.evaluating import side_by_side

    one = {"a": {"latent": 1}, "details": 2, "about": {"encoder_id": "x", "not_scored": {"unit": "none yet"}}}
    other = {"b": {"latent": 3}, "details": 4, "about": {"encoder_id": "y", "not_scored": {}}}
    assert side_by_side({"a": one}) == one
    both = {"a": one["a"], "b": other["b"], "about": {"a": one["about"], "b": other["about"]}}
    assert side_by_side({"a": one, "b": other}) == both


@pytest.mark.slow
@pytest.mark.skipif(
    not RECORDING.is_dir(), reason="the recording of the RC car is not here: ../shared/data/donkeycar_laps"
)
def test_out_of_the_box_the_car_is_foreseen_better_than_by_what_learns_nothing():
    from world_model.evaluation.options import EvaluationOptions
    from world_model.evaluation.report import evaluate

    options = EvaluationOptions(data=str(RECORDING), horizons=(1, 20), only_ours=True)
    result = evaluate("artifact://tiny", options)[0]["artifact://tiny"]
    assert set(result) == {"latent", "latent_own", "pixels_own", "pixels_own_pooled"}
    for space, most in (("latent", 1.02), ("latent_own", 1.02), ("pixels_own", 1.15)):
        for future in ("known", "held"):
            for horizon_s in ("0.05", "1.0"):
                for kind in ("revisits", "first"):
                    cell = result[space][future][horizon_s][kind]
                    assert cell["n"] >= 100
                    assert set(cell) <= {*NAMES, "n", "ratio", "interval"}
                    assert cell["ours"] <= most * min(cell[name] for name in PLAIN), (space, future, horizon_s, kind)
        assert result[space]["held"]["1.0"]["revisits"]["interval"][1] < 1.0
