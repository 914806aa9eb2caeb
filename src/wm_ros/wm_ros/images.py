"""Images between messages and arrays: what cameras send, without cv_bridge, without a copy where the layout allows.

``array_from_msg`` is cv_bridge's ``passthrough``; ``image_from_msg`` gives the RGB picture that encoders read. Padded
rows (any ``step``), both byte orders. An encoding not listed here goes to the distribution's cv_bridge where that is
installed.
"""

from __future__ import annotations

import array
import sys

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image

from wm_ros.errors import MessageError

try:
    from cv_bridge import CvBridge, CvBridgeError
except ImportError:
    CvBridge = None

_LARGEST_SIDE = 32768

_LAYOUTS: dict[str, tuple[str, int]] = {
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
    **{f"bayer_{order}8": ("u1", 1) for order in ("rggb", "bggr", "gbrg", "grbg")},
    **{f"bayer_{order}16": ("u2", 1) for order in ("rggb", "bggr", "gbrg", "grbg")},
    "yuv422": ("u1", 2),
    "uyvy": ("u1", 2),
    "yuv422_yuy2": ("u1", 2),
    "yuyv": ("u1", 2),
}
"""Encoding (sensor_msgs/image_encodings) -> element type, channels."""

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
# cv_bridge reads unnamed channels as OpenCV orders them.
_FAMILIES = {"8UC1": "mono", "16UC1": "mono", "32FC1": "mono", "8UC3": "bgr", "8UC4": "bgra"}


def array_from_msg(msg: Image) -> np.ndarray:
    """Returns the pixels as they are: [H, W] or [H, W, C], in the machine's byte order, a view where possible.

    Raises:
        MessageError: ``image-empty``, ``image-encoding``, ``image-step``, ``image-truncated``.
    """
    if not (0 < msg.height <= _LARGEST_SIDE and 0 < msg.width <= _LARGEST_SIDE):
        raise MessageError("image-empty", f"{msg.width}x{msg.height} pixels, expected 1..{_LARGEST_SIDE} a side")
    if msg.encoding not in _LAYOUTS:
        return _array_by_cv_bridge(msg)
    kind, channels = _LAYOUTS[msg.encoding]
    itemsize = int(kind[1])
    row_bytes = msg.width * channels * itemsize
    if msg.step < row_bytes:
        raise MessageError(
            "image-step", f"step {msg.step} bytes, {msg.width} pixels of {msg.encoding} need {row_bytes}"
        )
    needed = (msg.height - 1) * msg.step + row_bytes
    if len(msg.data) < needed:
        raise MessageError(
            "image-truncated", f"{len(msg.data)} bytes, {msg.width}x{msg.height} {msg.encoding} need {needed}"
        )
    dtype = np.dtype((">" if msg.is_bigendian else "<") + kind)
    shape: tuple[int, ...] = (msg.height, msg.width, channels)
    strides: tuple[int, ...] = (msg.step, channels * itemsize, itemsize)
    if channels == 1:
        shape, strides = shape[:2], strides[:2]
    pixels = np.ndarray(shape, dtype, buffer=msg.data, strides=strides)
    return pixels if dtype.isnative else pixels.astype(dtype.newbyteorder("="))


def image_from_msg(msg: Image) -> np.ndarray:
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
    if family in ("yuv422", "uyvy", "yuv422_yuy2", "yuyv") and msg.width % 2:
        raise MessageError("image-step", f"{msg.encoding} pairs pixels, width {msg.width} is odd")
    return cv2.cvtColor(np.ascontiguousarray(pixels), _TO_RGB[family])


def compressed_image_from_msg(msg: CompressedImage) -> np.ndarray:
    """Returns the RGB picture [H, W, 3] uint8 of a JPEG, PNG or whatever else OpenCV reads.

    Raises:
        MessageError: ``image-empty``, ``image-encoding`` (depth), ``image-truncated``.
    """
    if len(msg.data) == 0:
        raise MessageError("image-empty", "compressed image of 0 bytes")
    if "compressedDepth" in msg.format:
        raise MessageError("image-encoding", f"'{msg.format}' is depth, expected a picture")
    pixels = cv2.imdecode(np.frombuffer(msg.data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise MessageError("image-truncated", f"{len(msg.data)} bytes of '{msg.format}' do not decode")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def depth_from_msg(msg: Image) -> np.ndarray:
    """Returns depth [H, W] float32 in metres (REP-118: 16UC1 in mm, 32FC1 in m; 0 or NaN where unknown -> 0).

    Raises:
        MessageError: As ``array_from_msg``; ``depth-encoding`` when it is neither.
    """
    if msg.encoding not in ("16UC1", "mono16", "32FC1"):
        raise MessageError("depth-encoding", f"'{msg.encoding}', expected 16UC1 [mm] or 32FC1 [m]")
    pixels = array_from_msg(msg)
    depth = pixels.astype(np.float32) * 1e-3 if pixels.dtype == np.uint16 else pixels
    return np.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0)


def image_to_msg(pixels: np.ndarray, stamp: Time, frame_id: str, encoding: str = "rgb8") -> Image:
    """Returns an image message of [H, W] or [H, W, C] pixels, without padding.

    Raises:
        ValueError: Pixels do not fit the encoding.
    """
    kind, channels = _LAYOUTS[encoding]
    expected = pixels.shape[:2] if channels == 1 else (*pixels.shape[:2], channels)
    if pixels.dtype != np.dtype(kind) or pixels.shape != expected:
        raise ValueError(f"pixels {pixels.shape} {pixels.dtype} are not {encoding}")
    msg = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, is_bigendian=sys.byteorder == "big")
    msg.header.stamp, msg.header.frame_id = stamp, frame_id
    msg.step = pixels.shape[1] * channels * pixels.itemsize
    # rclpy checks every element of bytes, and none of an array of bytes.
    msg.data = array.array("B", pixels.tobytes())
    return msg


def _as_bytes(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint16:
        return (pixels >> 8).astype(np.uint8)
    if pixels.dtype == np.float32:
        return (np.nan_to_num(np.clip(pixels, 0.0, 1.0)) * 255.0 + 0.5).astype(np.uint8)
    return pixels


def _array_by_cv_bridge(msg: Image) -> np.ndarray:
    if CvBridge is None or not hasattr(CvBridge, "encoding_to_cvtype2"):
        raise MessageError("image-encoding", f"'{msg.encoding}' is not one of {', '.join(_LAYOUTS)}")
    try:
        return CvBridge().imgmsg_to_cv2(msg, "rgb8")
    except (CvBridgeError, KeyError, TypeError, ValueError, cv2.error) as error:
        raise MessageError("image-encoding", f"'{msg.encoding}': {error}") from error
