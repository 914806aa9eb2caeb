"""MCAP files of ROS 2, read chunk by chunk, so that what is damaged or cut off costs itself only.

Every chunk's head says its times and every chunk is checked by its checksum; nothing depends on the summary at the
end, which a recorder that was killed does not write.

Source: https://mcap.dev/spec (records, their opcodes and fields).
"""

from __future__ import annotations

import mmap
import re
import struct
from binascii import crc32
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from wm_core.bags.compression import unpack
from wm_core.bags.errors import BagError, Damage
from wm_core.bags.storage import STEP_NS, Channel, Stored, Unwrapped, in_time_order

_MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _INDEX, _DATA_END = 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x0F
_LAST_OPCODE, _FIRST_PRIVATE = 0x0F, 0x80
_INDEX_ENTRY = np.dtype([("time", "<u8"), ("offset", "<u8")])
_HEAD, _MESSAGE_HEAD, _CHUNK_HEAD = struct.Struct("<BQ"), struct.Struct("<HIQQ"), struct.Struct("<QQQII")
_CHUNK_START = re.compile(rb"\x06.{36}(?:\x04\0\0\0zstd|\x03\0\0\0lz4|\0\0\0\0)", re.DOTALL)
_DOUBTED_BYTES = 1 << 17
"""A zstd block: what was unpacked just before an error may be wrong already."""
_REPAIR = "mcap recover {0} -o recovered.mcap"


@dataclass
class _Chunk:
    """Where a chunk (or a message that stands alone) lies, its times, and how many messages its index promises."""

    at: int
    size: int
    start_ns: int
    end_ns: int
    index: Counter[int]
    is_cut: bool = False


