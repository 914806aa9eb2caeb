"""How a recording is read."""

from __future__ import annotations

from dataclasses import dataclass

from world_model.errors import DataError

_LARGEST_OFFSET_S = 2.0**32
"""Two stamps of a message can be no further apart."""


@dataclass(frozen=True, kw_only=True)
class BagOptions:
    """How a recording is read.

    A topic that is None is chosen by what the recording holds; ``none`` does without.

    Attributes:
        image_topic: Of the camera: sensor_msgs/Image or CompressedImage, or a video.
        pose_topic: PoseStamped, PoseWithCovarianceStamped, Odometry, TransformStamped, or ``/tf``.
        action_topic: Float32MultiArray, Twist(Stamped), AckermannDriveStamped, Joy, JointState; timed by its stamp, or
            by when it was recorded.
        depth_topic: Depth images to convert as well, None for none.
        proprioception_topic: Float32MultiArray to convert as well, None for none.
        rate_hz: Most frames per second.
        every: Take one frame in so many, before the rate is looked at.
        image_size: Side of the stored image [px].
        action_dim: Expected action size; ``None`` takes the first message's.
        own_actions: Of an artifact that takes any actions: a robot's own are taken, with its speed aside where it moves
            so, and this many are told where there are none. ``None``: of no such artifact.
        from_s: Leave out what comes before, from the first frame on [s].
        to_s: Leave out what comes after [s].
        camera_offset_s: What is to be added to the camera's stamps to get the clock of poses and actions [s]; ``None``:
            what the times at which both were recorded tell.
        pose_delay_s: Poses arrived so long after their stamp [s]; ``None``: when they were recorded.
    """

    image_topic: str | None = None
    pose_topic: str | None = None
    action_topic: str | None = None
    depth_topic: str | None = None
    proprioception_topic: str | None = None
    rate_hz: float = 20.0
    every: int = 1
    image_size: int = 64
    action_dim: int | None = None
    own_actions: int | None = None
    from_s: float = 0.0
    to_s: float = float("inf")
    camera_offset_s: float | None = 0.0
    pose_delay_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.every < 1:
            raise DataError(f"every {self.every} frames, expected at least 1")
        if not 0.0 < self.rate_hz < float("inf"):
            raise DataError(f"rate {self.rate_hz} Hz, expected more than 0, and finite")
        if self.action_dim is not None and self.action_dim < 1:
            raise DataError(f"actions of {self.action_dim} values, expected at least 1")
        if self.image_size < 1:
            raise DataError(f"images of {self.image_size} px, expected at least 1")
        if not self.from_s < self.to_s:
            raise DataError(f"from {self.from_s} s to {self.to_s} s: expected an end after the beginning")
        if self.camera_offset_s is not None and not abs(self.camera_offset_s) <= _LARGEST_OFFSET_S:
            raise DataError(f"camera's clock {self.camera_offset_s} s off, expected at most {_LARGEST_OFFSET_S:g} s")
        check_pose_delay(self.pose_delay_s)


def check_pose_delay(delay_s: float | None) -> None:
    """Refuse a delay of poses that cannot be.

    Raises:
        DataError: It is negative or not finite.
    """
    if delay_s is not None and not 0.0 <= delay_s < float("inf"):
        raise DataError(f"poses {delay_s} s after their stamp, expected 0 s or more")
