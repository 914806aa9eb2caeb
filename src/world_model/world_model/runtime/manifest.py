"""What an artifact says of itself, and what a deployment requires of it."""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import PurePath
from typing import Any

from wm_core.bounds import LONGEST_HORIZON_S, SHORTEST_STEP_S
from wm_core.digests import DIGEST, is_whole, json_with_digest
from wm_core.projection import FeatureSpace
from world_model.errors import ArtifactError
from world_model.runtime.graphs import ONNXRUNTIME, TORCHSCRIPT, PartGraphs

FORMAT_VERSION = 4
# Transitions of format 2 take fifteen tensors by position, and their manifests call some settings otherwise.
# Of format 3 are those without graphs.
READABLE_VERSIONS = (2, 3, FORMAT_VERSION)


RUNTIMES = {".pt": TORCHSCRIPT, ".onnx": ONNXRUNTIME}
"""Ending of a part's file -> what runs it."""

DEFAULT_HISTORY_DIM = 4 * 224
"""Of artifacts whose manifest says nothing of it: four embeddings of the slow branch."""


MOST = {"z_dim": 65_536, "action_dim": 1024, "image_size": 8192, "top_k": 4096, "history_dim": 1_000_000}
"""Largest sizes that are believed: a network beyond them is no network, but would fill the memory."""
_MOST_SLOW = {"image_size": MOST["image_size"], "embedding_dim": 65_536, "history": 1024, "future": 1024}

_LOG = logging.getLogger(__name__)
# Said once in a process of each.
_WITHOUT_DIGEST: set[tuple[str, str]] = set()
_MOST_SAID = 64

