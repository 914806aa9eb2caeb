"""Raw images to arrays: what cameras send, without cv_bridge, without a copy where the layout allows.

Padded rows (any ``step``), both byte orders. An encoding not listed here goes to the fallback that a ROS layer
registers (the distribution's cv_bridge).

Shape suffixes: H, W = sides, C = channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

import cv2
import numpy as np

from wm_core.errors import MessageError

LARGEST_SIDE = 32768
"""Longest side that is believed [px]."""

_ORDERS = ("rggb", "bggr", "gbrg", "grbg")
LAYOUTS: dict[str, tuple[str, int]] = {
    "rgb8": ("u1", 3),
    "bgr8": ("u1", 3),
    "rgba8": ("u1", 4),
    "bgra8": ("u1", 4),
    "mono8": ("u1", 1),
    "8UC1": ("u1", 1),
    "8UC3": ("u1", 3),
    "8UC4": ("u1", 4),
    "rgb16": ("u2", 3),
    "bgr16": ("u2", 3),
    "rgba16": ("u2", 4),
    "bgra16": ("u2", 4),
    "mono16": ("u2", 1),
    "16UC1": ("u2", 1),
    "32FC1": ("f4", 1),
    **{f"bayer_{order}8": ("u1", 1) for order in _ORDERS},
    **{f"bayer_{order}16": ("u2", 1) for order in _ORDERS},
    "yuv422": ("u1", 2),
    "uyvy": ("u1", 2),
    "yuv422_yuy2": ("u1", 2),
    "yuyv": ("u1", 2),
}
"""Packed encoding (sensor_msgs/image_encodings) -> element type, channels."""

_PLANAR = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21, "nv24": cv2.COLOR_YUV2RGB_NV12}
ENCODINGS = (*LAYOUTS, *_PLANAR)
"""Every encoding that is read without a fallback."""

_TO_RGB: dict[str, int] = {
    "bgr": cv2.COLOR_BGR2RGB,
    "rgba": cv2.COLOR_RGBA2RGB,
    "bgra": cv2.COLOR_BGRA2RGB,
    "mono": cv2.COLOR_GRAY2RGB,
    # OpenCV names a Bayer pattern by its second row's second and third pixel, ROS by its first two.
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
}
_PAIRED = ("yuv422", "uyvy", "yuv422_yuy2", "yuyv")
# cv_bridge reads unnamed channels as OpenCV orders them.
_FAMILIES = {"8UC1": "mono", "16UC1": "mono", "32FC1": "mono", "8UC3": "bgr", "8UC4": "bgra"}


class ImageLike(Protocol):
    """The fields of a sensor_msgs/Image, whoever read it."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


class CompressedImageLike(Protocol):
    """The fields of a sensor_msgs/CompressedImage, whoever read it."""

    format: str
    data: Any


def as_raw(msg: ImageLike | CompressedImageLike) -> ImageLike | None:
    """Return a message that is a raw image, None for a compressed one.

    ``isinstance`` of a protocol would look at each of its fields, for each frame.
    """
    return cast(ImageLike, msg) if hasattr(msg, "encoding") else None


Fallback = Callable[[Any], np.ndarray]
_fallbacks: list[Fallback] = []


def register_fallback(decode: Fallback | None) -> None:
    """Set what reads encodings that are not listed here; None removes it.

    Args:
        decode: Takes the message and returns RGB [H, W, 3] uint8, or raises ``MessageError``.
    """
    _fallbacks[:] = [] if decode is None else [decode]


def array_from_msg(msg: ImageLike) -> np.ndarray:
    """Returns the pixels as they are: [H, W] or [H, W, C], in the machine's byte order, a view where possible.

    Planar YUV (NV12, NV21, NV24) has no such array and comes as RGB.

    Raises:
        MessageError: ``image-empty``, ``image-encoding``, ``image-step``, ``image-truncated``.
    """
    if not (0 < msg.height <= LARGEST_SIDE and 0 < msg.width <= LARGEST_SIDE):
        raise MessageError("image-empty", f"{msg.width}x{msg.height} pixels, expected 1..{LARGEST_SIDE} a side")
    if msg.encoding in _PLANAR:
        return _rgb_of_planes(msg)
    if msg.encoding not in LAYOUTS:
        return _by_fallback(msg)
    kind, channels = LAYOUTS[msg.encoding]
    itemsize = int(kind[1])
    row_bytes = msg.width * channels * itemsize
    _check_room(msg, row_bytes, (msg.height - 1) * msg.step + row_bytes)
    dtype = np.dtype((">" if msg.is_bigendian else "<") + kind)
    shape: tuple[int, ...] = (msg.height, msg.width, channels)
    strides: tuple[int, ...] = (msg.step, channels * itemsize, itemsize)
    if channels == 1:
        shape, strides = shape[:2], strides[:2]
    pixels = np.ndarray(shape, dtype, buffer=msg.data, strides=strides)
    native: np.ndarray = pixels if dtype.isnative else pixels.astype(dtype.newbyteorder("="))
    return native


