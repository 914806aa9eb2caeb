"""Whatever a camera sends, the node and the conversion of a recording see the same pixels."""

from __future__ import annotations

import array

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CompressedImage, Image

from wm_core.images import ENCODINGS, LAYOUTS
from wm_ros import picture_from_msg
from world_model.data.bags import BagOptions, read_bag

SIDE, STEP_NS, PADDING = 16, 50_000_000, 6
JPEG, PNG = "jpeg", "png"
RNG = np.random.default_rng(5)


def payload(encoding: str) -> tuple[bytes, int]:
    """Returns random bytes of a padded image and its step."""
    if encoding not in LAYOUTS:
        step = SIDE + PADDING
        return RNG.bytes(step * SIDE * (3 if encoding == "nv24" else 2)), step
    kind, channels = LAYOUTS[encoding]
    step = SIDE * channels * int(kind[1]) + PADDING * int(kind[1])
    if kind == "f4":
        return RNG.random((SIDE, step // 4), np.float32).tobytes(), step
    return RNG.bytes(step * SIDE), step


def record(path, kind, messages):
    store = get_typestore(Stores.ROS2_JAZZY)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        to = writer.add_connection("/camera/image_raw", kind, typestore=store)
        for i, fields in enumerate(messages):
            stamp = store.types["builtin_interfaces/msg/Time"](0, i * STEP_NS)
            header = store.types["std_msgs/msg/Header"](stamp, "camera")
            writer.write(to, i * STEP_NS, store.serialize_cdr(store.types[kind](header, *fields), kind))
    return path


@pytest.mark.parametrize("big", [0, 1])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_that_runs_live_converts_from_a_bag(tmp_path, encoding, big):
    frames = [payload(encoding) for _ in range(3)]
    live = [
        picture_from_msg(
            Image(height=SIDE, width=SIDE, encoding=encoding, is_bigendian=big, step=step, data=array.array("B", data))
        )
        for data, step in frames
    ]
    fields = [(SIDE, SIDE, encoding, big, step, np.frombuffer(data, np.uint8)) for data, step in frames]
    bag = record(tmp_path / "bag", "sensor_msgs/msg/Image", fields)

    episode = read_bag(bag, BagOptions(image_size=SIDE))

    np.testing.assert_array_equal(episode.image_TSSC, np.stack(live))


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
def test_every_compression_that_runs_live_converts_from_a_bag(tmp_path, extension):
    import cv2

    files = [cv2.imencode(extension, RNG.integers(0, 256, (SIDE, SIDE, 3), np.uint8))[1].tobytes() for _ in range(3)]
    live = [picture_from_msg(CompressedImage(format=extension, data=array.array("B", file))) for file in files]
    fields = [(extension, np.frombuffer(file, np.uint8)) for file in files]
    bag = record(tmp_path / "bag", "sensor_msgs/msg/CompressedImage", fields)

    episode = read_bag(bag, BagOptions(image_size=SIDE))

    np.testing.assert_array_equal(episode.image_TSSC, np.stack(live))
