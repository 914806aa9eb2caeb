"""Live errors of several sides in turns, and the simulator's recording that they run on."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.against import live_pairs
from benchmarks.simulated_bag import START_NS, record
from wm_core.alignment import PoseStatus
from world_model.data.bags import BagOptions, read_recording
from world_model.data.known import known_of
from world_model.runtime.motion_model import MotionModel


class FakeSide:
    """Answers as a worker does: errors that grow from run to run, times a factor."""

    def __init__(self, factor: float) -> None:
        self.factor, self.asked = factor, []

    def run(self, module, *arguments, **environment):
        self.asked.append(arguments)
        error = {"ours": self.factor * len(self.asked), "n": 9}
        errors = {horizon: dict.fromkeys(live_pairs.VISITS, error) for horizon in live_pairs.HORIZONS}
        return {"prediction_error": errors, "frames_sent": 100, "frames_encoded": 98}


def test_every_side_takes_its_turn_and_ours_is_divided_by_the_others(tmp_path, capsys):
    sides = {"ours": FakeSide(0.5), "waits": FakeSide(1.0), "e65": FakeSide(2.0)}
    runs = live_pairs.turns(sides, {"lap": tmp_path}, "artifact://tiny", 5)
    assert [len(runs["lap"]), *(len(side.asked) for side in sides.values())] == [5, 5, 5, 5]
    assert [next(iter(run)) for run in runs["lap"]] == ["ours", "waits", "e65", "ours", "waits"]
    assert sides["waits"].asked[0][2:] == ("--pose-wait-s", live_pairs.POSE_WAIT_S)
    assert sides["ours"].asked[0][2:] == sides["e65"].asked[0][2:] == ()
    found = live_pairs.ratios(runs)
    assert found["lap"]["waits"]["1.0"]["revisit"] == {"median": 0.5, "low": 0.5, "high": 0.5}
    assert found["lap"]["e65"]["0.05"]["first"]["median"] == 0.25
    assert "2 of 100 frames missed" in capsys.readouterr().err
    assert live_pairs.report(found).count("lap") == 8


@pytest.mark.slow
@pytest.mark.parametrize(("rate_hz", "late_ms"), [(7.0, 100), (20.0, 0)])
def test_the_simulators_recording_holds_poses_as_late_as_they_are_to_be(tmp_path, rate_hz, late_ms):
    path = record(tmp_path / "bag", 3.0, 9506, pose_rate_hz=rate_hz, latency_s=late_ms * 1e-3, jitter_s=0.0)
    (episode,) = read_recording(path, BagOptions(image_size=8)).episodes
    assert len(episode) == 60
    assert int(episode.stamp_T[0]) == START_NS
    lag_N = episode.arrivals.pose_N["arrival"] - episode.arrivals.pose_N["stamp"]
    np.testing.assert_allclose(lag_N, late_ms * 1e6, atol=2)
    statuses = known_of(episode, MotionModel(), 0.05).status_T[4:]
    usual = PoseStatus.PREDICTED if late_ms else PoseStatus.INTERPOLATED
    assert (statuses == usual).mean() > 0.9
