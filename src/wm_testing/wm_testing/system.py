"""Small recordings and artifacts for tests, and an ear for what the graph says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any

import cv2
import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from bag_player.node import TAKES, BagPlayer
from bag_player.sent_log import SentLog
from wm_core.bags import Bag, match_topics
from wm_ros import own_domain_id
from wm_testing.artifacts import make_random_artifact

START_NS = 1_700_000_000_000_000_000
STEP_NS = 50_000_000


def make_bag(
    path: Path,
    frame_count: int = 40,
    *,
    storage: str = "sqlite3",
    compression: str = "",
    jpeg: bool = False,
    size: tuple[int, int] = (48, 64),
    camera: str = "/camera/image_raw",
    frame_id: str = "map",
) -> Path:
    """Writes a recording of a robot that goes round a circle every 10 s and sees a pattern turn with it.

    Args:
        path: New directory.
        frame_count: At 20 Hz, with one pose and one action each.
        storage: sqlite3 or mcap.
        compression: "", "file", "message" or "storage" (mcap only), by zstd.
        jpeg: Compressed images.
        size: Image height and width [pixels].
        camera: Name of the image topic.
        frame_id: Of the poses.
    """
    store = get_typestore(Stores.ROS2_HUMBLE)
    writer = Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
    if compression:
        writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    image_type = "sensor_msgs/msg/CompressedImage" if jpeg else "sensor_msgs/msg/Image"
    with writer:
        camera_to = writer.add_connection(camera, image_type, typestore=store)
        pose_to = writer.add_connection("/pose", "geometry_msgs/msg/PoseStamped", typestore=store)
        action_to = writer.add_connection("/actions", "std_msgs/msg/Float32MultiArray", typestore=store)
        for i in range(frame_count):
            stamp_ns, angle = START_NS + i * STEP_NS, 2 * np.pi * i / 200
            for connection, message in (
                (pose_to, _pose(store, stamp_ns, angle, frame_id)),
                (action_to, _action(store)),
                (camera_to, _image(store, stamp_ns, angle, size, jpeg)),
            ):
                writer.write(connection, stamp_ns, store.serialize_cdr(message, connection.msgtype))
    return path


def make_artifact(path: Path) -> Path:
    """Writes an artifact with random weights, slow branch included."""
    make_random_artifact(path)
    return path


@contextmanager
def listening(topics: Mapping[str, type]) -> Iterator[tuple[Node, Counter[str]]]:
    """Gives a node in a ROS context of its own and the number of messages on each topic, counted in the background."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=own_domain_id())
    node = rclpy.create_node("listener", context=context)
    heard: Counter[str] = Counter()

    def hear(topic: str, _message: object) -> None:
        heard[topic] += 1

    for topic, kind in topics.items():
        node.create_subscription(kind, topic, partial(hear, topic), 10)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        yield node, heard
    finally:
        executor.shutdown()
        thread.join()
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def play(path: Path, log: SentLog, camera_count: int = 1, namespace: str = "") -> SentLog:
    """Plays a recording once, after everybody listens; ``log`` counts what was sent.

    Args:
        path: The recording.
        log: Where to count.
        camera_count: How many must listen to the camera.
        namespace: Of the graph that hears it.

    Raises:
        AssertionError: Nobody listened in time.
    """
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=own_domain_id())
    bag = Bag(path)
    player = BagPlayer(bag, match_topics(bag.types, {}, TAKES), log=log, context=context, namespace=namespace)
    try:
        assert player.wait_for_subscribers(60.0, camera_count), "nobody listened"
        player.play()
        # Reliable messages still under way are sent again as long as their writer lives.
        sleep(0.5)
    finally:
        player.destroy_node()
        rclpy.try_shutdown(context=context)
    return log


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Waits for a condition.

    Raises:
        AssertionError: It did not come true in time.
    """
    deadline = monotonic() + timeout_s
    while not condition():
        assert monotonic() < deadline, f"did not come true within {timeout_s} s"
        sleep(0.05)


def _header(store: Typestore, stamp_ns: int, frame_id: str) -> Any:
    types = store.types
    stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))
    return types["std_msgs/msg/Header"](stamp, frame_id)


def _pose(store: Typestore, stamp_ns: int, angle: float, frame_id: str) -> Any:
    types = store.types
    yaw = angle + np.pi / 2
    point = types["geometry_msgs/msg/Point"](2 * float(np.cos(angle)), 2 * float(np.sin(angle)), 0.0)
    turn = types["geometry_msgs/msg/Quaternion"](0.0, 0.0, float(np.sin(yaw / 2)), float(np.cos(yaw / 2)))
    pose = types["geometry_msgs/msg/Pose"](point, turn)
    return types["geometry_msgs/msg/PoseStamped"](_header(store, stamp_ns, frame_id), pose)


def _action(store: Typestore) -> Any:
    layout = store.types["std_msgs/msg/MultiArrayLayout"]([], 0)
    values = np.array([2 * 2 * np.pi / 10, 2 * np.pi / 10], np.float32)
    return store.types["std_msgs/msg/Float32MultiArray"](layout, values)


def _image(store: Typestore, stamp_ns: int, angle: float, size: tuple[int, int], jpeg: bool) -> Any:
    height, width = size
    columns = np.cos(np.arange(width) / 7 + 3 * angle)[None, :, None]
    rows = np.cos(np.arange(height) / 5)[:, None, None]
    picture = (127 + 60 * columns + 60 * rows * np.array([1.0, 0.5, -1.0])).clip(0, 255).astype(np.uint8)
    header = _header(store, stamp_ns, "camera")
    if jpeg:
        data = cv2.imencode(".jpg", picture)[1].ravel()
        return store.types["sensor_msgs/msg/CompressedImage"](header, "jpeg", data)
    image = store.types["sensor_msgs/msg/Image"]
    return image(header, height, width, "rgb8", 0, width * 3, picture.ravel())
