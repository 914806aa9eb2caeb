"""What runs on a GPU: every part lies there and says what it says on the CPU. Skipped by name where there is none."""

import logging
import threading
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from wm_core.se2 import Pose2
from world_model.evaluation.bank import MemoryBank
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.captured import Captured
from world_model.runtime.cuda_graphs import CudaGraphs
from world_model.runtime.fused import FusedForecast
from world_model.runtime.imagination import Imagination
from world_model.runtime.imagined import Plan
from world_model.runtime.on_device import CapturedModule
from world_model.runtime.predictor import Observation, Predictor
from world_model.runtime.tensors import Observed, Retrieved

pytestmark = pytest.mark.training

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
PARTS = ("encoder", "transition", "without_memory", "decoder", "world_action")
LAP_S, FRAMES = 4, 500


@pytest.fixture(autouse=True)
def uncompiled():
    """What TorchScript compiles for a GPU takes most of a minute for every shape, and is not what is compared."""
    with torch.jit.optimized_execution(False):
        yield


@cache
def loaded(device):
    """The artifact with its parts loaded once."""
    artifact = load_artifact("artifact://tiny", device)
    plain = replace(artifact, captures=False)
    return artifact, plain.encoder(), plain.transition()


@cache
def state_size():
    return load_artifact("artifact://tiny").transition().initial(1).shape[1]


