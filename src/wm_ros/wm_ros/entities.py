"""What a node creates: bounded, answered, finite, and destroyed when its time is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rclpy.action.server import ActionServer
from rclpy.lifecycle import LifecycleNode
from rosgraph_msgs.msg import Clock as ClockMsg

from wm_ros import qos
from wm_ros.asked_params import refusing_no_parameters
from wm_ros.bounded import NO_LIMITS, bound_actions, bound_client, bound_service, bound_subscription, refusing
from wm_ros.dispatcher import answering, executing
from wm_ros.errors import MessageError
from wm_ros.finite import FinitePublisher
from wm_ros.health import Health
from wm_ros.owed import Owed

# How long who sent a goal may take to ask for its result, by the node's clock [s]: rclpy's own, until that became 10 s,
# which a busy machine takes, and a clock that runs fast. Who asks later is told of a goal that nobody knows.
_RESULT_KEPT_S = 900


class NotedEntities(LifecycleNode):
    """A node that takes note of what it creates, so that it can be destroyed with the state that it belongs to.

    What comes in is bounded, and what goes out is finite; ``_health`` is told of what is neither.
    """

    _health: Health
    # What is created now is added here, by how it is destroyed; None: it lives as long as the node.
    _created: list[Callable[[], object]] | None = None

    def fault(self, error: Exception) -> None:
        """Takes note of an error that nobody expected, of a service or an action."""
        raise NotImplementedError

    def _noted(self, entity: Any, destroy: Callable[[Any], object]) -> Any:
        if self._created is not None:
            self._created.append(lambda: destroy(entity))
        return entity

    def create_publisher(self, msg_type: Any, *args: Any, **kwargs: Any) -> Any:
        """As ``Node.create_publisher``; what is published is looked at for numbers that are not finite."""
        if self._created is None:
            return super().create_publisher(msg_type, *args, **kwargs)
        kwargs.setdefault("event_callbacks", self._health.misfits.of_publisher(_topic_of(args, kwargs)))
        publisher: Any = super().create_publisher(msg_type, *args, publisher_class=FinitePublisher, **kwargs)
        publisher.refuse = self._refuse
        return self._noted(publisher, self.destroy_publisher)

    def _refuse(self, what: str) -> None:
        self._health.drop("not-finite-output", f"{what} is not finite; not published")

    def create_subscription(self, msg_type: Any, *args: Any, **kwargs: Any) -> Any:
        """As ``Node.create_subscription``; what is too large is dropped and named before it is converted."""
        if self._created is not None:
            kwargs.setdefault("event_callbacks", self._health.misfits.of_subscription(_topic_of(args, kwargs)))
        subscription = super().create_subscription(msg_type, *args, **kwargs)
        if not subscription.raw:
            bound_subscription(subscription, self._drop_large)
        # The clock's is the node's own, however late it is switched on.
        return subscription if msg_type is ClockMsg else self._noted(subscription, self.destroy_subscription)

    def create_client(self, *args: Any, **kwargs: Any) -> Any:
        """As ``Node.create_client``; an answer that is too large comes as a refusal."""
        kwargs.setdefault("qos_profile", qos.SERVICE)
        client = bound_client(super().create_client(*args, **kwargs), self._drop_large)
        return self._noted(client, self.destroy_client)

    def create_service(
        self, srv_type: Any, srv_name: str, callback: Any, *, most_of: Mapping[str, int] = NO_LIMITS, **kwargs: Any
    ) -> Any:
        """As ``Node.create_service``; it answers even where its callback fails or the node is deactivated meanwhile.

        What is too large is refused.

        Args:
            srv_type: Of the service.
            srv_name: Of the service.
            callback: Takes request and response, returns the response or a coroutine of it.
            most_of: {field of a request: how many elements it may have}, looked at before the request is converted.
            **kwargs: As for ``Node.create_service``.
        """
        callback = refusing_no_parameters(srv_type, callback)
        owed = Owed(answering(self, refusing(callback, self._drop_large)))
        kwargs.setdefault("qos_profile", qos.SERVICE)
        service = bound_service(super().create_service(srv_type, srv_name, owed.answer, **kwargs), most_of)

        def destroy(watched: Any) -> None:
            owed.end(lambda: self.destroy_service(watched))
            if self.executor is not None:
                self.executor.wake()  # so that who waits is told now

        return self._noted(owed.watch(service), destroy)

    def _drop_large(self, error: MessageError) -> None:
        self._health.drop(error.reason, str(error))

    def create_action_server(self, action_type: Any, name: str, execute: Any, **kwargs: Any) -> Any:
        """Returns an ``rclpy.action.ActionServer``; a goal ends with a result even where its callback fails.

        Made in ``configure`` it can still tell those whose goals ``deactivate`` ends. Once made, it has to refuse goals
        itself while the node is not active.

        Args:
            action_type: Of the action.
            name: Of the action.
            execute: Takes a goal's handle, returns the result or a coroutine of it.
            **kwargs: As for ``rclpy.action.ActionServer``.
        """
        callback = executing(self, action_type.Result, execute)
        usual = {"result_timeout": _RESULT_KEPT_S, "feedback_pub_qos_profile": qos.FEEDBACK, **qos.ACTION}
        kwargs = {**usual, **kwargs}
        server = bound_actions(ActionServer(self, action_type, name, callback, **kwargs), self._drop_large)
        return self._noted(server, ActionServer.destroy)

    def create_timer(self, *args: Any, **kwargs: Any) -> Any:
        """As ``Node.create_timer``."""
        return self._noted(super().create_timer(*args, **kwargs), self.destroy_timer)

    def create_guard_condition(self, *args: Any, **kwargs: Any) -> Any:
        """As ``Node.create_guard_condition``."""
        return self._noted(super().create_guard_condition(*args, **kwargs), self.destroy_guard_condition)


def _topic_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Returns the topic among the arguments of ``create_publisher`` or ``create_subscription``."""
    return str(args[0] if args else kwargs["topic"])
