"""Configurations of published checkpoints, kept here so that their shapes are known without their weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wm_policy.errors import PolicyError

_FOLDER = Path(__file__).parents[1] / "published"


def published(name: str) -> dict[str, Any]:
    """Return what is known of a published checkpoint: ``checkpoint``, ``config``, and of towers how pictures are made.

    Raises:
        PolicyError: No such name; the text lists those there are.
    """
    path = _FOLDER / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in _FOLDER.glob("*.json")))
        raise PolicyError(f"no checkpoint '{name}' is known here, expected one of {known}")
    found: dict[str, Any] = json.loads(path.read_text())
    return found
