"""What leaves the package: ONNX for every kind of encoder, TensorRT's arguments, and a slow branch carried over."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnxscript", reason="the training extra, requirements/train.txt, is not installed")

import onnx

from wm_core.se2 import Pose2
from wm_testing.episodes import circling_episode, circling_set
from world_model.commands.export import describe
from world_model.commands.export import main as export_main
from world_model.data.episodes import DatasetManifest, Episode, EpisodeWriter
from world_model.errors import ArtifactError, DataError
from world_model.export.onnx_export import PARTS, TOLERANCE, convert_tensorrt, export_onnx, tensorrt_shapes
from world_model.export.quantise import quantise_artifact
from world_model.export.torchscript import carry_slow_branch, export_artifact
from world_model.models.factory import make_decoder, make_encoder, make_transition
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.predictor import Observation, Predictor
from world_model.runtime.retrieved import Memory
from world_model.runtime.tensors import Observed, Retrieved
from world_model.training.clips import encoder_inputs, latents_of
from world_model.training.config import ModelConfig, TrainConfig
from world_model.training.stages import set_statistics

pytestmark = pytest.mark.training

SIZE = 32
SIZES = {"latent_dim": 8, "hidden_dim": 16, "width": 16, "memory_width": 16, "encoder_widths": (8, 8, 16, 16)}
TINY = ModelConfig(**SIZES, encoder="conv")
RESNET = ModelConfig(
    **SIZES, encoder="resnet", use_depth=True, proprio_dim=3, decoder="transposed", decoder_width=32, context="film_gru"
)
DRIVING = ModelConfig(**SIZES, encoder="driving", decoder="pixel_shuffle", decoder_width=32, context="rssm")
# Each export takes seconds: every kind of network once.
KINDS = {
    "resnet": (RESNET, ("encoder", "observe", "forecast", "decoder")),
    "driving": (DRIVING, ("encoder", "decoder")),
    "tiny": (TINY, ("encoder",)),
}
INPUTS = {
    "encoder": {"image", "depth", "proprioception"},
    "observe": {"latent", "action", "state"},
    "forecast": {*Observed._fields, *Retrieved._fields},
    "decoder": {"latent"},
}


def make_artifact(model: ModelConfig, path: Path, episode: Episode | None = None) -> Path:
    """Write an artifact with random weights, open gates and the configuration in its manifest; scaled to an episode."""
    torch.manual_seed(0)
    transition = make_transition(model, 2)
    torch.nn.init.constant_(transition.memory.alpha, 0.5)
    encoder = make_encoder(model, SIZE).eval()
    latent_ND = (
        np.random.default_rng(0).normal(size=(100, 8)) if episode is None else latents_of(encoder, episode, model)
    )
    set_statistics(transition, [latent_ND], [np.zeros((1, 2), np.float32)])
    entries = {"name": model.encoder, "z_dim": 8, "action_dim": 2, "image_size": SIZE, "step_s": 0.05, "horizon_s": 1.0}
    entries |= {"top_k": 8, "motion": {}, "memory": {}}
    entries |= {"latent_mean": latent_ND.mean(axis=0).tolist(), "latent_variance": latent_ND.var(axis=0).tolist()}
    entries |= {"inputs": encoder_inputs(model), "training": {"config": TrainConfig(model=model).to_json()}}
    export_artifact(path, encoder, make_decoder(model, SIZE), transition, entries)
    return path


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_onnx_agrees_in_onnxruntime_and_takes_any_batch(kind, tmp_path):
    model, parts = KINDS[kind]
    path = make_artifact(model, tmp_path / "artifact")
    worst = export_onnx(str(path), tmp_path / "onnx", parts)
    assert tuple(worst) == parts
    assert max(value for name, value in worst.items() if name != "decoder") <= TOLERANCE
    for file in (tmp_path / "onnx").glob("*.onnx"):
        model = onnx.load(str(file))
        onnx.checker.check_model(model)
        assert model.opset_import[0].version == 18
        for value in model.graph.input:
            first, *rest = value.type.tensor_type.shape.dim
            assert first.dim_param == "batch"
            assert all(dim.dim_value for dim in rest)
        assert {value.name for value in model.graph.input} <= INPUTS[file.stem]
    encoder = onnx.load(str(tmp_path / "onnx" / "encoder.onnx"))
    assert len(encoder.graph.input) == (3 if kind == "resnet" else 1)


def test_onnxruntime_quantises_every_part(tmp_path):
    from onnxruntime import InferenceSession
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = make_artifact(RESNET, tmp_path / "artifact")
    export_onnx(str(path), tmp_path / "onnx", PARTS)
    for name in PARTS:
        exact, rough = tmp_path / "onnx" / f"{name}.onnx", tmp_path / f"{name}-int8.onnx"
        quantize_dynamic(exact, rough, weight_type=QuantType.QUInt8)
        sessions = [InferenceSession(str(file), providers=["CPUExecutionProvider"]) for file in (exact, rough)]
        names = [[value.name for value in session.get_inputs()] for session in sessions]
        assert names[0] == names[1]
        # Small weights of few channels: what counts is that there are fewer bytes and the same graph.
        assert rough.stat().st_size < exact.stat().st_size


def test_tensorrt_is_told_every_shape(tmp_path):
    info = onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, ["batch", 4])
    node = onnx.helper.make_node("Identity", ["z"], ["y"])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 4])
    graph = onnx.helper.make_graph([node], "g", [info], [out])
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "part.onnx"))
    expected = ["--minShapes=z:1x4", "--optShapes=z:1x4", "--maxShapes=z:8x4"]
    assert tensorrt_shapes(tmp_path / "part.onnx", 8) == expected
    info.type.tensor_type.shape.dim[1].dim_param = "length"
    graph.input[0].CopyFrom(info)
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "part.onnx"))
    with pytest.raises(ArtifactError, match="open dimension besides the batch"):
        tensorrt_shapes(tmp_path / "part.onnx")


@pytest.mark.skipif(
    any(Path(folder, "trtexec").exists() for folder in ("/usr/src/tensorrt/bin", "/usr/bin")),
    reason="trtexec is installed here",
)
def test_without_tensorrt_the_refusal_says_so(tmp_path):
    with pytest.raises(ArtifactError, match="trtexec is not installed"):
        convert_tensorrt(tmp_path)


def test_what_cannot_be_exported_is_refused(tmp_path):
    assert export_main(["artifact://nothing", str(tmp_path)]) == 2


def test_a_network_that_gives_no_number_is_not_exported(tmp_path):
    """Even where only one of several outputs is not a number: the state is fine here."""
    transition = make_transition(TINY, 2)
    torch.nn.init.constant_(transition.blind.linear.bias, float("nan"))
    with pytest.raises(ArtifactError, match="transition: exported part differs from its network by nan"):
        export_artifact(tmp_path, make_encoder(TINY, SIZE).eval(), make_decoder(TINY, SIZE), transition, {
            "name": "nan", "z_dim": 8, "action_dim": 2, "image_size": SIZE, "step_s": 0.05, "horizon_s": 1.0,
        })  # fmt: skip
    assert not (tmp_path / "manifest.json").exists()


def test_a_slow_branch_is_carried_over_byte_by_byte(tmp_path):
    path = make_artifact(TINY, tmp_path)
    with pytest.raises(ArtifactError, match="no slow branch"):
        carry_slow_branch(str(path), path)
    manifest = carry_slow_branch("artifact://tiny", path)
    source = load_artifact("artifact://tiny").manifest
    assert manifest.files["world_action.pt"] == source.files["world_action.pt"]
    assert load_artifact(path).manifest.world_action == source.world_action


@pytest.mark.parametrize("kind", ["resnet", "tiny"])
def test_eight_bits_stay_near_and_are_served_like_any_artifact(kind, tmp_path):
    episode = circling_episode("a", 8.0, size=SIZE)
    depth_T1SS = (episode.image_TSSC[..., :1].transpose(0, 3, 1, 2) / 50.0).astype(np.float16)
    episode = replace(episode, depth_T1SS=depth_T1SS, proprio_TP=np.zeros((len(episode), 3), np.float32))
    writer = EpisodeWriter(tmp_path / "set", DatasetManifest(image_size=SIZE, step_s=0.05, action_dim=2))
    writer.write(episode, "train")
    source = make_artifact(KINDS[kind][0], tmp_path / "source", episode)
    # Pictures hardly move the latents of random weights, so rounding weighs more than it does in a trained network.
    manifest, cost = quantise_artifact(str(source), tmp_path / "set", tmp_path / "int8", largest_nmse=0.3)
    assert "MB became" in describe(manifest, cost)
    before, after = load_artifact(source), load_artifact(tmp_path / "int8")
    cost = after.manifest.training["int8"]
    assert cost["int8_mb"] < 0.8 * cost["float_mb"]
    assert 0 < cost["forecast_nmse"] < 0.3
    with pytest.raises(ArtifactError, match="in 8 bits the"):
        quantise_artifact(str(source), tmp_path / "set", tmp_path / "refused", largest_nmse=1e-9)
    assert not (tmp_path / "refused").exists()
    # A small convolutional encoder stays as it is, and with it whatever remembers its latents.
    assert (before.manifest.encoder_id == after.manifest.encoder_id) == (kind == "tiny")
    assert (cost["latent_nmse"] == 0) == (kind == "tiny")
    rough, exact = (forecast_of(artifact) for artifact in (after, before))
    assert np.abs(rough - exact).max() < 0.5
    assert not np.array_equal(rough, exact)


def test_eight_bits_want_a_set_that_fits(tmp_path):
    path = make_artifact(TINY, tmp_path / "source")
    with pytest.raises(DataError, match="16 px, the artifact takes 32 px"):
        quantise_artifact(str(path), circling_set(tmp_path / "set", ("a",), 8.0), tmp_path / "int8")


def forecast_of(artifact) -> np.ndarray:
    """Return what the predictor that nodes run makes of three frames and one memory."""
    predictor = Predictor(artifact)
    latent_D = np.full(8, 0.2, np.float32)
    for step in range(3):
        predictor.observe(Observation(step * 50_000_000, latent_D, Pose2(0.1 * step, 0, 0, 0), np.zeros(2, np.float32)))
    found = [Memory(1, 0, latent_D + 1, Pose2(1.0, 0, 0, 0))]
    return predictor.predict([found, found, found]).forecasts[1].latent_D
