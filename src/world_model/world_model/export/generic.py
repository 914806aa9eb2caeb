"""The artifact ``generic``: a frozen network that no robot trained, in 8 bits, and no network on top of it.

Weights come from a registry package, ranges of the 8 bits from simulated pictures with random textures, by seed. All
that a robot's latents need beyond is learned on the robot.

Shape suffixes: N = pictures, H W C = rows, columns, colours, F = numbers of a feature.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wm_core.projection import FeatureSpace, Projection
from world_model.errors import ArtifactError
from world_model.export.lite_network import (
    IMAGE_SIZE,
    MIDDLE,
    PACKAGES,
    RELU_MOST,
    UNIT,
    build_graph,
    load_network,
)
from world_model.export.prior import read_prior
from world_model.runtime.artifact_folder import PROJECTION_NAME, read_manifest, write_artifact
from world_model.runtime.artifacts import SHIPPED_PATH, Manifest
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.features import FeatureNetwork
from world_model.runtime.motion import MotionModel
from world_model.runtime.onnx_session import open_session

GRID = 2
Z_DIM = 32
# Where the pictures come from: so many buildings, so many pictures of each.
BUILDINGS, PICTURES_EACH = 20, 30
_FIRST_BUILDING = 70_000
# Ranges go up to the next of so many steps per octave: another processor's last digits must not give another file.
_STEPS_PER_OCTAVE = 8
# Largest loss of accuracy in 8 bits: squared error over the variance of the features.
LARGEST_NMSE = 0.15
_READ_AS = ("centred_DequantizeLinear_Output",)


@dataclass(frozen=True)
class Made:
    """What was made: its manifest, what 8 bits cost as squared error over variance, and size [MB]."""

    manifest: Manifest
    nmse: float
    size_mb: float


def make_generic(
    path: Path,
    *,
    grid: int = GRID,
    seed: int = 0,
    prior: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Made:
    """Write the artifact ``generic`` into a folder.

    Args:
        path: Made if missing.
        grid: Side of the grid of cells that a picture is averaged to.
        seed: Of the simulated pictures.
        prior: Folder of what was learned from many robots' features, left out where those are other features; none
            without one.
        say: Told what is going on.

    Raises:
        ArtifactError: A package is not installed, or 8 bits cost too much.
    """
    network = load_network()
    say(f"rendering {BUILDINGS * PICTURES_EACH} pictures")
    image_NHWC = calibration_pictures(seed)
    say("quantising")
    plain = build_graph(network, grid).SerializeToString()
    content, scale, zero_point = quantised(plain, image_NHWC)
    feature_id = hashlib.sha256(content).hexdigest()[:16]
    float_NF = open_session(plain, "encoder.onnx").run(None, {"image": image_NHWC})[0]
    space = FeatureSpace(feature_id, float_NF.shape[1], grid, scale, zero_point)
    code_NF = FeatureNetwork(open_session(content, "encoder.onnx"), space).encode(image_NHWC)
    nmse = float(np.square(space.dequantise(code_NF) - float_NF).mean() / float_NF.var(axis=0).mean())
    if not nmse <= LARGEST_NMSE:
        raise ArtifactError(f"8 bits change the features by {nmse:.3f} of their variance, expected {LARGEST_NMSE}")
    fitted = Projection.fit(space, code_NF, Z_DIM)
    path.mkdir(parents=True, exist_ok=True)
    Projection(space, fitted.mean, fitted.components).save(path / PROJECTION_NAME)
    assert fitted.variance is not None
    entries = _entries(space, fitted.variance, {"seed": seed, "nmse_of_8_bits": round(nmse, 4)})
    entries["graphs"] = slow_branch(path)
    parts: dict[str, Any] = {"encoder": content}
    if prior is not None:
        parts |= _prior(prior, feature_id, say)
    (path / "prior.pt").unlink(missing_ok=True)
    return Made(write_artifact(path, entries, parts), nmse, len(content) / 1e6)


def slow_branch(path: Path) -> dict[str, Any]:
    """Write the slow branch of the artifact that ships, byte by byte, and return the entry of its graphs."""
    tiny = SHIPPED_PATH / "tiny"
    graphs = read_manifest(tiny).graphs
    for name in ("world_action.pt", *graphs["world_action"]["files"].values()):
        (path / name).write_bytes((tiny / name).read_bytes())
    return {"world_action": graphs["world_action"]}


def _prior(folder: Path, feature_id: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the part that a prior is, or none where it knows other features."""
    module = read_prior(folder, feature_id)
    if module is None:
        say(f"the prior in {folder} is of other features than {feature_id}: left out")
        return {}
    return {"prior": module}


