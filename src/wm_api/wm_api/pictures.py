"""Pictures on their way in and out: what a request carries, and the JPEGs that are asked for by URL.

Shape suffixes: H = height, W = width, 3 = red, green, blue.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from wm_api.errors import InvalidError
from wm_core.errors import MessageError
from wm_core.images import compressed_image_from_msg, depth_from_msg, image_from_msg

_MOST_REMEMBERED, _MOST_IMAGINED = 20_000, 2_000
_QUALITY = 85
_MOST_PIXELS = 40_000_000


@dataclass
class CompressedPicture:
    """An image file's bytes, as ``wm_core.images`` reads them."""

    data: bytes
    format: str = ""


@dataclass
class RawPicture:
    """Pixels as a camera sends them, with the fields of ``sensor_msgs/Image``."""

    height: int
    width: int
    encoding: str
    step: int
    data: bytes
    is_bigendian: int = 0


def read_picture(picture: CompressedPicture | RawPicture, field: str = "image") -> np.ndarray:
    """Return the pixels of a picture, uint8 [H, W, 3].

    Args:
        picture: From a request.
        field: Of that request, for errors.

    Raises:
        InvalidError: It cannot be read, or says of itself what does not fit.
    """
    try:
        if isinstance(picture, CompressedPicture):
            return compressed_image_from_msg(picture)
        _check_size(picture, field)
        # What a body holds cannot be written to, which torch warns of.
        return np.require(image_from_msg(picture), requirements="W")
    except MessageError as error:
        raise InvalidError(field, str(error)) from error


def read_depth(picture: CompressedPicture | RawPicture, field: str = "depth") -> np.ndarray:
    """Return depth in metres, float32 [H, W]; as ``read_picture``."""
    if isinstance(picture, RawPicture):
        _check_size(picture, field)
    try:
        return depth_from_msg(picture)
    except MessageError as error:
        raise InvalidError(field, str(error)) from error


def _check_size(picture: RawPicture, field: str) -> None:
    if not 0 < picture.width * picture.height <= _MOST_PIXELS:
        raise InvalidError(field, f"{picture.width}x{picture.height} pixels, expected 1 to {_MOST_PIXELS} of them")


def jpeg_of(image_HW3: np.ndarray, quality: int = _QUALITY) -> bytes:
    """Return an RGB picture as JPEG."""
    done, data = cv2.imencode(".jpg", image_HW3[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return data.tobytes()


@dataclass(frozen=True)
class Drawn:
    """A picture that is made when somebody asks for it: of pixels, or of a latent or the memories that it is like."""

    image_HW3: np.ndarray | None = None
    latent_D: np.ndarray | None = None
    memory_ids: tuple[int, ...] = ()


class Gallery:
    """The newest pictures, those of memories and those of rollouts; a JPEG is made when somebody asks for it.

    Written from any thread, read by any. What is oldest is forgotten first.

    Args:
        decode: From latents [1, D] to pictures [1, H, W, 3]; None: pictures of latents are those of memories.
        most_remembered: Pictures of memories that are kept.
        most_imagined: Pictures of rollouts that are kept.
    """

    def __init__(
        self,
        decode: Callable[[np.ndarray], np.ndarray] | None = None,
        most_remembered: int = _MOST_REMEMBERED,
        most_imagined: int = _MOST_IMAGINED,
    ) -> None:
        self._decode = decode
        self._lock = threading.Lock()
        self._newest: dict[str, tuple[int, Drawn]] = {}
        self._made: dict[str, tuple[int, bytes]] = {}
        self._remembered: OrderedDict[int, bytes] = OrderedDict()
        self._imagined: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._most = most_remembered, most_imagined

    def put(self, name: str, image_HW3: np.ndarray) -> None:
        """Take the place of the picture of that name."""
        self._put(name, Drawn(image_HW3))

    def put_latent(self, name: str, latent_D: np.ndarray | None, memory_ids: tuple[int, ...]) -> None:
        """Take the place of the picture of that name by what a latent looks like; None leaves it as it was."""
        if latent_D is not None:
            self._put(name, Drawn(None, latent_D, memory_ids))

    def _put(self, name: str, drawn: Drawn) -> None:
        with self._lock:
            self._newest[name] = self.number(name) + 1, drawn

    def number(self, name: str) -> int:
        """Return how many pictures of that name there have been."""
        return self._newest[name][0] if name in self._newest else 0

    def shown(self, name: str) -> int:
        """Return the number of the newest picture of a name; 0 where there is nothing to show."""
        with self._lock:
            number, drawn = self._newest.get(name, (0, Drawn()))
            is_seen = drawn.image_HW3 is not None or (self._decode is not None and drawn.latent_D is not None)
            return number if is_seen or any(each in self._remembered for each in drawn.memory_ids) else 0

    def newest(self, name: str) -> tuple[int, bytes] | None:
        """Return the number and the JPEG of the newest picture of a name, or None.

        Where that shows nothing, as what it is like was forgotten since, the last one that somebody saw stands for it:
        who was told its number just now asks for it.
        """
        with self._lock:
            held = self._newest.get(name)
        if held is None:
            return None
        number, drawn = held
        made = self._made.get(name)
        if made is None or made[0] != number:
            jpeg = self._jpeg(drawn)
            if jpeg is not None:
                made = self._made[name] = number, jpeg
        return made

    def _jpeg(self, drawn: Drawn) -> bytes | None:
        if drawn.image_HW3 is not None:
            return jpeg_of(drawn.image_HW3)
        if self._decode is not None and drawn.latent_D is not None:
            return jpeg_of(self._decode(drawn.latent_D[None])[0])
        jpegs = (self._remembered.get(memory_id) for memory_id in drawn.memory_ids)
        return next((jpeg for jpeg in jpegs if jpeg is not None), None)

    def remember(self, memory_id: int, image_HW3: np.ndarray) -> None:
        """Keep what was seen where a memory was made."""
        jpeg = jpeg_of(image_HW3)
        with self._lock:
            _keep(self._remembered, memory_id, jpeg, self._most[0])

    def remembered(self, memory_id: int) -> bytes | None:
        """Return the JPEG of a memory, or None."""
        return self._remembered.get(memory_id)

    def forget(self) -> None:
        """Forget the pictures of memories: these are gone, and their ids may come again."""
        with self._lock:
            self._remembered.clear()

    def imagine(self, rollout: str, step: int, jpeg: bytes) -> None:
        """Keep what a step of a rollout looks like."""
        with self._lock:
            _keep(self._imagined, (rollout, step), jpeg, self._most[1])

    def imagined(self, rollout: str, step: int) -> bytes | None:
        """Return the JPEG of a step of a rollout, or None."""
        return self._imagined.get((rollout, step))


def _keep(held: OrderedDict[Any, bytes], key: object, jpeg: bytes, most: int) -> None:
    held.pop(key, None)
    held[key] = jpeg
    while len(held) > most:
        held.popitem(last=False)
