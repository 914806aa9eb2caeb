"""From pictures to int8 features: the frozen network that is equal on all robots, in onnxruntime.

Shape suffixes: B = pictures, H W C = rows, columns, colours, F = numbers of a feature, D = latent size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wm_core.projection import FeatureSpace, Projection
from world_model.errors import ArtifactError

# Pictures that are encoded at a time.
_BATCH = 64


def open_session(content: bytes, name: str) -> Any:
    """Return an onnxruntime session on one thread of the processor, one node after another.

    Args:
        content: The ONNX file.
        name: What to call it in an error.

    Raises:
        ArtifactError: It is no ONNX file, or onnxruntime is not installed.
    """
    try:
        # Not needed by artifacts of TorchScript alone.
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as raised
    except ImportError as error:
        raise ArtifactError(f"{name} needs onnxruntime, which is not installed: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Errors only: it says at start which hardware it does not find.
    options.log_severity_level = 3
    # Its errors share no base.
    refusals = (raised.Fail, raised.InvalidProtobuf, raised.InvalidGraph, raised.InvalidArgument, raised.NotImplemented)
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except refusals as error:
        raise ArtifactError(f"{name} is not an ONNX file: {error}") from error


class FeatureNetwork:
    """The frozen network with its quantisation.

    Args:
        session: Takes ``image``, uint8 [B, H, W, 3], and gives int8 [B, F].
        space: What its codes mean.
    """

    def __init__(self, session: Any, space: FeatureSpace) -> None:
        self._session = session
        self.space = space

    def encode(self, image_BHWC: np.ndarray) -> np.ndarray:
        """Return the features of prepared pictures, int8 [B, F]."""
        codes_BF: np.ndarray = self._session.run(None, {"image": image_BHWC})[0]
        self.space.require(codes_BF)
        return codes_BF

    def encode_each(self, image_TSSC: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the features of many prepared pictures, int8 [F] each, encoded as far as they are asked for.

        Args:
            image_TSSC: May lie on disk: some are read at a time.
        """
        for row in range(0, len(image_TSSC), _BATCH):
            yield from self.encode(np.array(image_TSSC[row : row + _BATCH]))

    def encode_all(self, image_TSSC: np.ndarray) -> np.ndarray:
        """Return the features of many prepared pictures, int8 [T, F]; see ``encode_each``."""
        return np.stack(list(self.encode_each(image_TSSC)))


class ProjectedEncoder:
    """A feature network and a projection behind the call of every encoder.

    Args:
        network: Makes features.
        projection: Makes latents of them.
    """

    def __init__(self, network: FeatureNetwork, projection: Projection) -> None:
        if projection.space != network.space:
            raise ArtifactError(
                f"projection of features {projection.space.feature_id!r}, the network makes "
                f"{network.space.feature_id!r}"
            )
        self._network, self._projection = network, projection

    def __call__(
        self, image_BHWC: Tensor | None, depth: Tensor | None = None, proprioception: Tensor | None = None
    ) -> Tensor:
        """Return latents [B, D]; it takes neither depth nor proprioception.

        Raises:
            ArtifactError: No picture.
        """
        if image_BHWC is None:
            raise ArtifactError("an encoder of features takes a picture, and there is none")
        codes_BF = self._network.encode(image_BHWC.cpu().numpy())
        return torch.from_numpy(self._projection.project(codes_BF))

    def parameters(self) -> Iterator[Tensor]:
        """Yield nothing: it cannot be trained, and runs on the processor."""
        return iter(())
