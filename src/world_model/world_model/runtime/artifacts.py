"""Model artifacts: a folder of TorchScript and ONNX files and the manifest that says what they are.

Nothing loads that does not match its manifest: each file is hashed first, and what the caller expects (latent size,
action size, image size) is compared before any weights are read.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wm_core.projection import Projection
from world_model.errors import ArtifactError
from world_model.runtime.artifact_folder import encoder_id_of, projection_of, read_manifest, verified
from world_model.runtime.features import FeatureNetwork
from world_model.runtime.graphs import ONNXRUNTIME, Arrays, OnnxPart, open_part
from world_model.runtime.manifest import FORMAT_VERSION, RUNTIMES, Expectations, Manifest
from world_model.runtime.onnx_session import is_installed, open_session
from world_model.runtime.places import MANIFEST_NAME, SHIPPED_PATH, made_path, resolve_model_path

# torch takes a second to import, and what onnxruntime runs does without: it is imported where it is used.
if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from world_model.runtime.prior import Prior
    from world_model.runtime.torch_parts import Encoder, TransitionModule

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "SHIPPED_PATH",
    "Artifact",
    "Expectations",
    "Manifest",
    "load_artifact",
    "load_part",
    "made_path",
    "resolve_model_path",
]


@dataclass(frozen=True)
class Artifact:
    """A verified artifact folder; each part is loaded when it is asked for.

    On a GPU parts run as CUDA graphs and take tensors from the host as well; see ``world_model.runtime.captured``.

    Attributes:
        path: The folder.
        manifest: What it says of itself, with ``encoder_id`` and units of ``projection``.
        device: Where its parts run.
        projection: From features to latents, where its encoder makes features.
        captures: Whether parts run as CUDA graphs on a GPU; else they take what lies there, for comparison.
        threads: That a call on the processor may use; of torch all parts of a process together.
    """

    path: Path
    manifest: Manifest
    device: str
    projection: Projection | None = None
    captures: bool = True
    threads: int | None = None

    def encoder(self) -> Encoder:
        """Return the encoder: ``(image_BHWC uint8, depth_B1HW | None, proprio_BP | None) -> latent_BD``."""
        from world_model.runtime.projected import ProjectedEncoder
        from world_model.runtime.projected_torch import TorchProjectedEncoder

        if self.projection is None:
            encoder: Encoder = self.running("encoder", self._load("encoder"))
            return encoder
        return TorchProjectedEncoder(ProjectedEncoder(self.features(), self.projection))

    def in_onnxruntime(self, part: str, methods: Collection[str]) -> OnnxPart | None:
        """Return a part in onnxruntime; ``None`` where torch is to run it.

        torch does on a GPU, where the manifest chooses it, where a method has no graph, and without onnxruntime.

        Raises:
            ArtifactError: A file is damaged.
        """
        graphs, named = self.manifest.graphs_of(part), self.manifest.part(part)
        if graphs is None or named is None or graphs.runtime != ONNXRUNTIME or not set(methods) <= set(graphs.files):
            return None
        if self.device != "cpu" or not is_installed():
            return None
        return open_part(graphs, self._content(named[0]), self._content, str(self.path / named[0]), self.threads or 1)

    def features(self) -> FeatureNetwork:
        """Return the network that makes features.

        Raises:
            ArtifactError: The encoder makes latents itself.
        """
        space = self.manifest.space
        if space is None:
            raise ArtifactError(f"artifact '{self.manifest.name}' at {self.path} makes no features")
        return FeatureNetwork(self._loaded("encoder"), space)

    def bound_to(self, projection: Projection) -> Artifact:
        """Return the artifact with another projection of its features: other latents, ``encoder_id`` and units.

        Raises:
            ArtifactError: It is none of this artifact's features, or gives latents of another size.
        """
        space, z_dim = self.manifest.space, self.manifest.z_dim
        if projection.space != space or projection.z_dim != z_dim:
            raise ArtifactError(
                f"projection of {projection.space} to {projection.z_dim} does not fit artifact "
                f"'{self.manifest.name}': {space} to {z_dim}"
            )
        manifest = replace(self.manifest, encoder_id=projection.encoder_id)
        if projection.variance is not None:
            variance = [projection.variance] * z_dim
            manifest = replace(manifest, latent_mean=[0.0] * z_dim, latent_variance=variance)
        return replace(self, manifest=manifest, projection=projection)

    def with_actions(self, action_dim: int) -> Artifact:
        """Return the artifact for a robot with so many actions.

        Raises:
            ArtifactError: It knows actions, and has another number of them.
        """
        return replace(self, manifest=self.manifest.with_actions(action_dim))

    def transition(self, frozen: bool = True) -> TransitionModule:
        """Return the transition with ``initial``, ``observe`` and ``forecast`` (see ``world_model.models``).

        Without one in the artifact it says that nothing changes.

        Args:
            frozen: False leaves it as it was exported, with weights that can be trained.
        """
        from world_model.runtime.no_network import NoNetwork

        return self._transition("transition", frozen) if self.has("transition") else NoNetwork()

    def without_memory(self) -> TransitionModule:
        """Return the same transition trained without memory, which evaluation compares with."""
        return self._transition("without_memory")

    def weights(self, part: str) -> dict[str, Tensor]:
        """Return the weights and buffers of a TorchScript part, by name.

        Raises:
            ArtifactError: The artifact has no such part, or onnxruntime runs it.
        """
        named = self.manifest.part(part)
        if named is not None and named[1] == RUNTIMES[".onnx"]:
            raise ArtifactError(f"the weights of {part} lie in an ONNX file")
        return dict(self._loaded(part).state_dict())

    def action_statistics(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return mean and standard deviation of each action over the training set, [A] each; ``None``: not kept."""
        if not self.has("transition"):
            return None
        buffers = self.buffers("transition", ("action_mean", "action_std"))
        return (buffers["action_mean"], buffers["action_std"]) if len(buffers) == 2 else None

    def buffers(self, part: str, names: Collection[str]) -> dict[str, np.ndarray]:
        """Return statistics that a part holds besides its weights, those of these names that it has."""
        graphs, named = self.manifest.graphs_of(part), self.manifest.part(part)
        if graphs is not None and named is not None and set(names) <= set(graphs.buffers):
            arrays = Arrays(self._content(named[0]), str(self.path / named[0]))
            return {name: arrays.at(graphs.buffers[name]) for name in names}
        # Frozen, it has none left.
        held = dict(self._loaded(part).named_buffers())
        return {name: held[name].cpu().numpy() for name in names if name in held}

    def prior(self) -> Prior | None:
        """Return what was learned from many robots, for the present projection; ``None`` where there is none.

        Raises:
            ArtifactError: It knows directions of other features.
        """
        if self.projection is None or not self.has("prior"):
            return None
        from world_model.runtime.prior import Prior

        # Frozen, it has no buffers left.
        buffers = dict(self._loaded("prior").named_buffers())
        return Prior(self._load("prior"), buffers, self.projection, self.manifest.latent_variance[0])

    def decoder(self) -> torch.jit.ScriptModule:
        """Return the decoder: ``latent_BD -> image_BHWC uint8``."""
        decoder: torch.jit.ScriptModule = self.running("decoder", self._load("decoder"))
        return decoder

    def world_action(self) -> torch.jit.ScriptModule:
        """Return the slow branch with ``embed`` and ``foresee``."""
        branch: torch.jit.ScriptModule = self.running("world_action", self._load("world_action"))
        return branch

    def running(self, part: str, module: Any) -> Any:
        """Return a part that was loaded as it runs on the device."""
        if not self.captures:
            return module
        from world_model.runtime.torch_parts import METHODS, on_device

        return on_device(module, part, ("forward", *METHODS[part]), self.device)

    def has(self, part: str) -> bool:
        """Return whether the artifact contains ``part``."""
        return self.manifest.part(part) is not None

    def _transition(self, part: str, frozen: bool = True) -> TransitionModule:
        from world_model.runtime.former import FormerTransition, is_former

        module = self._load(part) if frozen else self._loaded(part)
        transition = FormerTransition(module) if is_former(module) else module
        return self.running(part, transition) if frozen else transition

    def _load(self, part: str) -> torch.jit.ScriptModule:
        from world_model.runtime.torch_parts import frozen

        return frozen(self._loaded(part), part)

    def _loaded(self, part: str) -> Any:
        named = self.manifest.part(part)
        if named is None:
            raise ArtifactError(f"artifact '{self.manifest.name}' at {self.path} has no {part}.pt")
        name, runtime = named
        return load_part(self._content(name), runtime, str(self.path / name), self.device, self.threads)

    def _content(self, name: str) -> bytes:
        return verified(self.path / name, self.manifest.files[name])


