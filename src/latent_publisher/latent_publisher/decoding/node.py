"""Pictures that take long to decode, on a thread of their own: what else comes is not held up by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from rclpy.executors import Executor
from rclpy.task import Future
from sensor_msgs.msg import CompressedImage

from wm_core.images import most_decoding_s, picture_from_msg
from wm_ros import FrameMsg, Health, LongWork, MessageError

WorkT = TypeVar("WorkT")
COSTLY_S = 0.1
"""A picture that may take longer than this is decoded beside [s]."""


class Decoding:
    """Decodes pictures: small ones at once, large ones beside.

    Args:
        health: Told of pictures that cannot be decoded, and of those left out since one is decoded already.
        waker: Returns the executor that goes on with them.
    """

    def __init__(self, health: Health, waker: Callable[[], Executor | None]) -> None:
        self._health = health
        self._thread = LongWork("picture-decoder", waker, MessageError)
        self._is_busy, self._timeline = False, 0
        self._newest_ns: int | None = None

    def restart(self) -> None:
        """Take no picture of before: time has jumped."""
        self._timeline += 1
        self._newest_ns = None

    def frame(self, msg: FrameMsg, frame_ns: int, take: Callable[[np.ndarray], None]) -> None:
        """Have a frame's picture taken, at once or when it is decoded; never after a later one.

        Args:
            msg: The frame.
            frame_ns: Its stamp.
            take: Takes the picture, on the executor.
        """
        if _is_costly(msg):
            self._beside(msg, frame_ns, take)
            return
        try:
            picture = picture_from_msg(msg)
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            return
        self._newest_ns = frame_ns
        take(picture)

    def _beside(self, msg: FrameMsg, frame_ns: int, take: Callable[[np.ndarray], None]) -> None:
        if self._is_busy:
            self._health.skip("decoding")
            return
        timeline = self._timeline

        def go_on(done: Future[Any]) -> None:
            self._is_busy = False
            picture: Any = done.result()
            if isinstance(picture, MessageError):
                self._health.drop(picture.reason, picture.detail)
            elif timeline != self._timeline or (self._newest_ns is not None and frame_ns <= self._newest_ns):
                self._health.skip("decoded-late")
            else:
                self._newest_ns = frame_ns
                take(picture)

        self._is_busy = True
        self._thread.later(lambda: picture_from_msg(msg)).add_done_callback(go_on)

    async def picture(self, msg: FrameMsg) -> np.ndarray:
        """Return the picture of a request [H, W, 3].

        Raises:
            MessageError: As ``picture_from_msg``, or ``busy``.
        """
        return picture_from_msg(msg) if not _is_costly(msg) else await self.on_thread(lambda: picture_from_msg(msg))

    async def on_thread(self, work: Callable[[], WorkT]) -> WorkT:
        """Return what some work for a request returns, done on the thread.

        Raises:
            MessageError: As it, or ``busy``.
        """
        found: Any = await self._thread.later(work)
        if isinstance(found, MessageError):
            raise found
        done: WorkT = found
        return done

    def close(self) -> None:
        """End the thread, without waiting for what it decodes: nobody takes that any more."""
        self.restart()
        self._thread.give_up()


def _is_costly(msg: FrameMsg) -> bool:
    return isinstance(msg, CompressedImage) and most_decoding_s(msg.data) > COSTLY_S
