"""The node: frames in at their rate, one look per tick out."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Any

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.guard_condition import GuardCondition
from std_msgs.msg import Float32, Float32MultiArray, MultiArrayDimension

from wm_core.errors import FrameError
from wm_interfaces.msg import VisualHistory as VisualHistoryMsg
from wm_ros import (
    CameraSubscription,
    FrameMsg,
    ManagedNode,
    MessageError,
    floats,
    picture_from_msg,
    qos,
    run_node,
    stamp_msg,
    stamp_ns,
)
from world_action.branch import Look, SlowBranch
from world_action.following import SlowBranchFollower
from world_action.params import WorldActionParams
from world_action.tick import FrameGate, Tick, ViewMatcher
from world_action.worker import LatestWorker
from world_model.errors import ArtifactError
from world_model.runtime.profile import Profile, profile_folder
from world_model.runtime.served import served_slow_branch


@dataclass(frozen=True)
class _Outcome:
    """A tick after the worker: what it gave, and what was wrong with which view."""

    look: Look | None
    missing: tuple[str, ...]
    faults: tuple[tuple[str, str], ...]  # (reason, detail)
    taken_up: str = ""  # where the slow branch lies that looks from this tick on


class _GatedGroup(MutuallyExclusiveCallbackGroup):
    """Callbacks that the executor does not even look at while the gate is closed, so their messages stay unread."""

    is_open = True

    def can_execute(self, entity: Any) -> bool:
        """Return whether the executor may take a message for ``entity`` now."""
        return self.is_open and super().can_execute(entity)


class WorldAction(ManagedNode[WorldActionParams]):
    """Embed what the cameras see once a second, keep the last few embeddings and foresee the next.

    Subscribes the ``image_topics`` (sensor_msgs/Image, or sensor_msgs/CompressedImage where only that is offered);
    publishes ``/visual_history`` (std_msgs/Float32MultiArray), ``/visual_history/state`` (wm_interfaces/VisualHistory)
    and ``/visual_history/surprise`` (std_msgs/Float32). Frames between two ticks are left unread, and all work on a
    frame is done on a thread of its own, so the executor that carries the fast path is never held up.

    Args:
        branch: The model and its history; by default those of ``model_path``.
        model_id: Published as ``encoder_id`` beside a given branch.
    """

    def __init__(self, branch: SlowBranch | None = None, model_id: str = "", **node_options: Any) -> None:
        # Set first: a node that fails to start is released all the same.
        self._worker: LatestWorker[Tick[FrameMsg], _Outcome] | None = None
        super().__init__("world_action", WorldActionParams, **node_options)
        self._given = (branch, model_id) if branch else None
        self.start()

    def prepare(self) -> None:
        """Load weights."""
        self._follower: SlowBranchFollower | None = None
        self._branch, self._model_id = self._given or self._load()

    def configure(self) -> None:
        """Open what is published, and start the thread that looks."""
        tick_s = self._branch.tick_s
        self._matcher: ViewMatcher[FrameMsg] = ViewMatcher(
            self._params.image_topics, tick_s, self._params.match_tolerance_s, self._params.match_wait_s
        )
        self._gate = FrameGate(tick_s)
        self._state_publisher = self.create_publisher(VisualHistoryMsg, "visual_history/state", qos.STREAM)
        self._publisher = self.create_publisher(Float32MultiArray, "visual_history", qos.STREAM)
        self._surprise_publisher = self.create_publisher(Float32, "visual_history/surprise", qos.STREAM)
        # Held while the guard condition is triggered, so it cannot be destroyed under the worker's hands.
        self._guard_lock = Lock()
        self._guard: GuardCondition | None = self.create_guard_condition(self._publish_ready)
        self._worker = LatestWorker(self._look, self._announce, prepare=self._warm_up)
        self._health.expect("visual_history", 5.0 * max(tick_s, 1.0), self._why_silent)

    def release(self) -> None:
        """Stop the worker."""
        if self._worker is not None:
            self._worker.stop()
            with self._guard_lock:
                self._guard = None

    def _load(self) -> tuple[SlowBranch, str]:
        artifact = self._params.load()
        sizes = artifact.manifest.world_action
        if sizes is None or not artifact.has("world_action"):
            raise ArtifactError(f"artifact '{artifact.manifest.name}' at {artifact.path} has no world_action.pt")
        tick_s, gap_ticks = self._params.tick_s, self._params.gap_ticks
        model, name = served_slow_branch(artifact), self._params.profile
        profile = Profile(profile_folder(name, self.get_namespace())) if name else None
        self._follower = SlowBranchFollower(profile, artifact, model)
        branch = SlowBranch(model, sizes, tick_s=tick_s, gap_ticks=gap_ticks)
        if tick_s is not None and not math.isclose(tick_s, float(sizes["tick_s"]), rel_tol=0.05):
            self._health.degrade("tick_rate", f"ticks are {tick_s:g} s apart, trained were {sizes['tick_s']} s")
        return branch, artifact.manifest.files["world_action.pt"][:16]

    def activate(self) -> None:
        """Open the cameras."""
        self._group = _GatedGroup()
        self._cameras: list[CameraSubscription] = []
        self._frame_id = ""
        self._opener = self.create_timer(1.0, self._open_gate, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._opener.cancel()
        for view in self._params.image_topics:
            callback = functools.partial(self._on_frame, view)
            self._cameras.append(
                CameraSubscription(
                    self,
                    view,
                    callback,
                    self._params.image_transport,
                    callback_group=self._group,
                    refused=lambda error: self._health.drop(error.reason, error.detail),
                    health=self._health,
                )
            )

    def _why_silent(self) -> str:
        """Return why there is no tick: what keeps each camera that was never heard silent."""
        silent = [camera.why_silent() for camera in self._cameras if not camera.was_heard]
        return "; ".join(silent) or "the cameras have stopped"

    def _on_frame(self, topic: str, msg: FrameMsg) -> None:
        tick = self._matcher.offer(topic, stamp_ns(msg.header.stamp), msg)
        self._frame_id = msg.header.frame_id
        if tick is None:
            return
        assert self._worker is not None
        if self._worker.submit(tick):
            self._health.drop("busy", "the embedding of the last tick was not yet begun")
        closed_s = self._gate.closed_for_s(tick.stamp_ns, monotonic())
        if closed_s > 0.0 and not any(camera.is_video for camera in self._cameras):
            self._group.is_open = False
            self._opener.timer_period_ns = int(closed_s * 1e9)
            self._opener.reset()

    def _open_gate(self) -> None:
        self._opener.cancel()
        self._group.is_open = True

    def _warm_up(self) -> None:
        """Runs on the worker's thread."""
        self._branch.warm_up(len(self._params.image_topics))

    def _look(self, tick: Tick[FrameMsg]) -> _Outcome:
        """Convert and embed one tick; runs on the worker's thread."""
        taken_up = self._follow_profile()
        images: list[np.ndarray | None] = []
        missing, faults = list(tick.missing), []
        for topic, msg in zip(self._params.image_topics, tick.frames):
            images.append(None)
            try:
                images[-1] = None if msg is None else picture_from_msg(msg)
            except MessageError as error:
                missing.append(topic)
                faults.append((error.reason, f"{topic}: {error}"))
        try:
            look = self._branch.look(tick.stamp_ns, images) if len(missing) < len(images) else None
        except FrameError as error:
            look = None
            faults.append(("frame", str(error)))
        return _Outcome(look, tuple(missing), tuple(faults), taken_up)

    def _follow_profile(self) -> str:
        """Takes up the slow branch that the profile names since the last tick; returns where it lies."""
        model = None if self._follower is None else self._follower.look()
        if self._follower is None or model is None:
            return ""
        self._branch.foresee_with(model)
        return str(self._follower.source_path)

    def _announce(self) -> None:
        with self._guard_lock:
            if self._guard is not None:
                self._guard.trigger()

    def _publish_ready(self) -> None:
        assert self._worker is not None
        for outcome in self._worker.collect():
            for reason, detail in outcome.faults:
                self._health.drop(reason, detail)
            absent = f"no frame from {', '.join(outcome.missing)}" if outcome.missing else None
            self._health.degrade("missing_views", absent)
            self._health.degrade("profile", (self._follower.problem if self._follower else "") or None)
            if outcome.taken_up and outcome.look is not None:
                text = f"from {outcome.look.stamp_ns} ns on: the slow branch of {outcome.taken_up}"
                self.get_logger().info(f"{text}, which the profile names")
                self._health.count("changes_of_slow_branch")
            if outcome.look is not None:
                self._publish(outcome.look, outcome.missing)

    def _publish(self, look: Look, missing: Sequence[str]) -> None:
        state = VisualHistoryMsg()
        state.header.stamp, state.header.frame_id = stamp_msg(look.stamp_ns), self._frame_id
        state.encoder_id = self._model_id
        state.embedding_dim, state.capacity, state.count = self._branch.embedding_dim, self._branch.capacity, look.count
        state.future = len(look.predicted)
        state.tick_s = self._branch.tick_s
        state.history = floats(look.history.reshape(-1))
        state.predicted = floats(look.predicted.reshape(-1))
        state.surprise = look.surprise
        state.missing_views = list(missing)
        self._state_publisher.publish(state)
        self._publisher.publish(_history_msg(look.history))
        if math.isfinite(look.surprise):
            self._surprise_publisher.publish(Float32(data=look.surprise))
            self._health.sample("surprise", look.surprise)
        if look.broken is not None:
            self._health.count(f"history_resets/{look.broken.value}")
        self._health.tick("visual_history")
        self._health.count("ticks")
        self._health.sample("embed_ms", look.embed_ms)
        self._health.gauge("history_count", look.count)


def _history_msg(history_NE: np.ndarray) -> Float32MultiArray:
    """Return the history with its layout: ticks, oldest first, times embedding."""
    ticks, values = history_NE.shape
    msg = Float32MultiArray()
    msg.layout.dim = [
        MultiArrayDimension(label="tick", size=ticks, stride=ticks * values),
        MultiArrayDimension(label="embedding", size=values, stride=values),
    ]
    msg.data = floats(history_NE.reshape(-1))
    return msg


def main() -> None:
    """Run the node until it is told to stop."""
    raise SystemExit(run_node(WorldAction, describe=(WorldAction, WorldActionParams)))
