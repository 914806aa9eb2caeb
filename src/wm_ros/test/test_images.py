"""The converter against pictures worked out by hand, in every layout that cameras send, and against cv_bridge."""

from __future__ import annotations

import array

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image

from wm_ros import MessageError, array_from_msg, compressed_image_from_msg, depth_from_msg, image_from_msg, image_to_msg

RNG = np.random.default_rng(3)
RGB = RNG.integers(0, 256, (6, 8, 3), np.uint8)


def message(pixels: np.ndarray, encoding: str, padding: int = 0, big: bool = False) -> Image:
    """Packs pixels with ``padding`` bytes after each row, in either byte order."""
    stored = np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder(">" if big else "<"))
    rows = [row.tobytes() + b"\xaa" * padding for row in stored]
    msg = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, is_bigendian=big)
    msg.step = len(rows[0])
    msg.data = array.array("B", b"".join(rows))
    return msg


def native_pixels(encoding: str) -> np.ndarray:
    """Returns ``RGB``, or what of it survives, in an encoding."""
    alpha = np.full((6, 8, 1), 77, np.uint8)
    gray = cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)
    wide = RGB.astype(np.uint16) * 256 + 13
    return {
        "rgb8": RGB,
        "bgr8": RGB[..., ::-1],
        "8UC3": RGB[..., ::-1],
        "rgba8": np.concatenate([RGB, alpha], 2),
        "bgra8": np.concatenate([RGB[..., ::-1], alpha], 2),
        "8UC4": np.concatenate([RGB[..., ::-1], alpha], 2),
        "rgb16": wide,
        "bgr16": wide[..., ::-1],
        "mono8": gray,
        "8UC1": gray,
        "mono16": gray.astype(np.uint16) * 256 + 200,
        "16UC1": gray.astype(np.uint16) * 256 + 200,
        "32FC1": (gray / 255.0).astype(np.float32),
    }[encoding]


COLOUR = ["rgb8", "bgr8", "8UC3", "rgba8", "bgra8", "8UC4", "rgb16", "bgr16"]
GRAY = ["mono8", "8UC1", "mono16", "16UC1", "32FC1"]


@pytest.mark.parametrize("encoding", COLOUR + GRAY)
@pytest.mark.parametrize("padding", [0, 1, 7, 16])
@pytest.mark.parametrize("big", [False, True])
def test_every_encoding_padding_and_byte_order(encoding, padding, big):
    pixels = native_pixels(encoding)
    msg = message(pixels, encoding, padding, big)
    read = array_from_msg(msg)
    np.testing.assert_array_equal(read, pixels)
    assert read.dtype.isnative
    expected = RGB if encoding in COLOUR else np.repeat(native_pixels("mono8")[..., None], 3, 2)
    np.testing.assert_array_equal(image_from_msg(msg), expected)