def load_part(content: bytes, runtime: str, name: str, device: str = "cpu", threads: int | None = None) -> Any:
    """Return one part, whatever runs it: a TorchScript module, or an onnxruntime session.

    Args:
        content: Of its file.
        runtime: One of ``RUNTIMES``.
        name: What to call it in an error.
        device: Where TorchScript runs; onnxruntime runs on the processor.
        threads: That a call may use; of torch in the whole process, which ``None`` leaves as it is.

    Raises:
        ArtifactError: The file is none of that kind, or its runtime is not installed.
    """
    if runtime == RUNTIMES[".onnx"]:
        return open_session(content, name, threads=threads or 1)
    from world_model.runtime.torch_parts import opened

    return opened(content, name, device, threads)


def load_artifact(
    model_path: str | Path, device: str = "cpu", *, expect: Expectations | None = None, threads: int | None = None
) -> Artifact:
    """Return the artifact at ``model_path`` after checking every file's hash.

    Args:
        model_path: See ``resolve_model_path``.
        device: Where its parts will be loaded, as torch names it.
        expect: Sizes the deployment requires.
        threads: That a call on the processor may use; ``None``: 1 in onnxruntime, and what torch is set to.

    Raises:
        ArtifactError: Missing, damaged, of an unknown format or device, or not as expected; the text says what.
    """
    path = resolve_model_path(model_path)
    if device != "cpu":
        from world_model.runtime.torch_parts import require_device

        require_device(device)
    manifest = read_manifest(path)
    if expect is not None:
        if expect.action_dim is not None and manifest.takes_any_actions:
            manifest = manifest.with_actions(expect.action_dim)
        manifest.require(expect)
    if manifest.part("encoder") is None:
        raise ArtifactError(f"manifest of '{manifest.name}' names no encoder.pt")
    if manifest.feature is None and manifest.part("transition") is None:
        raise ArtifactError(f"manifest of '{manifest.name}' names no transition.pt")
    for name, digest in manifest.files.items():
        verified(path / name, digest)
    projection = projection_of(path, manifest)
    encoder_id = encoder_id_of(manifest, projection)
    if encoder_id != manifest.encoder_id:
        raise ArtifactError(f"encoder_id is {manifest.encoder_id}, but the encoder's files give {encoder_id}")
    return Artifact(path, manifest, device, projection, threads=threads)
