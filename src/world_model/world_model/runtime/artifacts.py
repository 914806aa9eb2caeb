"""Model artifacts: a folder of TorchScript files and the manifest that says what they are.

Nothing loads that does not match its manifest: each file is hashed first, and what the caller expects (latent size,
action size, image size) is compared before any weights are read.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from world_model.errors import ArtifactError
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.former import FormerTransition, is_former
from world_model.runtime.manifest import FORMAT_VERSION, Expectations, Manifest
from world_model.runtime.torchscript import script_bytes

__all__ = [
    "FORMAT_VERSION",
    "Artifact",
    "Expectations",
    "Manifest",
    "TransitionModule",
    "add_part",
    "load_artifact",
    "resolve_model_path",
    "write_artifact",
]

MANIFEST_NAME = "manifest.json"
PARTS = ("encoder", "transition", "decoder", "world_action", "without_memory")
# Pixel space and regression weights, which evaluation compares with.
REFERENCE_NAME = "reference.npz"
SHIPPED_PATH = Path(__file__).parents[1] / "shipped"

# A scripted transition, or one of format 2 behind the same methods.
TransitionModule = torch.jit.ScriptModule | FormerTransition

_SCHEME = "artifact://"
# What freezing must keep callable beside ``forward``.
_METHODS = {
    "encoder": [],
    "transition": ["initial", "observe", "foresee_path", "forecast", "rollout"],
    "without_memory": ["initial", "observe", "foresee_path", "forecast"],
    "decoder": [],
    "world_action": ["embed", "foresee"],
}


@dataclass(frozen=True)
class Artifact:
    """A verified artifact folder; each part is loaded when it is asked for."""

    path: Path
    manifest: Manifest
    device: str

    def encoder(self) -> torch.jit.ScriptModule:
        """Return the encoder: ``(image_BHWC uint8, depth_B1HW | None, proprio_BP | None) -> latent_BD``."""
        return self._load("encoder")

    def transition(self, frozen: bool = True) -> TransitionModule:
        """Return the transition with ``initial``, ``observe`` and ``forecast`` (see ``world_model.models``).

        Args:
            frozen: False leaves it as it was exported, with weights that can be trained.
        """
        return self._transition("transition", frozen)

    def without_memory(self) -> TransitionModule:
        """Return the same transition trained without memory, which evaluation compares with."""
        return self._transition("without_memory")

    def action_statistics(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return mean and standard deviation of each action over the training set, [A] each; ``None``: not kept."""
        buffers = dict(self._loaded("transition").named_buffers())
        if not {"action_mean", "action_std"} <= set(buffers):
            return None
        return buffers["action_mean"].cpu().numpy(), buffers["action_std"].cpu().numpy()

    def decoder(self) -> torch.jit.ScriptModule:
        """Return the decoder: ``latent_BD -> image_BHWC uint8``."""
        return self._load("decoder")

    def world_action(self) -> torch.jit.ScriptModule:
        """Return the slow branch with ``embed`` and ``foresee``."""
        return self._load("world_action")

    def has(self, part: str) -> bool:
        """Return whether the artifact contains ``part``."""
        return f"{part}.pt" in self.manifest.files

    def _transition(self, part: str, frozen: bool = True) -> TransitionModule:
        module = self._load(part) if frozen else self._loaded(part)
        return FormerTransition(module) if is_former(module) else module

    def _load(self, part: str) -> torch.jit.ScriptModule:
        module = self._loaded(part)
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        preserved = [name for name in _METHODS[part] if hasattr(module, name)]
        return torch.jit.freeze(module, preserved_attrs=preserved)

    def _loaded(self, part: str) -> torch.jit.ScriptModule:
        name = f"{part}.pt"
        if not self.has(part):
            raise ArtifactError(f"artifact '{self.manifest.name}' at {self.path} has no {name}")
        content = _verified(self.path / name, self.manifest.files[name])
        try:
            return torch.jit.load(io.BytesIO(content), map_location=self.device).eval()
        except RuntimeError as error:
            raise ArtifactError(f"{self.path / name} is not a TorchScript file: {error}") from error


