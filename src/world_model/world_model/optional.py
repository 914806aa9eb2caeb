"""What is not part of a plain installation, loaded by name when a configuration asks for it."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from world_model.errors import ConfigError


def extra(name: str) -> ModuleType:
    """Return a module of ``world_model.extras``.

    Raises:
        ConfigError: It, or something that it needs, is not installed; the text names it.
    """
    try:
        return import_module(f"world_model.extras.{name}")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"'{name}' is one of the extras and needs {error.name}, which is not installed: pip install '.[extras]'"
        ) from error
