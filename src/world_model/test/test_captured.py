"""What is recorded says what it said, call by call: with a stand-in for the GPU that repeats the work itself."""

import logging
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from wm_core.se2 import Pose2
from wm_testing.repeated import Repeated
from world_model.export.torchscript import example_inputs
from world_model.models.transition import Transition
from world_model.runtime import artifacts
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.captured import Captured
from world_model.runtime.fused import FusedForecast
from world_model.runtime.imagination import Imagination
from world_model.runtime.imagined import Plan
from world_model.runtime.on_device import CapturedModule
from world_model.runtime.predictor import Observation, Predictor
from world_model.runtime.retrieved import Memory


def both(one, other):
    return torch.sin(one) @ other, one.sum(dim=0)


def rows(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_every_call_is_of_its_own_arguments_and_its_results_stay():
    recorder = Repeated()
    captured = Captured("both", both, recorder)
    kept = []
    for seed in range(6):
        given = rows(seed, 5, 3), rows(seed + 100, 3, 2)
        kept.append((captured(*given), both(*given)))
    for ours, theirs in kept:
        for mine, expected in zip(ours, theirs):
            torch.testing.assert_close(mine, expected, rtol=0, atol=0)
    places = {result.untyped_storage().data_ptr() for ours, _ in kept for result in ours}
    assert len(places) >= len(kept)
    assert recorder.recorded == captured.graph_count == 1
    assert recorder.depth == 0


def test_shapes_that_take_turns_have_a_graph_each_and_the_oldest_goes():
    recorder = Repeated()
    captured = Captured("both", both, recorder, most=2)
    for turn in range(4):
        for size in (1, 4):
            given = rows(turn, size, 3), rows(turn, 3, 2)
            torch.testing.assert_close(captured(*given)[0], both(*given)[0], rtol=0, atol=0)
    assert (recorder.recorded, captured.graph_count) == (2, 2)
    for _ in range(2):
        captured(rows(0, 7, 3), rows(0, 3, 2))
    assert (recorder.recorded, captured.graph_count) == (3, 2)
    captured(rows(0, 4, 3), rows(0, 3, 2))
    assert recorder.recorded == 3
    captured(rows(0, 1, 3), rows(0, 3, 2))
    assert (recorder.recorded, captured.graph_count) == (4, 2)


def test_what_comes_once_is_not_recorded():
    recorder = Repeated()
    captured = Captured("both", both, recorder)
    for size in range(1, 20):
        captured(rows(size, size, 3), rows(size, 3, 2))
    assert recorder.recorded == 0


def test_what_cannot_be_recorded_runs_as_it_is_and_says_so_once(caplog):
    captured = Captured("transition.forecast", both, Repeated(refusal="operation not permitted\nwhen capturing"))
    with caplog.at_level(logging.WARNING):
        for seed in range(5):
            given = rows(seed, 5, 3), rows(seed, 3, 2)
            torch.testing.assert_close(captured(*given), both(*given), rtol=0, atol=0)
    assert captured.refused == "operation not permitted"
    assert [each.getMessage() for each in caplog.records] == [
        "transition.forecast runs without a CUDA graph: operation not permitted"
    ]


def test_what_is_large_is_computed_as_it_is(monkeypatch):
    monkeypatch.setattr("world_model.runtime.captured.MOST_BYTES", 1000)
    recorder = Repeated()
    captured = Captured("both", both, recorder)
    for _ in range(3):
        captured(rows(0, 500, 3), rows(0, 3, 2))
    assert recorder.recorded == 0
    assert not captured.refused


def test_what_came_from_the_host_goes_back_to_it_and_is_waited_for():
    recorder = Repeated(device_doubles=True)
    captured = Captured("scaled", lambda one, two: one * two, recorder)
    host, device = torch.ones(3), torch.full((3,), 2.0, dtype=torch.float64)
    for _ in range(3):
        captured(host, device)
    assert recorder.said[-3:] == ["joined", "waited", "gave 0"]
    for _ in range(3):
        captured(host, 3 * host)
    assert recorder.said[-3:] == ["alone", "waited", "gave 0"]
    for _ in range(3):
        captured(device, device)
    assert recorder.said[-2:] == ["joined", "gave 1"]


def test_a_state_stays_and_nothing_is_written_over_what_was_not_read_yet():
    recorder = Repeated(device_doubles=True)
    captured = Captured("observe", lambda one, state: state + one, recorder, stays=True)
    state = torch.zeros(2, dtype=torch.float64)
    for step in range(4):
        state = captured(torch.full((2,), float(step)), state)
    assert state.tolist() == [6.0, 6.0]
    # The second replay waits for the first one's upload before it fills the buffer again.
    assert recorder.said[-5:] == ["joined", "gave 1", "waited", "joined", "gave 1"]


def test_constants_are_part_of_what_is_recorded():
    captured = Captured("shifted", lambda one, by, other: one + by if other is None else one - by, Repeated())
    for by, other in ((1.0, None), (2.0, None), (1.0, torch.ones(1))) * 3:
        expected = 5.0 + by if other is None else 5.0 - by
        assert captured(torch.full((2,), 5.0), by, other).tolist() == [expected] * 2


def test_buffers_made_under_one_mode_serve_under_another():
    captured = Captured("both", both, Repeated())
    given = rows(1, 5, 3), rows(2, 3, 2)
    with torch.inference_mode():
        inside = [captured(*given) for _ in range(3)][-1]
    outside = captured(rows(3, 5, 3).requires_grad_(), given[1])
    assert not any(result.is_inference() or result.requires_grad for result in (*inside, *outside))
    torch.testing.assert_close(inside, both(*given))


def test_threads_that_call_at_once_each_get_their_own():
    captured = Captured("both", both, Repeated())
    wrong = []

    def call(seed):
        for turn in range(30):
            given = rows(1000 * seed + turn, 5, 3), rows(seed, 3, 2)
            if not torch.equal(captured(*given)[0], both(*given)[0]):
                wrong.append(seed)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---------------------------------------------------------------- the parts of an artifact


@pytest.fixture
def recorders(monkeypatch):
    """Every part of an artifact runs on a stand-in; returns them by part."""
    made = {}

    def on_stand_in(module, part, methods, device):
        made.setdefault(part, []).append(Repeated())
        return CapturedModule(module, part, methods, made[part][-1])

    monkeypatch.setattr("world_model.runtime.torch_parts.on_device", on_stand_in)
    return made


def drive(artifact, steps=25):
    predictor, found = Predictor(artifact), []
    rng = np.random.default_rng(3)
    for step in range(steps):
        pose = Pose2(0.06 * step, 0.0, 0.0, 0.0)
        item = Observation(step * 50_000_000, rng.normal(size=32).astype(np.float32), pose, np.array([1.2, 0.0]))
        requests = predictor.observe(item)
        near = Memory(step, 0, item.latent_D, Pose2(0.06 * step + 0.1, 0.02, 0.0, 0.0))
        answer = [[near] * (step % 3)] * len(requests) if step % 4 else None
        found += [each.latent_D for each in predictor.predict(answer).forecasts]
    plan = Plan.of_actions(rng.normal(size=(7, 12, 2)).astype(np.float32), 2, artifact.manifest.step_s)
    imagination = Imagination(artifact)
    found += [imagination.imagine(predictor.moment(), plan, None).latent_BSD.reshape(-1, 32) for _ in range(3)]
    return np.concatenate([np.atleast_2d(each) for each in found])


@pytest.mark.slow
def test_predictor_and_imagination_say_what_they_said(recorders):
    # Of an artifact without graphs, torch runs every part.
    tiny = artifacts.load_artifact("artifact://tiny")
    tiny = replace(tiny, manifest=replace(tiny.manifest, graphs={}))
    recorded = drive(tiny)
    counts = [each.recorded for each in recorders["transition"]]
    assert min(counts) > 0, "nothing was recorded"
    plain = drive(replace(tiny, captures=False))
    np.testing.assert_allclose(recorded, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 4, 256])
