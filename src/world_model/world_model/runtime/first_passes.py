"""The first passes of a network: what it cannot take of what its manifest says is refused by name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from world_model.errors import ArtifactError, WorldModelError
from world_model.runtime.onnx_session import raised_by_onnxruntime

# What TorchScript, NumPy and the code around graphs raise for arrays of other sizes or names.
_MISFITS = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, StopIteration)
_MOST_SAID = 200


@contextlib.contextmanager
def first_passes(name: str) -> Iterator[None]:
    """Load networks and run them once inside.

    Args:
        name: Of the artifact.

    Raises:
        ArtifactError: A network is none of its manifest: hashes that match say nothing of sizes.
    """
    try:
        yield
    except WorldModelError:
        raise
    except _misfits() as error:
        text = " ".join(str(error).split())[:_MOST_SAID]
        raise ArtifactError(
            f"the networks of artifact '{name}' do not fit its manifest ({type(error).__name__}: {text})"
        ) from error


def _misfits() -> tuple[type[Exception], ...]:
    return (*_MISFITS, *raised_by_onnxruntime())
