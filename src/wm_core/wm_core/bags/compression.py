"""Decompression that gives what it can and says whether that was all."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_STEP_BYTES = 1 << 16


def unpack(data: bytes | memoryview, compression: str) -> tuple[bytes, str]:
    """Returns the bytes that could be decompressed, and what went wrong after them ("" if nothing did).

    Args:
        data: Compressed.
        compression: ``zstd``, ``lz4`` or "" for none.
    """
    if compression == "":
        return bytes(data), ""
    if compression not in _DECOMPRESSORS:
        return b"", f"compression '{compression}' is not known"
    decompressor, found = _DECOMPRESSORS[compression](), bytearray()
    for start in range(0, len(data), _STEP_BYTES):
        try:
            found += decompressor.decompress(bytes(data[start : start + _STEP_BYTES]))
        except (zstd.ZstdError, RuntimeError, EOFError) as error:  # RuntimeError is lz4's
            return bytes(found), f"{compression}: {error}"
        if decompressor.eof:
            return bytes(found), ""
    return bytes(found), f"{compression}: the data end early"


def unpack_file(source: Path, target: Path) -> str:
    """Decompresses a zstd file as far as it goes; returns what went wrong, "" if nothing did."""
    decompressor = zstd.ZstdDecompressor()
    with source.open("rb") as packed, target.open("wb") as unpacked:
        while block := packed.read(_STEP_BYTES):
            try:
                unpacked.write(decompressor.decompress(block))
                while decompressor.eof and decompressor.unused_data:
                    rest, decompressor = decompressor.unused_data, zstd.ZstdDecompressor()
                    unpacked.write(decompressor.decompress(rest))
            except zstd.ZstdError as error:
                return f"zstd: {error}"
    return "" if decompressor.eof else "zstd: the data end early"


_DECOMPRESSORS: dict[str, Callable[[], Any]] = {"zstd": zstd.ZstdDecompressor, "lz4": lz4.frame.LZ4FrameDecompressor}
