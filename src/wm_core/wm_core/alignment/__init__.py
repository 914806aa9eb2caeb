"""Poses, actions and frames brought to one time: the same code in the live node and for recordings.

Times are integer nanoseconds of the data's own clock; quaternions are x, y, z, w. Nothing here reads a clock.
"""

from wm_core.alignment.clocks import CameraClock, Offset, offset_by_arrival
from wm_core.alignment.continuity import Jump, Kind, PoseContinuity
from wm_core.alignment.expected import ExpectedPoses, Motion
from wm_core.alignment.replay import ActionEvent, FrameEvent, Kept, PoseEvent, Replay, Told
from wm_core.alignment.states import Aligned, ArrivalClock, FrameAligner, Waits, awaits_measured
from wm_core.alignment.tracks import (
    NOT_TOLD,
    ActionStatus,
    ActionTrack,
    AlignedAction,
    AlignedPose,
    PoseStatus,
    PoseTrack,
)

__all__ = [
    "NOT_TOLD",
    "ActionEvent",
    "ActionStatus",
    "ActionTrack",
    "Aligned",
    "AlignedAction",
    "AlignedPose",
    "ArrivalClock",
    "CameraClock",
    "ExpectedPoses",
    "FrameAligner",
    "FrameEvent",
    "Jump",
    "Kept",
    "Kind",
    "Motion",
    "Offset",
    "PoseContinuity",
    "PoseEvent",
    "PoseStatus",
    "PoseTrack",
    "Replay",
    "Told",
    "Waits",
    "awaits_measured",
    "offset_by_arrival",
]
