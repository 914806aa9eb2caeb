"""The one resize between a camera frame and the encoder, for nodes and data conversion alike."""

import cv2
import numpy as np

from wm_core.errors import FrameError


def prepare_image(image_HW3: np.ndarray, size: int) -> np.ndarray:
    """Return the frame as ``size`` x ``size`` RGB, squeezed (not cropped), area-averaged.

    Args:
        image_HW3: RGB frame, uint8 [H, W, 3], any strides.
        size: Side of the result in pixels.

    Returns:
        uint8 [size, size, 3], contiguous. The input itself when it has that size already.

    Raises:
        FrameError: The frame is not uint8 [H, W, 3] or has no pixels.
        ValueError: ``size`` is not positive.
    """
    if size <= 0:
        raise ValueError(f"image size is {size}, expected a positive number of pixels")
    if image_HW3.ndim != 3 or image_HW3.shape[2] != 3 or image_HW3.dtype != np.uint8:
        raise FrameError(f"image is {image_HW3.dtype} {list(image_HW3.shape)}, expected uint8 [height, width, 3]")
    if image_HW3.shape[0] == 0 or image_HW3.shape[1] == 0:
        raise FrameError(f"image has no pixels: {list(image_HW3.shape)}")
    if image_HW3.shape[:2] == (size, size):
        return np.ascontiguousarray(image_HW3)
    return cv2.resize(image_HW3, (size, size), interpolation=cv2.INTER_AREA)


def prepare_depth(depth_HW: np.ndarray, size: int) -> np.ndarray:
    """Return a depth image as float32 [1, size, size] in metres; what is not finite becomes 0 (unknown).

    Args:
        depth_HW: Depth along the optical axis, [H, W], metres (float) or millimetres (uint16).
        size: Side of the result in pixels.

    Raises:
        FrameError: The depth image is not two-dimensional, or empty.
    """
    if depth_HW.ndim != 2 or depth_HW.size == 0:
        raise FrameError(f"depth is {list(depth_HW.shape)}, expected [height, width] with pixels")
    metres_HW = depth_HW.astype(np.float32) * (0.001 if depth_HW.dtype == np.uint16 else 1.0)
    metres_HW = np.nan_to_num(metres_HW, nan=0.0, posinf=0.0, neginf=0.0)
    # Nearest: an average across an edge would be a surface that is not there.
    resized: np.ndarray = cv2.resize(metres_HW, (size, size), interpolation=cv2.INTER_NEAREST)[None]
    return resized
