"""Frames, poses and actions in their order of arrival, aligned exactly as the live node aligns them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from wm_core.alignment import ActionStatus, ActionTrack, PoseTrack
from wm_core.errors import AlignmentError

# latent_publisher's default: how long a frame's pose is waited for.
POSE_WAIT_S = 0.02


@dataclass(frozen=True)
class PoseEvent:
    """A pose of time ``stamp_ns`` that was there at ``arrival_ns``. Quaternion x, y, z, w."""

    arrival_ns: int
    stamp_ns: int
    position: tuple[float, float, float]
    quaternion: tuple[float, float, float, float]


@dataclass(frozen=True)
class ActionEvent:
    """An action that was taken when it arrived."""

    arrival_ns: int
    values: np.ndarray


@dataclass(frozen=True)
class Aligned:
    """Poses (x, y, z, yaw) and actions at the frames' stamps, NaN where there is none: [T, 4], [T, A]."""

    pose_T4: np.ndarray
    action_TA: np.ndarray


def align(
    frame_stamp_T: np.ndarray,
    frame_arrival_T: np.ndarray,
    poses: Iterable[PoseEvent],
    actions: Iterable[ActionEvent],
    action_dim: int,
    pose_wait_s: float = POSE_WAIT_S,
) -> Aligned:
    """Return what the live node would have given each frame, had it run while the events arrived.

    Args:
        frame_stamp_T: Stamps, int64 ns.
        frame_arrival_T: When each frame was there, int64 ns.
        poses: In any order.
        actions: In any order; those of another length or not finite are left out, as the node drops them.
        action_dim: A.
        pose_wait_s: Poses that arrive this much after the frame still count [s].
    """
    waiting_poses = sorted(poses, key=lambda event: event.arrival_ns)
    waiting_actions = sorted(actions, key=lambda event: event.arrival_ns)
    pose_track, action_track = PoseTrack(), ActionTrack(action_dim)
    pose_T4 = np.full((len(frame_stamp_T), 4), np.nan)
    action_TA = np.full((len(frame_stamp_T), action_dim), np.nan, np.float32)
    next_pose = next_action = 0
    for row, (stamp_ns, arrival_ns) in enumerate(zip(frame_stamp_T.tolist(), frame_arrival_T.tolist())):
        deadline_ns = arrival_ns + int(pose_wait_s * 1e9)
        while next_pose < len(waiting_poses) and waiting_poses[next_pose].arrival_ns <= deadline_ns:
            _insert_pose(pose_track, waiting_poses[next_pose])
            next_pose += 1
        while next_action < len(waiting_actions) and waiting_actions[next_action].arrival_ns <= deadline_ns:
            _insert_action(action_track, waiting_actions[next_action])
            next_action += 1
        pose = pose_track.at(stamp_ns)
        if pose.position is not None and pose.quaternion is not None:
            pose_T4[row] = (*pose.position, yaw_of_record(pose.quaternion))
        action = action_track.at(stamp_ns)
        if action.status is ActionStatus.HELD:
            action_TA[row] = action.values
    return Aligned(pose_T4, action_TA)


def yaw_of_record(quaternion: np.ndarray | tuple[float, ...]) -> float:
    """Return the yaw [rad] of a quaternion x, y, z, w."""
    x, y, z, w = (float(value) for value in quaternion)
    return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def _insert_pose(track: PoseTrack, event: PoseEvent) -> None:
    try:
        track.insert(event.stamp_ns, np.array(event.position), np.array(event.quaternion))
    except AlignmentError:
        # The node counts and drops these; an episode keeps its other poses just the same.
        return


def _insert_action(track: ActionTrack, event: ActionEvent) -> None:
    try:
        track.insert(event.arrival_ns, event.values)
    except AlignmentError:
        return
