"""The reactive model: gates that change no bit while fresh, losses apart, and the same answers once exported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from wm_core.se2 import Pose2
from wm_policy.errors import InputError, PolicyFileError
from wm_policy.export.policy_file import Proposing, check_parity, example_inputs, export_policy
from wm_policy.layers import ZeroGate
from wm_policy.models.reactive import FLAGS, ReactiveConfig, ReactiveModel, near_and_far
from wm_policy.runtime import ActionRange, Observation, ObserverSettings, load_policy
from wm_policy.runtime.policy import Processor
from world_model.runtime.motion import MotionModel

SMALL = ReactiveConfig(latent_dim=6, width=16, layers=1)
MEMORY = ObserverSettings().memory_numbers


def model_of(config: ReactiveConfig) -> ReactiveModel:
    torch.manual_seed(5)
    return ReactiveModel(config).eval()


@pytest.mark.parametrize(
    "changes",
    [
        {"memory_numbers": MEMORY},
        {"history": 896},
        {"map_size": 32},
        {"temporal_attention": True},
        {"foresees": True},
        {"memory_numbers": MEMORY, "history": 896, "map_size": 32, "temporal_attention": True, "foresees": True},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_what_is_optional_changes_no_bit_while_fresh(changes):
    plain, extended = model_of(SMALL), model_of(replace(SMALL, **changes))
    inputs = example_inputs(extended, batch=5)
    for one, other in zip(plain.propose(inputs), extended.propose(inputs)):
        assert torch.equal(one, other)


def test_memory_is_learned_although_its_gate_starts_at_zero():
    model = model_of(replace(SMALL, memory_numbers=MEMORY))
    model.propose(example_inputs(model, batch=5))[0].sum().backward()
    assert model.memory.gate.alpha.grad.abs() > 0


def test_where_nothing_is_remembered_an_open_gate_changes_nothing():
    model = model_of(replace(SMALL, memory_numbers=MEMORY))
    with torch.no_grad():
        model.memory.gate.alpha.fill_(1.0)
    inputs = example_inputs(model, batch=4)
    inputs["memory_valid"][:2] = False
    inputs["memory_valid"][2:] = True
    h_BW = model.condition(inputs)
    with torch.no_grad():
        model.memory.gate.alpha.fill_(0.0)
    closed_BW = model.condition(inputs)
    assert torch.equal(h_BW[:2], closed_BW[:2])
    assert not torch.allclose(h_BW[2:], closed_BW[2:])


def test_a_visit_that_is_not_valid_is_not_read():
    model = model_of(replace(SMALL, memory_numbers=MEMORY))
    with torch.no_grad():
        model.memory.gate.alpha.fill_(1.0)
    inputs = example_inputs(model, batch=1)
    inputs["memory_valid"][:] = torch.tensor([True, False, True, False, False, False])
    before = model.condition(inputs)
    inputs["memory"][:, 1] = 1e3
    inputs["memory_latent"][:, 3] = -1e3
    assert torch.allclose(before, model.condition(inputs), atol=1e-6)


def test_zero_gate_by_hand():
    gate = ZeroGate(2, 1)
    with torch.no_grad():
        gate.project.weight.copy_(torch.tensor([[1.0], [2.0]]))
        gate.project.bias.zero_()
        gate.alpha.fill_(0.5)
    h, r = torch.tensor([[1.0, 1.0], [1.0, 1.0]]), torch.tensor([[3.0], [3.0]])
    out = gate(h, r, torch.tensor([True, False]))
    share = float(np.tanh(0.5))
    assert torch.allclose(out, torch.tensor([[1 + 3 * share, 1 + 6 * share], [1.0, 1.0]]))


def test_losses_come_apart_and_foreseen_features_teach_no_target():
    model = model_of(replace(SMALL, foresees=True))
    inputs = example_inputs(model, batch=3)
    future = torch.randn(3, 3, 6, requires_grad=True)
    targets = {
        "path": torch.randn(3, 64, 2), "path_valid": torch.ones(3, 64, dtype=torch.bool),
        "future": future, "future_valid": torch.ones(3, 3, dtype=torch.bool),
    }  # fmt: skip
    losses = model(inputs, targets)
    assert set(losses) == {"action", "foreseen"}
    sum(losses.values()).backward()
    assert future.grad is None
    assert torch.allclose(losses["foreseen"], (model.foreseen(inputs) - future).abs().mean())
    with pytest.raises(InputError, match="foresees no features"):
        model_of(SMALL).foreseen(inputs)


@pytest.mark.parametrize(("head", "chunk"), [("trajectory", 64), ("mlp", 16)])
def test_in_training_it_returns_trajectory_and_foreseen_features(head, chunk):
    model = model_of(replace(SMALL, foresees=True, head=head, chunk=chunk))
    inputs = example_inputs(model, batch=3)
    targets = {
        "path": torch.randn(3, 64, 2), "path_valid": torch.ones(3, 64, dtype=torch.bool),
        "action": torch.zeros(3, 16, 2), "action_valid": torch.ones(3, 16, dtype=torch.bool),
        "future": torch.randn(3, 3, SMALL.latent_dim), "future_valid": torch.ones(3, 3, dtype=torch.bool),
    }  # fmt: skip
    trained = model.trained(inputs, targets)
    assert trained.losses.keys() == model(inputs, targets).keys() == {"action", "foreseen"}
    assert torch.equal(trained.foreseen_BHD, model.foreseen(inputs))
    if head == "trajectory":
        assert torch.equal(trained.path_BS2, model.propose(inputs)[0])
    else:
        assert trained.path_BS2 is None
    plain = model_of(replace(SMALL, head=head, chunk=chunk)).trained(inputs, targets)
    assert plain.foreseen_BHD is None
    assert plain.losses.keys() == {"action"}


def test_what_comes_after_three_seconds_counts_less():
    truth, valid = torch.zeros(1, 64, 2), torch.ones(1, 64, dtype=torch.bool)
    near, far = truth.clone(), truth.clone()
    near[:, :30] = 1.0
    far[:, 30:] = 1.0
    assert near_and_far(near, truth, valid) > 3 * near_and_far(far, truth, valid)


def exported(folder, head: str, runtime: str):
    chunk, action_dim = (64, 2) if head == "trajectory" else (4, 3)
    model = model_of(replace(SMALL, memory_numbers=MEMORY, head=head, chunk=chunk, action_dim=action_dim))
    actions = None if head == "trajectory" else ActionRange(np.full(3, -2.0), np.full(3, 2.0))
    processor = Processor(model.config.shapes(), frozenset(FLAGS), {}, actions)
    export_policy(
        folder, model, processor, runtime=runtime, settings=ObserverSettings(), motion=MotionModel(),
        encoder_id="e", step_s=0.1, name="test", training={"robot_action_dim": 2},
    )  # fmt: skip
    return model


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["torchscript", "onnx"])
@pytest.mark.parametrize("head", ["trajectory", "mlp", "gaussian", "diffusion", "flow", "transformer"])
def test_exported_policies_say_the_same(tmp_path, head, runtime):
    if head == "diffusion":
        pytest.importorskip("diffusers")
    if runtime == "onnx":
        pytest.importorskip("onnxscript")
    model = exported(tmp_path, head, runtime)
    check_parity(tmp_path, Proposing(model), model)
    policy = load_policy(tmp_path)
    for row in range(60):
        pose = Pose2(0.05 * row, 0.0, 0.0, 0.0)
        policy.observe(Observation(row * 50_000_000, np.full(6, 0.1, np.float32), pose, np.array([1.0, 0.0])))
    proposal = policy.propose(seed=1)
    assert np.array_equal(proposal.action_KA, policy.propose(seed=1).action_KA)
    assert proposal.action_KA.shape == ((64, 2) if head == "trajectory" else (4, 3))
    assert (proposal.path_K2 is not None) == (head == "trajectory")


def test_a_policy_that_says_something_else_is_refused(tmp_path):
    model = exported(tmp_path, "mlp", "torchscript")
    with torch.no_grad():
        model.head.network[-1].bias.add_(1.0)
    with pytest.raises(PolicyFileError, match="differs by 1"):
        check_parity(tmp_path, Proposing(model), model)
