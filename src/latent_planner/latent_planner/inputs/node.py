"""What comes of the robot: where it is, what it is told, what it sees, and how old that is.

Shape suffixes: D = latent size.
"""

from __future__ import annotations

import math
from time import monotonic
from typing import Any

import numpy as np

from latent_planner.params import LatentPlannerParams
from latent_planner.pursuit import ACTIONS, Pursuit
from latent_planner.watch import InputWatch
from wm_core.se2 import Pose2
from wm_core.se3 import yaw_of
from wm_interfaces.msg import LatentState
from wm_ros import ManagedNode, MessageError, believable_stamp_ns, pose_from_msg, qos, vector_from_msg
from wm_ros.memory_window import HeldMemories
from wm_ros.one_stream import OneStream
from wm_ros.poseless import PoseWatch
from wm_ros.present import Present
from wm_ros.silence import why_silent


class Inputs:
    """Takes ``latent/state`` and tells when it stays away.

    Args:
        node: Who listens.
        health: Where it tells what comes and what does not.
        params: When inputs are stale.
        pursuit: Follows where the robot is.
        held: The memories, in whose basis latents are of use; None: latents are not.

    Attributes:
        seen_last: Stamp [ns] of what was seen last with a pose, and its latent [D]; None: that is of no use.
    """

    def __init__(
        self,
        node: ManagedNode[LatentPlannerParams],
        health: Any,
        params: LatentPlannerParams,
        pursuit: Pursuit,
        held: HeldMemories | None,
    ) -> None:
        self._node, self._health, self._pursuit, self._held = node, health, pursuit, held
        self._present = Present(node)
        # Who hears nothing is stopped after so much real time; how far it has gone on goes by the clock it moves by.
        self._watch, self._lag = InputWatch(params.input_timeout_s), InputWatch(params.input_timeout_s)
        self._poses = PoseWatch("nothing can be planned")
        self.seen_last: tuple[int, np.ndarray] | None = None
        health.expect("latents", params.latent_timeout_s, self._why_silent)

    def listen(self, take: Any) -> None:
        """Begin to hear.

        Args:
            take: Called with each message.
        """
        stream = OneStream(self._node, "latent/state", self._health)
        self._node.create_subscription(LatentState, "latent/state", stream.of(take), qos.STREAM)

    def _why_silent(self) -> str:
        topic = self._node.resolve_topic_name("latent/state")
        return (
            f"{why_silent(self._node, (topic,), ('wm_interfaces/msg/LatentState',), 'latents')}; nothing can be planned"
        )

    def take(self, msg: LatentState) -> Pose2 | None:
        """Take note of a state; return where the robot was, None: it does not tell, or cannot be used."""
        self._health.tick("latents")
        self._health.count("latents_received")
        self._poses.observe(msg)
        try:
            stamp_ns = believable_stamp_ns(msg.header.stamp)
            action_A = vector_from_msg(msg.action, ACTIONS, "action") if msg.has_action else None
            pose = self._pose_of(msg) if msg.has_pose else None
            latent_D = self._latent_of(msg)
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            return None
        self._pursuit.observe(stamp_ns, pose, action_A)
        if pose is not None:
            self.seen_last = (stamp_ns, latent_D) if latent_D is not None else None
            clock_ns = self._node.get_clock().now().nanoseconds
            self._watch.take(stamp_ns, clock_ns, monotonic())
            self._lag.take(stamp_ns, clock_ns, self.lived_s())
        return pose

    def _pose_of(self, msg: LatentState) -> Pose2:
        position, quaternion = pose_from_msg(msg.pose)
        x_m, y_m, z_m = position.tolist()
        return Pose2(x_m, y_m, z_m, yaw_of(quaternion))

    def _latent_of(self, msg: LatentState) -> np.ndarray | None:
        """Return what is seen, where it is in the basis of the memories held."""
        window = self._held.window if self._held is not None else None
        if window is None or msg.encoder_id != window.encoder_id:
            return None
        return vector_from_msg(msg.latent, len(msg.latent), "latent")

    def lived_s(self) -> float:
        """Return the time that has passed for the robot [s]: as the clock goes on that is followed."""
        return self._present.lived_s()

    @property
    def has_come(self) -> bool:
        """Whether any pose has."""
        return math.isfinite(self._watch.lag_s(monotonic()))

    def stale_s(self, now_s: float) -> float | None:
        """Return how old the newest latent with a pose is where that is too old [s], as real time goes; else None."""
        return self._watch.lag_s(now_s) if self.has_come and self._watch.is_stale(now_s) else None

    def lag_s(self) -> float:
        """Return for how long the robot has gone on since then [s]; infinite: none has come."""
        return self._lag.lag_s(self.lived_s())

    def complain(self) -> None:
        """Tell when most latents come without a pose."""
        self._health.degrade("poses", *self._poses.complaint())
