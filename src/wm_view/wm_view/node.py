"""The node ``frame_broadcaster``: where the robot is, as a frame on tf, so that viewers can follow and show it."""

from __future__ import annotations

from time import monotonic
from typing import Any

from geometry_msgs.msg import Pose, PoseWithCovarianceStamped, TransformStamped

from wm_ros import ManagedNode, MessageError, message_class, pose_from_msg, qos, run_node, stamp_ns
from wm_ros.expected_frame import transform_of
from wm_ros.one_stream import OneStream
from wm_view.links import Links
from wm_view.params import FrameBroadcasterParams

_TYPE = "tf2_msgs/msg/TFMessage"


class FrameBroadcaster(ManagedNode[FrameBroadcasterParams]):
    """Publish a frame that follows the robot.

    Subscribes ``/latent/pose`` (geometry_msgs/PoseWithCovarianceStamped), and ``/tf`` and ``/tf_static``
    (tf2_msgs/TFMessage) to learn what others publish; publishes ``/tf`` and ``/tf_static``. The fixed frame exists from
    the start. Where nobody says how the frame of the poses lies in another, it is shown as if it were the fixed one.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__("frame_broadcaster", FrameBroadcasterParams, **node_options)
        self.start()

    def prepare(self) -> None:
        """Look for tf's message."""
        self._message: Any = message_class(_TYPE, self.get_name())
        self._links = Links(self._params.fixed_frame, self._params.patience_s)

    def configure(self) -> None:
        """Open what is published, and let the fixed frame exist."""
        self._moving = self.create_publisher(self._message, "/tf", qos.TF)
        # One message holds all of it, so that who comes late hears of no tie that was given up.
        self._still = self.create_publisher(self._message, "/tf_static", qos.LATCHED)
        self._tied_frame = ""
        self._tell_fixed()

    def activate(self) -> None:
        """Open the inputs."""
        self.create_subscription(self._message, "/tf", self._on_transforms, qos.TF)
        self.create_subscription(self._message, "/tf_static", self._on_transforms, qos.TF_STATIC)
        take = OneStream(self, "latent/pose", self._health).of(self._on_pose)
        self.create_subscription(PoseWithCovarianceStamped, "latent/pose", take, qos.STREAM)

    def _on_transforms(self, msg: Any) -> None:
        for each in msg.transforms:
            self._links.heard(stamp_ns(each.header.stamp), each.header.frame_id, each.child_frame_id)

    def _on_pose(self, msg: PoseWithCovarianceStamped) -> None:
        self._health.count("poses_received")
        try:
            pose_from_msg(msg.pose.pose)
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            return
        frame_id, stamp, params = msg.header.frame_id.lstrip("/"), msg.header.stamp, self._params
        if not frame_id:
            self._health.drop("no-frame", "a pose whose header names no frame")
            return
        self._tie(frame_id)
        self._health.degrade("frames", self._links.complaint(frame_id))
        self._send(self._moving, transform_of(msg.pose.pose, frame_id, params.robot_frame, stamp))

    def _tie(self, frame_id: str) -> None:
        """Show a frame of poses as the fixed one where nobody says better."""
        fixed = self._params.fixed_frame
        is_tied = self._params.tie and frame_id != fixed and self._links.is_to_tie(frame_id, monotonic())
        guess = f"poses are in {frame_id}, and nobody says where that lies in {fixed}: shown as the same"
        self._health.gauge("tied", guess if is_tied else "no")
        wanted = frame_id if is_tied else ""
        if wanted != self._tied_frame:
            self._tied_frame = wanted
            self._tell_fixed()

    def _tell_fixed(self) -> None:
        """Tell what does not move: the fixed frame, and what is shown as the same."""
        here = Pose()
        here.orientation.w = 1.0
        fixed = self._params.fixed_frame
        names = [f"{self._params.robot_frame}_origin", *filter(None, [self._tied_frame])]
        # A time of its own tells it from what others say of the same frames, which may have none.
        now = self.get_clock().now().to_msg()
        self._send(self._still, *(transform_of(here, fixed, name, now) for name in names))

    def _send(self, publisher: Any, *transforms: TransformStamped) -> None:
        for each in transforms:
            self._links.sent(stamp_ns(each.header.stamp), each.header.frame_id, each.child_frame_id)
        publisher.publish(self._message(transforms=list(transforms)))


def main() -> None:
    """Run the node; exit code 0 after a signal, 2 when it cannot be configured."""
    raise SystemExit(run_node(FrameBroadcaster, describe=(FrameBroadcaster, FrameBroadcasterParams)))
