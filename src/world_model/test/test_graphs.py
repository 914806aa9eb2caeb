"""Parts as ONNX graphs beside their TorchScript: the same answers, one copy of the weights, refusals by name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wm_core.se2 import Pose2
from wm_testing.artifacts import make_random_artifact
from world_model.errors import ArtifactError
from world_model.runtime.arrays import ObservedArrays, RetrievedArrays
from world_model.runtime.artifact_folder import add_part, write_artifact
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.conditioning import ANTICIPATED_FEATURES, APPEARANCE_FEATURES, MOTION_FEATURES
from world_model.runtime.graphs import ONNXRUNTIME, TORCHSCRIPT, Arrays
from world_model.runtime.predictor import Observation, Predictor
from world_model.runtime.retrieved import Memory
from world_model.runtime.served import ServedDecoder, served_encoder, served_slow_branch, served_transition
from world_model.runtime.served_torch import TorchEncoder, TorchSlowBranch, TorchTransition
from world_model.runtime.tensors import Observed, Retrieved

# The most by which two runtimes of one encoder_id may differ, in standard deviations of the latents.
TOLERANCE = 1e-4
TINY = load_artifact("artifact://tiny")
PLAIN = replace(TINY, manifest=replace(TINY.manifest, graphs={}))
BY_ONNX, BY_TORCH = served_transition(TINY), served_transition(PLAIN)
STEP_NS = 50_000_000


@pytest.fixture
def copied(tmp_path) -> Path:
    return Path(shutil.copytree(TINY.path, tmp_path / "tiny"))


def drawn(seed: int, batch: int, horizons: int, near: int, alike: int, share: float):
    """Return a situation in which a share of the memories is real, and some actions are not known."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    action = normal(batch, 2)
    action[rng.random(batch) < 0.3] = np.nan
    observed = ObservedArrays(
        state=normal(batch, BY_ONNX.initial(1).shape[1]) * 0.3,
        latent=normal(batch, 32),
        action=action,
        motion=np.abs(normal(batch, horizons, MOTION_FEATURES)),
        horizon_s=rng.uniform(0.05, 2.0, (batch, horizons)).astype(np.float32),
        history=normal(batch, 896),
        history_count=rng.integers(0, 5, batch),
    )
    retrieved = RetrievedArrays(
        anticipated_latent=normal(batch, horizons, near, 32),
        anticipated_feature=0.3 * normal(batch, horizons, near, ANTICIPATED_FEATURES),
        anticipated_valid=rng.random((batch, horizons, near)) < share,
        appearance_latent=normal(batch, alike, 32),
        appearance_feature=0.3 * normal(batch, alike, APPEARANCE_FEATURES),
        appearance_valid=rng.random((batch, alike)) < share,
        successor_latent=normal(batch, horizons, alike, 32),
        successor_valid=rng.random((batch, horizons, alike)) < share,
    )
    return observed, retrieved


def test_arrays_have_the_fields_of_tensors():
    assert ObservedArrays._fields == Observed._fields
    assert RetrievedArrays._fields == Retrieved._fields


def test_the_shipped_artifact_runs_in_onnxruntime_and_its_encoder_is_the_same():
    assert TINY.manifest.encoder_id == "eb9b7eda7deda7e0"
    for part in ("encoder", "transition", "world_action"):
        entry = TINY.manifest.graphs_of(part)
        assert entry.runtime == ONNXRUNTIME
        assert entry.ms[ONNXRUNTIME] <= entry.ms[TORCHSCRIPT]
        assert entry.difference <= TOLERANCE
    assert isinstance(BY_TORCH, TorchTransition)
    assert not isinstance(BY_ONNX, TorchTransition)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31), batch=st.integers(1, 5), horizons=st.integers(1, 4), near=st.integers(1, 12),
    alike=st.integers(1, 6), share=st.sampled_from([0.0, 0.5, 1.0]),
)  # fmt: skip
def test_both_runtimes_forecast_the_same(seed, batch, horizons, near, alike, share):
    observed, retrieved = drawn(seed, batch, horizons, near, alike, share)
    pairs = [
        (BY_ONNX.observe(observed.latent, observed.action, observed.state),
         BY_TORCH.observe(observed.latent, observed.action, observed.state)),
        (BY_ONNX.foresee_path(observed), BY_TORCH.foresee_path(observed)),
        *zip(BY_ONNX.forecast(observed, retrieved), BY_TORCH.forecast(observed, retrieved)),
    ]  # fmt: skip
    for one, other in pairs:
        np.testing.assert_allclose(one, np.asarray(other), rtol=0, atol=TOLERANCE)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), batch=st.integers(1, 4))
