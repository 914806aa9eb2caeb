"""What is asked and what was imagined, between messages and plain Python.

Shape suffixes: B = candidates, S = steps, P = poses, A = action size, 3 = (x, y, yaw).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Pose
from sensor_msgs.msg import CompressedImage

from transition_predictor.imagining.scene import LATENT, MEMORY, NOW, Ask
from wm_core.bounds import MOST_VALUES
from wm_core.memory.record import MemoryRecord
from wm_core.se2 import Pose2
from wm_core.se3 import yaw_of
from wm_interfaces.msg import ImagineAsk
from wm_interfaces.msg import Imagined as ImaginedMsg
from wm_interfaces.msg import MemoryRecord as MemoryRecordMsg
from wm_ros import MessageError, floats, pose_from_msg, stamp_msg, stamp_ns
from wm_ros.memory_arrays import array_of
from world_model.errors import ImaginationError
from world_model.runtime.imagined import MOST_CELLS, Imagined

_STARTS = {ImagineAsk.FROM_NOW: NOW, ImagineAsk.FROM_LATENT: LATENT, ImagineAsk.FROM_MEMORY: MEMORY}
_MOST_POSES = 10_000


def ask_from_msg(msg: ImagineAsk, action_dim: int) -> Ask:
    """Returns what is asked.

    Args:
        msg: The message.
        action_dim: A.

    Raises:
        ImaginationError: ``start``, ``action-size``, ``too-many``, ``pose`` or ``horizon``.
    """
    if msg.start not in _STARTS:
        raise ImaginationError("start", f"start is {msg.start}, expected one of {sorted(_STARTS)}")
    if len(msg.latent) > MOST_VALUES:
        raise ImaginationError("latent-size", f"a latent of {len(msg.latent)} numbers")
    for name in ("path_step_s", "horizon_s"):
        if not 0.0 <= getattr(msg, name) < float("inf"):
            raise ImaginationError("horizon", f"{name} is {getattr(msg, name):g}, expected 0 or more [s]")
    pose = Pose2(*_pose(msg.pose)) if msg.has_pose else None
    return Ask(
        start=_STARTS[msg.start],
        latent_D=np.array(msg.latent, np.float32),
        encoder_id=msg.encoder_id,
        pose=pose,
        memory_id=msg.memory_id,
        action_BSA=_actions(msg, action_dim) if len(msg.actions) else None,
        path_P3=_path(msg.path) if len(msg.path) else None,
        spacing_s=_as_meant(msg.path_step_s),
        frame_id=msg.pose_frame_id,
        horizon_s=_as_meant(msg.horizon_s),
        asks_memory=not msg.without_memory,
        image_every=msg.image_every,
    )


def _as_meant(time_s: float) -> float:
    """Return the decimal number that float32 carries: seven times 0.7 s must not fall short of 98 steps."""
    return float(str(np.float32(time_s)))


def _actions(msg: ImagineAsk, action_dim: int) -> np.ndarray:
    count, candidates = len(msg.actions), msg.candidates or 1
    if count > MOST_CELLS * action_dim:
        raise ImaginationError("too-many", f"{count} numbers of actions, at most {MOST_CELLS * action_dim}")
    if count % (candidates * action_dim):
        raise ImaginationError("action-size", f"{count} numbers, expected {candidates} x steps x {action_dim} of them")
    action_BSA: np.ndarray = np.array(msg.actions, np.float32).reshape(candidates, -1, action_dim)
    return action_BSA


def _path(poses: Sequence[Pose]) -> np.ndarray:
    if len(poses) > _MOST_POSES:
        raise ImaginationError("too-many", f"a path of {len(poses)} poses, at most {_MOST_POSES}")
    return np.array([_pose(pose) for pose in poses])[:, [0, 1, 3]]


def _pose(msg: Pose) -> tuple[float, float, float, float]:
    try:
        position, quaternion = pose_from_msg(msg)
    except MessageError as error:
        raise ImaginationError("pose", error.detail) from error
    x, y, z = position.tolist()
    return x, y, z, yaw_of(quaternion)


def record_from_msg(msg: MemoryRecordMsg) -> MemoryRecord:
    """Returns what imagining from a memory needs of it.

    Raises:
        ImaginationError: ``memory-answer``: it is none that a memory could hold.
    """
    try:
        place, turn = msg.position, msg.orientation
        position, quaternion = pose_from_msg(Pose(position=place, orientation=turn))
    except MessageError as error:
        raise ImaginationError("memory-answer", error.detail) from error
    x, y, z = position.tolist()
    return MemoryRecord(
        stamp_ns(msg.stamp), np.array(msg.latent, np.float32), x, y, z=z, yaw=yaw_of(quaternion), id=msg.id,
        encoder_id=msg.encoder_id,
    )  # fmt: skip


def imagined_to_msg(imagined: Imagined, encoder_id: str, begin_ns: int, frame_id: str, step_s: float) -> ImaginedMsg:
    """Returns what was imagined as a message, without pictures.

    Args:
        imagined: All steps, or some.
        encoder_id: Of the latents.
        begin_ns: When it begins [ns].
        frame_id: Of the poses.
        step_s: Time of one step [s].
    """
    count, steps, z_dim = imagined.latent_BSD.shape
    msg = ImaginedMsg(encoder_id=encoder_id, stamp=stamp_msg(begin_ns), pose_frame_id=frame_id, candidates=count)
    msg.first_step = round(float(imagined.time_S[0]) / step_s) if steps else 1
    msg.times_s, msg.z_dim, msg.latents = floats(imagined.time_S), z_dim, floats(imagined.latent_BSD.reshape(-1))
    msg.has_poses = imagined.has_poses
    if msg.has_poses:
        msg.poses = array_of("d", imagined.pose_BS3)
        msg.pose_std = floats(imagined.std_BS3.reshape(-1))
    msg.gates, msg.uncertainties = floats(imagined.gate_BS.reshape(-1)), floats(imagined.uncertainty_BS.reshape(-1))
    msg.top_k, msg.memory_ids = imagined.id_BSK.shape[2], array_of("Q", imagined.id_BSK)
    if imagined.outcome_BS2 is not None:
        msg.rewards = floats(imagined.outcome_BS2[..., 0].reshape(-1))
        msg.goes_on = floats(imagined.outcome_BS2[..., 1].reshape(-1))
    return msg


def jpeg_msg(jpeg: bytes, stamp_at_ns: int) -> CompressedImage:
    """Returns a JPEG file as a message; empty bytes: no picture."""
    msg = CompressedImage(format="jpeg" if jpeg else "", data=jpeg)
    msg.header.stamp = stamp_msg(stamp_at_ns)
    return msg
