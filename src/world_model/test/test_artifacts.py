import json
import math
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

import world_model
from wm_testing.artifacts import make_random_artifact
from world_model.errors import ArtifactError
from world_model.runtime.artifact_folder import add_part, write_artifact
from world_model.runtime.artifacts import SHIPPED_PATH, Expectations, Manifest, load_artifact, resolve_model_path
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.motion import MotionModel
from world_model.runtime.onnx_session import open_session, raised_by_onnxruntime
from world_model.runtime.predictor import Predictor


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("artifact")
    make_random_artifact(path)
    return path


def copy_of(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def edit(path, **entries):
    manifest = json.loads((path / "manifest.json").read_text())
    manifest.update(entries)
    manifest.pop("digest", None)  # changed on purpose
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_the_shipped_artifact_loads_and_encodes():
    artifact = load_artifact("artifact://tiny", expect=Expectations(z_dim=32, action_dim=2, image_size=64))
    latent_BD = artifact.encoder()(torch.zeros(2, 64, 64, 3, dtype=torch.uint8), None, None)
    assert latent_BD.shape == (2, 32)
    assert artifact.decoder()(latent_BD).dtype == torch.uint8


def test_shipped_files_stay_small():
    path = resolve_model_path("artifact://tiny")
    assert sum(file.stat().st_size for file in path.iterdir()) <= 5 * 1024 * 1024


def test_an_artifact_is_found_by_folder_and_by_a_file_in_it(folder):
    assert resolve_model_path(folder) == folder
    assert resolve_model_path(folder / "encoder.pt") == folder


@pytest.mark.parametrize("path", ["", "/nowhere/at/all", "artifact://huge"])
def test_a_path_without_artifact_is_named(path):
    with pytest.raises(ArtifactError, match=path or "''"):
        load_artifact(path)


def test_encoder_id_is_the_hash_of_the_encoder(folder, tmp_path):
    first = load_artifact(folder).manifest
    assert first.encoder_id == first.files["encoder.pt"][:16]
    assert make_random_artifact(tmp_path, seed=1).encoder_id != first.encoder_id


@pytest.mark.parametrize(
    ("expect", "named"),
    [(Expectations(z_dim=64), "z_dim 32, expected 64"), (Expectations(action_dim=4), "action_dim 2, expected 4")],
)
def test_unmet_expectations_are_named(folder, expect, named):
    with pytest.raises(ArtifactError, match=named):
        load_artifact(folder, expect=expect)


def test_a_changed_file_is_refused(folder, tmp_path):
    path = copy_of(folder, tmp_path)
    content = bytearray((path / "transition.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "transition.pt").write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match=r"transition\.pt does not match"):
        load_artifact(path)


def test_a_missing_file_is_refused(folder, tmp_path):
    path = copy_of(folder, tmp_path)
    (path / "decoder.pt").unlink()
    with pytest.raises(ArtifactError, match=r"decoder\.pt is named by the manifest but missing"):
        load_artifact(path)


SLOW = {"image_size": 64, "embedding_dim": 224, "history": 4, "future": 4, "tick_s": 1.0}


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ({"format_version": 99}, "version 99"),
        ({"surprise": 1}, "unknown entries: surprise"),
        ({"z_dim": 0}, "z_dim is 0"),
        ({"latent_mean": [0.0]}, "latent_mean has 1 values"),
        ({"encoder_id": "0" * 16}, "encoder_id is 0000"),
        ({"world_action": {}}, "world_action: image_size is None"),
        ({"world_action": {**SLOW, "image_size": 10**9}}, "image_size is 1000000000"),
        ({"world_action": {**SLOW, "history": "4"}}, "history is '4'"),
        ({"world_action": {**SLOW, "tick_s": math.nan}}, "tick_s is nan"),
        ({"parts": {"encoder": {"file": [], "runtime": "torchscript"}}}, "part 'encoder' is"),
    ],
)
def test_a_foreign_manifest_is_refused(folder, tmp_path, entries, named):
    path = copy_of(folder, tmp_path)
    edit(path, **entries)
    with pytest.raises(ArtifactError, match=named):
        load_artifact(path)


def test_an_unknown_device_is_refused(folder):
    with pytest.raises(ArtifactError, match="warp9"):
        load_artifact(folder, "warp9")


def test_a_manifest_that_is_not_json_is_refused():
    with pytest.raises(ArtifactError, match="not JSON"):
        Manifest.from_json("{")


def test_a_part_can_be_added_and_missing_ones_are_named(folder, tmp_path):
    path = copy_of(folder, tmp_path)
    with pytest.raises(ArtifactError, match=r"no without_memory\.pt"):
        load_artifact(path).without_memory()

    class Constant(torch.nn.Module):
        @torch.jit.export
        def initial(self, batch: int) -> torch.Tensor:
            return torch.ones(batch)

    add_part(path, "without_memory", torch.jit.script(Constant()), results={"better": True})
    artifact = load_artifact(path)
    assert artifact.manifest.results == {"better": True}
    assert artifact.without_memory().initial(2).tolist() == [1.0, 1.0]


def test_the_same_seed_gives_the_same_outputs(tmp_path):
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8))
    make_random_artifact(tmp_path / "a")
    make_random_artifact(tmp_path / "b")
    first, second = (load_artifact(tmp_path / name).encoder()(image, None, None) for name in "ab")
    assert torch.equal(first, second)