def test_both_runtimes_see_the_same(seed, batch):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (batch, 64, 64, 3), np.uint8)
    np.testing.assert_allclose(
        served_encoder(TINY)(image), TorchEncoder(PLAIN.encoder())(image), rtol=0, atol=TOLERANCE
    )


def test_both_runtimes_of_the_slow_branch_agree():
    rng, one, other = np.random.default_rng(1), served_slow_branch(TINY), TorchSlowBranch(PLAIN.world_action())
    for batch, views in ((1, 1), (2, 3)):
        image, valid = rng.integers(0, 256, (batch, views, 64, 64, 3), np.uint8), np.ones((batch, views), bool)
        valid[0, -1] = views == 1
        np.testing.assert_allclose(one.embed(image, valid), other.embed(image, valid), rtol=0, atol=TOLERANCE)
        history, count = rng.normal(size=(batch, 4, 224)).astype(np.float32), np.arange(batch) % 4 + 1
        np.testing.assert_allclose(one.foresee(history, count), other.foresee(history, count), rtol=0, atol=TOLERANCE)


def drive(artifact) -> np.ndarray:
    """Return what a predictor says of forty frames, with memories now and then, a gap and steps left out."""
    rng, predictor, said = np.random.default_rng(2), Predictor(artifact), []
    for number in (*range(20), *range(22, 30), *range(60, 72)):
        latent_D, remembered_D = np.sin(0.1 * number + np.arange(64)).reshape(2, 32).astype(np.float32)
        action_A = None if number % 7 == 3 else rng.normal(size=2).astype(np.float32)
        predictor.observe(Observation(number * STEP_NS, latent_D, Pose2(0.05 * number, 0.0, 0.0, 0.1), action_A))
        memory = Memory(1, 0, remembered_D, Pose2(0.05 * number, 0.1, 0.0, 0.1), action_A, ((1.0, 1.0, latent_D),))
        prediction = predictor.predict([[memory] * (number % 4)] * 3 if number % 5 else None)
        said.append([[f.latent_D, f.without_memory_D, f.network_D] for f in prediction.forecasts])
    return np.array(said)


def test_the_predictor_says_the_same_with_both():
    np.testing.assert_allclose(drive(TINY), drive(PLAIN), rtol=0, atol=TOLERANCE)


def test_statistics_are_the_same_without_torch():
    for one, other in zip(TINY.action_statistics(), PLAIN.action_statistics()):
        np.testing.assert_array_equal(one, other)


def test_a_decoder_shows_the_same_without_torch():
    latent_ND = np.random.default_rng(0).normal(size=(3, 32)).astype(np.float32)
    with torch.inference_mode():
        expected = PLAIN.decoder()(torch.from_numpy(latent_ND)).numpy()
    assert np.abs(ServedDecoder(TINY)(latent_ND).astype(int) - expected).max() <= 1


