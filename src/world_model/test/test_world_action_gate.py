"""The slow branch enters the fast path through a gate that starts at zero: fresh weights change not one bit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from wm_core.se2 import Pose2
from wm_testing.artifacts import make_random_artifact
from world_model.data.episodes import Episode
from world_model.evaluation.history_gate import (
    GateConfig,
    history_along,
    judged_frames,
    measure_gate,
    open_gate,
    with_foreign_history,
)
from world_model.models.forecaster import HistoryGate
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.predictor import Observation, Prediction, Predictor
from world_model.runtime.retrieved import Memory
from world_model.training.checkpoints import load_checkpoint

pytestmark = pytest.mark.training

STEP_NS = 50_000_000


def forecasts(folder: Path, with_history: bool) -> list[Prediction]:
    """Episode thirty steps, memories included, and return every prediction."""
    rng = np.random.default_rng(5)
    artifact = load_artifact(folder)
    predictor = Predictor(artifact)
    history_N = rng.normal(size=artifact.manifest.history_dim).astype(np.float32)
    made = []
    for step in range(30):
        latent_D, remembered_D = rng.normal(size=(2, 32)).astype(np.float32)
        pose = Pose2(0.05 * step, 0.0, 0.0, 0.0)
        action_A = rng.normal(size=2).astype(np.float32)
        requests = predictor.observe(Observation(step * STEP_NS, latent_D, pose, action_A))
        memories = [[Memory(step, 0, remembered_D, pose, action_A)] for _ in requests]
        if with_history:
            made.append(predictor.predict(memories, history_N, 4))
        else:
            made.append(predictor.predict(memories))
    return made


def bits(predictions: list[Prediction]) -> list[bytes]:
    return [
        value.tobytes()
        for prediction in predictions
        for forecast in prediction.forecasts
        for value in (forecast.latent_D, forecast.without_memory_D, np.float64(forecast.gate))
    ]


def test_with_fresh_weights_the_fast_path_is_the_same_to_the_last_bit(tmp_path: Path) -> None:
    make_random_artifact(tmp_path)
    without, with_history = forecasts(tmp_path, False), forecasts(tmp_path, True)
    assert len(bits(without)) > 100
    assert bits(without) == bits(with_history)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_a_fresh_gate_lets_nothing_through_and_learns_all_the_same(size: float) -> None:
    torch.manual_seed(0)
    gate = HistoryGate(896, 16)
    hidden, history = torch.randn(3, 16), size * torch.randn(3, 896)
    count = torch.tensor([0, 1, 4])
    changed = gate(hidden, history, count)
    assert torch.equal(changed, hidden)
    changed.sum().backward()
    assert gate.alpha.grad is not None
    assert float(gate.alpha.grad.abs()) > 0.0
    assert float(gate.proj.weight.detach().abs().max()) > 0.0


def test_an_open_gate_changes_the_context_only_where_there_is_a_history() -> None:
    torch.manual_seed(0)
    gate = HistoryGate(896, 16)
    with torch.no_grad():
        gate.alpha.fill_(0.5)
    hidden, history = torch.randn(3, 16), torch.randn(3, 896)
    changed = gate(hidden, history, torch.tensor([0, 1, 4]))
    assert torch.equal(changed[0], hidden[0])
    assert not torch.equal(changed[1], hidden[1])
    torch.testing.assert_close(changed[1:], hidden[1:] + np.tanh(0.5) * gate.proj(history[1:]))


def test_the_history_current_at_each_frame_by_hand() -> None:
    stamp_T = np.arange(7) * 500_000_000
    embedding_KE = np.array([[1.0], [2.0], [3.0], [4.0]])
    values_TN, count_T = history_along(stamp_T, embedding_KE, np.array([0, 2, 4, 6]), ticks=2, tick_s=1.0)
    assert values_TN.tolist() == [[0, 1], [0, 1], [1, 2], [1, 2], [2, 3], [2, 3], [3, 4]]
    assert count_T.tolist() == [1, 1, 2, 2, 2, 2, 2]


def test_a_gap_empties_the_history_and_frames_before_the_first_tick_have_none() -> None:
    stamp_T = np.array([0, 1, 2, 9]) * 1_000_000_000
    values_TN, count_T = history_along(stamp_T, np.array([[5.0], [7.0]]), np.array([1, 3]), ticks=2, tick_s=1.0)
    assert values_TN.tolist() == [[0, 0], [0, 5], [0, 5], [0, 7]]
    assert count_T.tolist() == [0, 1, 1, 1]


def flicker_episode(name: str, seconds: float = 20.0) -> Episode:
    """A robot that stands still before a wall whose brightness wanders."""
    frames = round(seconds * 20)
    level_T = 128 + 60 * np.sin(np.arange(frames) / 40.0)
    image = np.tile(level_T[:, None, None, None], (1, 64, 64, 3)).astype(np.uint8)
    stamp_T, still_TA = np.arange(frames) * STEP_NS, np.zeros((frames, 2), np.float32)
    return Episode(name, name, image, stamp_T, np.zeros((frames, 4)), still_TA)


def test_opening_the_gate_changes_nothing_but_the_gate_and_is_measured(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    make_random_artifact(tmp_path)
    artifact = load_artifact(tmp_path)
    transition = artifact.transition(frozen=False)
    frames = [judged_frames(artifact, transition, flicker_episode(name), (1.0, 2.0)) for name in "ab"]
    before = {name: value.clone() for name, value in transition.state_dict().items()}
    closed = measure_gate(transition, frames, np.ones(32), (1.0, 2.0))
    assert [row[kind]["ratio"] for row in closed.values() for kind in row] == [1.0] * 4
    foreign = with_foreign_history(frames)
    assert not torch.equal(foreign[0].observed.history, frames[0].observed.history)
    pooled = torch.cat([f.observed.history for f in frames]).sum(1)
    torch.testing.assert_close(torch.cat([f.observed.history for f in foreign]).sum(1).sort()[0], pooled.sort()[0])
    open_gate(transition, frames, np.ones(32), GateConfig(steps=60, batch=32, validate_every=20), tmp_path / "run")
    changed = {name for name, value in transition.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"history.alpha", "history.proj.weight", "history.proj.bias"}
    opened = measure_gate(transition, frames, np.ones(32), (1.0, 2.0))
    assert opened["1"]["blind"]["ratio"] < 1.0
    assert load_checkpoint(tmp_path / "run" / "last.pt")["model"].keys() == {"alpha", "proj.weight", "proj.bias"}
