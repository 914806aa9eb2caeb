"""Pictures and depth: from what cameras send to what encoders take, for nodes, player and conversion alike.

Messages are read by their fields, so one of rclpy and one that was read from a recording give the same pixels.
``array_from_msg`` is cv_bridge's ``passthrough``; ``picture_from_msg`` gives the RGB picture that encoders read.
"""

from typing import cast

import numpy as np

from wm_core.images.compressed import PIXEL_LIMIT, compressed_image_from_msg, most_decoding_s
from wm_core.images.depth import depth_from_msg
from wm_core.images.preparing import prepare_depth, prepare_image
from wm_core.images.raw import (
    ENCODINGS,
    LAYOUTS,
    CompressedImageLike,
    ImageLike,
    array_from_msg,
    as_raw,
    image_from_msg,
    register_fallback,
)

__all__ = [
    "ENCODINGS",
    "LAYOUTS",
    "PIXEL_LIMIT",
    "CompressedImageLike",
    "ImageLike",
    "array_from_msg",
    "compressed_image_from_msg",
    "depth_from_msg",
    "image_from_msg",
    "most_decoding_s",
    "picture_from_msg",
    "prepare_depth",
    "prepare_image",
    "register_fallback",
]


def picture_from_msg(msg: ImageLike | CompressedImageLike) -> np.ndarray:
    """Returns the RGB picture [H, W, 3] uint8 of a raw or compressed message.

    Raises:
        MessageError: As ``image_from_msg`` and ``compressed_image_from_msg``.
    """
    raw = as_raw(msg)
    return compressed_image_from_msg(cast(CompressedImageLike, msg)) if raw is None else image_from_msg(raw)
