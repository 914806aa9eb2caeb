"""Which of the camera's frames belongs to which record: both come at their own time and are told apart by stamp.

Shape suffix: S = side of a picture.
"""

from __future__ import annotations

from collections import OrderedDict

import cv2
import numpy as np

from wm_core.images import prepare_image

SIDE_PX = 64
_QUALITY = 80
# Ten seconds at 20 Hz: a state may wait that long for its pose.
_MOST_FRAMES, _MOST_RECORDS = 200, 200


class FrameRing:
    """Small pictures of the newest frames, and the records that wait for theirs."""

    def __init__(self) -> None:
        self._pictures: OrderedDict[int, np.ndarray] = OrderedDict()
        self._waiting: OrderedDict[int, int] = OrderedDict()
        self.missed = 0

    def frame(self, stamp_ns: int, picture_HW3: np.ndarray) -> dict[int, bytes]:
        """Take a frame; return the picture of the record that waited for it, by its id.

        Args:
            stamp_ns: Of the frame.
            picture_HW3: RGB, uint8.

        Raises:
            FrameError: It is no picture.
        """
        small_SSC = prepare_image(picture_HW3, SIDE_PX)
        record_id = self._waiting.pop(stamp_ns, None)
        if record_id is not None:
            return {record_id: small_jpeg(small_SSC)}
        self._pictures[stamp_ns] = small_SSC
        while len(self._pictures) > _MOST_FRAMES:
            self._pictures.popitem(last=False)
        return {}

    def record(self, record_id: int, stamp_ns: int) -> dict[int, bytes]:
        """Take a record that was stored; return its picture, by its id, if its frame came already."""
        small_SSC = self._pictures.get(stamp_ns)
        if small_SSC is not None:
            return {record_id: small_jpeg(small_SSC)}
        self._waiting[stamp_ns] = record_id
        while len(self._waiting) > _MOST_RECORDS:
            self._waiting.popitem(last=False)
            self.missed += 1
        return {}


def small_jpeg(picture_SSC: np.ndarray) -> bytes:
    """Return an RGB picture as a JPEG file."""
    bgr_SSC = cv2.cvtColor(picture_SSC, cv2.COLOR_RGB2BGR)
    is_done, file = cv2.imencode(".jpg", bgr_SSC, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert is_done
    return bytes(file.tobytes())