def test_an_artifact_tells_nothing_of_where_it_was_made(folder):
    package = str(Path(world_model.__file__).parent)
    for file in (folder, Path(world_model.__file__).parent / "shipped" / "tiny"):
        for part in sorted(file.glob("*.pt")):
            with zipfile.ZipFile(part) as archive:
                content = b"".join(archive.read(name) for name in archive.namelist())
            assert package.encode() not in content
            assert b"site-packages" not in content


def test_the_same_encoder_has_the_same_id_however_often_it_is_written(folder, tmp_path):
    entries = asdict(load_artifact(str(folder)).manifest)
    ids = set()
    for again in ("first", "second"):
        encoder = torch.jit.load(str(folder / "encoder.pt"))
        ids.add(write_artifact(tmp_path / again, entries, {"encoder": encoder}).encoder_id)
    assert len(ids) == 1


@pytest.mark.slow
def test_the_same_weights_have_the_same_id_in_every_process():
    """Sets of names are ordered by a hash that differs between processes, and TorchScript writes one."""
    work = (
        "import hashlib, torch; from world_model.models import GruContext, LinearEncoder, Transition;"
        "from world_model.runtime.torchscript import script_bytes; torch.manual_seed(0);"
        "parts = [LinearEncoder(32, 8, 16), Transition(8, 2, GruContext(10, 8), width=8, memory_width=8)];"
        "files = [script_bytes(torch.jit.script(part.eval()), 'part') for part in parts];"
        "print([hashlib.sha256(file).hexdigest() for file in files])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", work], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "7")
    }
    assert len(printed) == 1


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        (
            {"z_dim": 10**12, "latent_mean": [], "latent_variance": []},
            "z_dim is 1000000000000, expected a whole number",
        ),
        ({"action_dim": True}, "action_dim is True"),
        ({"step_s": 1e-9}, "step_s 1e-09"),
        ({"horizon_s": 1e9}, "horizon_s 1000000000.0"),
        ({"memory": None}, "memory is None, expected an object"),
        ({"inputs": {"proprioception": 10**9}}, "inputs"),
        ({"files": {"../../etc/passwd": "0" * 64}}, "is no file of its folder"),
        ({"name": 7}, "texts"),
    ],
)
def test_absurd_sizes_are_refused_before_anything_is_allocated(folder, tmp_path, entries, named):
    edit(copy_of(folder, tmp_path), **entries)
    with pytest.raises(ArtifactError, match=re.escape(named)):
        load_artifact(tmp_path)


@pytest.mark.parametrize("variance", [0.0, -1.0, float("nan"), float("inf")])
def test_a_variance_that_none_can_be_is_refused(folder, tmp_path, variance):
    manifest = json.loads((folder / "manifest.json").read_text())
    edit(copy_of(folder, tmp_path), latent_variance=[variance, *manifest["latent_variance"][1:]])
    with pytest.raises(ArtifactError, match="latent_variance holds a value that none can be"):
        load_artifact(tmp_path)


def test_networks_of_other_sizes_than_their_manifest_says_are_refused_by_name(tmp_path):
    """Hashes match: nothing was damaged, and yet nothing fits."""
    edit(copy_of(SHIPPED_PATH / "tiny", tmp_path), history_dim=3)
    with pytest.raises(ArtifactError, match="of artifact 'tiny' do not fit its manifest"):
        Predictor(load_artifact(tmp_path))


@pytest.mark.parametrize("error", [UnicodeDecodeError("utf-8", b"\xdf", 0, 1, "invalid"), None])
def test_whatever_onnxruntime_says_of_a_graph_is_no_crash(monkeypatch, error):
    def refuse(*_, **__):
        raise error or raised_by_onnxruntime()[0]("no graph")

    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(ArtifactError, match=r"a\.onnx is not an ONNX file"):
        open_session(b"", "a.onnx")


def test_a_number_beyond_all_is_refused(folder, tmp_path):
    manifest = json.loads((folder / "manifest.json").read_text())
    edit(copy_of(folder, tmp_path), latent_mean=[10**400, *manifest["latent_mean"][1:]])
    with pytest.raises(ArtifactError, match="an entry is of another type"):
        load_artifact(tmp_path)


def test_files_of_absurd_sizes_are_not_read(folder, tmp_path):
    copy_of(folder, tmp_path)
    os.truncate(tmp_path / "encoder.pt", 10**13)
    with pytest.raises(ArtifactError, match=r"encoder\.pt has 10000000000000 bytes"):
        load_artifact(tmp_path)
    os.truncate(tmp_path / "manifest.json", 10**12)
    with pytest.raises(ArtifactError, match=r"manifest\.json has 1000000000000 bytes"):
        load_artifact(tmp_path)


@pytest.mark.parametrize(
    "entries",
    [{"delay_steps": 10**12}, {"window_s": 1e300}, {"window_s": float("nan")}, {"pose_gain": [None, 1]}, {"weights": 3},
     {"residual_share": [1.0]}, {"lag_steps": "x"}, {"delay_steps": 1.5}],
)  # fmt: skip
def test_a_motion_model_that_none_can_be_is_refused(entries):
    with pytest.raises(ArtifactError, match="motion"):
        MotionModel.from_manifest(entries)


@pytest.mark.parametrize("entries", [{"anticipated_k": 10**9}, {"radius_m": float("nan")}, {"length_scale_m": 0.0},
                                     {"appearance_k": 1.5}, {"radius_m": "far"}])  # fmt: skip
def test_retrieval_settings_that_none_can_be_are_refused(entries):
    with pytest.raises(ArtifactError, match="manifest: memory"):
        Retrieval.from_manifest(entries)
