"""Where the robot is expected to be, as a frame on ``/tf``, so that rviz shows it without help."""

from __future__ import annotations

from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, TransformStamped
from rclpy.node import Node
from rclpy.publisher import Publisher

from wm_ros.inputs import message_class


def transform_of(pose: Pose, frame_id: str, child_frame_id: str, stamp: Time) -> TransformStamped:
    """Returns the transform whose child frame stands at a pose.

    Args:
        pose: In ``frame_id``.
        frame_id: Parent.
        child_frame_id: Child.
        stamp: Of the transform.
    """
    msg = TransformStamped(child_frame_id=child_frame_id)
    msg.header.stamp, msg.header.frame_id = stamp, frame_id
    translation, position = msg.transform.translation, pose.position
    translation.x, translation.y, translation.z = position.x, position.y, position.z
    msg.transform.rotation = pose.orientation
    return msg


class ExpectedFrame:
    """Publishes a frame on ``/tf`` (tf2_msgs/TFMessage).

    Args:
        node: Who publishes.
        child_frame_id: Name of the frame.

    Raises:
        ConfigurationError: The package tf2_msgs is not installed.
    """

    def __init__(self, node: Node, child_frame_id: str) -> None:
        self._message = message_class("tf2_msgs/msg/TFMessage", f"{node.get_name()}: expected_frame")
        self._child_frame_id = child_frame_id
        self._publisher: Publisher[Any] = node.create_publisher(self._message, "/tf", 100)

    def publish(self, pose: Pose, frame_id: str, stamp: Time) -> None:
        """Publishes that the frame stands at a pose of a parent frame."""
        self._publisher.publish(self._message(transforms=[transform_of(pose, frame_id, self._child_frame_id, stamp)]))
