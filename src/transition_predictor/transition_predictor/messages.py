"""Between the node's messages and what its parts work with: latents, histories and answers in, forecasts out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from std_msgs.msg import Header

from transition_predictor.history import UsableHistory
from wm_core.memory.record import has_tilt
from wm_core.projection import FeatureSpace
from wm_core.se2 import Pose2
from wm_core.se3 import quaternion_of, yaw_of
from wm_interfaces.msg import LatentForecast, LatentPrediction, LatentState, PredictionError, VisualHistory
from wm_interfaces.srv import QueryMemoryBatch
from wm_ros import (
    MessageError,
    believable_stamp_ns,
    floats,
    memories_from_msg,
    pose_from_msg,
    pose_to_msg,
    stamp_msg,
    stamp_ns,
    vector_from_msg,
)
from wm_ros.messages import pose_std_from_values, pose_std_values
from world_model.runtime.manifest import Manifest
from world_model.runtime.metrics import ScoredForecast
from world_model.runtime.predictor import Forecast, Observation
from world_model.runtime.retrieved import Memory


def observation_from_msg(
    msg: LatentState, latent_D: np.ndarray, action_dim: int, space: FeatureSpace | None
) -> Observation:
    """Return what a predictor observes of a latent.

    Args:
        msg: The message.
        latent_D: Its latent.
        action_dim: Action size expected.
        space: Of the features that it carries; None: it carries none.

    Raises:
        MessageError: Something in it does not fit, or is no number.
    """
    action_A = vector_from_msg(msg.action, action_dim, "action") if msg.has_action else None
    pose, pose_std_3, rotation = None, None, None
    if msg.has_pose:
        position, quaternion = pose_from_msg(msg.pose)
        x_m, y_m, z_m = position.tolist()
        pose, pose_std_3 = Pose2(x_m, y_m, z_m, yaw_of(quaternion)), pose_std_from_values(msg.pose_std)
        x, y, z, w = quaternion.tolist()
        rotation = (x, y, z, w) if has_tilt((x, y)) else None
    code_F = np.array(msg.feature, np.int8) if space is not None else None
    if code_F is not None and space is not None and len(code_F) != space.size:
        raise MessageError("feature-length", f"{len(code_F)} numbers, expected {space.size}")
    now_ns = believable_stamp_ns(msg.header.stamp)
    return Observation(now_ns, latent_D, pose, action_A, pose_std_3, code_F, rotation)


def history_from_msg(msg: VisualHistory, history_id: str, size: int) -> np.ndarray:
    """Return a visual history's values, oldest first.

    Args:
        msg: The message.
        history_id: Whose history is read.
        size: How many values the transition reads.

    Raises:
        MessageError: It is of another network, or does not fit.
    """
    values = msg.embedding_dim * msg.capacity
    if msg.encoder_id != history_id:
        raise MessageError("history-mismatch", f"history of {msg.encoder_id!r}, expected {history_id!r}")
    if values != size:
        text = f"{msg.capacity} x {msg.embedding_dim} = {values} values, the transition reads {size}"
        raise MessageError("history-size", text)
    values_N = vector_from_msg(msg.history, size, "history")
    if msg.count > msg.capacity:
        raise MessageError("history-count", f"{msg.count} embeddings, {msg.capacity} have room")
    return values_N


def memories_from_answer(
    answer: QueryMemoryBatch.Response, sizes: Sequence[int], manifest: Manifest
) -> list[list[Memory]]:
    """Return an answer's memories, one list per request that was made.

    Args:
        answer: Of the memory.
        sizes: How many each request asked for.
        manifest: Says the sizes of latents and actions.

    Raises:
        MessageError: It does not fit the question.
    """
    if len(answer.matches) != len(sizes):
        raise MessageError("memory-answer", f"{len(answer.matches)} answers to {len(sizes)} queries")
    z_dim, action_dim = manifest.z_dim, manifest.action_dim
    return [memories_from_msg(each, z_dim, action_dim, k) for each, k in zip(answer.matches, sizes)]


def prediction_to_msg(
    state: LatentState, step_s: float, forecasts: Sequence[Forecast], history: UsableHistory
) -> LatentPrediction:
    """Return the message of a latent's forecasts; what is to be said of the memory is left open.

    Args:
        state: The latent.
        step_s: Of the artifact [s].
        forecasts: Of its future.
        history: What they were made with.
    """
    begin_ns = stamp_ns(state.header.stamp)
    msg = LatentPrediction(header=state.header, encoder_id=state.encoder_id, step_s=step_s)
    msg.pose_frame_id = state.pose_frame_id
    msg.forecasts = [_forecast_msg(forecast, begin_ns, state.pose.position.z) for forecast in forecasts]
    msg.history_used, msg.history_reason = history.values_N is not None, history.reason
    return msg


def _forecast_msg(forecast: Forecast, begin_ns: int, z_m: float) -> LatentForecast:
    msg = LatentForecast(horizon_s=forecast.horizon_s, gate=forecast.gate, memory_ids=list(forecast.memory_ids))
    msg.target_stamp = stamp_msg(begin_ns + round(forecast.horizon_s * 1e9))
    msg.latent = floats(forecast.latent_D)
    if forecast.pose is not None:
        msg.has_pose = True
        msg.pose = pose_to_msg((forecast.pose.x, forecast.pose.y, z_m), quaternion_of(forecast.pose.yaw))
        if forecast.pose_std_3 is not None:
            msg.pose_std = pose_std_values(*forecast.pose_std_3.tolist())
    return msg


def error_to_msg(state: LatentState, scored: ScoredForecast, step_s: float, *, degraded: bool) -> PredictionError:
    """Return the message of a forecast's error.

    Args:
        state: The latent at which it was judged.
        scored: The forecast and its error.
        step_s: Of the artifact [s].
        degraded: Whether it was made without memories that were wanted.
    """
    # The frame that judges may be the one before, where no frame lies nearer to the predicted time.
    header = Header(stamp=stamp_msg(scored.stamp_ns), frame_id=state.header.frame_id)
    msg = PredictionError(header=header, encoder_id=state.encoder_id)
    msg.horizon_s, msg.step_s = scored.forecast.horizon_s, step_s
    msg.predicted_from = stamp_msg(scored.predicted_from_ns)
    msg.error, msg.error_persistence = scored.error, scored.error_persistence
    msg.error_running_mean = scored.error_running_mean
    msg.error_without_memory = scored.error_without_memory
    msg.gate, msg.revisit = scored.forecast.gate, scored.revisit
    msg.degraded = degraded
    return msg
