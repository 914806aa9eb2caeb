"""Configurations of published checkpoints, kept here so that their shapes are known without their weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import utils

from wm_policy.errors import InputError, PolicyError

# It says nothing of its types.
_LOGGING: Any = utils.logging
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


def check_names(changes: Mapping[str, Any], config: Any) -> None:
    """Refuse changes to entries that a configuration does not have: transformers keeps them, and nothing reads them.

    Raises:
        InputError: One is unknown; the text names it.
    """
    unknown = sorted(name for name in changes if name != "model_type" and not hasattr(config, name))
    if unknown:
        raise InputError(f"config has unknown entries {', '.join(unknown)}")


def is_missing_folder(source: str | Path) -> bool:
    """Return whether a source can only be a folder, and is none: the hub would be asked for it as a name."""
    is_path = isinstance(source, Path) or source.startswith((".", "/", "~")) or source.count("/") > 1
    return is_path and not Path(source).is_dir()


@contextmanager
def quietly() -> Iterator[None]:
    """Keep transformers from telling at length what of a checkpoint a part of the model does not take."""
    level, shows_progress = _LOGGING.get_verbosity(), _LOGGING.is_progress_bar_enabled()
    _LOGGING.set_verbosity_error()
    _LOGGING.disable_progress_bar()
    try:
        yield
    finally:
        _LOGGING.set_verbosity(level)
        if shows_progress:
            _LOGGING.enable_progress_bar()
