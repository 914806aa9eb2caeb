"""Video packets of a topic or a recording as images, each under the stamp of its own packet."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from wm_ros.errors import MessageError
from wm_ros.images import image_to_msg
from wm_ros.messages import stamp_msg

VIDEO_KINDS = {
    "foxglove_video": "foxglove_msgs/msg/CompressedVideo",
    "ffmpeg": "ffmpeg_image_transport_msgs/msg/FFMPEGPacket",
}
"""{transport: type of its packets}."""


class VideoPictures:
    """Decodes the packets of one camera in their order, by their fields: live or from a recording's own definition."""

    def __init__(self) -> None:
        self._decoder: Any = None

    def restart(self) -> None:
        """Forget what came before: time has jumped, or a packet was lost."""
        self._decoder = None

    def pictures(self, msg: Any) -> Iterator[tuple[int, Image]]:
        """Yields (stamp [ns], picture) of what is complete with this packet.

        Raises:
            MessageError: ``image-encoding``: PyAV is missing or does not know the codec; ``image-truncated``: the
                packet does not decode (the stream was joined between two key frames, or one was lost).
        """
        video = _video_module()
        codec, stamp_ns, data = video.packet_fields(msg)
        self._decoder = self._decoder or video.VideoDecoder(codec)
        frame_id = str(getattr(msg, "frame_id", "") or getattr(getattr(msg, "header", None), "frame_id", ""))
        for of_ns, picture in self._decoder.decode(stamp_ns, data):
            yield of_ns, image_to_msg(np.ascontiguousarray(picture), stamp_msg(of_ns), frame_id)


def _video_module() -> Any:
    try:
        return import_module("wm_core.images.video")
    except ModuleNotFoundError as error:
        raise MessageError("image-encoding", "video packets are read through PyAV: pip install av") from error
