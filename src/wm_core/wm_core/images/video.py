"""Pictures from video packets (H.264, H.265, ...) through PyAV, each under the stamp of its own packet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from av.codec.context import ThreadType
from av.video.codeccontext import VideoCodecContext

from wm_core.errors import MessageError

_CODECS = {"h265": "hevc", **{name: "h264" for name in ("x264", "libx264", "h264_nvenc")}, "libx265": "hevc"}


class VideoDecoder:
    """Decodes the packets of one topic in their order.

    Args:
        name: Codec, as a foxglove_msgs/CompressedVideo's ``format`` or an FFMPEGPacket's ``encoding`` names it.

    Raises:
        MessageError: ``image-encoding``: PyAV does not know the codec.
    """

    def __init__(self, name: str) -> None:
        # "h264;bgr8;..." is how newer ffmpeg_image_transport tells codec and pixel format at once.
        plain = name.split(";")[0].strip().lower()
        try:
            context = av.CodecContext.create(_CODECS.get(plain, plain), "r")
        except (ValueError, av.FFmpegError) as error:
            raise MessageError("image-encoding", f"video codec '{name}' is not known: {error}") from error
        if not isinstance(context, VideoCodecContext):
            raise MessageError("image-encoding", f"'{name}' is no codec of pictures")
        self._context = context
        # With threads by frame, even a stream without delay lags by one picture a thread.
        self._context.thread_type = ThreadType.SLICE
        self._stamps: dict[int, int] = {}
        self._count = 0

    def decode(self, stamp_ns: int, data: Any) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (stamp, RGB [H, W, 3] uint8) of the pictures that are complete with this packet.

        Raises:
            MessageError: ``image-truncated``: the packet does not decode.
        """
        packet = av.Packet(bytes(memoryview(data)))
        packet.pts = packet.dts = self._count
        self._stamps[self._count] = stamp_ns
        self._count += 1
        yield from self._pictures(packet)

    def flush(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yields the pictures that the decoder still holds."""
        yield from self._pictures(None)

    def _pictures(self, packet: av.Packet[Any] | None) -> Iterator[tuple[int, np.ndarray]]:
        try:
            frames = self._context.decode(packet)
        except av.FFmpegError as error:
            raise MessageError("image-truncated", f"a video packet does not decode: {error}") from error
        for frame in frames:
            stamp_ns = self._stamps.pop(frame.pts if frame.pts is not None else min(self._stamps), None)
            if stamp_ns is not None:
                yield stamp_ns, frame.to_ndarray(format="rgb24")


def packet_fields(msg: Any) -> tuple[str, int, Any]:
    """Returns codec, stamp [ns] and bytes of a CompressedVideo or FFMPEGPacket, by its fields."""
    stamp = msg.timestamp if hasattr(msg, "timestamp") else msg.header.stamp
    stamp_ns = int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
    return str(msg.format if hasattr(msg, "format") else msg.encoding), stamp_ns, msg.data
