"""The one driver of every benchmark of the graph: plays a camera, listens, and notes when what comes back arrives.

Standard messages only, but for the two that carry the stamps: those are whatever this environment's ``wm_interfaces``
holds, of which only ``header.stamp`` and the latents are read. So the same file drives any revision's nodes.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic, monotonic_ns, time_ns
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Float32MultiArray, MultiArrayDimension

import wm_ros

RATE_HZ = 20.0
SIZES = {"160x120": (120, 160), "640x480": (480, 640)}
"""Name of a camera's picture -> height and width [pixels]."""
START_DEADLINE_S = 60.0
SENSOR = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
STREAM = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=100, reliability=ReliabilityPolicy.RELIABLE)


class StartError(RuntimeError):
    """What was to be measured did not come up."""


class Heard:
    """When each vector was received, and which stamp it belongs to: told apart by their values.

    A stream without header says nothing of its time; the same values in a message with a header do. Order would do
    only as long as nothing is lost.
    """

    def __init__(self) -> None:
        self._received_ns: dict[bytes, int] = {}
        self._stamp_ns: dict[bytes, int] = {}

    def receive(self, values: Any) -> None:
        """Note that values came now, on the steady clock."""
        now_ns = monotonic_ns()
        self._received_ns.setdefault(_key(values), now_ns)

    def belongs(self, values: Any, stamp_ns: int) -> None:
        """Note which stamp values belong to [ns]."""
        self._stamp_ns.setdefault(_key(values), stamp_ns)

    def ages_ms(self, published_ns: Callable[[int], int | None]) -> list[float]:
        """Return how old each vector was when it was received [ms].

        Args:
            published_ns: Stamp -> when that frame was published, on the steady clock; None: it does not count [ns].
        """
        ages = []
        for key, received_ns in self._received_ns.items():
            stamp_ns = self._stamp_ns.get(key)
            begin_ns = None if stamp_ns is None else published_ns(stamp_ns)
            if begin_ns is not None:
                ages.append((received_ns - begin_ns) * 1e-6)
        return ages


class Driver(Node):
    """Plays camera, pose and actions at 20 Hz, or listens to a robot that does, and notes ages.

    Ages run from just before the camera's publication to the receipt, on the steady clock; with another robot's camera
    from the frame's stamp.

    Args:
        size: Height and width of the pictures; None: another robot has the camera.
        seed: Of the pictures.
    """

    def __init__(self, size: tuple[int, int] | None, seed: int) -> None:
        super().__init__("bench_driver")
        self.sent: dict[int, int] = {}
        self.latents, self.nexts = Heard(), Heard()
        self.encoder_ids: set[str] = set()
        self._counted_from_ns, self._steady_from_stamp_ns = 0, 0
        self._plays = size is not None
        if size is not None:
            self._images_HW3 = np.random.default_rng(seed).integers(0, 256, (32, *size, 3), np.uint8)
            self._images = self.create_publisher(Image, "/camera/image_raw", SENSOR)
            self._poses = self.create_publisher(PoseStamped, "/pose", 10)
            self._actions = self.create_publisher(Float32MultiArray, "/actions", 10)
        self._listen()

    def _listen(self) -> None:
        messages = importlib.import_module("wm_interfaces.msg")
        self.create_subscription(Float32MultiArray, "/latent", lambda msg: self.latents.receive(msg.data), STREAM)
        self.create_subscription(Float32MultiArray, "/latent_next", lambda msg: self.nexts.receive(msg.data), STREAM)
        self.create_subscription(messages.LatentState, "/latent/state", self._on_state, STREAM)
        self.create_subscription(messages.LatentPrediction, "/latent_next/state", self._on_next_state, STREAM)

    def _on_state(self, msg: Any) -> None:
        self.encoder_ids.add(msg.encoder_id)
        self.latents.belongs(msg.latent, stamp_ns(msg.header.stamp))

    def _on_next_state(self, msg: Any) -> None:
        self.nexts.belongs(msg.forecasts[0].latent, stamp_ns(msg.header.stamp))

    def is_heard(self) -> bool:
        """Whether somebody listens to the camera."""
        return bool(self.count_subscribers("/camera/image_raw") > 0)

    def start_counting(self) -> None:
        """Forget what was sent so far: ages count from here on."""
        self.sent.clear()
        self._counted_from_ns = time_ns()
        self._steady_from_stamp_ns = monotonic_ns() - self._counted_from_ns

    def send(self, index: int) -> None:
        """Publish one frame with its pose and action; the robot drives a circle of 2 m radius at 1 m/s."""
        if not self._plays:
            return
        now = self.get_clock().now()
        stamp = now.to_msg()
        picture = self._images_HW3[index % len(self._images_HW3)].copy()
        # No two frames alike, so that a latent tells which frame it is of.
        picture[:64, :64] = np.random.default_rng(index).integers(0, 256, (64, 64, 3), np.uint8)
        image = image_msg(picture)
        angle = index / RATE_HZ / 2.0
        pose = PoseStamped()
        pose.header.frame_id = "map"
        image.header.stamp = pose.header.stamp = stamp
        pose.pose.position.x, pose.pose.position.y = 2 * float(np.sin(angle)), 2 - 2 * float(np.cos(angle))
        pose.pose.orientation.z, pose.pose.orientation.w = float(np.sin(angle / 2)), float(np.cos(angle / 2))
        self.sent[int(now.nanoseconds)] = monotonic_ns()
        self._images.publish(image)
        self._poses.publish(pose)
        self._actions.publish(vector_msg([1.0, 0.5], "action"))

    def published_ns(self, stamp: int) -> int | None:
        """Return when a frame that counts was published, on the steady clock [ns], or None."""
        if self._plays:
            return self.sent.get(stamp)
        return stamp + self._steady_from_stamp_ns if stamp >= self._counted_from_ns else None

    def latent_ages_ms(self) -> list[float]:
        """Return the age of each /latent at its receipt."""
        return self.latents.ages_ms(self.published_ns)

    def next_ages_ms(self) -> list[float]:
        """Return the age of each /latent_next at its receipt."""
        return self.nexts.ages_ms(self.published_ns)