def _entries(space: FeatureSpace, variance: float, training: dict[str, Any]) -> dict[str, Any]:
    # The slow branch sees pictures through a network of its own; no latent or feature enters it.
    slow = Manifest.from_json((SHIPPED_PATH / "tiny" / "manifest.json").read_text())
    return {
        "name": "generic",
        "z_dim": Z_DIM,
        "action_dim": 2,
        "image_size": IMAGE_SIZE,
        "step_s": 0.05,
        "horizon_s": 1.0,
        "top_k": Retrieval().anticipated_k,
        "latent_mean": [0.0] * Z_DIM,
        "latent_variance": [variance] * Z_DIM,
        "motion": MotionModel().to_manifest(),
        "memory": Retrieval().to_manifest(),
        "feature": asdict(space),
        "world_action": slow.world_action,
        "history_dim": slow.history_dim,
        "training": {"packages": list(PACKAGES), "licence": "Apache-2.0", "pictures": "simulated", **training},
    }


def calibration_pictures(seed: int) -> np.ndarray:
    """Return pictures of simulated buildings with random textures, uint8 [N, 64, 64, 3]."""
    # Heavy, and a robot does without it.
    from wm_sim import simulate

    first = _FIRST_BUILDING + seed * BUILDINGS
    pictures = [
        step.image_HWC
        for number in range(first, first + BUILDINGS)
        for step in simulate(
            number, PICTURES_EACH * 2.0, rate_hz=0.5, image_size=(IMAGE_SIZE, IMAGE_SIZE), texture_seed=number
        )
    ]
    return np.stack(pictures)


def quantised(content: bytes, image_NHWC: np.ndarray) -> tuple[bytes, float, int]:
    """Return a graph in 8 bits whose ``feature`` is int8, and the scale and zero point of that.

    Weights of dense convolutions are cut to 7 bits: without VNNI, x86 adds products of 8 by 8 bits in pairs and
    cuts the sums to 16 bits, which changes features by many codes. Depthwise convolutions are added up in 32 bits.

    Args:
        content: Float graph of ``build_graph``.
        image_NHWC: Pictures that the ranges are read off.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    model = onnx.load_model_from_string(content)
    overrides: dict[str, list[dict[str, Any]]] = {
        name: [{"quant_type": QuantType.QUInt8, "rmin": np.float32(least), "rmax": np.float32(most)}]
        for name, (least, most) in activation_ranges(model, image_NHWC).items()
    }
    for weight in model.graph.initializer:
        if len(weight.dims) == 4:
            depthwise = weight.dims[1] == 1
            overrides[weight.name] = [{"quant_type": QuantType.QInt8, "axis": 0, "reduce_range": not depthwise}]
    root = logging.getLogger()
    level = root.level
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "float.onnx", Path(scratch) / "int8.onnx"
        source.write_bytes(content)
        root.setLevel(logging.ERROR)  # It asks for a preparation that this graph does not need.
        try:
            quantize_static(
                str(source),
                str(target),
                _Pictures(image_NHWC[:1]),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                extra_options={"TensorQuantOverrides": overrides},
            )
        finally:
            root.setLevel(level)
        model = onnx.load(str(target))
        _take_pictures_as_codes(model)
        return _with_int8_output(model)


class _Pictures:
    """What onnxruntime reads pictures from."""

    def __init__(self, image_NHWC: np.ndarray) -> None:
        self._batches: Iterator[dict[str, np.ndarray]] = iter([{"image": image_NHWC}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next pictures, or None."""
        return next(self._batches, None)


