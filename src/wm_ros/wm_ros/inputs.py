"""Poses and actions of whatever type is published: found on the topic or as configured, and said."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from time import monotonic
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node

from wm_core.sources import (
    NO_POSE_TYPES,
    STANDS_ASIDE,
    TF_TYPE,
    WITH_ASIDE,
    ActionSample,
    PoseSample,
    TransformBuffer,
    action_from_msg,
    pose_sample_from_msg,
)
from wm_ros import qos
from wm_ros.errors import ConfigurationError, MessageError
from wm_ros.health import Health
from wm_ros.messages import believable_stamp_ns
from wm_ros.one_stream import OneStream
from wm_ros.saying import clipped
from wm_ros.silence import topics_of, why_silent

AUTO, TF = "auto", "tf"
POSE_SOURCES: Mapping[str, str] = {
    "pose": "geometry_msgs/msg/PoseStamped",
    "pose_with_covariance": "geometry_msgs/msg/PoseWithCovarianceStamped",
    "odometry": "nav_msgs/msg/Odometry",
    "transform": "geometry_msgs/msg/TransformStamped",
    TF: TF_TYPE,
}
"""``pose_source``: the type that it means."""
ACTION_SOURCES: Mapping[str, str] = {
    "float32_multi_array": "std_msgs/msg/Float32MultiArray",
    "twist": "geometry_msgs/msg/Twist",
    "twist_stamped": "geometry_msgs/msg/TwistStamped",
    "ackermann": "ackermann_msgs/msg/AckermannDriveStamped",
    "ackermann_drive": "ackermann_msgs/msg/AckermannDrive",
    "joy": "sensor_msgs/msg/Joy",
    "float64_multi_array": "std_msgs/msg/Float64MultiArray",
    "joint_state": "sensor_msgs/msg/JointState",
    "joint_trajectory_point": "trajectory_msgs/msg/JointTrajectoryPoint",
    "joint_trajectory": "trajectory_msgs/msg/JointTrajectory",
}
"""``action_source``: the type that it means."""

NOT_YET = rclpy_implementation.RCLError
"""A topic has one type in a process (Fast DDS), and keeps it until the executor lets go of a destroyed subscription."""
_LOOK_AGAIN_S = 0.2
_LOOKS_BEFORE_TF = 5
_HEARD_S = 2.0
_MISSED_S = 10.0
"""So long it is said that something of an action was not read, after the last such action [s]."""


def message_class(kind: str, asker: str) -> type:
    """Returns the class of a message type, imported only now.

    Args:
        kind: As ``nav_msgs/msg/Odometry``.
        asker: Who needs it, for the error.

    Raises:
        ConfigurationError: Its package is not installed; the text names it.
    """
    package, _, name = kind.split("/")
    try:
        found: type = getattr(import_module(f"{package}.msg"), name)
    except ModuleNotFoundError as error:
        advice = f"install ros-$ROS_DISTRO-{package.replace('_', '-')}, or build {package} in the workspace"
        raise ConfigurationError(f"{asker} needs {kind}, and {package} is not installed: {advice}") from error
    return found


class TypedInput:
    """Listens to a topic whose type is configured or, with ``auto``, found by who publishes on it.

    What was taken is logged and reported as ``NAME_source``. While two types are published on the topic, none is taken.
    The first message settles it.

    Args:
        node: Who listens.
        health: Says what is missing.
        name: "pose" or "action"; its parameter is ``NAME_source``.
        topic: Remapped as any other.
        source: One of ``kinds``, or ``auto``.
        kinds: {source: message type}; with ``auto`` the first one is listened to until another is found.
        callback: Called with each message.

    Raises:
        ConfigurationError: A configured type is not installed.
    """

    def __init__(
        self,
        node: Node,
        health: Health,
        name: str,
        topic: str,
        source: str,
        kinds: Mapping[str, str],
        callback: Callable[[Any], None],
    ) -> None:
        self._node, self._health, self._name, self._callback = node, health, name, callback
        self._remap, self._heard_s = topic, -math.inf
        self._topic, self._source, self._kinds = node.resolve_topic_name(topic), source, kinds
        self._settled, self._taken, self._looks, self._subscriptions = False, "", 0, list[Any]()
        self._trouble: str | None = None
        self._listen(next(iter(kinds.values())) if source == AUTO else kinds[source])
        self._finder = node.create_timer(_LOOK_AGAIN_S, self._on_finder, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def kind(self) -> str:
        """The type that is listened to now."""
        return self._kind

    def why_silent(self) -> str | None:
        """Return in words why nothing comes and what would help; None while messages come, whatever is made of them."""
        if monotonic() - self._heard_s < _HEARD_S:
            return None
        kinds = tuple(self._kinds.values()) if self._source == AUTO else (self._kind,)
        return why_silent(self._node, (self._where(self._kind),), kinds, f"{self._name}s", self._remap)

    def _listen(self, kind: str) -> None:
        message_class(kind, f"{self._name}_source")
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._kind, self._subscriptions = kind, []
        self._open()

    def _open(self) -> None:
        """Subscribes; where that cannot be yet, the next look tries again."""
        try:
            self._subscriptions, self._trouble = self._subscribed(self._kind), None
        except NOT_YET as error:
            self._trouble = f"cannot listen to {self._kind} on {self._where(self._kind)} yet: {clipped(error)}"

    def _subscribed(self, kind: str) -> list[Any]:
        found = message_class(kind, f"{self._name}_source")
        take = self._of_one(kind, partial(self._on_message, kind))
        return [self._node.create_subscription(found, self._where(kind), take, qos.INPUT)]

    def _of_one(self, kind: str, take: Callable[[Any], None]) -> Callable[..., None]:
        """Returns a callback that hears one publisher of a type, where several would say different things."""
        return OneStream(self._node, self._where(kind), self._health).of(take)

    def _where(self, kind: str) -> str:
        return self._topic

    def _on_message(self, kind: str, msg: Any) -> None:
        self._heard_s = monotonic()
        if not self._settled and not self._settle(kind):
            return
        self._callback(msg)

    def _settle(self, kind: str) -> bool:
        """Takes a first message as the answer, unless its topic has two types; returns whether it was taken."""
        if kind != self._kind or (self._source == AUTO and self._is_tie()):
            return False
        self._settled = True
        self._health.degrade(f"{self._name}_source", None)
        self._taken = f"{kind} on {self._where(kind)}, {'found' if self._source == AUTO else 'as configured'}"
        self._health.gauge(f"{self._name}_source", self._taken)
        return True

    def _on_offer(self, topic: str) -> set[str]:
        return {info.topic_type for info in self._node.get_publishers_info_by_topic(topic)}

    def _is_tie(self) -> bool:
        offered = sorted(self._on_offer(self._topic) & set(self._kinds.values()))
        if len(offered) < 2:
            return False
        self._wants(f"{self._topic} carries {' and '.join(offered)}: name one with {self._name}_source")
        return True

    def _wants(self, text: str | None) -> None:
        self._health.degrade(f"{self._name}_source", text or self._trouble)

    def _on_finder(self) -> None:
        """Looks for who publishes, until the first message came; then says what was taken.

        Not at once: a process's first line in the log takes tens of milliseconds, as rclpy looks for its caller in
        all modules, and the first frame comes with the first pose.
        """
        if not self._settled:
            self._look()
            return
        self._finder.cancel()
        self._node.get_logger().info(f"{self._name}: {self._taken}")

    def _look(self) -> None:
        """Looks who publishes what."""
        self._looks += 1
        if not self._subscriptions:
            self._open()
        offered = self._on_offer(self._where(self._kind))
        if self._source != AUTO:
            others = ", ".join(sorted(offered))
            text = f"nobody publishes {self._kind} on {self._where(self._kind)}, but {others}: see {self._name}_source"
            self._wants(text if offered and self._kind not in offered else None)
            return
        if self._is_tie():
            return
        try:
            self._find(self._on_offer(self._topic))
        except ConfigurationError as error:
            self._wants(str(error))

    def _find(self, offered: set[str]) -> None:
        known = [kind for kind in self._kinds.values() if kind in offered]
        text = f"nothing on {self._topic} carries a{'n action' if self._name == 'action' else ' pose'}: "
        self._wants(text + ", ".join(sorted(offered)) if offered and not known else None)
        if known and known[0] != self._kind:
            self._listen(known[0])


class PoseInput(TypedInput):
    """Poses from a topic, or looked up in tf; with ``auto`` tf is asked where nobody publishes on the topic.

    Args:
        node: Who listens.
        health: Says what is missing.
        source: One of ``POSE_SOURCES``, or ``auto``.
        map_frame: Frame in which tf is asked for the pose; "": the first of map, odom, world that is connected.
        body_frame: Frame whose pose tf is asked for; "": the first of base_link, base_footprint, optical ones that
            is connected.
        callback: Called with each pose.
        refused: Called with the reason for each pose that cannot be used.

    Raises:
        ConfigurationError: A configured type is not installed.
    """

    def __init__(
        self,
        node: Node,
        health: Health,
        source: str,
        map_frame: str,
        body_frame: str,
        callback: Callable[[PoseSample], None],
        refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._buffer, self._take, self._refused = TransformBuffer(map_frame, body_frame), callback, refused
        super().__init__(node, health, "pose", "pose", source, POSE_SOURCES, self._on_pose)

    def _where(self, kind: str) -> str:
        return self._node.resolve_topic_name("/tf") if kind == TF_TYPE else self._topic

    def _subscribed(self, kind: str) -> list[Any]:
        subscriptions = super()._subscribed(kind)
        if kind == TF_TYPE:
            found, topic = message_class(kind, "pose_source"), self._node.resolve_topic_name("/tf_static")
            subscriptions.append(self._node.create_subscription(found, topic, self._on_static, qos.TF_STATIC))
        return subscriptions

    def _of_one(self, kind: str, take: Callable[[Any], None]) -> Callable[..., None]:
        # In tf each says something of its own.
        return take if kind == TF_TYPE else super()._of_one(kind, take)

    def _settle(self, kind: str) -> bool:
        # In tf a message says nothing yet: it may be about the wheels alone.
        return kind == TF_TYPE or super()._settle(kind)

    def why_silent(self) -> str | None:
        """Return in words why no pose comes, with what is there instead and cannot be one."""
        why = super().why_silent()
        for kind, advice in NO_POSE_TYPES.items():
            if why is not None and (topics := topics_of(self._node, (kind,))):
                return f"{why}; {topics[0]} ({kind}): {advice}"
        return why

    def _look(self) -> None:
        super()._look()
        if self._source == TF and self._looks >= _LOOKS_BEFORE_TF and TF_TYPE in self._on_offer(self._where(TF_TYPE)):
            self._wants(self._buffer.why_not())

    def _find(self, offered: set[str]) -> None:
        super()._find(offered)
        if offered or self._looks < _LOOKS_BEFORE_TF or TF_TYPE not in self._on_offer(self._where(TF_TYPE)):
            return
        if self._kind != TF_TYPE:
            self._listen(TF_TYPE)
        else:
            self._wants(self._buffer.why_not())

    def _on_static(self, msg: Any) -> None:
        self._insert(msg, is_static=True)

    def _on_pose(self, msg: Any) -> None:
        if self._kind == TF_TYPE:
            for sample in self._insert(msg, is_static=False):
                if self._settled or super()._settle(TF_TYPE):
                    self._take(sample)
            return
        try:
            believable_stamp_ns(msg.header.stamp)
            sample = pose_sample_from_msg(msg)
        except MessageError as error:
            self._refused(error.detail)
            self._health.drop(error.reason, error.detail)
            return
        self._take(sample)

    def _insert(self, msg: Any, is_static: bool) -> list[PoseSample]:
        try:
            news = self._buffer.insert(msg, is_static)
        except MessageError as error:
            self._refused(error.detail)
            self._health.drop(error.reason, error.detail)
            return []
        if self._buffer.refused is not None:  # the pose came all the same
            self._health.drop(self._buffer.refused.reason, self._buffer.refused.detail)
        return news


class ActionInput(TypedInput):
    """Actions from a topic.

    Args:
        node: Who listens.
        health: Says what is missing.
        source: One of ``ACTION_SOURCES``, or ``auto``.
        size: Values per action A.
        callback: Called with each action of that size.
        is_open: Whether the artifact would take any number of values, were it told which.

    Raises:
        ConfigurationError: A configured type is not installed.
    """

    def __init__(
        self,
        node: Node,
        health: Health,
        source: str,
        size: int,
        callback: Callable[[ActionSample], None],
        is_open: bool = False,
    ) -> None:
        self._size, self._take, self._is_open = size, callback, is_open
        super().__init__(node, health, "action", "actions", source, ACTION_SOURCES, self._on_action)

    def _of_one(self, kind: str, take: Callable[[Any], None]) -> Callable[..., None]:
        # The robot obeys each of them.
        return OneStream(self._node, self._where(kind), self._health, hears_all=True).of(take)

    def why_silent(self) -> str | None:
        """Return why no action comes; a source that is there and pauses is none: many send only while driving."""
        is_pause = self._settled and self._kind in self._on_offer(self._topic)
        return None if is_pause else super().why_silent()

    def _on_action(self, msg: Any) -> None:
        try:
            sample = action_from_msg(msg, self._size)
            if len(sample.values) != self._size:
                count = len(sample.values)
                self._misses(f"actions on {self._topic} have {count} values", count)
                raise MessageError("action-length", f"{count} values, expected {self._size}: {self._way_out(count)}")
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            return
        if abs(sample.left_out) > STANDS_ASIDE:
            self._misses(f"twists on {self._topic} tell a speed aside (linear.y)", WITH_ASIDE)
        self._take(sample)

    def _misses(self, what: str, size: int) -> None:
        """Says for a while that something of what the robot is told goes by unread, and what would help."""
        text = (
            f"{what}, the artifact takes {self._size}: {self._way_out(size)}; until then poses alone tell of the motion"
        )
        self._health.degrade_for(_MISSED_S, "action_size", text)

    def _way_out(self, size: int) -> str:
        return f"ACTION_DIM={size} (parameter action_dim) takes them" if self._is_open else "it was trained so"