def inputs(batch, horizons=2, seed=0, *, followed=0.6):
    """Inputs of the shipped transition's forecast, on the host."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    def some(share, *shape):
        return torch.rand(*shape, generator=rng) < share

    known = (torch.rand(batch, horizons, 1, generator=rng) < 0.9).float()
    motion = torch.cat([0.5 * normal(batch, horizons, 3), known, 0.05 * normal(batch, horizons, 3).abs()], 2)
    state = 0.5 * normal(batch, state_size())
    observed = Observed(
        state, normal(batch, 32), normal(batch, 2), motion,
        torch.linspace(0.2, 2.0, horizons).expand(batch, -1), torch.zeros(batch, 896),
        torch.zeros(batch, dtype=torch.int64),
    )  # fmt: skip
    retrieved = Retrieved(
        normal(batch, horizons, 8, 32), 0.3 * normal(batch, horizons, 8, 6), some(0.8, batch, horizons, 8),
        normal(batch, 4, 32), 0.3 * normal(batch, 4, 7), some(0.7, batch, 4),
        normal(batch, horizons, 4, 32), some(followed, batch, horizons, 4),
    )  # fmt: skip
    return observed, retrieved


def on(device, given):
    return tuple(type(each)(*(value.to(device) for value in each)) for each in given)


def pictures(batch, seed):
    return torch.randint(
        0, 256, (batch, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )  # fmt: skip


def assert_same(ours, theirs, share=1e-5):
    """Within a share of the largest value."""
    for mine, other in zip(ours, theirs, strict=True):
        mine, other = mine.cpu(), other.cpu()
        assert torch.isfinite(mine).all()
        assert float((mine - other).abs().max()) <= share * max(float(other.abs().max()), 1e-3)


def parts(*, fuses=False):
    """Encoder and transition as they are, with the recorder that they are measured by, and the same recorded."""
    _, plain_encoder, plain_transition = loaded("cuda")
    recorder = CudaGraphs("cuda")
    encoder = CapturedModule(plain_encoder, "encoder", ("forward",), recorder)
    methods = ("observe", "foresee_path", "forecast")
    transition = CapturedModule(plain_transition, "transition", methods, recorder, fuses=fuses)
    return plain_encoder, plain_transition, recorder, encoder, transition


@needs_cuda
def test_every_part_of_the_shipped_artifact_lies_on_the_gpu():
    artifact = load_artifact("artifact://tiny", "cuda")
    for part in PARTS:
        state = getattr(artifact, part)().state_dict()
        assert {value.device.type for value in state.values()} <= {"cuda"}, part
    assert artifact.transition().initial(2).device.type == "cuda"


@needs_cuda
@pytest.mark.parametrize("batch", [1, 4, 256])
def test_what_is_recorded_says_what_it_said_call_by_call(batch):
    plain_encoder, plain, recorder, encoder, transition = parts()
    kept = []
    with torch.inference_mode():
        for seed in range(4):
            image = pictures(batch, seed)
            here = inputs(batch, seed=seed)
            there = on("cuda", here)
            with recorder.exact():
                expected = (
                    plain_encoder(image.cuda(), None, None),
                    plain.observe(there[0].latent, there[0].action, there[0].state),
                    plain.foresee_path(there[0]),
                    *plain.forecast(*there),
                )
            for given, picture in ((here, image), (there, image.cuda())):
                ours = (
                    encoder(picture, None, None),
                    transition.observe(given[0].latent, given[0].action, given[0].state),
                    transition.foresee_path(given[0]),
                    *transition.forecast(*given),
                )
                assert_same(ours, expected)
                assert ours[0].is_cuda == picture.is_cuda, "what came from the host goes back"
                assert ours[1].is_cuda, "a state stays"
                assert ours[3].is_cuda == given[0].latent.is_cuda
                kept.append((ours, [value.clone() for value in expected]))
    for ours, theirs in kept:
        assert_same(ours, theirs)
    for module in (encoder, transition):
        for method in module.captured.values():
            assert method.refused == ""
            assert method.graph_count == 2, f"{method.name}: from the host and from the GPU"


@needs_cuda
def test_graphs_of_two_batches_and_of_two_parts_take_turns():
    plain_encoder, plain, recorder, encoder, transition = parts()
    for seed in range(8):
        for batch in (1, 4):
            given, image = inputs(batch, seed=100 * batch + seed), pictures(batch, seed)
            with torch.inference_mode(), recorder.exact():
                theirs = plain.forecast(*on("cuda", given))
                latent = plain_encoder(image.cuda(), None, None)
            ours = transition.forecast(*given)
            assert_same((encoder(image, None, None),), (latent,))
            assert_same(ours, theirs)


@needs_cuda
def test_a_state_goes_from_call_to_call_on_the_gpu():
    _, plain, recorder, _, transition = parts()
    mine, theirs = transition.initial(1), plain.initial(1)
    with torch.inference_mode():
        for seed in range(30):
            observed = inputs(1, seed=seed)[0]
            mine = transition.observe(observed.latent, observed.action, mine)
            with recorder.exact():
                theirs = plain.observe(observed.latent.cuda(), observed.action.cuda(), theirs)
    assert_same((mine,), (theirs,), share=1e-4)


@needs_cuda
def test_many_shapes_keep_few_graphs():
    _, plain, recorder, _, _ = parts()
    forecast = Captured("forecast", plain.forecast, recorder, most=2)
    for _ in range(3):
        for batch in (1, 2, 3, 5):
            given = inputs(batch, seed=batch)
            with torch.inference_mode(), recorder.exact():
                theirs = plain.forecast(*on("cuda", given))
            assert_same(forecast(*given), theirs)
    assert forecast.graph_count == 2
    assert forecast.refused == ""


@needs_cuda
def test_threads_with_parts_of_their_own_do_not_disturb_one_another():
    wrong = []

    def work(seed):
        plain = replace(load_artifact("artifact://tiny", "cuda"), captures=False).transition()
        transition = CapturedModule(plain, "transition", ("forecast",), CudaGraphs("cuda"))
        # Each thread has a setting of its own.
        with torch.jit.optimized_execution(False):
            take_turns(seed, plain, transition)

    def take_turns(seed, plain, transition):
        for turn in range(20):
            given = inputs(1 + seed, seed=1000 * seed + turn)
            with torch.inference_mode():
                found = transition.forecast(*given)[0]
                theirs = plain.forecast(*on("cuda", given))[0].cpu()
            if float((found - theirs).abs().max()) > 1e-4:
                wrong.append((seed, turn))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@needs_cuda
def test_predictions_on_the_gpu_are_those_on_the_cpu():
    """Circles of four seconds: after twenty and one round all of it is a revisit, and evidence has its say."""
    rng = np.random.default_rng(0)
    image_TSSC = rng.integers(0, 256, (80, 64, 64, 3), dtype=np.uint8)
    made = {}
    for device in ("cpu", "cuda"):
        artifact = load_artifact("artifact://tiny", device)
        with torch.inference_mode():
            latent_TD = artifact.encoder()(torch.from_numpy(image_TSSC), None, None).cpu().numpy()
        predictor, bank, rows = Predictor(artifact), MemoryBank(), []
        for t in range(FRAMES):
            angle = t * 0.05 * 2 * np.pi / LAP_S
            pose = Pose2(0.8 * np.sin(angle), 0.8 - 0.8 * np.cos(angle) + 1e-4 * t, 0.0, angle)
            item = Observation(t * 50_000_000, latent_TD[t % 80], pose, np.array([1.2, 1.5], np.float32))
            observed = predictor.observe(item)
            if not 20 <= t < FRAMES - 60:
                prediction = predictor.predict(bank.answer(observed))
                rows.append([forecast.latent_D for forecast in prediction.forecasts])
            bank.observe(item)
        assert prediction.forecasts[1].revisit
        made[device] = np.array(rows)
    unit = np.sqrt(np.array(artifact.manifest.latent_variance)).mean()
    # TF32 is off by default for what runs here; single precision in another order is what remains.
    assert np.abs(made["cuda"] - made["cpu"]).max() / unit < 0.02
    assert np.isfinite(made["cuda"]).all()


@needs_cuda
def test_imagination_on_the_gpu_is_that_on_the_cpu():
    made = []
    for device in ("cpu", "cuda"):
        artifact = load_artifact("artifact://tiny", device)
        predictor, rng = Predictor(artifact), np.random.default_rng(1)
        for step in range(30):
            pose = Pose2(0.06 * step, 0.0, 0.0, 0.0)
            latent_D = rng.normal(size=32).astype(np.float32)
            predictor.observe(Observation(step * 50_000_000, latent_D, pose, np.array([1.2, 0.0], np.float32)))
        plan = Plan.of_actions(rng.normal(size=(16, 20, 2)).astype(np.float32), 2, artifact.manifest.step_s)
        imagination = Imagination(artifact)
        made.append([imagination.imagine(predictor.moment(), plan, None).latent_BSD for _ in range(3)][-1])
    np.testing.assert_allclose(made[1], made[0], atol=2e-3)


@needs_cuda
def test_the_slow_branch_on_the_gpu_is_that_on_the_cpu():
    made = []
    for device in ("cpu", "cuda"):
        artifact = load_artifact("artifact://tiny", device)
        sizes, branch = artifact.manifest.world_action, artifact.world_action()
        size, count = int(sizes["image_size"]), int(sizes["history"])
        rng = torch.Generator().manual_seed(2)
        image = torch.randint(0, 256, (1, 1, size, size, 3), dtype=torch.uint8, generator=rng)
        history = torch.randn(1, count, int(sizes["embedding_dim"]), generator=rng)
        with torch.inference_mode():
            for _ in range(3):
                embedded = branch.embed(image, torch.ones(1, 1, dtype=torch.bool))
                foreseen = branch.foresee(history, torch.tensor([count]))
        made.append((embedded, foreseen))
    assert_same(made[1], made[0], share=1e-4)


@needs_cuda
@pytest.mark.parametrize(("followed", "where"), [(0.6, "cpu"), (0.0, "cpu"), (0.6, "cuda"), (0.0, "cuda")])
def test_the_fused_forecast_on_the_gpu_is_that_on_the_cpu(followed, where):
    weights = {device: loaded(device)[0].weights("transition") for device in ("cpu", "cuda")}
    ours, theirs = FusedForecast(weights["cuda"]), FusedForecast(weights["cpu"])
    for seed in range(3):
        given = inputs(256, 10, seed=seed, followed=followed)
        for mine, other in zip(ours.forecast(*on(where, given)), theirs.forecast(*given)):
            assert mine.device.type == where
            torch.testing.assert_close(mine.cpu(), other, atol=5e-5, rtol=5e-5)
    assert ours._captured.refused == ""
    assert ours._captured.graph_count == 1


@needs_cuda
def test_kernels_that_torchscript_compiles_are_recorded_too():
    """Of the smallest method alone: compiling takes seconds."""
    _, plain, recorder, _, _ = parts()
    observe = Captured("observe", plain.observe, recorder, fuses=True)
    for seed in range(4):
        observed = inputs(1, seed=seed)[0]
        given = observed.latent.cuda(), observed.action.cuda(), observed.state.cuda()
        with torch.inference_mode(), recorder.exact():
            expected = plain.observe(*given)
        assert_same((observe(*given),), (expected,))
    assert observe.refused == ""
    assert observe.graph_count == 1


# The last: a recording that broke leaves torch's own generator on that GPU in doubt.
@needs_cuda
def test_what_cannot_be_recorded_runs_as_it_is_and_says_so_once(caplog):
    def looks(value):
        return value * (2.0 if float(value.sum()) > 0.0 else 3.0)

    captured = Captured("looks", looks, CudaGraphs("cuda"))
    with caplog.at_level(logging.WARNING):
        for sign in (1.0, -1.0, 1.0, -1.0, -1.0):
            found = captured(torch.full((4,), sign))
            assert found.tolist() == [2.0 if sign > 0 else -3.0] * 4
    assert captured.refused
    assert sum("looks runs without a CUDA graph" in each.getMessage() for each in caplog.records) == 1
    other = Captured("doubled", lambda value: 2 * value, CudaGraphs("cuda"))
    for value in (1.0, 2.0, 3.0):
        assert other(torch.full((4,), value)).tolist() == [2.0 * value] * 4
    assert other.refused == "", "what follows is recorded all the same"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_asking_for_one_is_refused_by_name():
    from world_model.errors import ArtifactError

    with pytest.raises(ArtifactError, match="device 'cuda' was asked for"):
        load_artifact("artifact://tiny", "cuda")
