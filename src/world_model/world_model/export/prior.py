"""A prior on disk: the network as TorchScript, and what says of which features it is.

FOLDER/prior.pt      the network, with its basis among its buffers
FOLDER/prior.json    feature_id, and how it was trained
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from world_model.errors import ArtifactError
from world_model.export.scripting import script
from world_model.models.transition import Transition
from world_model.runtime.places import SHIPPED_PATH
from world_model.runtime.torchscript import script_bytes

NETWORK, ABOUT = "prior.pt", "prior.json"
SHIPPED = SHIPPED_PATH / "prior"
"""The prior that ships, for ``wm export generic --prior``."""


def write_prior(folder: Path, model: Transition, feature_id: str, training: Mapping[str, Any]) -> None:
    """Write a trained prior.

    Args:
        folder: Made if missing.
        model: With its basis among its buffers.
        feature_id: Of the features that its basis is of.
        training: How it was trained, JSON-ready.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NETWORK).write_bytes(script_bytes(script(model.cpu().float().eval()), "prior"))
    about = {"feature_id": feature_id, "licence": "Apache-2.0", "training": dict(training)}
    (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n")


def read_prior(folder: Path, feature_id: str) -> torch.jit.ScriptModule | None:
    """Return the prior of a folder; ``None`` where it is of other features.

    Raises:
        ArtifactError: There is none, or it is damaged.
    """
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if about["feature_id"] != feature_id:
            return None
        module: torch.jit.ScriptModule = torch.jit.load(str(folder / NETWORK), map_location="cpu").eval()
    except (OSError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ArtifactError(f"{folder} holds no prior: {error}") from error
    return module
