"""Checkpoints: written complete or not at all, read as tensors and plain values only, and refused when foreign."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from world_model.errors import ArtifactError, ConfigError
from world_model.typed_config import config_from


class RunConfig(Protocol):
    """What a loop must know of the run that it belongs to; a dataclass that ``config_from`` can read back."""

    @property
    def validate_every(self) -> int:
        """Steps between checkpoints."""

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON-ready entries."""

    def weights(self) -> dict[str, float]:
        """Return the weight of each loss by its name; one that is not named counts once."""


_Config = TypeVar("_Config")
# Entries of older checkpoints that no run has any more, where they did nothing.
_GONE = {"practice_gap_s": 0.0, "practice_copies": 1, "practice_noise_m": 0.0, "practice_noise_rad": 0.0}


def save_checkpoint(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Write a checkpoint, complete or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    torch.save(dict(checkpoint), partial)
    partial.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint's entries; only tensors and plain values are ever read from it.

    Raises:
        ArtifactError: Missing, damaged, or not a checkpoint of this package.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ArtifactError(f"checkpoint {path} cannot be read: {type(error).__name__}") from error
    missing = sorted({"config", "step", "model"} - set(checkpoint)) if isinstance(checkpoint, dict) else ["everything"]
    if missing:
        raise ArtifactError(f"checkpoint {path} lacks {', '.join(missing)}")
    return checkpoint


def check_same_run(found: Mapping[str, Any], wanted: RunConfig) -> None:
    """Refuse a checkpoint of another run; entries that it is too old to have count as their defaults.

    Args:
        found: Configuration in the checkpoint.
        wanted: Configuration of this run.

    Raises:
        ConfigError: Names the first entry that differs, or one that is not known.
    """
    _compare(stored_config(type(wanted), found, "configuration in the checkpoint").to_json(), wanted.to_json(), "")


def stored_config(kind: type[_Config], found: Mapping[str, Any], where: str) -> _Config:
    """Return the configuration of a run of this or an earlier release; entries that it lacks have their defaults.

    Args:
        kind: Its type.
        found: As it was stored.
        where: What it was stored in, for errors.

    Raises:
        ConfigError: Names an entry that is not known.
    """
    return config_from(kind, {k: value for k, value in found.items() if k not in _GONE or value != _GONE[k]}, where)


def _compare(found: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    for key in sorted(wanted):
        if isinstance(wanted[key], Mapping):
            _compare(found[key], wanted[key], f"{where}{key}.")
        elif found[key] != wanted[key]:
            raise ConfigError(f"checkpoint was made with {where}{key} {found[key]!r}, not {wanted[key]!r}")
