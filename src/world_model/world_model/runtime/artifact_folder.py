"""The files of an artifact folder: the manifest, what it says of them, and how they are written.

Nothing is read that does not match its manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wm_core.digests import DIGEST
from wm_core.errors import ProjectionError
from wm_core.projection import Projection
from world_model.errors import ArtifactError
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.manifest import RUNTIMES, Manifest
from world_model.runtime.places import MANIFEST_NAME

# torch takes a second to import, and what onnxruntime runs does without.
if TYPE_CHECKING:
    import torch

PARTS = ("encoder", "transition", "decoder", "world_action", "without_memory", "prior")
# Pixel space and regression weights, which evaluation compares with.
REFERENCE_NAME = "reference.npz"
# What an encoder of features is used with until a robot has fitted its own.
PROJECTION_NAME = "projection.npz"

_MOST_MANIFEST_BYTES, _MOST_PART_BYTES = 64 * 2**20, 8 * 2**30


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


def verified(path: Path, digest: str) -> bytes:
    """Return what a file holds.

    Raises:
        ArtifactError: It is missing, too large, or not the one of that SHA-256 hash.
    """
    if not path.is_file():
        raise ArtifactError(f"{path} is named by the manifest but missing")
    if path.stat().st_size > _MOST_PART_BYTES:
        raise ArtifactError(f"{path} has {path.stat().st_size} bytes, at most {_MOST_PART_BYTES} do")
    content = path.read_bytes()
    if _digest(content) != digest:
        raise ArtifactError(f"{path} does not match its manifest: hash {_digest(content)[:16]}, expected {digest[:16]}")
    return content


def projection_of(path: Path, manifest: Manifest) -> Projection | None:
    """Return the fixed projection of an artifact whose encoder makes features; ``None``: it makes latents itself.

    Raises:
        ArtifactError: It is missing, damaged, or none of these features.
    """
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


def encoder_id_of(manifest: Manifest, projection: Projection | None) -> str:
    """Return the ``encoder_id`` that the encoder's file and its projection give.

    Raises:
        ArtifactError: The projection is of another network's features.
    """
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
    manifest = replace(manifest, encoder_id=encoder_id_of(manifest, projection_of(path, manifest)))
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


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
