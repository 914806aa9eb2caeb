"""Pictures from video files (MP4, MKV, ...) through PyAV, each at its own time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame

from wm_core.errors import MessageError

NS_PER_S = 1_000_000_000


class VideoFile:
    """The pictures of a file's first video stream, in the order of their times.

    Times are the file's own, which need not begin at 0: ``OpenCV`` and players take off the first one.

    Args:
        path: Of the file.

    Raises:
        MessageError: ``video-unreadable``: not a video, or cut off before its index.

    Attributes:
        promised: Pictures that the file's header promises; 0 where it does not say.
        faults: {reason: packets or pictures} that were lost on the way so far.
        example: What the first lost one was lost to.
    """

    def __init__(self, path: Path) -> None:
        try:
            container = av.open(str(path))
        except (av.FFmpegError, OSError) as error:
            raise MessageError("video-unreadable", f"{path}: {error}") from error
        self._container: InputContainer = container
        if not container.streams.video:
            container.close()
            raise MessageError("video-unreadable", f"{path} has no video stream")
        self._stream = container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.promised = int(self._stream.frames)
        self.faults, self.example = Counter[str](), ""

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    @property
    def codec(self) -> str:
        """Name of its codec."""
        return str(self._stream.codec_context.name)

    def seek(self, time_ns: int) -> None:
        """Goes to the last picture at or before a time from which decoding can start."""
        assert self._stream.time_base is not None
        self._container.seek(int(time_ns / NS_PER_S / self._stream.time_base), stream=self._stream)

    def pictures(self) -> Iterator[tuple[int, VideoFrame]]:
        """Yields (time [ns], picture); what does not decode is counted in ``faults`` and left out."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
                frames = [] if packet is None else packet.decode()
            except av.FFmpegError as error:
                self._lose("image-truncated", f"a packet does not decode: {error}")
                if packet is None:
                    return
                continue
            if packet is None:
                return
            for frame in frames:
                if frame.pts is None or frame.time_base is None:
                    self._lose("frame-without-time", "a picture has no time")
                elif frame.is_corrupt:
                    self._lose("image-truncated", f"the picture at {frame.time:.3f} s is damaged")
                else:
                    yield round(frame.pts * frame.time_base * NS_PER_S), frame

    def _lose(self, reason: str, detail: str) -> None:
        self.faults[reason] += 1
        self.example = self.example or detail


def upright_picture(frame: VideoFrame) -> np.ndarray:
    """Returns RGB [H, W, 3] uint8, turned as the file says that it is to be shown."""
    picture: np.ndarray = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90) % 4))
