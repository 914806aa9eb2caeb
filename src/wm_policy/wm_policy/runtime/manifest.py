"""What an exported policy says of itself: ``policy.json`` beside its network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from wm_core.digests import DIGEST, is_whole, json_with_digest
from wm_policy.errors import PolicyFileError

FORMAT, MANIFEST_NAME = "world-model-policy-1", "policy.json"
ACTIONS, TRAJECTORY = "actions", "trajectory"
RUNTIMES = {".pt": "torchscript", ".onnx": "onnx"}


@dataclass(frozen=True, kw_only=True)
class PolicyManifest:
    """An exported policy.

    Attributes:
        name: For people.
        encoder_id: Whose latents it reads.
        latent_dim: Their size.
        file: The network's file in the same folder.
        sha256: Hash of it.
        output: ``actions`` as the robot was given them, or ``trajectory``: path and twist.
        action_dim: Size of what it proposes; a trajectory's twist has 2: forward speed [m/s], yaw rate [rad/s].
        chunk: Steps that it proposes.
        step_s: Time between them [s].
        takes_noise: Whether what it proposes is drawn.
        inputs: Name -> shape without batch, in the order the network takes them.
        flags: Inputs that are bool masks.
        statistics: Input -> mean and std of its last axis.
        action_least: Least action of the training set, of ``actions``.
        action_most: Largest.
        observer: Settings of ``ObserverSettings``.
        motion: Motion model that it was trained with, as artifacts list it.
        training: What it was trained on, how, and how well it did.
        format: Of this file.
    """

    name: str
    encoder_id: str
    latent_dim: int
    file: str
    sha256: str
    output: str
    action_dim: int
    chunk: int
    step_s: float
    takes_noise: bool
    inputs: dict[str, list[int]]
    flags: list[str]
    statistics: dict[str, dict[str, list[float]]]
    observer: dict[str, Any]
    motion: dict[str, Any]
    action_least: list[float] = field(default_factory=list)
    action_most: list[float] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)
    format: str = FORMAT

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if self.format != FORMAT:
            raise PolicyFileError(f"policy has format {self.format}, this code reads {FORMAT}")
        if self.output not in (ACTIONS, TRAJECTORY):
            raise PolicyFileError(f"policy gives '{self.output}', expected {ACTIONS} or {TRAJECTORY}")
        if Path(self.file).name != self.file or Path(self.file).suffix not in RUNTIMES:
            raise PolicyFileError(f"policy's file is '{self.file}', expected a name ending in .pt or .onnx")
        if self.output == ACTIONS and not len(self.action_least) == len(self.action_most) == self.action_dim:
            raise PolicyFileError(f"policy lists no range of each of its {self.action_dim} actions")
        if self.chunk < 1 or not self.step_s > 0.0:
            raise PolicyFileError(f"policy proposes {self.chunk} steps of {self.step_s} s")

    @property
    def runtime(self) -> str:
        """What runs its network: ``torchscript`` or ``onnx``."""
        return RUNTIMES[Path(self.file).suffix]

    def write(self, folder: Path) -> None:
        """Write it into a folder."""
        (folder / MANIFEST_NAME).write_text(json_with_digest(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> PolicyManifest:
        """Return the manifest of a folder.

        Raises:
            PolicyFileError: None there, or one that cannot be used.
        """
        path = folder / MANIFEST_NAME
        if not path.is_file():
            raise PolicyFileError(f"{folder} is not an exported policy: it has no {MANIFEST_NAME}")
        try:
            text = path.read_text(encoding="utf-8")
            entries = json.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            raise PolicyFileError(f"{path} cannot be read: {error}") from error
        # Former ones have no digest.
        digest = entries.pop(DIGEST, None) if isinstance(entries, dict) else None
        found = cls._from(entries, path)
        if digest is not None and not is_whole(text, digest):
            raise PolicyFileError(f"{path} is damaged, or was changed by hand: it does not match its digest")
        return found

    @classmethod
    def _from(cls, entries: Any, path: Path) -> PolicyManifest:
        if not isinstance(entries, Mapping):
            raise PolicyFileError(f"{path} holds no entries")
        unknown = sorted(set(entries) - {each.name for each in fields(cls)})
        if unknown:
            raise PolicyFileError(f"{path}: unknown entries {', '.join(unknown)}")
        try:
            return cls(**entries)
        except TypeError as error:
            raise PolicyFileError(f"{path}: {error}") from error
