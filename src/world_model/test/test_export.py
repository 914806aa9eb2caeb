"""What leaves the package: ONNX for every kind of encoder, TensorRT's arguments, and a slow branch carried over."""

from pathlib import Path

import pytest
import torch

pytest.importorskip("onnxscript", reason="the training extra, requirements/train.txt, is not installed")

import onnx

from world_model.artifacts import load_artifact
from world_model.commands.export import main as export_main
from world_model.errors import ArtifactError
from world_model.export import carry_slow_branch, export_artifact
from world_model.models.factory import make_decoder, make_encoder, make_transition
from world_model.onnx_export import TOLERANCE, convert_tensorrt, export_onnx, tensorrt_shapes
from world_model.training.config import ModelConfig, TrainConfig
from world_model.training.films import encoder_inputs

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


def make_artifact(model: ModelConfig, path: Path) -> Path:
    """Write an artifact with random weights, open gates and the configuration in its manifest."""
    torch.manual_seed(0)
    transition = make_transition(model, 2)
    for parameter in transition.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    entries = {"name": model.encoder, "z_dim": 8, "action_dim": 2, "image_size": SIZE, "step_s": 0.05, "horizon_s": 1.0}
    entries |= {"top_k": 8, "latent_mean": [0.0] * 8, "latent_variance": [1.0] * 8, "motion": {}, "memory": {}}
    entries |= {"inputs": encoder_inputs(model), "training": {"config": TrainConfig(model=model).to_json()}}
    export_artifact(path, make_encoder(model, SIZE), make_decoder(model, SIZE), transition, entries)
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
    encoder = onnx.load(str(tmp_path / "onnx" / "encoder.onnx"))
    assert len(encoder.graph.input) == (3 if kind == "resnet" else 1)


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


def test_a_slow_branch_is_carried_over_byte_by_byte(tmp_path):
    path = make_artifact(TINY, tmp_path)
    with pytest.raises(ArtifactError, match="no slow branch"):
        carry_slow_branch(str(path), path)
    manifest = carry_slow_branch("artifact://tiny", path)
    source = load_artifact("artifact://tiny").manifest
    assert manifest.files["world_action.pt"] == source.files["world_action.pt"]
    assert load_artifact(path).manifest.world_action == source.world_action
