"""A client of actions whose goals are all answered: from whatever thread they are sent, and however many at once."""

from __future__ import annotations

import threading
from typing import Any

from rclpy.action.client import ActionClient
from rclpy.node import Node

from wm_ros import qos


class GoalClient(ActionClient):  # type: ignore[type-arg]
    """``rclpy.action.ActionClient``, without the two ways in which its futures stay open for ever.

    rclpy waits for an answer only after it has sent what is answered, and in Kilted twice: where an executor on another
    thread takes the answer in between, nobody is told. What is executed here waits for who is still sending. And what
    is answered to all clients of an action passes through each one's history: beyond ROS's usual depth of 10 answers
    that come at once push out the one that is waited for, see ``wm_ros.qos.SERVICE``, and so does feedback.

    Args:
        node: Owns it.
        action_type: Of the action.
        name: Of the action.
        **kwargs: As for ``ActionClient``.
    """

    def __init__(self, node: Node, action_type: Any, name: str, **kwargs: Any) -> None:
        # Whoever sends in a callback of what is executed does so on the same thread.
        self._sending = threading.RLock()
        super().__init__(node, action_type, name, **{"feedback_sub_qos_profile": qos.FEEDBACK, **qos.ACTION, **kwargs})

    def send_goal_async(self, *args: Any, **kwargs: Any) -> Any:
        """As ``ActionClient.send_goal_async``."""
        with self._sending:
            return super().send_goal_async(*args, **kwargs)

    def _get_result_async(self, *args: Any, **kwargs: Any) -> Any:
        with self._sending:
            return super()._get_result_async(*args, **kwargs)

    def _cancel_goal_async(self, *args: Any, **kwargs: Any) -> Any:
        with self._sending:
            return super()._cancel_goal_async(*args, **kwargs)

    async def execute(self, taken_data: Any) -> None:
        """Do what there is to do with what was taken, once it is known who waits for it."""
        with self._sending:
            pass
        await super().execute(taken_data)