def test_every_part_of_the_shipped_artifact_says_what_it_said(recorders, batch):
    artifact = artifacts.load_artifact("artifact://tiny")
    plain = artifacts.Artifact(**{**vars(artifact), "captures": False})
    observed, retrieved = example_inputs(size_of(plain), 2, batch=batch)
    image = torch.randint(0, 256, (batch, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    calls = {
        "encoder": lambda each: (each(image, None, None),),
        "decoder": lambda each: (each(observed.latent),),
        "transition": lambda each: (
            each.observe(observed.latent, observed.action, observed.state), *each.forecast(observed, retrieved)
        ),
        "without_memory": lambda each: (each.foresee_path(observed), *each.forecast(observed, retrieved)),
    }  # fmt: skip
    for part, call in calls.items():
        ours, theirs = getattr(artifact, part)(), getattr(plain, part)()
        with torch.inference_mode():
            expected = call(theirs)
            for _ in range(3):
                found = call(ours)
        assert recorders[part][-1].recorded >= 1
        for mine, other in zip(found, expected):
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


def size_of(artifact):
    """Stands for a network of the artifact's sizes."""
    transition = artifact.transition()
    model = Transition.__new__(Transition)
    torch.nn.Module.__init__(model)
    model.latent_dim, model.history_dim, model.state_dim = 32, 896, transition.initial(1).shape[1]
    model.latent_mean, model.latent_std = torch.zeros(32), torch.ones(32)
    return model


def test_the_fused_forecast_in_one_piece_is_the_one_in_chunks():
    artifact = artifacts.load_artifact("artifact://tiny")
    fused = FusedForecast(artifact.weights("transition"))
    observed, retrieved = example_inputs(size_of(artifact), 2, batch=100)
    captured = Captured("fused", fused.at_once, Repeated())
    expected = fused.forecast(observed, retrieved)
    for _ in range(3):
        found = captured(observed, retrieved)
    for mine, other in zip(found, expected):
        torch.testing.assert_close(mine, other, rtol=2e-5, atol=2e-5)


def test_a_part_may_be_loaded_where_torchscript_may_not_compile():
    with torch.jit.optimized_execution(False), torch.inference_mode():
        transition = load_artifact("artifact://tiny").transition()
        state = transition.observe(torch.zeros(1, 32), torch.zeros(1, 2), transition.initial(1))
    assert torch.isfinite(state).all()
