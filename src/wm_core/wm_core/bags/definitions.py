"""Messages by the recording's own definitions, type by type, so that one broken definition costs its own type only."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from wm_core.bags.storage import Channel
from wm_core.errors import MessageError

_IDL_SEPARATOR = "=" * 80 + "\n"
_BUILTIN = frozenset({"builtin_interfaces/msg/Time", "builtin_interfaces/msg/Duration"})
Decode = Callable[[bytes], Any]


class Definitions:
    """Decodes serialised messages.

    A type is read by the definition that its recording carries; where that is missing or lacks a part, the part comes
    from the distributions' common messages (Jazzy's, which every later one shares here).

    Args:
        channels: Of the recording.
    """

    def __init__(self, channels: Iterable[Channel]) -> None:
        self._channels = {channel.type: channel for channel in channels if channel.definition} | {}
        self._common = get_typestore(Stores.ROS2_JAZZY)
        self._stores: dict[str, Typestore] = {}
        self._refused: dict[str, str] = {}

    def decode(self, data: bytes, kind: str) -> Any:
        """Returns a message's fields.

        Raises:
            MessageError: ``no-definition`` when its type is not defined, ``undecodable`` when its bytes do not fit.
        """
        store = self._store(kind)
        try:
            return store.deserialize_cdr(data, kind)
        except (SerdeError, struct.error, ValueError, IndexError, AssertionError, UnicodeDecodeError) as error:
            raise MessageError("undecodable", f"{len(data)} bytes are no {kind}: {error}") from error

    def why_not(self, kind: str) -> str | None:
        """Returns why a type cannot be decoded, None when it can."""
        try:
            self._store(kind)
        except MessageError as error:
            return error.detail
        return None

    def _store(self, kind: str) -> Typestore:
        if kind in self._refused:
            raise MessageError("no-definition", self._refused[kind])
        if kind not in self._stores:
            try:
                self._stores[kind] = self._build(kind)
            except (TypesysError, KeyError, ValueError, AssertionError) as error:
                self._refused[kind] = f"{kind} has no complete definition: {' '.join(str(error).split())[:200]}"
                raise MessageError("no-definition", self._refused[kind]) from error
        return self._stores[kind]

    def _build(self, kind: str) -> Typestore:
        types = dict(self._parsed(kind))
        missing = _missing(kind, types)
        for name in missing:
            types[name] = self._common.fielddefs[name]
        store = get_typestore(Stores.EMPTY)
        store.register({name: fields for name, fields in types.items() if name not in _BUILTIN})
        store.get_msgdef(kind)
        return store

    def _parsed(self, kind: str) -> dict[str, Any]:
        channel = self._channels.get(kind)
        if channel is None:
            return {}
        try:
            if channel.definition_format == "ros2idl" or channel.definition.startswith(f"{_IDL_SEPARATOR}IDL: "):
                return _from_idl(channel.definition)
            return dict(get_types_from_msg(channel.definition, kind))
        except TypesysError:
            if kind in self._common.fielddefs:
                return {}
            raise


def _from_idl(text: str) -> dict[str, Any]:
    types: dict[str, Any] = {}
    parts = text.split(_IDL_SEPARATOR)
    for part in parts[1:] if len(parts) > 1 else [text]:
        types |= get_types_from_idl(part.split("\n", 1)[1] if part.startswith("IDL: ") else part)
    return types


def _missing(kind: str, types: dict[str, Any]) -> list[str]:
    """Returns the types that ``kind`` needs, directly or through others, and that are not defined."""
    common = get_typestore(Stores.ROS2_JAZZY).fielddefs
    missing: list[str] = []
    waiting, seen = [kind], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name not in types:
            if name in _BUILTIN:
                continue
            if name not in common:
                raise KeyError(f"'{name}' is not defined")
            missing.append(name)
        _, fields = types[name] if name in types else common[name]
        waiting += [needed for _, field in fields for needed in _names_in(field)]
    return missing


def _names_in(field: Any) -> list[str]:
    """Returns the message types that a field's description names."""
    node, detail = field
    if node.name == "NAME":
        return [detail]
    if node.name in ("ARRAY", "SEQUENCE"):
        return _names_in(detail[0])
    return []