@pytest.mark.parametrize("order", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("bits", [8, 16])
def test_bayer_patterns_give_back_flat_colours(order, bits):
    colour = {"r": 200, "g": 100, "b": 30}
    tile = np.array([[colour[order[0]], colour[order[1]]], [colour[order[2]], colour[order[3]]]])
    pixels = np.tile(tile, (4, 4)).astype(np.uint8 if bits == 8 else np.uint16) * (1 if bits == 8 else 256)
    picture = image_from_msg(message(pixels, f"bayer_{order}{bits}"))
    np.testing.assert_array_equal(picture[2:-2, 2:-2].reshape(-1, 3), [[200, 100, 30]] * 16)


@pytest.mark.parametrize("encoding", ["yuv422_yuy2", "yuyv", "uyvy", "yuv422"])
def test_packed_yuv_gray_is_gray(encoding):
    luma, chroma = np.full((4, 6), 126, np.uint8), np.full((4, 6), 128, np.uint8)
    luma_first = encoding in ("yuv422_yuy2", "yuyv")
    pixels = np.stack([luma, chroma] if luma_first else [chroma, luma], 2)
    picture = image_from_msg(message(pixels, encoding))
    assert np.ptp(picture) == 0
    assert abs(int(picture[0, 0, 0]) - 128) <= 2  # (126 - 16) * 255 / 219


def test_rgb8_is_not_copied():
    msg = message(RGB, "rgb8", padding=5)
    assert np.shares_memory(image_from_msg(msg), np.frombuffer(msg.data, np.uint8))


def test_round_trip():
    for encoding in ("rgb8", "mono8", "16UC1", "32FC1"):
        pixels = native_pixels(encoding)
        np.testing.assert_array_equal(array_from_msg(image_to_msg(pixels, Time(sec=1), "camera", encoding)), pixels)
    with pytest.raises(ValueError, match="not mono8"):
        image_to_msg(RGB, Time(), "camera", "mono8")


def broken(**changes: object) -> Image:
    msg = message(RGB, "rgb8")
    for name, value in changes.items():
        setattr(msg, name, value)
    return msg


@pytest.mark.parametrize(
    ("msg", "reason"),
    [
        (broken(width=0), "image-empty"),
        (broken(height=0), "image-empty"),
        (broken(height=4_000_000_000), "image-empty"),
        (broken(step=23), "image-step"),
        (broken(step=0), "image-step"),
        (broken(data=array.array("B", bytes(143))), "image-truncated"),
        (broken(data=array.array("B")), "image-truncated"),
        (broken(height=7), "image-truncated"),
        (broken(encoding="rgb9"), "image-encoding"),
        (broken(encoding=""), "image-encoding"),
    ],
)
def test_bad_images_are_named(msg, reason):
    with pytest.raises(MessageError) as caught:
        image_from_msg(msg)
    assert caught.value.reason == reason


@pytest.mark.parametrize("extension", [".png", ".jpg"])
def test_compressed(extension):
    _, data = cv2.imencode(extension, np.full((16, 16, 3), (30, 100, 200), np.uint8))
    picture = compressed_image_from_msg(CompressedImage(format=extension[1:], data=array.array("B", data.tobytes())))
    assert np.abs(picture.astype(int) - [200, 100, 30]).max() <= 4


@pytest.mark.parametrize(
    ("format_", "data", "reason"),
    [
        ("jpeg", b"", "image-empty"),
        ("jpeg", b"\xff\xd8 nothing more", "image-truncated"),
        ("16UC1; compressedDepth png", b"1234", "image-encoding"),
    ],
)
def test_bad_compressed_images_are_named(format_, data, reason):
    with pytest.raises(MessageError) as caught:
        compressed_image_from_msg(CompressedImage(format=format_, data=array.array("B", data)))
    assert caught.value.reason == reason


def test_depth_is_metres():
    millimetres = np.array([[0, 1500], [65535, 20]], np.uint16)
    np.testing.assert_allclose(depth_from_msg(message(millimetres, "16UC1")), [[0, 1.5], [65.535, 0.02]], rtol=1e-6)
    metres = np.array([[np.nan, 1.5], [np.inf, 0.02]], np.float32)
    np.testing.assert_allclose(depth_from_msg(message(metres, "32FC1", big=True)), [[0, 1.5], [0, 0.02]], rtol=1e-6)
    with pytest.raises(MessageError, match="depth-encoding"):
        depth_from_msg(message(RGB, "rgb8"))


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8", "mono16", "16UC1", "32FC1"])
def test_agrees_with_the_distributions_cv_bridge(encoding):
    bridge = pytest.importorskip("cv_bridge", reason="cv_bridge of a ROS distribution is not installed").CvBridge()
    if not hasattr(bridge, "cvtype2_to_dtype_with_channels"):
        pytest.skip("the cv_bridge that is installed is not a ROS distribution's")
    msg = message(native_pixels(encoding), encoding)
    np.testing.assert_array_equal(array_from_msg(msg), bridge.imgmsg_to_cv2(msg, "passthrough"))