_TABLES = (
    "inputs", "motion", "memory", "parts", "graphs", "files", "training", "results", "world_action", "feature",
)  # fmt: skip


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
        encoder_id: First 16 hex digits of the SHA-256 of the encoder's file; where it makes features, of its
            ``feature_id`` and projection. Latents of different ids never mix.
        image_size: Side of the square image the encoder takes [px].
        inputs: Name -> size of what the encoder takes: ``image`` (3), optional ``depth`` (1), ``proprioception`` (P).
        step_s: Time between two latents the transition was trained on [s].
        horizon_s: The far horizon that the graph publishes [s].
        latent_mean: Mean of each latent dimension over the training set [D].
        latent_variance: Variance of each latent dimension over the training set [D]; the unit of prediction errors.
        motion: Parameters of ``world_model.runtime.motion.MotionModel``.
        memory: Parameters of ``world_model.runtime.conditioning.Retrieval``.
        world_action: Sizes of the slow branch, or ``None`` when the artifact has none.
        history_dim: Values of the visual history that the transition reads; those without this entry read 4 x 224.
        feature: What the codes of an encoder that makes features mean: entries of ``wm_core.projection.FeatureSpace``;
            ``None`` for an encoder that makes latents itself.
        parts: Part -> ``{"file": NAME, "runtime": one of RUNTIMES}``; those without this entry are TorchScript, each in
            a file of its part's name.
        graphs: Part -> its methods as ONNX graphs, and which runtime is faster on a processor: entries of
            ``world_model.runtime.graphs.PartGraphs``.
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
    history_dim: int = DEFAULT_HISTORY_DIM
    feature: dict[str, Any] | None = None
    parts: dict[str, dict[str, str]] = field(default_factory=dict)
    graphs: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse sizes that contradict one another."""
        if self.format_version not in READABLE_VERSIONS:
            readable = f"{READABLE_VERSIONS[0]} to {READABLE_VERSIONS[-1]}"
            raise ArtifactError(f"artifact format is version {self.format_version}, this code reads {readable}")
        self._check_types()
        for name in ("z_dim", "action_dim", "image_size", "top_k", "history_dim"):
            value = getattr(self, name)
            if type(value) is not int or not 0 < value <= MOST[name]:
                raise ArtifactError(f"manifest: {name} is {value!r}, expected a whole number of 1 to {MOST[name]}")
        for name in ("latent_mean", "latent_variance"):
            values = getattr(self, name)
            if len(values) != self.z_dim:
                raise ArtifactError(f"manifest: {name} has {len(values)} values, z_dim is {self.z_dim}")
            if not all(map(math.isfinite, values)) or (name == "latent_variance" and min(values) <= 0):
                raise ArtifactError(f"manifest: {name} holds a value that none can be")
        if not SHORTEST_STEP_S <= self.step_s <= self.horizon_s <= LONGEST_HORIZON_S:
            raise ArtifactError(
                f"manifest: step_s {self.step_s} and horizon_s {self.horizon_s} do not fit together, or not into "
                f"{SHORTEST_STEP_S:g} to {LONGEST_HORIZON_S:g} s"
            )
        if self.world_action is not None:
            _check_slow_branch(self.world_action)
        self._check_files()

    def _check_files(self) -> None:
        """Refuse files outside the artifact's folder, and parts of no known runtime."""
        for name in self.files:
            if name != PurePath(name).name or not name.isprintable():
                raise ArtifactError(f"manifest: {name!r} is no file of its folder")
        for part, entry in self.parts.items():
            is_named = set(entry) == {"file", "runtime"} and all(isinstance(word, str) for word in entry.values())
            if not is_named or entry["runtime"] not in RUNTIMES.values():
                runtimes = " or ".join(RUNTIMES.values())
                raise ArtifactError(f"manifest: part '{part}' is {entry}, expected file and runtime ({runtimes})")

        for part in self.graphs:
            graphs, named = self.graphs_of(part), self.part(part)
            if graphs is None or named is None or self.files[named[0]] != graphs.of:
                raise ArtifactError(f"manifest: the graphs of part '{part}' are of another file")
            missing = sorted(set(graphs.files.values()) - set(self.files))
            if missing:
                raise ArtifactError(f"manifest: the graphs of part '{part}' lack {missing[0]!r:.60}")

    def _check_types(self) -> None:
        """Refuse tables that are none: what reads them expects to find entries."""
        for name in _TABLES:
            value = getattr(self, name)
            if not isinstance(value, dict) and not (value is None and name in ("world_action", "feature")):
                raise ArtifactError(f"manifest: {name} is {value!r:.60}, expected an object")
        texts = [self.name, self.encoder_id, *self.files.values()]
        if not all(isinstance(text, str) for text in texts):
            raise ArtifactError("manifest: name, encoder_id and hashes are texts")
        if not all(type(size) is int and 0 < size <= MOST["z_dim"] for size in self.inputs.values()):
            raise ArtifactError(f"manifest: inputs is {self.inputs!r:.60}, expected sizes")

    def part(self, name: str) -> tuple[str, str] | None:
        """Return file and runtime of a part, or ``None`` where there is none."""
        entry = self.parts.get(name, {"file": f"{name}.pt", "runtime": RUNTIMES[".pt"]})
        return (entry["file"], entry["runtime"]) if entry["file"] in self.files else None

    def graphs_of(self, name: str) -> PartGraphs | None:
        """Return what there is of a part's graphs, or ``None`` where it has none.

        Raises:
            ArtifactError: The entry is damaged.
        """
        return PartGraphs.of_manifest(self.graphs[name]) if name in self.graphs else None

    @property
    def space(self) -> FeatureSpace | None:
        """What the encoder's features mean; ``None`` where it makes latents itself.

        Raises:
            ArtifactError: An entry is missing, unknown or out of range.
        """
        if self.feature is None:
            return None
        try:
            return FeatureSpace(**self.feature)
        except (TypeError, ValueError) as error:
            raise ArtifactError(f"manifest: feature: {error}") from error

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Return the manifest written in ``text``.

        Raises:
            ArtifactError: Not JSON, an entry is unknown, one is missing, or the text is not the one that was written.
        """
        try:
            entries = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"manifest is not JSON: {error}") from error
        if not isinstance(entries, dict):
            raise ArtifactError(f"manifest is a JSON {type(entries).__name__}, expected an object")
        digest = entries.pop(DIGEST, None)
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(entries) - known)
        if unknown:
            raise ArtifactError(f"manifest has unknown entries: {', '.join(unknown)}")
        try:
            manifest = cls(**entries)
        except (TypeError, AttributeError, OverflowError) as error:
            raise ArtifactError(f"manifest is incomplete, or an entry is of another type: {error}") from error
        if digest is not None and not is_whole(text, digest):
            raise ArtifactError(
                "manifest is damaged, or was changed by hand: it does not match its digest; take the entry "
                f"'{DIGEST}' out of one that was changed on purpose"
            )
        if digest is None:
            manifest._miss_digest()
        return manifest

    def _miss_digest(self) -> None:
        """Say, once in a process, that damage of the manifest would go unnoticed."""
        origin = self.name, self.encoder_id
        if origin in _WITHOUT_DIGEST or len(_WITHOUT_DIGEST) >= _MOST_SAID:
            return
        _WITHOUT_DIGEST.add(origin)
        _LOG.warning(
            "the manifest of artifact %.60r has no digest of its own, so that damage of it may go unnoticed; "
            "'wm export ARTIFACT FOLDER --renew' writes one",
            self.name,
        )

    def to_json(self) -> str:
        """Return the manifest as indented JSON, with a digest of its own."""
        return json_with_digest(asdict(self))

    @property
    def takes_any_actions(self) -> bool:
        """Whether nothing in it knows what an action is, so that it takes as many as the robot has."""
        return self.part("transition") is None and not self.motion.get("weights")

    def with_actions(self, action_dim: int) -> "Manifest":
        """Return the manifest of the same artifact for a robot with so many actions.

        Raises:
            ArtifactError: It knows actions, and has another number of them.
        """
        if action_dim != self.action_dim and not self.takes_any_actions:
            raise ArtifactError(f"artifact '{self.name}' has action_dim {self.action_dim}, expected {action_dim}")
        return replace(self, action_dim=action_dim)

    def require(self, expect: Expectations) -> None:
        """Raise ``ArtifactError`` naming the first entry that differs from what is expected."""
        for name, expected in asdict(expect).items():
            if expected is not None and getattr(self, name) != expected:
                raise ArtifactError(f"artifact '{self.name}' has {name} {getattr(self, name)}, expected {expected}")


def _check_slow_branch(sizes: Mapping[str, Any]) -> None:
    """Refuse sizes of a slow branch that none can have: buffers are made by them.

    Raises:
        ArtifactError: Names the entry.
    """
    for name, most in _MOST_SLOW.items():
        value = sizes.get(name)
        if type(value) is not int or not 0 < value <= most:
            raise ArtifactError(
                f"manifest: world_action: {name} is {value!r:.60}, expected a whole number of 1 to {most}"
            )
    tick_s = sizes.get("tick_s")
    if not isinstance(tick_s, (int, float)) or not SHORTEST_STEP_S <= tick_s <= LONGEST_HORIZON_S:
        text = f"{SHORTEST_STEP_S:g} to {LONGEST_HORIZON_S:g} s"
        raise ArtifactError(f"manifest: world_action: tick_s is {tick_s!r:.60}, expected {text}")
