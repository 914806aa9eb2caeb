"""What a recorded topic becomes when it is played: as it is where its type is installed, else as a type that is.

Installed or not, the graph gets the same values under the same stamps: video packets become images, tf becomes poses
where tf2_msgs is missing, and commands of a type that is missing become axes of a sensor_msgs/Joy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, Joy
from std_msgs.msg import Float32MultiArray

from wm_core.bags import IMAGE_TYPES, Bag, BagError, BagMessage, header_stamp_ns
from wm_core.bags.survey import TF, TF_STATIC, VIDEO_TYPES
from wm_core.sources import (
    ACTION_TYPES,
    POSE_TYPES,
    TF_TYPE,
    PoseSample,
    TransformBuffer,
    action_from_msg,
    pose_sample_from_msg,
)
from wm_ros import (
    ConfigurationError,
    float_array_msg,
    message_class,
    pose_to_msg,
    qos,
    stamp_msg,
)
from wm_ros.video import VideoPictures

CAMERA, POSE, ACTIONS = "/camera/image_raw", "/pose", "/actions"
TAKES: dict[str, tuple[str, ...]] = {
    CAMERA: (*IMAGE_TYPES, *VIDEO_TYPES),
    POSE: (*POSE_TYPES, TF_TYPE),
    ACTIONS: ACTION_TYPES,
}
"""{input topic of the graph: types it takes}."""
_UNSTAMPED = (
    "std_msgs/msg/Float32MultiArray",
    "std_msgs/msg/Float64MultiArray",
    "geometry_msgs/msg/Twist",
    "ackermann_msgs/msg/AckermannDrive",
    "trajectory_msgs/msg/JointTrajectoryPoint",
)
_CAMERA_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
_QOS = QoSProfile(depth=50)


class Sender(Protocol):
    """Publishes what one recorded topic brings.

    Attributes:
        target: Topic of the graph that it feeds, as it is counted.
        publisher: What it publishes on.
        is_camera: Whether it sends frames.
    """

    target: str
    publisher: Publisher[Any]
    is_camera: bool

    def send(self, bag: Bag, message: BagMessage) -> list[int]:
        """Publish; return the stamp of each message that went out [ns], 0 where not a frame's.

        Raises:
            MessageError: The message cannot be used.
        """

    def restart(self) -> None:
        """Forget what came before: the recording begins anew."""


class AsRecorded:
    """Hands serialised messages on.

    Args:
        publisher: Of the recorded type.
        target: As counted.
        kind: Recorded type.
        static: Of the transforms that do not change, for tf.
    """

    def __init__(self, publisher: Publisher[Any], target: str, kind: str, static: Publisher[Any] | None = None) -> None:
        self.publisher, self.target, self.is_camera = publisher, target, kind in IMAGE_TYPES
        self._static = static or publisher

    def send(self, bag: Bag, message: BagMessage) -> list[int]:
        """As ``Sender``."""
        (self._static if message.topic == TF_STATIC else self.publisher).publish(message.data)
        return [header_stamp_ns(message.data) if self.is_camera else 0]

    def restart(self) -> None:
        """As ``Sender``."""


class Converted:
    """Publishes what a converter makes of each message.

    Args:
        publisher: Of the type that comes out.
        target: As counted.
        converter: Knows how, from the recording's own definition.
    """

    def __init__(self, publisher: Publisher[Any], target: str, converter: _Converter) -> None:
        self.publisher, self.target, self._converter = publisher, target, converter
        self.is_camera = isinstance(converter, _Pictures)

    def send(self, bag: Bag, message: BagMessage) -> list[int]:
        """As ``Sender``."""
        stamps = []
        for stamp_ns, msg in self._converter.convert(bag.decode(message), message.topic):
            self.publisher.publish(msg)
            stamps.append(stamp_ns if self.is_camera else 0)
        return stamps

    def restart(self) -> None:
        """As ``Sender``."""
        self._converter.restart()


class _Converter(Protocol):
    def convert(self, msg: Any, topic: str) -> Iterable[tuple[int, Any]]: ...

    def restart(self) -> None: ...


class _Poses:
    """Poses of any type, tf included, as geometry_msgs/PoseStamped."""

    def __init__(self, kind: str) -> None:
        self._is_tf = kind == TF_TYPE
        self.restart()

    def restart(self) -> None:
        self._buffer = TransformBuffer()

    def convert(self, msg: Any, topic: str) -> Iterable[tuple[int, PoseStamped]]:
        samples = self._buffer.insert(msg, topic == TF_STATIC) if self._is_tf else [pose_sample_from_msg(msg)]
        for sample in samples:
            yield sample.stamp_ns, _pose_msg(sample)


def _pose_msg(sample: PoseSample) -> PoseStamped:
    msg = PoseStamped(pose=pose_to_msg(sample.position, sample.quaternion))
    msg.header.stamp, msg.header.frame_id = stamp_msg(sample.stamp_ns), sample.frame_id
    return msg


class _Commands:
    """Actions of any type: stamped ones as axes of a Joy, others as an array."""

    def __init__(self, is_stamped: bool) -> None:
        self._is_stamped = is_stamped

    def restart(self) -> None:
        pass

    def convert(self, msg: Any, topic: str) -> Iterable[tuple[int, Any]]:
        action = action_from_msg(msg)
        if not self._is_stamped:
            yield 0, float_array_msg(action.values, "action")
            return
        joy = Joy(axes=action.values.tolist())
        joy.header.stamp = stamp_msg(action.stamp_ns)
        yield action.stamp_ns, joy


class _Pictures:
    """Video packets as images, each with the stamp of its own packet."""

    def __init__(self) -> None:
        self._video = VideoPictures()

    def restart(self) -> None:
        self._video.restart()

    def convert(self, msg: Any, topic: str) -> Iterable[tuple[int, Image]]:
        return self._video.pictures(msg)


def make_sender(node: Node, kind: str, target: str, as_graph_type: bool = False) -> Sender:
    """Return what plays the recorded topics of one type as one topic.

    Args:
        node: Who publishes.
        kind: Recorded type.
        target: Topic that they are played as.
        as_graph_type: Convert even what is installed, because another type is played on the same topic.

    Raises:
        BagError: The type is not installed, and there is nothing else to play it as.
    """
    # What the graph hears is named within its namespace.
    name = target.lstrip("/") if target in TAKES else target
    if kind in VIDEO_TYPES:
        return Converted(node.create_publisher(Image, name, _CAMERA_QOS), target, _Pictures())
    found = None if as_graph_type else installed(kind)
    if found is not None and kind == TF_TYPE:
        static: Publisher[Any] = node.create_publisher(found, TF_STATIC, qos.TF_STATIC)
        return AsRecorded(node.create_publisher(found, TF, _QOS), target, kind, static)
    if found is not None:
        name += "/compressed" if kind == IMAGE_TYPES[1] and not name.endswith("/compressed") else ""
        # Reliable towards poses and actions; a camera stays best effort, as drivers are.
        profile = _CAMERA_QOS if kind in IMAGE_TYPES else _QOS
        return AsRecorded(node.create_publisher(found, name, profile), target, kind)
    if target == POSE and kind in TAKES[POSE]:
        return Converted(node.create_publisher(PoseStamped, name, _QOS), target, _Poses(kind))
    if target == ACTIONS and kind in ACTION_TYPES:
        is_stamped = kind not in _UNSTAMPED
        to = Joy if is_stamped else Float32MultiArray
        return Converted(node.create_publisher(to, name, _QOS), target, _Commands(is_stamped))
    raise BagError(f"'{target}': a {kind} cannot be played, its package is not installed")


def installed(kind: str) -> type | None:
    """Return the class of a message type, None where its package is not installed."""
    try:
        return message_class(kind, "bag_player")
    except ConfigurationError:
        return None
