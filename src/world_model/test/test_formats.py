"""Artifacts of format 2 still load, predict and can be written again; the shipped one speaks as its former export did.

``fixtures/format2`` and both ``.npz`` files were written by the last release of that format and are never renewed.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from wm_core.se2 import Pose2
from wm_testing.artifacts import make_random_artifact
from world_model.errors import ArtifactError
from world_model.runtime.artifact_folder import add_part
from world_model.runtime.artifacts import FORMAT_VERSION, load_artifact
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.former import FormerTransition
from world_model.runtime.predictor import Observation, Predictor
from world_model.runtime.retrieved import Memory
from world_model.runtime.tensors import Observed, Retrieved

FIXTURES = Path(__file__).parent / "fixtures"
FORMAT2 = FIXTURES / "format2"
TOLERANCE = 1e-6


def stored_inputs(stored, kind):
    """Return the inputs that a former transition was given."""

    def fields(of):
        return of(**{name: torch.from_numpy(stored[f"{kind}/in/{name}"]) for name in of._fields})

    return fields(Observed), fields(Retrieved)


def outputs(transition, observed, retrieved):
    """Return everything that a transition computes, by the names in the files."""
    with torch.inference_mode():
        forecast, without, gate = transition.forecast(observed, retrieved)
        state = transition.observe(observed.latent, observed.action, observed.state)
        path = transition.foresee_path(observed)
    return {"forecast": forecast, "without": without, "gate": gate, "observe": state, "path": path}


def assert_as_stored(artifact, path, kinds, parts):
    stored = np.load(path)
    for kind in kinds:
        given = stored_inputs(stored, kind)
        for part in parts:
            for name, value in outputs(getattr(artifact, part)(), *given).items():
                np.testing.assert_allclose(
                    value.numpy(), stored[f"{kind}/{part}/{name}"], rtol=0, atol=TOLERANCE, err_msg=f"{part} {name}"
                )


def test_the_shipped_artifact_says_what_its_former_export_said():
    """With and without memories and history, on random latents and on those of pictures along the principal axes."""
    artifact = load_artifact("artifact://tiny")
    assert artifact.manifest.format_version == FORMAT_VERSION == 4
    assert artifact.manifest.encoder_id == "eb9b7eda7deda7e0"
    assert_as_stored(artifact, FIXTURES / "tiny_format2.npz", ("random", "pictures"), ("transition", "without_memory"))


def test_stored_inputs_have_memories_and_a_history_and_lack_them():
    stored = np.load(FIXTURES / "tiny_format2.npz")
    for kind in ("random", "pictures"):
        observed, retrieved = stored_inputs(stored, kind)
        assert set((observed.history_count > 0).tolist()) == {True, False}
        assert set(retrieved.anticipated_valid.flatten(1).any(dim=1).tolist()) == {True, False}
        assert set(retrieved.appearance_valid.any(dim=1).tolist()) == {True, False}
        assert np.abs(stored[f"{kind}/transition/forecast"] - stored[f"{kind}/transition/without"]).max() > 0.1


def test_an_artifact_of_format_2_still_forecasts():
    artifact = load_artifact(FORMAT2)
    assert artifact.manifest.format_version == 2
    assert isinstance(artifact.transition(), FormerTransition)
    assert_as_stored(artifact, FIXTURES / "format2_outputs.npz", ("random",), ("transition",))
    retrieval = Retrieval.from_manifest(artifact.manifest.memory)
    assert (retrieval.anticipated_k, retrieval.appearance_k, retrieval.yaw_tolerance_rad) == (8, 4, 0.7)


def drive(artifact):
    """Return what the network makes of twelve frames with memories and histories now and then, [12, H, 2, D]."""
    rng, predictor, rows = np.random.default_rng(5), Predictor(artifact), []
    action_A = np.array([1.0, 0.1], np.float32)
    for step in range(12):
        latent_D, remembered_D = rng.normal(size=(2, 4)).astype(np.float32)
        predictor.observe(Observation(step * 50_000_000, latent_D, Pose2(0.05 * step, 0.0, 0.0, 0.0), action_A))
        successors = ((1.0, 1.0, -remembered_D), (0.05, 0.05, 2 * remembered_D))
        memory = Memory(1, 0, remembered_D, Pose2(0.05 * step + 0.3, 0.1, 0.0, 0.1), action_A, successors)
        history_N = rng.normal(size=896).astype(np.float32)
        prediction = predictor.predict([[memory]] * 3 if step % 3 else None, history_N if step % 2 else None, 3)
        rows.append([[f.network_D, f.network_without_D] for f in prediction.forecasts])
    return np.array(rows)


@pytest.mark.slow
def test_an_artifact_of_format_2_drives_the_predictor_as_before_and_so_does_its_renewal(tmp_path):
    pytest.importorskip("onnxscript", reason="the training extra, requirements/train.txt, is not installed")
    from world_model.commands.export import main as export_main

    expected = np.load(FIXTURES / "format2_outputs.npz")["episode/transition"][:, :, :2]
    former = load_artifact(FORMAT2)
    np.testing.assert_allclose(drive(former), expected, rtol=0, atol=TOLERANCE)
    assert export_main([str(FORMAT2), str(tmp_path / "renewed"), "--renew"]) == 0
    renewed = load_artifact(tmp_path / "renewed")
    assert not isinstance(renewed.transition(), FormerTransition)
    assert renewed.manifest.format_version == FORMAT_VERSION
    # Which runtime is faster is for a measurement to say; that both agree is not.
    assert {"encoder", "transition"} <= set(renewed.manifest.graphs)
    assert all(renewed.manifest.graphs_of(part).difference <= TOLERANCE for part in ("encoder", "transition"))
    assert renewed.manifest.encoder_id == former.manifest.encoder_id
    assert renewed.manifest.memory == Retrieval().to_manifest()
    assert "practice_gap_s" not in renewed.manifest.training["config"]
    np.testing.assert_allclose(drive(renewed), expected, rtol=0, atol=TOLERANCE)


def test_a_former_transition_keeps_working_beside_a_part_of_today(tmp_path):
    """Writing a part rewrites the manifest in today's format; the other files are as they were."""
    shutil.copytree(FORMAT2, tmp_path / "artifact")
    encoder = torch.jit.load(str(FORMAT2 / "encoder.pt"))
    manifest = add_part(tmp_path / "artifact", "encoder", encoder)
    assert manifest.format_version == FORMAT_VERSION
    assert manifest.memory["anticipated_k"] == 8
    assert isinstance(load_artifact(tmp_path / "artifact").transition(), FormerTransition)


def test_format_1_stays_refused_by_name(tmp_path):
    make_random_artifact(tmp_path)
    entries = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**entries, "format_version": 1}))
    with pytest.raises(ArtifactError, match="format is version 1, this code reads 2 to 4"):
        load_artifact(tmp_path)


def test_a_former_transition_can_be_trained_on(tmp_path):
    transition = load_artifact(FORMAT2).transition(frozen=False)
    observed, retrieved = stored_inputs(np.load(FIXTURES / "format2_outputs.npz"), "random")
    transition.forecast(observed, retrieved)[1].square().mean().backward()
    gradients = {name: weight.grad for name, weight in transition.named_parameters()}
    assert gradients["history.alpha"].abs().sum() > 0
