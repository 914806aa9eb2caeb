"""Typed configurations from YAML and ``KEY=VALUE`` texts; what a configuration does not know it refuses.

Every command and every stage reads its configuration through here, so that all have one grammar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from world_model.errors import ConfigError

_Config = TypeVar("_Config")


def read_config(kind: type[_Config], path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> _Config:
    """Return a configuration: its defaults, a YAML file on top, dotted overrides (``optimiser.steps``) on top of that.

    Raises:
        ConfigError: Not readable, a key is unknown, a value has the wrong type, or values contradict one another.
    """
    entries = {} if path is None else _read_yaml(path)
    where = "configuration" if path is None else str(path)
    for dotted, value in (overrides or {}).items():
        target = entries
        *parents, last = dotted.split(".")
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise ConfigError(f"{where}: {parent} is {target!r}, so {dotted} cannot be set")
        target[last] = value
    return config_from(kind, entries, where)


def parse_overrides(texts: Sequence[str]) -> dict[str, object]:
    """Return keys and values of ``--set KEY=VALUE`` texts; the last of a key counts.

    Raises:
        ConfigError: No ``=`` in one, or a value that is no YAML.
    """
    return dict(parse_override(text) for text in texts)


def parse_override(text: str) -> tuple[str, object]:
    """Return key and value of ``KEY=VALUE``; the value is read as YAML.

    Raises:
        ConfigError: No ``=`` in it, or a value that is no YAML.
    """
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise ConfigError(f"--set {text}: expected KEY=VALUE")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: the value is not YAML") from error


def config_from(kind: type[_Config], entries: Any, where: str) -> _Config:
    """Return a configuration dataclass from nested entries, by today's names or those its ``FORMER_NAMES`` lists.

    Raises:
        ConfigError: A key is unknown or a value has the wrong type; the text names it.
    """
    if not isinstance(entries, Mapping):
        raise ConfigError(f"{where} is {entries!r}, expected keys and values")
    former: Mapping[str, str] = getattr(kind, "FORMER_NAMES", {})
    entries = {former.get(key, key): value for key, value in entries.items()}
    hints = get_type_hints(kind)
    unknown = sorted(set(entries) - {f.name for f in fields(kind)})  # type: ignore[arg-type]
    if unknown:
        raise ConfigError(f"{where}: unknown key {', '.join(unknown)}")
    return kind(**{key: _value(hints[key], value, f"{where}: {key}") for key, value in entries.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return config_from(hint, value, where)  # type: ignore[arg-type]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (int, float, str, bool):
        if type(value) is not hint:
            raise ConfigError(f"{where} is {value!r}, expected {hint.__name__}")
        return value
    if isinstance(value, list | tuple):
        return tuple(value)
    raise ConfigError(f"{where} is {value!r}, expected a list")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        entries = yaml.safe_load(Path(path).read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"configuration {path}: {error}") from error
    if not isinstance(entries, dict):
        raise ConfigError(f"configuration {path} is {entries!r}, expected keys and values")
    return entries