class McapFile:
    """One MCAP file; see ``Storage``.

    Args:
        path: The file.

    Raises:
        BagError: It is no MCAP file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.damages = path, list[Damage]()
        try:
            with path.open("rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise BagError(f"'{path}' is empty") from error
        if self._bytes[:8] != _MAGIC:
            raise BagError(f"'{path}' is no MCAP file: it begins with {self._bytes[:8]!r}")
        self._schemas: dict[int, tuple[str, str, str]] = {}
        self._by_id: dict[int, Channel] = {}
        self._chunks: list[_Chunk] = []
        self._reported: set[int] = set()
        self._last_of: dict[int, int] = {}
        self._steps = False
        self._scan()
        self._fill_gaps()
        per_id = sum((chunk.index for chunk in self._chunks), Counter())
        self.channels = list(self._by_id.values())
        self.counts = {channel: 0 for channel in self.channels}
        for number, count in per_id.items():
            if number in self._by_id:
                self.counts[self._by_id[number]] += count
        filled = [chunk for chunk in self._chunks if chunk.index]
        self.start_ns = min((chunk.start_ns for chunk in filled), default=None)
        self.end_ns = max((chunk.end_ns for chunk in filled), default=None)

    def messages(self, topics: frozenset[str]) -> Iterator[Stored]:
        """Yields the messages of some topics in the order of their times, equal ones as they were written."""
        wanted = {number for number, channel in self._by_id.items() if channel.topic in topics}
        sources = [
            (chunk.start_ns, partial(self._of_chunk, chunk, wanted))
            for chunk in self._chunks
            if not wanted.isdisjoint(chunk.index)
        ]
        if self._steps:
            yield from self._as_written(wanted)
            return
        yield from in_time_order(sources, lambda stored: stored.time_ns)

    def _as_written(self, wanted: set[int]) -> Iterator[Stored]:
        """Yields messages in the order of their writing: the recorder's clock was set back meanwhile."""
        clock = Unwrapped()
        for chunk in self._chunks:
            for number, time_ns, data in self._messages_of(chunk):
                steady_ns = clock.steady_ns(number, time_ns)
                if number in wanted:
                    yield Stored(time_ns, self._by_id[number], bytes(data), steady_ns)

    def _scan(self) -> None:
        at, size = len(_MAGIC), len(self._bytes)
        while at < size:
            opcode, length = self._head(at)
            end = at + _HEAD.size + length
            if opcode == _FOOTER and end + len(_MAGIC) == size:
                return
            if not _is_opcode(opcode) or end > size:
                at = self._after_damage(at, opcode, min(end, size))
                continue
            self._note(opcode, at, length)
            at = end
        self._blame(size, "ends without a footer: the recorder was killed, or the file was cut")

    def _head(self, at: int) -> tuple[int, int]:
        if at + _HEAD.size > len(self._bytes):
            return 0, 0
        opcode, length = _HEAD.unpack_from(self._bytes, at)
        return opcode, length

    def _note(self, opcode: int, at: int, length: int) -> None:
        """Takes note of one record of the file."""
        body = at + _HEAD.size
        if opcode in (_SCHEMA, _CHANNEL):
            self._define(opcode, self._bytes[body : body + length])
        elif opcode == _CHUNK and length >= _CHUNK_HEAD.size:
            start_ns, end_ns, *_ = _CHUNK_HEAD.unpack_from(self._bytes, body)
            self._chunks.append(_Chunk(at, length, start_ns, end_ns, Counter()))
        elif opcode == _MESSAGE and length >= _MESSAGE_HEAD.size:
            number, _, time_ns, _ = _MESSAGE_HEAD.unpack_from(self._bytes, body)
            self._chunks.append(_Chunk(at, length, time_ns, time_ns, Counter({number: 1})))
        elif opcode == _INDEX and self._chunks and length >= 6:
            self._note_index(body, length)

    def _note_index(self, body: int, length: int) -> None:
        number, size = struct.unpack_from("<HI", self._bytes, body)
        count = min(size, length - 6) // 16
        if not count:
            return
        self._chunks[-1].index[number] += count
        entry_N = np.frombuffer(self._bytes, _INDEX_ENTRY, count, body + 6)
        time_N = entry_N["time"][np.argsort(entry_N["offset"], kind="stable")].astype(np.int64)
        time_N = np.concatenate([[self._last_of.get(number, time_N[0])], time_N])
        self._steps |= bool((np.diff(time_N) < -STEP_NS).any())
        self._last_of[number] = int(time_N[-1])

    def _define(self, opcode: int, body: bytes) -> None:
        try:
            if opcode == _SCHEMA:
                name, encoding, definition = _strings(body, 2, 3)
                self._schemas[struct.unpack_from("<H", body)[0]] = (name, encoding, definition)
                return
            number, schema = struct.unpack_from("<HH", body)
            topic, serialization = _strings(body, 4, 2)
        except (struct.error, UnicodeDecodeError) as error:
            self._blame(0, f"a definition cannot be read: {error}")
            return
        name, encoding, definition = self._schemas.get(schema, ("", "", ""))
        self._by_id[number] = Channel(topic, name, definition, encoding, serialization)

    def _after_damage(self, at: int, opcode: int, end: int) -> int:
        """Returns where reading goes on after bytes that are no record."""
        is_cut = opcode == _CHUNK and end == len(self._bytes) and self._note_cut(at, end)
        for found in _CHUNK_START.finditer(self._bytes, at + 1):
            if self._is_chunk(found.start()):
                self._blame(at, f"no record is readable between byte {at} and {found.start()}")
                return found.start()
        if not is_cut:
            self._blame(at, f"no record is readable from byte {at} on")
        return len(self._bytes)

    def _note_cut(self, at: int, end: int) -> bool:
        """Takes note of a chunk whose end is missing; returns whether it is one."""
        if end - at <= _HEAD.size + _CHUNK_HEAD.size:
            return False
        start_ns, end_ns, *_ = _CHUNK_HEAD.unpack_from(self._bytes, at + _HEAD.size)
        if start_ns <= end_ns:
            self._chunks.append(_Chunk(at, end - at - _HEAD.size, start_ns, end_ns, Counter(), is_cut=True))
        return bool(start_ns <= end_ns)

    def _is_chunk(self, at: int) -> bool:
        length = self._head(at)[1]
        if at + _HEAD.size + length > len(self._bytes) or length < _CHUNK_HEAD.size + 8:
            return False
        start_ns, end_ns, _, _, name_bytes = _CHUNK_HEAD.unpack_from(self._bytes, at + _HEAD.size)
        packed = struct.unpack_from("<Q", self._bytes, at + _HEAD.size + _CHUNK_HEAD.size + name_bytes)[0]
        return bool(start_ns <= end_ns and length == _CHUNK_HEAD.size + name_bytes + 8 + packed)

    def _fill_gaps(self) -> None:
        """Looks into the chunks that have no index, or whose channels nothing outside a chunk defines."""
        for chunk in self._chunks:
            if chunk.index and all(number in self._by_id for number in chunk.index):
                continue
            found: Counter[int] = Counter()
            for opcode, body in self._records(chunk):
                if opcode in (_SCHEMA, _CHANNEL):
                    self._define(opcode, bytes(body))
                elif opcode == _MESSAGE and len(body) >= _MESSAGE_HEAD.size:
                    found[_MESSAGE_HEAD.unpack_from(body)[0]] += 1
            chunk.index = chunk.index or found
        unknown = {number for chunk in self._chunks for number in chunk.index} - set(self._by_id)
        if unknown:
            lost = sum(chunk.index[number] for chunk in self._chunks for number in unknown)
            self._blame(-1, f"{lost} messages belong to channels {sorted(unknown)}, which nothing defines", lost)

    def _of_chunk(self, chunk: _Chunk, wanted: set[int]) -> Iterator[Stored]:
        found = [
            Stored(time_ns, self._by_id[number], bytes(data), time_ns)
            for number, time_ns, data in self._messages_of(chunk)
            if number in wanted
        ]
        yield from sorted(found, key=lambda stored: stored.time_ns)

    def _messages_of(self, chunk: _Chunk) -> Iterator[tuple[int, int, memoryview]]:
        for opcode, body in self._records(chunk):
            if opcode == _MESSAGE and len(body) >= _MESSAGE_HEAD.size:
                number, _, time_ns, _ = _MESSAGE_HEAD.unpack_from(body)
                yield number, time_ns, body[_MESSAGE_HEAD.size :]

    def _records(self, chunk: _Chunk) -> Iterator[tuple[int, memoryview]]:
        """Yields opcode and body of the records of a chunk, as far as they can be trusted."""
        content = memoryview(self._unpacked(chunk))
        at = 0
        while at + _HEAD.size <= len(content):
            opcode, length = _HEAD.unpack_from(content, at)
            at += _HEAD.size + length
            if at > len(content):
                return
            yield opcode, content[at - length : at]

    def _unpacked(self, chunk: _Chunk) -> bytes:
        body, end = chunk.at + _HEAD.size, chunk.at + _HEAD.size + chunk.size
        if self._bytes[chunk.at] == _MESSAGE:
            return self._bytes[chunk.at : end]
        _, _, size, checksum, name_bytes = _CHUNK_HEAD.unpack_from(self._bytes, body)
        name_at = body + _CHUNK_HEAD.size
        compression = self._bytes[name_at : name_at + name_bytes].decode(errors="replace")
        content, why = unpack(memoryview(self._bytes)[name_at + name_bytes + 8 : end], compression)
        if chunk.is_cut:
            return content
        if not why and (len(content) != size or (checksum and crc32(content) != checksum)):
            # Which of its messages are damaged cannot be told.
            content, why = b"", "its checksum differs"
        if why:
            content = content[: max(0, len(content) - _DOUBTED_BYTES)]
            self._blame(chunk.at, f"the chunk at byte {chunk.at} is damaged ({why})")
        return content

    def _blame(self, at: int, text: str, lost_count: int = 0) -> None:
        if at not in self._reported:
            self._reported.add(at)
            repair = _REPAIR.format(self._path)
            self.damages.append(Damage(f"'{self._path.name}': {text}", repair, lost_count))


def _is_opcode(opcode: int) -> bool:
    return 0 < opcode <= _LAST_OPCODE or opcode >= _FIRST_PRIVATE


def _strings(body: bytes, at: int, count: int) -> list[str]:
    """Returns consecutive strings, each led by its length."""
    texts = []
    for _ in range(count):
        length = struct.unpack_from("<I", body, at)[0]
        at += 4 + length
        if at > len(body):
            raise struct.error(f"a text of {length} bytes ends beyond its record")
        texts.append(body[at - length : at].decode())
    return texts
