"""An exported policy: loaded after its hash was checked, fed with observations, asked for a chunk.

Shape suffixes: K = steps of a chunk, A = action size, 2 = (forward, left) [m].
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wm_policy.errors import InputError, PolicyFileError
from wm_policy.runtime.manifest import TRAJECTORY, PolicyManifest
from wm_policy.runtime.observer import Observation, Observer, ObserverSettings
from wm_policy.runtime.statistics import ActionRange, Statistics
from wm_policy.runtime.trail import Trail
from world_model.runtime.motion import MotionModel

Network = Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]


@dataclass(frozen=True, eq=False)
class Proposal:
    """What a policy would do.

    Attributes:
        stamp_ns: Of the observation that it was made of [ns].
        step_s: Time between its steps [s].
        action_KA: Of each step; a trajectory's are twists: forward speed [m/s], yaw rate [rad/s].
        path_K2: Where that leads, seen from where the robot was: forward and left [m]; None: it does not say.
    """

    stamp_ns: int
    step_s: float
    action_KA: np.ndarray
    path_K2: np.ndarray | None = None


class Policy:
    """A policy and the past that it needs.

    Args:
        manifest: What it is.
        network: Inputs with a batch of one -> outputs.
        robot_action_dim: Size of the actions that the robot is given.
    """

    def __init__(self, manifest: PolicyManifest, network: Network, robot_action_dim: int) -> None:
        self.manifest, self._network = manifest, network
        motion = MotionModel.from_manifest(manifest.motion)
        settings = ObserverSettings.from_json(manifest.observer)
        self.observer = Observer(settings, motion, manifest.latent_dim, robot_action_dim)
        self._processor = Processor.of(manifest)

    def observe(self, observation: Observation) -> None:
        """Take an observation; see ``Observer.observe``."""
        self.observer.observe(observation)

    def propose(self, trail: Trail | None = None, seed: int = 0) -> Proposal:
        """Return what to do from the newest observation on.

        Args:
            trail: What is remembered around the robot; default: what this policy observed itself.
            seed: Of what is drawn.

        Raises:
            InputError: Nothing was observed yet, or the policy answered something that is not finite.
        """
        manifest, stamp_ns = self.manifest, self.observer.stamp_ns
        inputs = self._processor.batch(self.observer.inputs(trail))
        if manifest.takes_noise:
            noise = np.random.default_rng(seed).normal(size=(1, manifest.chunk, manifest.action_dim))
            inputs["noise"] = noise.astype(np.float32)
        outputs = [np.asarray(each)[0] for each in self._network(inputs)]
        if not all(np.isfinite(each).all() for each in outputs):
            raise InputError("the policy answered something that is not finite")
        assert stamp_ns is not None
        if manifest.output == TRAJECTORY:
            unit_m = self.observer.unit_m
            twist_K2 = outputs[1] * np.array([unit_m, 1.0])
            return Proposal(stamp_ns, manifest.step_s, twist_K2, outputs[0] * unit_m)
        return Proposal(stamp_ns, manifest.step_s, self._processor.actions(outputs[0]))


@dataclass(frozen=True, eq=False)
class Processor:
    """What stands between observed numbers and the network's; the same in training and when it runs.

    Attributes:
        shapes: Name -> shape without batch, in order.
        flags: Which are masks.
        statistics: Of those that are scaled.
        actions_in: Range of the actions; None for a trajectory.
    """

    shapes: Mapping[str, tuple[int, ...]]
    flags: frozenset[str]
    statistics: Mapping[str, Statistics]
    actions_in: ActionRange | None = None

    @classmethod
    def of(cls, manifest: PolicyManifest) -> Processor:
        """Return the processor that a manifest describes."""
        return cls(
            {name: tuple(shape) for name, shape in manifest.inputs.items() if name != "noise"},
            frozenset(manifest.flags),
            {name: Statistics.from_json(entries) for name, entries in manifest.statistics.items()},
            ActionRange(np.array(manifest.action_least), np.array(manifest.action_most))
            if manifest.action_least
            else None,
        )

    def batch(self, inputs: Mapping[str, np.ndarray], batched: bool = False) -> dict[str, np.ndarray]:
        """Return the network's inputs with a batch in front.

        Args:
            inputs: By name; what the network does not take is left out.
            batched: Whether they have a batch already.

        Raises:
            InputError: One is missing or has another shape.
        """
        made = {}
        for name, shape in self.shapes.items():
            if name not in inputs:
                raise InputError(f"input '{name}' is missing, expected {', '.join(self.shapes)}")
            value = np.asarray(inputs[name])
            value = value if batched else value[None]
            if value.shape[1:] != shape:
                raise InputError(f"input '{name}' has shape {value.shape[1:]}, expected {shape}")
            made[name] = self._scaled(name, value)
        return made

    def _scaled(self, name: str, value: np.ndarray) -> np.ndarray:
        if name in self.flags:
            return value.astype(bool)
        if name in self.statistics:
            return self.statistics[name].apply(value)
        return np.asarray(np.nan_to_num(value, nan=0.0), np.float32)

    def actions(self, value: np.ndarray) -> np.ndarray:
        """Return the robot's actions from those of a head."""
        assert self.actions_in is not None
        return self.actions_in.restore(value)


