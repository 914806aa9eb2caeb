"""Read any rosbag2 recording as a stream of serialised messages: sqlite3 or mcap, plain or compressed, without ROS.

Messages stay serialised: a player hands them on as they are, so nothing in them changes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Full, Queue
from threading import Event, Thread

from rosbags.rosbag2 import Reader, ReaderError

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
"""What a camera topic may carry."""

_PREFETCHED = 64


class BagError(ValueError):
    """The recording cannot be read, or lacks what was asked for."""


@dataclass(frozen=True)
class BagMessage:
    """One recorded message.

    Attributes:
        topic: Name in the recording.
        time_ns: When it was recorded [ns].
        data: Serialised (CDR).
    """

    topic: str
    time_ns: int
    data: bytes


class Bag:
    """A rosbag2 recording.

    Args:
        path: Directory with ``metadata.yaml``, or a single ``.db3`` or ``.mcap`` file.

    Raises:
        BagError: There is no readable recording.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            with Reader(self.path) as reader:
                self.types: dict[str, str] = {c.topic: c.msgtype for c in reader.connections}
                self.counts: dict[str, int] = {topic: info.msgcount for topic, info in reader.topics.items()}
                self.start_ns = reader.start_time if reader.message_count else 0
                self.end_ns = reader.end_time if reader.message_count else 0
        except FileNotFoundError as error:
            raise BagError(f"no recording at '{self.path}'") from error
        except (ReaderError, OSError) as error:
            raise BagError(f"'{self.path}' is not a readable rosbag2 recording: {error}") from error

    def messages(self, topics: Sequence[str]) -> Iterator[BagMessage]:
        """Yields the messages of some topics in the order of their recording."""
        with Reader(self.path) as reader:
            chosen = [c for c in reader.connections if c.topic in topics]
            if not chosen:
                return
            for connection, time_ns, data in reader.messages(chosen):
                yield BagMessage(connection.topic, time_ns, bytes(data))

    def prefetched(self, topics: Sequence[str]) -> Iterator[BagMessage]:
        """Yields what ``messages`` does, read ahead by a thread, so that unpacking does not hold up the player.

        Raises:
            BagError: The recording broke off.
        """
        queue: Queue[BagMessage | Exception | None] = Queue(_PREFETCHED)
        stop = Event()
        thread = Thread(target=self._read_into, args=(queue, topics, stop), daemon=True, name="bag_reader")
        thread.start()
        try:
            while (item := queue.get()) is not None:
                if isinstance(item, Exception):
                    raise BagError(f"'{self.path}' broke off: {item}") from item
                yield item
        finally:
            stop.set()
            thread.join()

    def _read_into(self, queue: Queue, topics: Sequence[str], stop: Event) -> None:
        try:
            for message in self.messages(topics):
                if not _put(queue, message, stop):
                    return
        except (ReaderError, OSError, ValueError) as error:
            _put(queue, error, stop)
            return
        _put(queue, None, stop)


def _put(queue: Queue, item: object, stop: Event) -> bool:
    """Puts an item as soon as there is room; False once the reader is no longer wanted."""
    while not stop.is_set():
        try:
            queue.put(item, timeout=0.1)
        except Full:
            continue
        return True
    return False


def header_stamp_ns(data: bytes) -> int:
    """Returns the stamp of a serialised message whose first field is a ``std_msgs/Header`` [ns].

    Raises:
        BagError: The message is too short to have one.
    """
    if len(data) < 12:
        raise BagError(f"message of {len(data)} bytes has no header")
    # CDR: the second byte tells the byte order, values start after four bytes.
    sec, nanosec = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return sec * 1_000_000_000 + nanosec


def match_topics(
    types: Mapping[str, str], remaps: Mapping[str, str], wanted: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Decides which recorded topic is played as which topic of the graph.

    A renamed topic goes first, then one of the same name (for cameras also NAME/compressed), then the only one in the
    recording with a fitting type.

    Args:
        types: {recorded topic: type}.
        remaps: {recorded topic: topic of the graph}, chosen by the user.
        wanted: {topic of the graph: types it takes}.

    Returns:
        {recorded topic: topic of the graph}; a wanted topic that the recording lacks is left out.

    Raises:
        BagError: A renamed topic is not in the recording or has a type that its target does not take.
    """
    for source, target in remaps.items():
        if source not in types:
            raise BagError(f"the recording has no topic '{source}'; it has: {', '.join(sorted(types))}")
        if target in wanted and types[source] not in wanted[target]:
            raise BagError(f"'{source}' is a {types[source]}, but '{target}' takes {' or '.join(wanted[target])}")
    chosen = dict(remaps)
    for target, accepted in wanted.items():
        if target in chosen.values():
            continue
        candidates = [t for t, kind in types.items() if kind in accepted and t not in chosen]
        named = [t for t in (target, f"{target}/compressed") if t in candidates]
        if named or len(candidates) == 1:
            chosen[(named or candidates)[0]] = target
    return chosen