def stamp_ns(stamp: Any) -> int:
    """Return a stamp as nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def image_msg(image_HW3: np.ndarray) -> Image:
    """Return a picture as rgb8."""
    height, width, _ = image_HW3.shape
    msg = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    msg.header.frame_id = "camera"
    msg.data = array("B", image_HW3.tobytes())  # rclpy checks every element of anything else
    return msg


def vector_msg(values: Sequence[float] | np.ndarray, label: str) -> Float32MultiArray:
    """Return a vector with one labelled dimension."""
    msg = Float32MultiArray(data=array("f", np.asarray(values, np.float32).tobytes()))
    msg.layout.dim = [MultiArrayDimension(label=label, size=len(values), stride=len(values))]
    return msg


def own_domain_id() -> int:
    """Return the DDS domain to measure in: as the user says, else one of this process's own."""
    said = os.environ.get("ROS_DOMAIN_ID")
    return wm_ros.own_domain_id() if said is None else int(said)


def _key(values: Any) -> bytes:
    return hashlib.blake2b(np.asarray(values, np.float32).tobytes(), digest_size=16).digest()


@contextmanager
def ros(domain_id: int) -> Iterator[None]:
    """Run rclpy in a domain of its own."""
    os.environ["ROS_DOMAIN_ID"] = str(domain_id)
    rclpy.init(args=[])
    try:
        yield
    finally:
        rclpy.try_shutdown()


def drive(
    driver: Driver,
    seconds: float,
    is_ready: Callable[[], bool],
    warm_up_s: float = 2.0,
    on_counting: Callable[[], None] = lambda: None,
) -> None:
    """Send frames at 20 Hz for some time after the other end listens.

    Args:
        driver: Who sends.
        seconds: How long what is sent counts [s].
        is_ready: Whether the other end listens.
        warm_up_s: For so long before, it does not count [s].
        on_counting: Called when it begins to.

    Raises:
        StartError: The other end did not come up.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(driver)
    deadline = monotonic() + START_DEADLINE_S
    while not is_ready():
        if monotonic() > deadline:
            raise StartError(f"the other end did not come up within {START_DEADLINE_S:.0f} s")
        executor.spin_once(timeout_sec=0.05)
    begin, index, counting = monotonic(), 0, False
    while (elapsed := monotonic() - begin) < warm_up_s + seconds:
        if not counting and elapsed >= warm_up_s:
            driver.start_counting()
            on_counting()
            counting = True
        if elapsed >= index / RATE_HZ:
            driver.send(index)
            index += 1
        executor.spin_once(timeout_sec=max(0.0, min(0.01, index / RATE_HZ - elapsed)))
    end = monotonic() + 0.5
    while monotonic() < end:
        executor.spin_once(timeout_sec=0.05)
    executor.shutdown()
