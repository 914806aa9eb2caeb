"""From an artifact, a memory file and a recording to a world that can be served."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from wm_api.errors import SettingsError
from wm_api.memories import FileMemory
from wm_api.models import Models
from wm_api.recording import Player, Recorded
from wm_api.world import World
from world_model.runtime.artifacts import Artifact, Expectations, load_artifact

__all__ = ["Recorded", "Source", "open_world"]

_DEFAULT = "artifact://generic"
_VARIABLE, _ACTIONS = "WM_CHECKPOINT_PATH", "ACTION_DIM"


class Source(Protocol):
    """What brings the present."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End, and return when it has."""


def open_world(
    artifact: str, memory: Path | None, recorded: Recorded | None, snapshots: Path | None = None
) -> tuple[World, Source | None]:
    """Return what is to be served, and what brings its present.

    Args:
        artifact: Folder or ``artifact://NAME``; empty: as the environment says, or the default.
        memory: Memory file; None: what the recording fills in RAM, or none.
        recorded: Recording to play; None: nothing is live.
        snapshots: Folder of the snapshots that callers name.

    Raises:
        ArtifactError: The artifact cannot be loaded.
        StoreError: The memory cannot be opened.
        SettingsError: The memory is of another encoder, or ACTION_DIM is no number.
    """
    expect = Expectations(action_dim=_action_dim())
    loaded = load_artifact(artifact or os.environ.get(_VARIABLE, "") or _DEFAULT, expect=expect)
    served = None
    if memory is not None:
        served = FileMemory(memory, snapshots)
        loaded = _in_basis_of(served, loaded)
    elif recorded is not None:
        served = FileMemory(None, snapshots)
    world = World(Models(loaded), served)
    if recorded is None:
        return world, None
    return world, Player(world, recorded, served if memory is None else None)


def _action_dim() -> int | None:
    """Return how many actions the robot has, where the environment says it as it does to the graph.

    Raises:
        SettingsError: It says something else.
    """
    text = os.environ.get(_ACTIONS, "").strip()
    if not (text or "0").isdecimal():
        raise SettingsError(f"{_ACTIONS} is {text!r}, expected a whole number")
    return int(text or "0") or None


def _in_basis_of(memory: FileMemory, artifact: Artifact) -> Artifact:
    """Return the artifact as it makes the latents that a memory holds: a robot may have fitted its own projection.

    Raises:
        SettingsError: It makes others.
    """
    held = memory.memory.encoder_id
    if held in ("", artifact.manifest.encoder_id):
        return artifact
    basis = memory.basis
    if basis is not None and basis.encoder_id == held and basis.space == artifact.manifest.space:
        return artifact.bound_to(basis)
    memory.close()
    raise SettingsError(
        f"the memory holds latents of encoder {held}, artifact '{artifact.manifest.name}' makes those of "
        f"{artifact.manifest.encoder_id}: name the artifact that filled it"
    )