def activation_ranges(model: Any, image_NHWC: np.ndarray) -> dict[str, tuple[float, float]]:
    """Return the range of each tensor between convolutions, rounded outwards."""
    import onnx
    from onnx import TensorProto, helper

    inside = onnx.ModelProto()
    inside.CopyFrom(model)
    names, ranges = [], {}
    for node in model.graph.node:
        if node.op_type == "Clip":
            ranges[node.output[0]] = (0.0, RELU_MOST)
        elif node.op_type in ("Conv", "Add", "AveragePool", "Flatten"):
            names.append(node.output[0])
    ranges["centred"] = (-MIDDLE / UNIT, (255.0 - MIDDLE) / UNIT)
    inside.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name != "feature"
    )
    session = open_session(inside.SerializeToString(), "encoder.onnx")
    least, most = dict.fromkeys(names, math.inf), dict.fromkeys(names, -math.inf)
    for begin in range(0, len(image_NHWC), 50):
        outputs = session.run(names, {"image": image_NHWC[begin : begin + 50]})
        for name, values in zip(names, outputs):
            least[name], most[name] = min(least[name], float(values.min())), max(most[name], float(values.max()))
    return ranges | {name: (-_rounded_up(-least[name]), _rounded_up(most[name])) for name in names}


def _rounded_up(value: float) -> float:
    """Return the next step of a logarithmic scale above a positive value; 0 for any other."""
    if value <= 0.0:
        return 0.0
    return float(2.0 ** (math.ceil(math.log2(value) * _STEPS_PER_OCTAVE) / _STEPS_PER_OCTAVE))


def _take_pictures_as_codes(model: Any) -> None:
    """Let the picture itself be the first codes: a step of 1 / 128 around 127 is what its preparation comes to."""
    from onnx import helper, numpy_helper

    graph = model.graph
    reader = next(node for node in graph.node if node.op_type == "DequantizeLinear" and node.output[0] in _READ_AS)
    weights = {weight.name: numpy_helper.to_array(weight) for weight in graph.initializer}
    step, middle = float(weights[reader.input[1]]), int(weights[reader.input[2]])
    assert (step, middle) == (1.0 / UNIT, MIDDLE), f"a picture's codes have step {step} around {middle}"
    reader.input[0] = "planes"
    graph.node.insert(0, helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]))
    while True:
        used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        unused = [node for node in graph.node if not used.intersection(node.output)]
        if not unused:
            break
        for node in unused:
            graph.node.remove(node)
    for weight in [weight for weight in graph.initializer if weight.name not in used]:
        graph.initializer.remove(weight)


def _with_int8_output(model: Any) -> tuple[bytes, float, int]:
    """Return the graph with the codes of ``feature`` as output instead of their values, with scale and zero point."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    last = next(node for node in graph.node if "feature" in node.output)
    assert last.op_type == "DequantizeLinear"
    weights = {weight.name: numpy_helper.to_array(weight) for weight in graph.initializer}
    scale, zero_point = float(weights[last.input[1]]), int(weights[last.input[2]]) - 128
    codes = last.input[0]
    graph.node.remove(last)
    graph.initializer.append(numpy_helper.from_array(np.array(128, np.int16), "half"))
    graph.node.extend(
        [
            helper.make_node("Cast", [codes], ["wide"], to=TensorProto.INT16),
            helper.make_node("Sub", ["wide", "half"], ["shifted"]),
            helper.make_node("Cast", ["shifted"], ["feature"], to=TensorProto.INT8),
        ]
    )
    graph.output[0].type.tensor_type.elem_type = TensorProto.INT8
    model.producer_name, model.producer_version = "", ""
    content = io.BytesIO()
    content.write(model.SerializeToString(deterministic=True))
    return content.getvalue(), scale, zero_point
