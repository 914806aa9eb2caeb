"""The parts of an artifact as nodes run them: NumPy arrays in and out, by the runtime that its manifest chooses.

On a processor that is whichever was faster where it was exported; torch is imported only where it runs something.

Shape suffixes: B = batch, C = state size, D = latent size, A = action size, H = horizons, S = image side, N = latents,
V = views, E = embedding size, T = ticks.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

import numpy as np

from world_model.runtime.arrays import ObservedArrays, RetrievedArrays
from world_model.runtime.artifacts import Artifact
from world_model.runtime.graphs import OnnxPart
from world_model.runtime.projected import ProjectedEncoder
from world_model.runtime.unchanging import Unchanging

OUTCOMES = "outcomes"
_METHODS = ("observe", "foresee_path", "forecast")


class ServedEncoder(Protocol):
    """An encoder."""

    def __call__(
        self, image_BSSC: np.ndarray, depth_B1SS: np.ndarray | None = None, proprioception_BP: np.ndarray | None = None
    ) -> np.ndarray:
        """Return latents [B, D] of uint8 pictures; what the encoder does not take is not read."""


class ServedTransition(Protocol):
    """A transition; states are whatever it returned, with a batch as their first side."""

    def initial(self, batch: int) -> Any:
        """Return the state before anything was seen, [B, C]."""

    def repeated(self, state_1C: Any, count: int) -> Any:
        """Return one state as a batch of equal ones, also one that another runtime returned."""

    def observe(self, latent_BD: np.ndarray, action_BA: np.ndarray, state_BC: Any) -> Any:
        """Return the state after one more latent and the action taken there (NaN: unknown)."""

    def foresee_path(self, observed: ObservedArrays) -> np.ndarray:
        """Return what to add to the expected displacement and its standard error then, [B, H, 6]."""

    def forecast(
        self, observed: ObservedArrays, retrieved: RetrievedArrays
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the forecast [B, H, D], the one without memories [B, H, D] and the gate [B, H]."""

    def outcomes(self, state_BC: Any) -> np.ndarray:
        """Return reward and the probability of going on, [B, 2]; [B, 0] of networks without heads for them."""


class ServedSlowBranch(Protocol):
    """A slow branch."""

    def embed(self, image_BVSSC: np.ndarray, valid_BV: np.ndarray) -> np.ndarray:
        """Return embeddings [B, E] of uint8 pictures; bool [B, V] says which views count."""

    def foresee(self, history_BTE: np.ndarray, count_B: np.ndarray) -> np.ndarray:
        """Return the next embeddings after a left-padded history, [B, F, E]."""


class _OnnxEncoder:
    def __init__(self, part: OnnxPart) -> None:
        self._part = part

    def __call__(
        self, image_BSSC: np.ndarray, depth_B1SS: np.ndarray | None = None, proprioception_BP: np.ndarray | None = None
    ) -> np.ndarray:
        given = {"image": image_BSSC, "depth": depth_B1SS, "proprioception": proprioception_BP}
        return self._part.run("forward", {name: value for name, value in given.items() if value is not None})[0]


class _OnnxTransition:
    def __init__(self, part: OnnxPart) -> None:
        self._part = part
        self._size = part.size("observe", "state")

    def initial(self, batch: int) -> np.ndarray:
        return np.zeros((batch, self._size), np.float32)

    def repeated(self, state_1C: Any, count: int) -> np.ndarray:
        return np.repeat(np.asarray(state_1C), count, axis=0)

    def observe(self, latent_BD: np.ndarray, action_BA: np.ndarray, state_BC: Any) -> np.ndarray:
        return self._part.run("observe", {"latent": latent_BD, "action": action_BA, "state": state_BC})[0]

    def foresee_path(self, observed: ObservedArrays) -> np.ndarray:
        return self._part.run("foresee_path", observed._asdict())[0]

    def forecast(
        self, observed: ObservedArrays, retrieved: RetrievedArrays
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        latent_BHD, base_BHD, gate_BH = self._part.run("forecast", observed._asdict() | retrieved._asdict())
        return latent_BHD, base_BHD, gate_BH

    def outcomes(self, state_BC: Any) -> np.ndarray:
        none_B0: np.ndarray = state_BC[:, :0]
        return none_B0


class _OnnxSlowBranch:
    def __init__(self, part: OnnxPart) -> None:
        self._part = part

    def embed(self, image_BVSSC: np.ndarray, valid_BV: np.ndarray) -> np.ndarray:
        return self._part.run("embed", {"image": image_BVSSC, "valid": valid_BV})[0]

    def foresee(self, history_BTE: np.ndarray, count_B: np.ndarray) -> np.ndarray:
        return self._part.run("foresee", {"history": history_BTE, "count": count_B})[0]


def served_encoder(artifact: Artifact) -> ServedEncoder:
    """Return the encoder.

    Raises:
        ArtifactError: A file is damaged, or what runs it is not installed.
    """
    if artifact.projection is not None:
        return ProjectedEncoder(artifact.features(), artifact.projection)
    part = artifact.in_onnxruntime("encoder", ("forward",))
    if part is not None:
        return _OnnxEncoder(part)
    # torch, for a second or more.
    from world_model.runtime.served_torch import TorchEncoder

    return TorchEncoder(artifact.encoder())


def served_transition(artifact: Artifact, part: str = "transition", further: Collection[str] = ()) -> ServedTransition:
    """Return a transition; without one in the artifact, that nothing changes.

    Args:
        artifact: Whose.
        part: ``transition``, or ``without_memory``, which evaluation compares with.
        further: Methods that are needed besides those that every forecast needs.

    Raises:
        ArtifactError: A file is damaged, or what runs it is not installed.
    """
    if part == "transition" and not artifact.has(part):
        return Unchanging()
    opened = artifact.in_onnxruntime(part, (*_METHODS, *further))
    if opened is not None:
        return _OnnxTransition(opened)
    from world_model.runtime.served_torch import TorchTransition

    return TorchTransition(artifact.transition() if part == "transition" else artifact.without_memory())


def served_slow_branch(artifact: Artifact) -> ServedSlowBranch:
    """Return the slow branch.

    Raises:
        ArtifactError: A file is damaged, or what runs it is not installed.
    """
    part = artifact.in_onnxruntime("world_action", ("embed", "foresee"))
    if part is not None:
        return _OnnxSlowBranch(part)
    from world_model.runtime.served_torch import TorchSlowBranch

    return TorchSlowBranch(artifact.world_action())


class ServedDecoder:
    """The decoder, latents in and uint8 pictures out.

    Args:
        artifact: Whose.

    Raises:
        ArtifactError: It has none, a file is damaged, or what runs it is not installed.
    """

    def __init__(self, artifact: Artifact) -> None:
        self._part = artifact.in_onnxruntime("decoder", ("forward",))
        if self._part is None:
            from world_model.runtime.served_torch import TorchDecoder

            self._module = TorchDecoder(artifact.decoder())

    def __call__(self, latent_ND: np.ndarray) -> np.ndarray:
        """Return pictures, [N, S, S, 3] uint8."""
        latent_ND = np.ascontiguousarray(latent_ND, np.float32)
        return self._module(latent_ND) if self._part is None else self._part.run("forward", {"latent": latent_ND})[0]