def load_policy(folder: Path | str, robot_action_dim: int | None = None) -> Policy:
    """Return the policy in a folder, after checking its file's hash.

    Args:
        folder: As ``write_policy`` leaves it.
        robot_action_dim: Size of the actions that the robot is given; default: as in training.

    Raises:
        PolicyFileError: No policy there, a damaged one, or a runtime that is not installed.
    """
    folder = Path(folder)
    manifest = PolicyManifest.read(folder)
    path = folder / manifest.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PolicyFileError(f"{path} cannot be read: {error}") from error
    if hashlib.sha256(content).hexdigest() != manifest.sha256:
        raise PolicyFileError(f"{path} is not the file that its manifest names: another hash")
    trained_dim = int(manifest.training.get("robot_action_dim", manifest.action_dim))
    network = open_network(content, manifest)
    return Policy(manifest, network, trained_dim if robot_action_dim is None else robot_action_dim)


def open_network(content: bytes, manifest: PolicyManifest) -> Network:
    """Return what runs a policy's file: inputs with a batch of one, by name -> outputs.

    Raises:
        PolicyFileError: It is no such file, or its runtime is not installed.
    """
    if manifest.runtime == "onnx":
        return _open_onnx(content, manifest)
    return _open_script(content, manifest.file, manifest)


def write_policy(folder: Path, manifest: PolicyManifest, content: bytes) -> None:
    """Write a policy's network and its manifest, the manifest last: a folder without one is no policy."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / manifest.file).write_bytes(content)
    manifest.write(folder)


def _open_script(content: bytes, name: str, manifest: PolicyManifest) -> Network:
    # Not needed by a policy of ONNX.
    import torch

    try:
        module: Any = torch.jit.load(io.BytesIO(content), map_location="cpu").eval()
    except RuntimeError as error:
        raise PolicyFileError(f"{name} is not a TorchScript file: {error}") from error

    def run(inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        with torch.inference_mode():
            outputs = module(*(torch.from_numpy(np.ascontiguousarray(inputs[key])) for key in manifest.inputs))
        return [each.numpy() for each in (outputs if isinstance(outputs, tuple) else (outputs,))]

    return run


def _open_onnx(content: bytes, manifest: PolicyManifest) -> Network:
    # Brings torch along, which a policy of TorchScript has loaded anyway.
    from world_model.errors import ArtifactError
    from world_model.runtime.onnx_session import open_session

    try:
        session = open_session(content, manifest.file)
    except ArtifactError as error:
        raise PolicyFileError(str(error)) from error

    def run(inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        outputs: list[np.ndarray] = session.run(None, {name: inputs[name] for name in manifest.inputs})
        return outputs

    return run
