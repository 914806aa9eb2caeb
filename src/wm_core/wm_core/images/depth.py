"""Depth images to metres: raw, and as image_transport's compressedDepth sends them (PNG and RVL).

Shape suffixes: H, W = sides.
"""

from __future__ import annotations

import struct
from typing import cast

import cv2
import numpy as np

from wm_core.errors import MessageError
from wm_core.images.compressed import PIXEL_LIMIT, decode_file
from wm_core.images.raw import CompressedImageLike, ImageLike, array_from_msg, as_raw

_CONFIG_BYTES = 12
"""compressedDepth begins with an enumeration and the two parameters of its quantisation of inverse depth."""
_RAW = ("16UC1", "mono16", "32FC1")


def depth_from_msg(msg: ImageLike | CompressedImageLike, pixel_limit: int = PIXEL_LIMIT) -> np.ndarray:
    """Returns depth [H, W] float32 in metres (REP-118: 16UC1 in mm, 32FC1 in m; 0 or NaN where unknown -> 0).

    Args:
        msg: Raw depth, or a compressed image whose format says ``compressedDepth`` (a 16-bit PNG without it, too).
        pixel_limit: Most pixels that a compressed one may declare.

    Raises:
        MessageError: As ``array_from_msg`` and ``compressed_image_from_msg``; ``depth-encoding`` when it is no depth.
    """
    raw = as_raw(msg)
    if raw is not None:
        if raw.encoding not in _RAW:
            raise MessageError("depth-encoding", f"'{raw.encoding}', expected 16UC1 [mm] or 32FC1 [m]")
        return _metres(array_from_msg(raw))
    return _decompressed(cast(CompressedImageLike, msg), pixel_limit)


def _metres(pixels: np.ndarray) -> np.ndarray:
    depth = pixels.astype(np.float32) * 1e-3 if pixels.dtype == np.uint16 else pixels
    metres: np.ndarray = np.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0)
    return metres


def _decompressed(msg: CompressedImageLike, pixel_limit: int) -> np.ndarray:
    encoding, _, transport = msg.format.partition(";")
    encoding = encoding.strip()
    if "compressedDepth" not in transport:
        codes, parameters = _png(msg.data, msg.format, pixel_limit), (0.0, 0.0)
    elif len(msg.data) <= _CONFIG_BYTES:
        raise MessageError("image-empty", f"compressed depth of {len(msg.data)} bytes")
    else:
        parameters = struct.unpack_from("<ff", msg.data, 4)
        body = bytes(memoryview(msg.data)[_CONFIG_BYTES:])
        is_rvl = transport.strip().endswith("rvl")
        codes = decode_rvl(body, pixel_limit) if is_rvl else _png(body, msg.format, pixel_limit)
    if encoding in ("16UC1", "mono16"):
        return _metres(codes)
    if encoding != "32FC1":
        raise MessageError("depth-encoding", f"'{msg.format}', expected 16UC1 [mm] or 32FC1 [m]")
    # Inverse depth was quantised; code 0 is "unknown".
    distance = codes.astype(np.float32) - np.float32(parameters[1])
    with np.errstate(divide="ignore"):
        depth = np.where(codes > 0, np.float32(parameters[0]) / distance, np.float32(0.0))
    return _metres(depth.astype(np.float32))


def _png(data: object, name: str, pixel_limit: int) -> np.ndarray:
    pixels = decode_file(data, cv2.IMREAD_UNCHANGED, name, pixel_limit)
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise MessageError("depth-encoding", f"'{name}' holds {pixels.dtype} {list(pixels.shape)}, expected 16 bit")
    return pixels


def decode_rvl(data: bytes, pixel_limit: int = PIXEL_LIMIT) -> np.ndarray:
    """Returns the uint16 [H, W] image of an RVL stream with its leading width and height.

    Raises:
        MessageError: ``image-too-large``, or ``image-truncated`` when the stream ends early.

    Source: Wilson 2017, "Fast lossless depth image compression".
    """
    if len(data) < 8:
        raise MessageError("image-truncated", f"RVL of {len(data)} bytes has no size")
    width, height = struct.unpack_from("<II", data)
    if not 0 < width * height <= pixel_limit:
        raise MessageError("image-too-large", f"RVL declares {width}x{height} pixels, at most {pixel_limit} do")
    number_N = _variable_lengths(data[8:])
    image = np.zeros(width * height, np.uint16)
    at = pixel = previous = 0
    while pixel < len(image):
        if at + 1 >= len(number_N) or pixel + int(number_N[at]) + int(number_N[at + 1]) > len(image):
            raise MessageError("image-truncated", f"RVL of {width}x{height} pixels ends or overflows at {pixel}")
        pixel, run, at = pixel + int(number_N[at]), int(number_N[at + 1]), at + 2
        code_R = number_N[at : at + run]
        if len(code_R) < run:
            raise MessageError("image-truncated", f"RVL of {width}x{height} pixels ends at {pixel + len(code_R)}")
        if run:
            value_R = previous + np.cumsum((code_R >> 1) ^ -(code_R & 1))
            image[pixel : pixel + run], previous = value_R.astype(np.uint16), int(value_R[-1])
        elif pixel < len(image) and not number_N[at - 2]:
            raise MessageError("image-truncated", f"RVL of {width}x{height} pixels stands still at {pixel}")
        pixel, at = pixel + run, at + run
    return image.reshape(height, width)


def _variable_lengths(data: bytes) -> np.ndarray:
    """Returns the numbers of a stream of nibbles, three bits each, lowest first; the fourth says that more follow."""
    byte_B = np.frombuffer(data, np.uint8, len(data) // 4 * 4).reshape(-1, 4)[:, ::-1].ravel()
    nibble_B = np.stack([byte_B >> 4, byte_B & 15], 1).ravel().astype(np.int64)
    ends = np.flatnonzero(nibble_B < 8)
    if not len(ends):
        return ends
    starts = np.concatenate([[0], ends[:-1] + 1])
    place_B = np.arange(ends[-1] + 1) - np.repeat(starts, ends - starts + 1)
    # Numbers of more than 16 bits do not occur; a damaged stream must not shift out of the integer.
    return np.add.reduceat((nibble_B[: ends[-1] + 1] & 7) << (3 * np.minimum(place_B, 10)), starts)
