"""Model artifacts: a folder of TorchScript and ONNX files and the manifest that says what they are.

Nothing loads that does not match its manifest: each file is hashed first, and what the caller expects (latent size,
action size, image size) is compared before any weights are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wm_core.errors import ProjectionError
from wm_core.projection import Projection
from wm_core.sealed import DIGEST
from world_model.errors import ArtifactError
from world_model.runtime.conditioning import Retrieval
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
    "add_part",
    "load_artifact",
    "load_part",
    "made_path",
    "resolve_model_path",
    "write_artifact",
]

PARTS = ("encoder", "transition", "decoder", "world_action", "without_memory", "prior")
# Pixel space and regression weights, which evaluation compares with.
REFERENCE_NAME = "reference.npz"
# What an encoder of features is used with until a robot has fitted its own.
PROJECTION_NAME = "projection.npz"

_MOST_MANIFEST_BYTES, _MOST_PART_BYTES = 64 * 2**20, 8 * 2**30


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
        return _verified(self.path / name, self.manifest.files[name])


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
        manifest.require(expect)
    if manifest.part("encoder") is None:
        raise ArtifactError(f"manifest of '{manifest.name}' names no encoder.pt")
    if manifest.feature is None and manifest.part("transition") is None:
        raise ArtifactError(f"manifest of '{manifest.name}' names no transition.pt")
    for name, digest in manifest.files.items():
        _verified(path / name, digest)
    projection = _projection_of(path, manifest)
    encoder_id = _encoder_id(manifest, projection)
    if encoder_id != manifest.encoder_id:
        raise ArtifactError(f"encoder_id is {manifest.encoder_id}, but the encoder's files give {encoder_id}")
    return Artifact(path, manifest, device, projection, threads=threads)


def _projection_of(path: Path, manifest: Manifest) -> Projection | None:
    """Return the fixed projection of an artifact whose encoder makes features."""
    space = manifest.space
    if space is None:
        return None
    if PROJECTION_NAME not in manifest.files:
        raise ArtifactError(f"artifact '{manifest.name}' makes features and has no {PROJECTION_NAME}")
    try:
        projection = Projection.load(path / PROJECTION_NAME)
    except ProjectionError as error:
        raise ArtifactError(str(error)) from error
    if projection.space != space or projection.z_dim != manifest.z_dim:
        raise ArtifactError(f"{path / PROJECTION_NAME} is no projection of the features that the manifest names")
    return projection


def _encoder_id(manifest: Manifest, projection: Projection | None) -> str:
    named = manifest.part("encoder")
    assert named is not None
    digest = manifest.files[named[0]][:16]
    if projection is None:
        return digest
    if projection.space.feature_id != digest:
        raise ArtifactError(f"feature_id is {projection.space.feature_id}, but {named[0]} hashes to {digest}")
    return projection.encoder_id


def write_artifact(
    path: Path, entries: Mapping[str, Any], parts: Mapping[str, torch.jit.ScriptModule | bytes]
) -> Manifest:
    """Write parts and their manifest into a folder; parts already there and not given are kept.

    An encoder that makes features needs ``feature`` among the entries and the folder its ``projection.npz``.

    Args:
        path: Artifact folder, made if missing.
        entries: Manifest entries except ``files``, ``parts`` and ``encoder_id``, which follow from the files, and
            ``format_version``, which is always today's.
        parts: Part name -> scripted module, or the bytes of an ONNX file; must contain ``encoder`` unless the folder
            has one.

    Returns:
        The manifest as written.

    Raises:
        ArtifactError: An unknown part, or no encoder at all.
    """
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise ArtifactError(f"unknown artifact parts: {', '.join(unknown)}")
    path.mkdir(parents=True, exist_ok=True)
    for name, module in parts.items():
        is_onnx = isinstance(module, bytes)
        content = module if isinstance(module, bytes) else _script_bytes(module, name)
        (path / f"{name}{'.onnx' if is_onnx else '.pt'}").write_bytes(content)
        (path / f"{name}{'.pt' if is_onnx else '.onnx'}").unlink(missing_ok=True)
    graphs = _still_true(path, entries.get("graphs", {}))
    names = [*(f"{part}{ending}" for part in PARTS for ending in RUNTIMES), REFERENCE_NAME, PROJECTION_NAME]
    names += [file for entry in graphs.values() for file in entry["files"].values()]
    files = {name: _digest((path / name).read_bytes()) for name in names if (path / name).is_file()}
    named = {
        Path(name).stem: {"file": name, "runtime": RUNTIMES[Path(name).suffix]}
        for name in files
        if Path(name).suffix in RUNTIMES and Path(name).stem in PARTS
    }
    if "encoder" not in named:
        raise ArtifactError(f"artifact at {path} would have no encoder.pt")
    computed = (DIGEST, "files", "parts", "encoder_id", "format_version", "graphs")
    kept = {name: value for name, value in entries.items() if name not in computed}
    kept["memory"] = {Retrieval.FORMER_NAMES.get(name, name): value for name, value in kept["memory"].items()}
    manifest = Manifest(**kept, files=files, parts=named, graphs=graphs, encoder_id="")
    manifest = replace(manifest, encoder_id=_encoder_id(manifest, _projection_of(path, manifest)))
    (path / MANIFEST_NAME).write_text(manifest.to_json())
    return manifest


def _still_true(path: Path, graphs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the graphs whose TorchScript file is still the one that they are of; the files of others are removed."""
    kept = {}
    for part, entry in graphs.items():
        source, files = path / f"{part}.pt", [path / file for file in entry.get("files", {}).values()]
        is_same = source.is_file() and _digest(source.read_bytes()) == entry["of"]
        if is_same and all(file.is_file() for file in files):
            kept[part] = entry
            continue
        for file in files:
            file.unlink(missing_ok=True)
    return kept


def _script_bytes(module: torch.jit.ScriptModule, name: str) -> bytes:
    from world_model.runtime.torchscript import script_bytes

    return script_bytes(module, name)


def add_part(path: Path, part: str, module: torch.jit.ScriptModule, **entries: Any) -> Manifest:
    """Add or replace one part of an existing artifact and update its manifest.

    Args:
        path: Artifact folder.
        part: One of ``PARTS``.
        module: Scripted module.
        **entries: Manifest entries that change with it, such as ``world_action={...}``.
    """
    manifest = read_manifest(path)
    return write_artifact(path, {**asdict(manifest), **entries}, {part: module})


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of an artifact folder.

    Raises:
        ArtifactError: It cannot be read, is too large to be one, or says what no artifact is.
    """
    file = path / MANIFEST_NAME
    try:
        size = file.stat().st_size
        text = file.read_text(encoding="utf-8") if size <= _MOST_MANIFEST_BYTES else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{file} cannot be read: {error}") from error
    if size > _MOST_MANIFEST_BYTES:
        raise ArtifactError(f"{file} has {size} bytes, at most {_MOST_MANIFEST_BYTES} do")
    try:
        return Manifest.from_json(text)
    except ArtifactError as error:
        raise ArtifactError(f"{file}: {error}") from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _verified(path: Path, digest: str) -> bytes:
    if not path.is_file():
        raise ArtifactError(f"{path} is named by the manifest but missing")
    if path.stat().st_size > _MOST_PART_BYTES:
        raise ArtifactError(f"{path} has {path.stat().st_size} bytes, at most {_MOST_PART_BYTES} do")
    content = path.read_bytes()
    if _digest(content) != digest:
        raise ArtifactError(f"{path} does not match its manifest: hash {_digest(content)[:16]}, expected {digest[:16]}")
    return content