def resolve_model_path(model_path: str | Path) -> Path:
    """Return the folder that ``model_path`` means.

    Args:
        model_path: ``artifact://NAME`` for one that ships, an artifact folder, or any file inside one.

    Raises:
        ArtifactError: Nothing there, or no manifest beside it.
    """
    text = str(model_path)
    if text.startswith(_SCHEME):
        path = SHIPPED_PATH / text.removeprefix(_SCHEME)
        if not (path / MANIFEST_NAME).is_file():
            names = ", ".join(sorted(p.parent.name for p in SHIPPED_PATH.glob(f"*/{MANIFEST_NAME}"))) or "none"
            raise ArtifactError(f"no artifact '{text}' ships with this package; shipped: {names}")
        return path
    path = Path(text).expanduser()
    if not text or not path.exists():
        raise ArtifactError(f"model path '{text}' does not exist")
    folder = path.parent if path.is_file() else path
    if not (folder / MANIFEST_NAME).is_file():
        raise ArtifactError(f"model path '{text}' has no {MANIFEST_NAME} beside it")
    return folder


def load_artifact(model_path: str | Path, device: str = "cpu", *, expect: Expectations | None = None) -> Artifact:
    """Return the artifact at ``model_path`` after checking every file's hash.

    Args:
        model_path: See ``resolve_model_path``.
        device: Where its parts will be loaded, as torch names it.
        expect: Sizes the deployment requires.

    Raises:
        ArtifactError: Missing, damaged, of an unknown format or device, or not as expected; the text says what.
    """
    path = resolve_model_path(model_path)
    try:
        torch.device(device)
    except RuntimeError as error:
        raise ArtifactError(f"unknown device '{device}'") from error
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ArtifactError(f"device '{device}' was asked for, but torch sees no CUDA device")
    manifest = Manifest.from_json((path / MANIFEST_NAME).read_text())
    if expect is not None:
        manifest.require(expect)
    for name in ("encoder.pt", "transition.pt"):
        if name not in manifest.files:
            raise ArtifactError(f"manifest of '{manifest.name}' names no {name}")
    for name, digest in manifest.files.items():
        _verified(path / name, digest)
    encoder_id = manifest.files["encoder.pt"][:16]
    if encoder_id != manifest.encoder_id:
        raise ArtifactError(f"encoder_id is {manifest.encoder_id}, but encoder.pt hashes to {encoder_id}")
    return Artifact(path, manifest, device)


def write_artifact(path: Path, entries: Mapping[str, Any], parts: Mapping[str, torch.jit.ScriptModule]) -> Manifest:
    """Write TorchScript parts and their manifest into a folder; parts already there and not given are kept.

    Args:
        path: Artifact folder, made if missing.
        entries: Manifest entries except ``files`` and ``encoder_id``, which follow from the files, and
            ``format_version``, which is always today's.
        parts: Part name -> scripted module; must contain ``encoder`` unless the folder has one.

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
        (path / f"{name}.pt").write_bytes(script_bytes(module, name))
    names = [*(f"{part}.pt" for part in PARTS), REFERENCE_NAME]
    files = {name: _digest((path / name).read_bytes()) for name in names if (path / name).is_file()}
    if "encoder.pt" not in files:
        raise ArtifactError(f"artifact at {path} would have no encoder.pt")
    kept = {name: value for name, value in entries.items() if name not in ("files", "encoder_id", "format_version")}
    kept["memory"] = {Retrieval.FORMER_NAMES.get(name, name): value for name, value in kept["memory"].items()}
    manifest = Manifest(**kept, files=files, encoder_id=files["encoder.pt"][:16])
    (path / MANIFEST_NAME).write_text(manifest.to_json())
    return manifest


def add_part(path: Path, part: str, module: torch.jit.ScriptModule, **entries: Any) -> Manifest:
    """Add or replace one part of an existing artifact and update its manifest.

    Args:
        path: Artifact folder.
        part: One of ``PARTS``.
        module: Scripted module.
        **entries: Manifest entries that change with it, such as ``world_action={...}``.
    """
    manifest = Manifest.from_json((path / MANIFEST_NAME).read_text())
    return write_artifact(path, {**asdict(manifest), **entries}, {part: module})


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _verified(path: Path, digest: str) -> bytes:
    if not path.is_file():
        raise ArtifactError(f"{path} is named by the manifest but missing")
    content = path.read_bytes()
    if _digest(content) != digest:
        raise ArtifactError(f"{path} does not match its manifest: hash {_digest(content)[:16]}, expected {digest[:16]}")
    return content
