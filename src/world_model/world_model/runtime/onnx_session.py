"""onnxruntime on the processor; it is imported when a graph is opened."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from world_model.errors import ArtifactError

# Its errors share no base.
_RAISED = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException", "EPFail")


def is_installed() -> bool:
    """Return whether onnxruntime can be imported."""
    return find_spec("onnxruntime") is not None


def raised_by_onnxruntime() -> tuple[type[Exception], ...]:
    """Return what onnxruntime raises for what it cannot load or run; nothing before it is imported."""
    raised = sys.modules.get("onnxruntime.capi.onnxruntime_pybind11_state")
    return tuple(getattr(raised, name) for name in _RAISED if hasattr(raised, name))


def open_session(content: bytes, name: str, weights: Mapping[str, np.ndarray] | None = None, threads: int = 1) -> Any:
    """Return an onnxruntime session on the processor, one node after another.

    Args:
        content: The ONNX file.
        name: What to call it in an error.
        weights: Those that the file has outside itself, by name.
        threads: Of each node.

    Raises:
        ArtifactError: It is no ONNX file, its weights are others, or onnxruntime is not installed.
    """
    try:
        # Not needed by artifacts of TorchScript alone.
        import onnxruntime
    except ImportError as error:
        raise ArtifactError(f"{name} needs onnxruntime, which is not installed: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Errors only: it says at start which hardware it does not find.
    options.log_severity_level = 3
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in (weights or {}).values()]
    if values:
        options.add_external_initializers(list(weights or {}), values)
    # The first where its text cites damaged names.
    raised: tuple[type[Exception], ...] = (UnicodeDecodeError, *raised_by_onnxruntime())
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except raised as error:
        raise ArtifactError(f"{name} is not an ONNX file: {error}") from error
    # On a processor these lie where NumPy has them, and the session reads them there.
    session.held = weights, values
    return session
