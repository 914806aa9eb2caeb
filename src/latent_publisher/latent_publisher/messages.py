"""What the node says of a frame, as messages. Shape suffixes: D = latent size, F = feature size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from std_msgs.msg import Header

from wm_core.alignment import Aligned, AlignedPose
from wm_interfaces.msg import LatentState
from wm_ros import codes, floats, pose_to_msg, stamp_msg
from wm_ros.messages import covariance_values, pose_std_values


@dataclass(frozen=True)
class Encoded:
    """A frame once it was looked at.

    Attributes:
        header: Of its picture.
        latent_D: What it became.
        encoder_id: In which basis.
        feature_F: What the frozen network said of it; None: the artifact makes no features.
    """

    header: Header
    latent_D: np.ndarray
    encoder_id: str
    feature_F: np.ndarray | None = None


def state_msg(
    aligned: Aligned[Encoded], feature_id: str, timing: tuple[float, Sequence[float], int], frame_id: str
) -> LatentState:
    """Return ``/latent/state`` of a frame.

    Args:
        aligned: The frame with its pose and action.
        feature_id: Which network makes the features; empty: none does.
        timing: Step [s], horizons [s] and neighbours of the artifact's forecasts.
        frame_id: Of the pose.
    """
    frame, pose, action = aligned.frame, aligned.pose, aligned.action
    msg = LatentState(header=frame.header, encoder_id=frame.encoder_id)
    msg.latent = floats(frame.latent_D)
    if feature_id and frame.feature_F is not None:
        msg.feature_id, msg.feature = feature_id, codes(frame.feature_F)
    msg.step_s, msg.horizons_s, msg.top_k = timing[0], list(timing[1]), timing[2]
    msg.pose_status, msg.action_status = int(pose.status), int(action.status)
    if pose.position is not None and pose.quaternion is not None:
        msg.has_pose, msg.pose_frame_id = True, frame_id
        msg.pose = pose_to_msg(pose.position, pose.quaternion)
        msg.pose_std = pose_std_values(pose.errors[0], *pose.errors)
    if action.values is not None:
        msg.has_action, msg.action = True, floats(action.values)
    return msg


def pose_msg(at_ns: int, pose: AlignedPose, frame_id: str) -> PoseWithCovarianceStamped:
    """Return ``/latent/pose``: a pose that was measured around a frame's stamp [ns]."""
    assert pose.position is not None
    assert pose.quaternion is not None
    msg = PoseWithCovarianceStamped(header=Header(stamp=stamp_msg(at_ns), frame_id=frame_id))
    msg.pose.pose = pose_to_msg(pose.position, pose.quaternion)
    msg.pose.covariance = covariance_values(*pose.errors)
    return msg
