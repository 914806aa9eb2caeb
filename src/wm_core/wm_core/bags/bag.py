"""Any recording as one stream of serialised messages: rosbag2 (sqlite3 or mcap, plain or compressed) and ROS 1.

Messages stay serialised: a player hands them on as they are, so nothing in them changes. What is damaged costs itself
and is named in ``Bag.damages``; reading never ends in an error of somebody else's, and never hangs.
"""

from __future__ import annotations

import shutil
import struct
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Full, Queue
from tempfile import mkdtemp
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from wm_core.bags.compression import ZSTD_MAGIC, unpack, unpack_file
from wm_core.bags.errors import BagError, Damage
from wm_core.bags.mcap import McapFile
from wm_core.bags.metadata import Metadata, find_files, read_metadata
from wm_core.bags.sqlite import SqliteFile
from wm_core.bags.storage import Channel, Storage, Stored, in_time_order

if TYPE_CHECKING:
    from wm_core.bags.definitions import Definitions

_PREFETCHED = 64


@dataclass(frozen=True, slots=True)
class BagMessage:
    """One recorded message.

    Attributes:
        topic: Name in the recording.
        time_ns: When it was recorded [ns].
        data: Serialised (CDR).
        steady_ns: The same time on a steady clock [ns]; it differs once the recorder's clock was set back.
    """

    topic: str
    time_ns: int
    data: bytes
    steady_ns: int


class RecordedTypes(dict[str, str]):
    """{topic: type} of a recording, which knows how many messages each topic has.

    Attributes:
        counts: {topic: messages}.
    """

    def __init__(self, types: dict[str, str], counts: dict[str, int]) -> None:
        super().__init__(types)
        self.counts = counts