def test_who_looks_at_pictures_imports_no_torch():
    """However fast torch decodes: its import would hold up a graph of one process for a second."""
    assert TINY.manifest.graphs_of("decoder").runtime == ONNXRUNTIME
    looks = """
import sys
import numpy as np
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.served import ServedDecoder
assert ServedDecoder(load_artifact("artifact://tiny"))(np.zeros((2, 32), np.float32)).shape == (2, 64, 64, 3)
print("torch" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", looks], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.strip()) == (0, "False"), run.stderr


# ---------------------------------------------------------------- what is damaged, stale or missing


def rewritten(path: Path, change) -> None:
    entries = json.loads((path / "manifest.json").read_text())
    change(entries["graphs"]["transition"], entries)
    entries.pop("digest", None)  # changed on purpose
    (path / "manifest.json").write_text(json.dumps(entries))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda graphs, _: graphs.update(of="0" * 64), "of part 'transition' are of another file"),
        (lambda graphs, _: graphs.update(runtime="java"), "runtime is 'java'"),
        (lambda graphs, _: graphs.update(more=1), "is none"),
        (lambda graphs, _: graphs["files"].update(observe="../observe.onnx"), "lack '../observe.onnx'"),
        (lambda graphs, _: graphs["files"].pop("observe"), "of different methods"),
        (lambda graphs, _: graphs["buffers"].update(action_mean="../data/1:2"), "no place in a TorchScript file"),
        (lambda graphs, _: graphs["weights"].update(observe=[]), "weights are no tables"),
        (lambda graphs, _: graphs["weights"].update(observe={"a": 7}), "no place"),
        (lambda _, entries: entries.update(graphs=[]), "graphs is"),
        (lambda _, entries: entries["graphs"].update(transition=3), "is none"),
        (lambda _, entries: entries["files"].pop("transition.pt"), "are of another file"),
    ],
)
def test_a_manifest_whose_graphs_cannot_be_is_refused(copied, change, said):
    rewritten(copied, change)
    with pytest.raises(ArtifactError, match=said):
        load_artifact(copied)


def test_a_graph_that_was_changed_is_refused(copied):
    file = copied / "transition.forecast.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(ArtifactError, match=r"transition\.forecast\.onnx does not match its manifest"):
        load_artifact(copied)
    file.unlink()
    with pytest.raises(ArtifactError, match=r"transition\.forecast\.onnx is named by the manifest but missing"):
        load_artifact(copied)


def test_a_graph_that_is_none_is_refused(copied):
    (copied / "transition.forecast.onnx").write_bytes(b"no graph at all")
    write_artifact(copied, json.loads((copied / "manifest.json").read_text()), {})
    with pytest.raises(ArtifactError, match=r"transition\.forecast\.onnx is not an ONNX file"):
        served_transition(load_artifact(copied))


@pytest.mark.parametrize(("place", "said"), [("data/9999:2x2", "cannot be read"), ("data/2:3", "expected 3 floats")])
def test_a_weight_that_lies_nowhere_is_named(place, said):
    with pytest.raises(ArtifactError, match=f"tiny: transition/{place.split(':')[0]}.*{said}"):
        Arrays((TINY.path / "transition.pt").read_bytes(), "tiny").at(place)


def test_a_weight_of_another_size_is_refused_by_name(copied):
    rewritten(copied, lambda graphs, _: graphs["weights"]["observe"].update(dict.fromkeys(
        graphs["weights"]["observe"], "data/2:2")))  # fmt: skip
    with pytest.raises(ArtifactError, match=r"transition\.observe\.onnx is not an ONNX file"):
        served_transition(load_artifact(copied))


def test_what_is_no_archive_is_named():
    with pytest.raises(ArtifactError, match="some is not a TorchScript file"):
        Arrays(b"PK no zip", "some")


def test_another_part_leaves_no_graphs_of_the_former(copied):
    manifest = add_part(copied, "transition", torch.jit.load(str(copied / "without_memory.pt")))
    assert set(manifest.graphs) == {"encoder", "decoder", "world_action"}
    assert not list(copied.glob("transition.*.onnx"))
    assert manifest.encoder_id == TINY.manifest.encoder_id
    assert isinstance(served_transition(load_artifact(copied)), TorchTransition)


@pytest.mark.training
def test_a_slow_branch_is_carried_over_with_its_graphs(tmp_path):
    from world_model.export.torchscript import carry_slow_branch

    make_random_artifact(tmp_path)
    manifest = carry_slow_branch("artifact://tiny", tmp_path)
    assert set(manifest.graphs) == {"world_action"}
    assert not isinstance(served_slow_branch(load_artifact(tmp_path)), TorchSlowBranch)


@pytest.mark.training
def test_the_artifact_that_is_made_here_has_the_shipped_slow_branch_with_its_graphs(tmp_path):
    from world_model.export.generic import slow_branch

    make_random_artifact(tmp_path)
    entries = json.loads((tmp_path / "manifest.json").read_text())
    write_artifact(tmp_path, {**entries, "graphs": slow_branch(tmp_path)}, {})
    assert not isinstance(served_slow_branch(load_artifact(tmp_path)), TorchSlowBranch)


def test_without_onnxruntime_torch_runs_every_part(monkeypatch):
    monkeypatch.setattr("world_model.runtime.artifacts.is_installed", lambda: False)
    assert isinstance(served_transition(TINY), TorchTransition)
    assert isinstance(served_encoder(TINY), TorchEncoder)


def test_a_method_without_a_graph_is_left_to_torch():
    assert isinstance(served_transition(TINY, further=("outcomes",)), TorchTransition)
