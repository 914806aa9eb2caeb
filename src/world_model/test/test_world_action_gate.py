"""The slow branch enters the fast path through a gate that starts at zero: fresh weights change not one bit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from world_model.artifacts import load_artifact
from world_model.models.forecaster import HistoryGate
from world_model.motion import Pose2
from world_model.predictor import HISTORY_EMBEDDINGS, HISTORY_SIZE, Memory, Observation, Prediction, Predictor
from world_model.testing import make_random_artifact

STEP_NS = 50_000_000


def forecasts(folder: Path, with_history: bool) -> list[Prediction]:
    """Drive thirty steps, memories included, and return every prediction."""
    rng = np.random.default_rng(5)
    predictor = Predictor(load_artifact(folder))
    history_N = rng.normal(size=HISTORY_EMBEDDINGS * HISTORY_SIZE).astype(np.float32)
    made = []
    for step in range(30):
        latent_D, remembered_D = rng.normal(size=(2, 32)).astype(np.float32)
        pose = Pose2(0.05 * step, 0.0, 0.0, 0.0)
        action_A = rng.normal(size=2).astype(np.float32)
        requests = predictor.observe(Observation(step * STEP_NS, latent_D, pose, action_A))
        memories = [[Memory(step, 0, remembered_D, pose, action_A)] for _ in requests]
        if with_history:
            made.append(predictor.predict(memories, history_N, HISTORY_EMBEDDINGS))
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
