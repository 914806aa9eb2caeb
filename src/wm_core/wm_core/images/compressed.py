"""Compressed images to arrays, refused by their headers before they could fill the memory."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np

from wm_core.errors import MessageError
from wm_core.images.raw import CompressedImageLike

PIXEL_LIMIT = 40_000_000
"""Most pixels that a compressed image may declare: beyond 8K video, 120 MB once decoded."""
WHOLE_LIMIT = 9_000_000
"""Most pixels that are decoded one by one, 4K video: a JPEG of more is decoded at a half, a quarter or an eighth."""
LOSSLESS_LIMIT = 12_600_000
"""Most pixels of what is no JPEG and can only be decoded whole: cameras of 12 megapixels, about a second, in which
nodes go on with what else comes."""
BYTE_LIMIT = 128_000_000
"""Most bytes of a compressed image."""
_MOST_S_PER_MEGAPIXEL = {b"\xff\xd8": 0.04, b"\x89P": 0.06, b"RI": 0.14, b"BM": 0.002, b"II": 0.04, b"MM": 0.04}
"""{how a file begins: what a million pixels of it take at most}, of noise and of photographs, on a slow core [s]."""
_SCAN_LIMIT = 12
"""Times that a JPEG of most pixels may go over all of them; a progressive one usually does so ten times."""
_MOST_SEGMENTS, _MOST_PADDING = 4096, 65_536

_JPEG, _JPEG_SCAN = b"\xff\xd8", b"\xff\xda"
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
_JPEG_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xDA)}
_JPEG_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TIFF_SIDES = {256: "width", 257: "height"}


def compressed_image_from_msg(msg: CompressedImageLike, pixel_limit: int = PIXEL_LIMIT) -> np.ndarray:
    """Returns the RGB picture [H, W, 3] uint8 of a JPEG, PNG, WebP, BMP or TIFF.

    What a picture costs is bounded: encoders take pictures of some hundred pixels a side, and a JPEG of more than
    ``WHOLE_LIMIT`` pixels comes out smaller, at little of the cost. The others can only be decoded whole, so those
    of more than ``LOSSLESS_LIMIT`` are refused.

    Args:
        msg: Compressed image.
        pixel_limit: Most pixels that its header may declare, of a JPEG; of others at most ``LOSSLESS_LIMIT``.

    Raises:
        MessageError: ``image-empty``, ``image-encoding`` (depth, or a format whose size cannot be told),
            ``image-too-large`` (bytes, declared pixels, or a JPEG that goes over them too often), ``image-truncated``.
    """
    if "compressedDepth" in msg.format:
        raise MessageError("image-encoding", f"'{msg.format}' is depth, expected a picture")
    is_jpeg = bytes(msg.data[:2]) == _JPEG
    pixel_limit = pixel_limit if is_jpeg else min(pixel_limit, LOSSLESS_LIMIT)
    flags = _jpeg_flags(msg.data) if is_jpeg else cv2.IMREAD_COLOR
    pixels = decode_file(msg.data, flags, msg.format, pixel_limit)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def most_decoding_s(data: Any) -> float:
    """Returns about how long a compressed image may take to decode, by its header alone [s]; 0 where that is damaged.

    Args:
        data: Bytes of the file.
    """
    flat = np.frombuffer(data, np.uint8)
    try:
        width, height = declared_size(flat.data)
    except MessageError:
        return 0.0
    return _MOST_S_PER_MEGAPIXEL[flat[:2].tobytes()] * width * height * 1e-6


def _jpeg_flags(data: Any) -> int:
    """Returns how to decode a JPEG so that at most ``WHOLE_LIMIT`` pixels come out."""
    width, height = declared_size(np.frombuffer(data, np.uint8).data)
    wanted = (flag for factor, flag in _REDUCED.items() if width * height <= WHOLE_LIMIT * factor**2)
    return cv2.IMREAD_COLOR if width * height <= WHOLE_LIMIT else next(wanted, cv2.IMREAD_REDUCED_COLOR_8)


def decode_file(data: Any, flags: int, name: str, pixel_limit: int = PIXEL_LIMIT) -> np.ndarray:
    """Returns what OpenCV reads of an image file, after its declared size was found acceptable.

    Args:
        data: Bytes of the file.
        flags: Of ``cv2.imdecode``.
        name: Of the format, for errors.
        pixel_limit: Most pixels that its header may declare.

    Raises:
        MessageError: As ``compressed_image_from_msg``.
    """
    if len(data) == 0:
        raise MessageError("image-empty", "compressed image of 0 bytes")
    if len(data) > BYTE_LIMIT:
        raise MessageError("image-too-large", f"{len(data)} bytes, at most {BYTE_LIMIT}")
    flat = np.frombuffer(data, np.uint8)
    width, height = declared_size(flat.data)
    if width <= 0 or height <= 0:
        raise MessageError("image-truncated", f"'{name}' declares {width}x{height} pixels")
    if width * height > pixel_limit:
        raise MessageError("image-too-large", f"'{name}' declares {width}x{height} pixels, at most {pixel_limit} do")
    if flat[:2].tobytes() == _JPEG:
        _check_scans(flat.tobytes(), width * height, pixel_limit)
    try:
        pixels = cv2.imdecode(flat, flags)
    except cv2.error as error:
        raise MessageError("image-truncated", f"{len(data)} bytes of '{name}': {error}") from error
    if pixels is None:
        raise MessageError("image-truncated", f"{len(data)} bytes of '{name}' do not decode")
    return pixels


def _check_scans(data: bytes, pixels: int, pixel_limit: int) -> None:
    """Refuse a JPEG that would have the decoder go over its pixels again and again."""
    scans = data.count(_JPEG_SCAN)
    if scans * pixels > _SCAN_LIMIT * pixel_limit:
        raise MessageError("image-too-large", f"{scans} scans of {pixels} pixels")


def declared_size(data: memoryview) -> tuple[int, int]:
    """Returns the width and height [px] that the header of an image file declares, without decoding it.

    Raises:
        MessageError: ``image-truncated`` when the header is incomplete, ``image-encoding`` for a format not known.
    """
    start = bytes(data[:16])
    try:
        for magic, sniff in _SNIFFERS.items():
            if start.startswith(magic):
                return sniff(data)
    except (struct.error, IndexError) as error:
        raise MessageError("image-truncated", f"{len(data)} bytes end within the image's header") from error
    raise MessageError("image-encoding", f"data that begin with {start[:8].hex(' ')} are no JPEG, PNG, WebP, BMP, TIFF")


def _jpeg_size(data: memoryview) -> tuple[int, int]:
    at, skipped = 2, 0
    for _ in range(_MOST_SEGMENTS):
        start = at
        while data[at] != 0xFF and skipped + at - start <= _MOST_PADDING:  # Decoders skip what stands between segments.
            at += 1
        while data[at] == 0xFF and skipped + at - start <= _MOST_PADDING:
            at += 1
        skipped += at - start
        if skipped > _MOST_PADDING:
            break
        marker, at = data[at], at + 1
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
        if marker not in _JPEG_WITHOUT_LENGTH:
            at += struct.unpack_from(">H", data, at)[0]
    raise MessageError("image-encoding", "a JPEG whose size does not come within thousands of segments")


def _png_size(data: memoryview) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _bmp_size(data: memoryview) -> tuple[int, int]:
    if struct.unpack_from("<I", data, 14)[0] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)


def _webp_size(data: memoryview) -> tuple[int, int]:
    kind = bytes(data[12:16])
    if kind == b"VP8X":
        low = struct.unpack_from("<HBHB", data, 24)
        return 1 + low[0] + (low[1] << 16), 1 + low[2] + (low[3] << 16)
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _tiff_size(data: memoryview) -> tuple[int, int]:
    order = "<" if data[0] == 0x49 else ">"
    directory = struct.unpack_from(f"{order}I", data, 4)[0]
    count = struct.unpack_from(f"{order}H", data, directory)[0]
    sides = {"width": 0, "height": 0}
    # A tag that is there twice counts by its larger value: which one a decoder takes is its own affair.
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag in _TIFF_SIDES:
            value = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", data, entry + 8)[0]
            sides[_TIFF_SIDES[tag]] = max(sides[_TIFF_SIDES[tag]], value)
    return sides["width"], sides["height"]


_SNIFFERS = {
    _JPEG: _jpeg_size,
    b"\x89PNG\r\n\x1a\n": _png_size,
    b"RIFF": _webp_size,
    b"BM": _bmp_size,
    b"II*\x00": _tiff_size,
    b"MM\x00*": _tiff_size,
}
