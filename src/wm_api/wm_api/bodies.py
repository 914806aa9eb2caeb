"""From the body of ``/encode`` to arrays.

Shape suffixes: H = height, W = width, P = proprioception size.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import numpy as np

from wm_api.errors import InvalidError
from wm_api.models import vector
from wm_api.pictures import CompressedPicture, RawPicture, read_depth, read_picture
from wm_api.schemas import EncodedPicture, EncodeRequest
from wm_core.images.raw import ENCODINGS, LAYOUTS


@dataclass(frozen=True)
class EncodeInput:
    """What is to be encoded."""

    image_HW3: np.ndarray
    depth_HW: np.ndarray | None = None
    proprioception_P: np.ndarray | None = None


def input_of_file(body: bytes, raw: tuple[str, int, int, int] | None) -> EncodeInput:
    """Return the picture of a body.

    Args:
        body: A file's bytes, or pixels.
        raw: Encoding, width, height and bytes per row of pixels; None: a file.

    Raises:
        InvalidError: It cannot be read.
    """
    if raw is None:
        return EncodeInput(read_picture(CompressedPicture(body)))
    encoding, width, height, step = raw
    return EncodeInput(read_picture(_raw(body, encoding, width, height, step, is_bigendian=False, field="encoding")))


def input_of_json(asked: EncodeRequest) -> EncodeInput:
    """Return the picture of a request, and what goes with it.

    Raises:
        InvalidError: A field of it cannot be read.
    """
    proprioception = asked.proprioception
    return EncodeInput(
        read_picture(_picture(asked.image, "image"), "image"),
        None if asked.depth is None else read_depth(_depth(asked.depth)),
        None if proprioception is None else vector(proprioception, len(proprioception), "proprioception"),
    )


def _picture(given: EncodedPicture, field: str) -> CompressedPicture | RawPicture:
    return _raw_picture(given, field) if given.encoding else CompressedPicture(_bytes(given, field))


def _depth(given: EncodedPicture) -> CompressedPicture | RawPicture:
    # A file is a PNG of 16 bits, in millimetres.
    return _raw_picture(given, "depth") if given.encoding else CompressedPicture(_bytes(given, "depth"), "16UC1")


def _raw_picture(given: EncodedPicture, field: str) -> RawPicture:
    data = _bytes(given, field)
    return _raw(data, given.encoding, given.width, given.height, given.step, given.is_bigendian, f"{field}.encoding")


def _bytes(given: EncodedPicture, field: str) -> bytes:
    try:
        return base64.b64decode(given.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidError(f"{field}.data", f"no base64: {error}") from error


def _raw(data: bytes, encoding: str, width: int, height: int, step: int, is_bigendian: bool, field: str) -> RawPicture:
    if encoding not in ENCODINGS:
        raise InvalidError(field, f"encoding is {encoding[:40]!r}, expected one of {', '.join(sorted(ENCODINGS))}")
    for name, side in (("width", width), ("height", height)):
        if side == 0:
            raise InvalidError(field.replace("encoding", name), "pixels need a width and a height")
    # Planar pictures have a byte per pixel in their first plane.
    kind, channels = LAYOUTS.get(encoding, ("u1", 1))
    return RawPicture(height, width, encoding, step or width * channels * int(kind[1]), data, int(is_bigendian))
