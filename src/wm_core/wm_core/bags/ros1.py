"""ROS 1 recordings (``.bag``), given as what ROS 2 would have recorded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader, ReaderError
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from wm_core.bags.errors import BagError, Damage
from wm_core.bags.storage import Channel, Stored

_HEADER = "std_msgs/msg/Header"
_BROKEN = (ReaderError, SerdeError, RuntimeError, OSError, ValueError, KeyError, struct.error, EOFError)
"""What the reader raises on damaged files: lz4's and bz2's own errors are among them."""


class Ros1File:
    """One ROS 1 recording; see ``Storage``. Its messages come as CDR, without the header's ``seq``.

    Args:
        path: The file.

    Raises:
        BagError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.damages = path, list[Damage]()
        self._stores: dict[str, Typestore | None] = {}
        try:
            with Reader(path) as reader:
                self._definitions = {c.msgtype: c.msgdef.data for c in reader.connections}
                of = {
                    c.id: Channel(c.topic, c.msgtype, _without_seq(c.msgdef.data), "ros2msg")
                    for c in reader.connections
                }
                self.counts = dict.fromkeys(of.values(), 0)
                for connection in reader.connections:
                    self.counts[of[connection.id]] += connection.msgcount
                self.start_ns = reader.start_time if reader.message_count else None
                self.end_ns = reader.end_time - 1 if reader.message_count else None
        except _BROKEN as error:
            raise BagError(f"'{path}' is no readable ROS 1 recording: {error}; rosbag reindex {path}") from error
        self.channels = list(self.counts)

    def messages(self, topics: frozenset[str]) -> Iterator[Stored]:
        """Yields the messages of some topics in the order of their times."""
        channels = {(channel.topic, channel.type): channel for channel in self.channels}
        with Reader(self._path) as reader:
            chosen = [c for c in reader.connections if c.topic in topics]
            if not chosen:
                return
            try:
                for connection, time_ns, raw in reader.messages(chosen):
                    channel = channels[connection.topic, connection.msgtype]
                    yield Stored(time_ns, channel, self._as_cdr(raw, connection.msgtype), time_ns)
            except _BROKEN as error:
                self.damages.append(Damage(f"'{self._path.name}' broke off: {error}", f"rosbag reindex {self._path}"))

    def _as_cdr(self, raw: bytes, kind: str) -> bytes:
        if kind not in self._stores:
            self._stores[kind] = _store(self._definitions[kind], kind)
        store = self._stores[kind]
        if store is None:
            return b""  # Undecodable, and counted as such where it is decoded.
        try:
            return bytes(store.ros1_to_cdr(raw, kind))
        except SerdeError:
            return b""


def _channel(connection: Connection) -> Channel:
    return Channel(connection.topic, connection.msgtype, _without_seq(connection.msgdef.data), "ros2msg")


def _without_seq(definition: str) -> str:
    """Returns a ROS 1 definition with the header of ROS 2."""
    parts = definition.split("=" * 80 + "\n")
    kept = [part for part in parts if not part.startswith("MSG: std_msgs/Header")]
    header = "MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
    return ("=" * 80 + "\n").join([*kept, header])


def _store(definition: str, kind: str) -> Typestore | None:
    try:
        types = get_types_from_msg(definition, kind)
        types.pop(_HEADER, None)
        types[_HEADER] = get_typestore(Stores.ROS2_JAZZY).fielddefs[_HEADER]
        store = get_typestore(Stores.EMPTY)
        store.register(types)
    except (TypesysError, KeyError):
        return None
    return store
