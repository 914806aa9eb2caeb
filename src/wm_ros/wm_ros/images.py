"""Images between ROS messages and arrays: reading is ``wm_core.images``, here are cv_bridge and message building.

An encoding that ``wm_core.images`` does not list goes to the distribution's cv_bridge where that is installed.
"""

from __future__ import annotations

import array
import sys

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image

from wm_core.images import (
    LAYOUTS,
    array_from_msg,
    compressed_image_from_msg,
    depth_from_msg,
    image_from_msg,
    picture_from_msg,
    register_fallback,
)
from wm_ros.errors import MessageError

try:
    from cv_bridge import CvBridge, CvBridgeError
except ImportError:
    CvBridge = None

__all__ = [
    "array_from_msg",
    "compressed_image_from_msg",
    "depth_from_msg",
    "image_from_msg",
    "image_to_msg",
    "picture_from_msg",
]


def image_to_msg(pixels: np.ndarray, stamp: Time, frame_id: str, encoding: str = "rgb8") -> Image:
    """Returns an image message of [H, W] or [H, W, C] pixels, without padding.

    Raises:
        ValueError: Pixels do not fit the encoding.
    """
    kind, channels = LAYOUTS[encoding]
    expected = pixels.shape[:2] if channels == 1 else (*pixels.shape[:2], channels)
    if pixels.dtype != np.dtype(kind) or pixels.shape != expected:
        raise ValueError(f"pixels {pixels.shape} {pixels.dtype} are not {encoding}")
    msg = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, is_bigendian=sys.byteorder == "big")
    msg.header.stamp, msg.header.frame_id = stamp, frame_id
    msg.step = pixels.shape[1] * channels * pixels.itemsize
    # rclpy checks every element of bytes, and none of an array of bytes.
    msg.data = array.array("B", pixels.tobytes())
    return msg


def _by_cv_bridge(msg: Image) -> np.ndarray:
    try:
        image_HW3: np.ndarray = CvBridge().imgmsg_to_cv2(msg, "rgb8")
        return image_HW3
    except (CvBridgeError, KeyError, TypeError, ValueError, cv2.error) as error:
        raise MessageError("image-encoding", f"'{msg.encoding}': {error}") from error


# PyPI's package of that name, ROS 1's Python part, is not usable.
if CvBridge is not None and hasattr(CvBridge, "encoding_to_cvtype2"):
    register_fallback(_by_cv_bridge)
