"""Artifacts whose encoder makes features, with random weights, for tests of everything that runs one."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from wm_core.projection import FeatureSpace, Projection
from world_model.runtime.artifact_folder import PROJECTION_NAME, write_artifact
from world_model.runtime.artifacts import Manifest
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.motion import MotionModel

GRID, CHANNELS, SIDE = 2, 16, 64


def random_network(seed: int = 0) -> bytes:
    """Return an ONNX graph from pictures to int8 features: averages of cells, mixed at random. Needs onnx."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(seed)
    cell = SIDE // 8
    mixed = random.normal(size=(3 * 64, CHANNELS * GRID * GRID)).astype(np.float32) * 0.05
    weights = [numpy_helper.from_array(mixed, "mixed"), numpy_helper.from_array(np.array(127.0, np.float32), "middle")]
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["float", "middle"], ["centred"]),
        helper.make_node("Transpose", ["centred"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["cells"], kernel_shape=[cell] * 2, strides=[cell] * 2),
        helper.make_node("Flatten", ["cells"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "mixed"], ["values"]),
        helper.make_node("Round", ["values"], ["rounded"]),
        helper.make_node("Clip", ["rounded", "least", "most"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], ["feature"], to=TensorProto.INT8),
    ]
    weights += [
        numpy_helper.from_array(np.array(value, np.float32), name) for name, value in (("least", -128), ("most", 127))
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])
    feature = helper.make_tensor_value_info("feature", TensorProto.INT8, ["batch", CHANNELS * GRID * GRID])
    graph = helper.make_graph(nodes, "encoder", [image], [feature], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def make_feature_artifact(path: Path, *, z_dim: int = 8, seed: int = 0, **entries: Any) -> Manifest:
    """Write an artifact of features without a transition; needs onnx.

    Args:
        path: Folder to write.
        z_dim: Latent size.
        seed: Same seed, same ids.
        **entries: Manifest entries that replace the defaults, such as ``step_s``.
    """
    content, size = random_network(seed), CHANNELS * GRID * GRID
    space = FeatureSpace(hashlib.sha256(content).hexdigest()[:16], size, GRID, 0.1, 0)
    directions, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, z_dim)))
    path.mkdir(parents=True, exist_ok=True)
    Projection(space, np.zeros(size), directions.T).save(path / PROJECTION_NAME)
    manifest = {
        "name": "random features",
        "z_dim": z_dim,
        "action_dim": 2,
        "image_size": SIDE,
        "step_s": 0.05,
        "horizon_s": 1.0,
        "top_k": Retrieval().anticipated_k,
        "latent_mean": [0.0] * z_dim,
        "latent_variance": [1.0] * z_dim,
        "motion": MotionModel().to_manifest(),
        "memory": Retrieval().to_manifest(),
        "feature": asdict(space),
        **entries,
    }
    return write_artifact(path, manifest, {"encoder": content})