class Bag:
    """A recording.

    Attributes:
        path: Where it lies.
        types: {topic: type}; where a topic has several, the one with most messages.
        counts: {topic: messages of that type}, by what the files themselves say.
        promised: {topic: messages}, by ``metadata.yaml``; empty without one.
        start_ns: Time of the first message [ns]; 0 without any.
        end_ns: One nanosecond after the last message [ns]; 0 without any.
        damages: What could not be read so far; reading adds to it.
        unusable: {topic: why}, of topics that are not serialised as CDR.

    Args:
        path: Directory of a rosbag2 recording, with or without ``metadata.yaml``, or a single ``.db3``, ``.mcap`` (or
            one of these with ``.zstd``) or ROS 1 ``.bag`` file.

    Raises:
        BagError: There is no readable recording.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise BagError(f"no recording at '{self.path}'")
        self._own_damages: list[Damage] = []
        self._scratch: Path | None = None
        self._metadata: Metadata | None = read_metadata(self.path, self._own_damages)
        # No serialised message begins as a packed one: its first byte is 0.
        self._is_packed = bool(self._metadata and self._metadata.is_packed)
        self._storages = self._open_all()
        self._definitions: Definitions | None = None
        self._summarise()

    @property
    def damages(self) -> list[Damage]:
        """What could not be read so far."""
        return [*self._own_damages, *(damage for storage in self._storages for damage in storage.damages)]

    @property
    def channels(self) -> list[Channel]:
        """All topics of all files."""
        return [channel for storage in self._storages for channel in storage.channels]

    def messages(self, topics: Sequence[str]) -> Iterator[BagMessage]:
        """Yields the messages of some topics in the order of their recording, equal times as they were written."""
        wanted = frozenset(topic for topic in topics if topic in self.types)
        sources = [
            (storage.start_ns, partial(storage.messages, wanted))
            for storage in self._storages
            if storage.start_ns is not None
        ]
        given, spoilt = Counter[str](), Counter[str]()
        for stored in in_time_order(sources, _time_of):
            topic = stored.channel.topic
            if stored.channel.type != self.types[topic]:
                continue
            self._is_packed |= stored.data.startswith(ZSTD_MAGIC)
            data, why = _plain(stored.data, self._is_packed)
            if why:
                spoilt[f"on {topic}: {why}"] += 1
                continue
            given[topic] += 1
            yield BagMessage(topic, stored.time_ns, data, stored.steady_ns)
        self._compare(wanted, given, spoilt)

    def prefetched(self, topics: Sequence[str]) -> Iterator[BagMessage]:
        """Yields what ``messages`` does, read ahead by a thread, so that unpacking does not hold up the player.

        Raises:
            BagError: The recording broke off.
        """
        queue: Queue[BagMessage | BaseException | None] = Queue(_PREFETCHED)
        stop = Event()
        thread = Thread(target=self._read_into, args=(queue, topics, stop), daemon=True, name="bag_reader")
        thread.start()
        try:
            while (item := queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise BagError(f"'{self.path}' broke off: {item}") from item
                yield item
        finally:
            stop.set()
            thread.join()

    def decode(self, message: BagMessage) -> Any:
        """Returns the fields of a message, by the recording's own definition of its type.

        Raises:
            MessageError: ``no-definition`` or ``undecodable``.
        """
        return self.definitions.decode(message.data, self.types[message.topic])

    @property
    def definitions(self) -> Definitions:
        """What decodes the messages; loading it takes a moment, and players do without."""
        if self._definitions is None:
            from wm_core.bags.definitions import Definitions

            self._definitions = Definitions(self.channels)
        return self._definitions

    def _open_all(self) -> list[Storage]:
        files = find_files(self.path, self._metadata, self._own_damages)
        storages: list[Storage] = []
        faults: list[BagError] = []
        for file in files:
            try:
                storages.append(self._open(file))
            except BagError as error:
                faults.append(error)
        if not storages:
            raise BagError(f"'{self.path}' is not a readable recording: {'; '.join(map(str, faults)) or 'no files'}")
        self._own_damages += [Damage(str(fault)) for fault in faults]
        return storages

    def _open(self, file: Path) -> Storage:
        try:
            if file.suffix == ".zstd":
                file = self._unpacked(file)
            if file.suffix == ".bag":
                from wm_core.bags.ros1 import Ros1File

                return Ros1File(file)
            if file.suffix == ".mcap":
                return McapFile(file)
            return SqliteFile(file, self._metadata.message_count if self._metadata else 0)
        except OSError as error:
            raise BagError(f"'{file}' cannot be read: {error}") from error

    def _unpacked(self, file: Path) -> Path:
        if self._scratch is None:
            self._scratch = Path(mkdtemp(prefix="bag_"))
            weakref.finalize(self, shutil.rmtree, self._scratch, True)
        target = self._scratch / file.stem
        why = unpack_file(file, target)
        if why:
            self._own_damages.append(Damage(f"'{file.name}' is damaged ({why})"))
        return target

    def _summarise(self) -> None:
        counts: Counter[tuple[str, str]] = Counter()
        self.unusable: dict[str, str] = {}
        for storage in self._storages:
            for channel in storage.channels:
                if channel.serialization != "cdr" or not channel.type:
                    self.unusable[channel.topic] = f"serialised as '{channel.serialization}', expected cdr"
                    continue
                counts[channel.topic, channel.type] += storage.counts[channel]
        types: dict[str, str] = {}
        for (topic, kind), count in counts.items():
            if topic not in types or count > counts[topic, types[topic]]:
                types[topic] = kind
        self.counts = {topic: counts[topic, kind] for topic, kind in types.items()}
        self.types = RecordedTypes(types, self.counts)
        for (topic, kind), count in counts.items():
            if kind != types[topic] and count:
                text = f"{count} messages on {topic} are a {kind}, the others a {types[topic]}"
                self._own_damages.append(Damage(text, lost_count=count))
        self.promised = dict(self._metadata.counts) if self._metadata else {}
        filled = [storage for storage in self._storages if storage.start_ns is not None]
        self.start_ns = min((s.start_ns for s in filled if s.start_ns is not None), default=0)
        self.end_ns = max((s.end_ns + 1 for s in filled if s.end_ns is not None), default=0)

    def _compare(self, topics: frozenset[str], given: Counter[str], spoilt: Counter[str]) -> None:
        """Takes note of what was promised and did not come."""
        found = [Damage(f"{count} message{'s' * (count > 1)} {why}", lost_count=count) for why, count in spoilt.items()]
        for topic in sorted(topics):
            promised = max(self.promised.get(topic, 0), self.counts[topic])
            if given[topic] < promised:
                text = f"{promised} messages were promised on {topic}, {given[topic]} could be read"
                found.append(Damage(text, lost_count=promised - given[topic], topic=topic))
        self._own_damages += [damage for damage in found if damage not in self._own_damages]

    def _read_into(self, queue: Queue[BagMessage | BaseException | None], topics: Sequence[str], stop: Event) -> None:
        try:
            for message in self.messages(topics):
                if not _put(queue, message, stop):
                    return
        except BaseException as error:  # Handed to the thread that waits: whatever it is, it must not wait for ever.
            _put(queue, error, stop)
            return
        _put(queue, None, stop)


def _time_of(stored: Stored) -> int:
    return stored.steady_ns


def _plain(data: bytes, is_packed: bool) -> tuple[bytes, str]:
    """Returns a message's bytes, unpacked where the recorder packed each, and what is wrong with them."""
    why = ""
    if is_packed:
        data, why = unpack(data, "zstd")
    if why:
        return b"", f"damaged ({why})"
    is_cdr = len(data) >= 4 and data[0] == 0
    return data, "" if is_cdr else "not serialised as CDR"


def _put(queue: Queue[BagMessage | BaseException | None], item: BagMessage | BaseException | None, stop: Event) -> bool:
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
    return int(sec) * 1_000_000_000 + int(nanosec)