def image_from_msg(msg: ImageLike) -> np.ndarray:
    """Returns the RGB picture [H, W, 3] uint8; a view of the message when it is rgb8 without padding.

    16-bit values keep their high byte; 32FC1 is read as brightness 0..1 (NaN as 0).

    Raises:
        MessageError: As ``array_from_msg``.
    """
    pixels = array_from_msg(msg)
    family = _FAMILIES.get(msg.encoding) or msg.encoding.removesuffix("16").removesuffix("8")
    if family == "mono" or family.startswith("bayer"):
        pixels = _as_bytes(pixels)
    elif pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if family == "rgb" or family not in _TO_RGB:
        return pixels
    if family in _PAIRED and msg.width % 2:
        raise MessageError("image-step", f"{msg.encoding} pairs pixels, width {msg.width} is odd")
    return cv2.cvtColor(np.ascontiguousarray(pixels), _TO_RGB[family])


def _check_room(msg: ImageLike, row_bytes: int, needed: int) -> None:
    if msg.step < row_bytes:
        raise MessageError(
            "image-step", f"step {msg.step} bytes, {msg.width} pixels of {msg.encoding} need {row_bytes}"
        )
    if len(msg.data) < needed:
        raise MessageError(
            "image-truncated", f"{len(msg.data)} bytes, {msg.width}x{msg.height} {msg.encoding} need {needed}"
        )


def _rgb_of_planes(msg: ImageLike) -> np.ndarray:
    """Returns RGB of luma rows and, below them, rows of chroma pairs: half the rows (NV12, NV21), or twice as wide."""
    height, width = msg.height, msg.width
    halved = msg.encoding != "nv24"
    if halved and (height % 2 or width % 2):
        raise MessageError("image-step", f"{msg.encoding} pairs pixels, {width}x{height} is odd")
    total = width * height * 3 // 2 if halved else width * height * 3
    # Some drivers give the step of one sample pair, or of a whole pixel, although their rows are not padded.
    step = width if len(msg.data) == total and msg.step >= width else msg.step
    rows = height * 3 // 2 if halved else height * 3
    if msg.step < width:
        _check_room(msg, width, 0)
    if len(msg.data) < (rows - 1) * step + width:
        raise MessageError(
            "image-truncated", f"{len(msg.data)} bytes, {width}x{height} {msg.encoding} need {rows * step}"
        )
    padded = np.ndarray((rows, width), np.uint8, buffer=msg.data, strides=(step, 1))
    if halved:
        return cv2.cvtColor(np.ascontiguousarray(padded), _PLANAR[msg.encoding])
    return _rgb_of_full_chroma(msg, step)


def _rgb_of_full_chroma(msg: ImageLike, step: int) -> np.ndarray:
    """Returns RGB of NV24: read as an NV12 of twice the sides, so that both have the same colours."""
    height, width = msg.height, msg.width
    flat = np.frombuffer(msg.data, np.uint8)
    luma = np.ndarray((height, width), np.uint8, buffer=flat, strides=(step, 1))
    chroma = np.ndarray((height, 2 * width), np.uint8, buffer=flat, offset=height * step, strides=(2 * step, 1))
    doubled = np.concatenate([luma.repeat(2, 0).repeat(2, 1), chroma])
    return np.ascontiguousarray(cv2.cvtColor(doubled, _PLANAR["nv24"])[::2, ::2])


def _as_bytes(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    elif pixels.dtype == np.float32:
        pixels = (np.nan_to_num(np.clip(pixels, 0.0, 1.0)) * 255.0 + 0.5).astype(np.uint8)
    return pixels


def _by_fallback(msg: ImageLike) -> np.ndarray:
    if not _fallbacks:
        raise MessageError("image-encoding", f"'{msg.encoding}' is not one of {', '.join(ENCODINGS)}")
    return _fallbacks[0](msg)
