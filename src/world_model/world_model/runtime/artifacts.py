"""Model artifacts: a folder of TorchScript files and the manifest that says what they are.

Nothing loads that does not match its manifest: each file is hashed first, and what the caller expects (latent size,
action size, image size) is compared before any weights are read.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from world_model.errors import ArtifactError
from world_model.runtime.torchscript import script_bytes

FORMAT_VERSION = 2
MANIFEST_NAME = "manifest.json"
PARTS = ("encoder", "transition", "decoder", "world_action", "without_memory")
# Pixel space and regression weights, which evaluation compares with.
REFERENCE_NAME = "reference.npz"
SHIPPED_PATH = Path(__file__).parents[1] / "shipped"

_SCHEME = "artifact://"
# What freezing must keep callable beside ``forward``.
_METHODS = {
    "encoder": [],
    "transition": ["initial", "observe", "foresee_path", "forecast", "rollout"],
    "without_memory": ["initial", "observe", "foresee_path", "forecast"],
    "decoder": [],
    "world_action": ["embed", "foresee"],
}


@dataclass(frozen=True, kw_only=True)
class Expectations:
    """What a deployment requires of the artifact it loads; ``None`` requires nothing."""

    z_dim: int | None = None
    action_dim: int | None = None
    image_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an artifact is: sizes, normalisation, motion model, retrieval settings, origin and measured results.

    Attributes:
        encoder_id: First 16 hex digits of the SHA-256 of ``encoder.pt``; latents of different ids never mix.
        image_size: Side of the square image the encoder takes [px].
        inputs: Name -> size of what the encoder takes: ``image`` (3), optional ``depth`` (1), ``proprioception`` (P).
        step_s: Time between two latents the transition was trained on [s].
        horizon_s: The far horizon that the graph publishes [s].
        latent_mean: Mean of each latent dimension over the training set [D].
        latent_variance: Variance of each latent dimension over the training set [D]; the unit of prediction errors.
        motion: Parameters of ``world_model.runtime.motion.MotionModel``.
        memory: Parameters of ``world_model.runtime.predictor.Retrieval``.
        world_action: Sizes of the slow branch, or ``None`` when the artifact has none.
        files: File name -> SHA-256 (hex).
        training: What it was trained on and how; free form.
        results: What was measured; free form.
    """

    format_version: int = FORMAT_VERSION
    name: str
    encoder_id: str
    z_dim: int
    action_dim: int
    image_size: int
    inputs: dict[str, int] = field(default_factory=lambda: {"image": 3})
    step_s: float
    horizon_s: float
    top_k: int
    latent_mean: list[float]
    latent_variance: list[float]
    motion: dict[str, Any]
    memory: dict[str, Any]
    world_action: dict[str, Any] | None = None
    files: dict[str, str] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse sizes that contradict one another."""
        if self.format_version != FORMAT_VERSION:
            raise ArtifactError(f"artifact format is version {self.format_version}, this code reads {FORMAT_VERSION}")
        for name in ("z_dim", "action_dim", "image_size", "top_k"):
            value = getattr(self, name)
            if not isinstance(value, int) or value <= 0:
                raise ArtifactError(f"manifest: {name} is {value!r}, expected a positive whole number")
        for name in ("latent_mean", "latent_variance"):
            if len(getattr(self, name)) != self.z_dim:
                raise ArtifactError(f"manifest: {name} has {len(getattr(self, name))} values, z_dim is {self.z_dim}")
        if not (self.step_s > 0 and self.horizon_s >= self.step_s):
            raise ArtifactError(f"manifest: step_s {self.step_s} and horizon_s {self.horizon_s} do not fit together")

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Return the manifest written in ``text``.

        Raises:
            ArtifactError: Not JSON, an entry is unknown, or one is missing.
        """
        try:
            entries = json.loads(text)
        except json.JSONDecodeError as error:
            raise ArtifactError(f"manifest is not JSON: {error}") from error
        if not isinstance(entries, dict):
            raise ArtifactError(f"manifest is a JSON {type(entries).__name__}, expected an object")
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(entries) - known)
        if unknown:
            raise ArtifactError(f"manifest has unknown entries: {', '.join(unknown)}")
        try:
            return cls(**entries)
        except TypeError as error:
            raise ArtifactError(f"manifest is incomplete: {error}") from error

    def to_json(self) -> str:
        """Return the manifest as indented JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"

    def require(self, expect: Expectations) -> None:
        """Raise ``ArtifactError`` naming the first entry that differs from what is expected."""
        for name, expected in asdict(expect).items():
            if expected is not None and getattr(self, name) != expected:
                raise ArtifactError(f"artifact '{self.name}' has {name} {getattr(self, name)}, expected {expected}")


@dataclass(frozen=True)
class Artifact:
    """A verified artifact folder; each part is loaded when it is asked for."""

    path: Path
    manifest: Manifest
    device: str

    def encoder(self) -> torch.jit.ScriptModule:
        """Return the encoder: ``(image_BHWC uint8, depth_B1HW | None, proprio_BP | None) -> latent_BD``."""
        return self._load("encoder")

    def transition(self) -> torch.jit.ScriptModule:
        """Return the transition with ``initial``, ``observe`` and ``forecast`` (see ``world_model.models``)."""
        return self._load("transition")

    def without_memory(self) -> torch.jit.ScriptModule:
        """Return the same transition trained without memory, which evaluation compares with."""
        return self._load("without_memory")

    def decoder(self) -> torch.jit.ScriptModule:
        """Return the decoder: ``latent_BD -> image_BHWC uint8``."""
        return self._load("decoder")

    def world_action(self) -> torch.jit.ScriptModule:
        """Return the slow branch with ``embed`` and ``foresee``."""
        return self._load("world_action")

    def has(self, part: str) -> bool:
        """Return whether the artifact contains ``part``."""
        return f"{part}.pt" in self.manifest.files

    def _load(self, part: str) -> torch.jit.ScriptModule:
        name = f"{part}.pt"
        if not self.has(part):
            raise ArtifactError(f"artifact '{self.manifest.name}' at {self.path} has no {name}")
        content = _verified(self.path / name, self.manifest.files[name])
        try:
            module = torch.jit.load(io.BytesIO(content), map_location=self.device).eval()
        except RuntimeError as error:
            raise ArtifactError(f"{self.path / name} is not a TorchScript file: {error}") from error
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        preserved = [name for name in _METHODS[part] if hasattr(module, name)]
        return torch.jit.freeze(module, preserved_attrs=preserved)


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
        entries: Manifest entries except ``files`` and ``encoder_id``, which follow from the files.
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
    kept = {name: value for name, value in entries.items() if name not in ("files", "encoder_id")}
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
