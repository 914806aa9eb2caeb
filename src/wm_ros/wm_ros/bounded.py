"""Message classes that rclpy makes nothing of where a message is too large, so that it costs nobody's time.

rclpy takes a message as C holds it and has the class it was told to take make Python objects of that, all of them and
with the interpreter held. The classes here look at the lengths first. What is too large becomes an ``Oversized``, which
says of what there was too much.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from functools import cache, wraps
from inspect import iscoroutinefunction
from types import MappingProxyType
from typing import Any

from rclpy.action.server import GoalResponse
from rclpy.logging import get_logger
from rclpy.type_support import check_is_valid_msg_type

from wm_ros.errors import MessageError
from wm_ros.lengths import Excess, Layout, excess, layout_of, sample, sizes_in, sizes_of
from wm_ros.refusals import refused

MOST_OBJECTS = 40_000
"""Objects that may be made of one message, some 0.2 s; 4096 bytes count as one. The largest answer has 36 864."""
Tell = Callable[[MessageError], object]
NO_LIMITS: Mapping[str, int] = MappingProxyType({})

_CAPSULES = ("_CREATE_ROS_MESSAGE", "_CONVERT_FROM_PY", "_CONVERT_TO_PY", "_DESTROY_ROS_MESSAGE", "_TYPE_SUPPORT")
_name_of = ctypes.pythonapi.PyCapsule_GetName
_name_of.restype, _name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype, _new_capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_CREATE = ctypes.PYFUNCTYPE(ctypes.c_void_p)
_DESTROY = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
_FROM_PY = ctypes.PYFUNCTYPE(ctypes.c_bool, ctypes.py_object, ctypes.c_void_p)
_TO_PY = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p)


class Oversized:
    """A message that nothing was made of.

    Args:
        kind: Its class.
        found: What of it is too much.
    """

    def __init__(self, kind: type, found: Excess) -> None:
        self.kind = kind
        if found.name:
            text = f"{found.amount} {found.name} in one {_word(kind)}, at most {found.most}: send them in parts"
        else:
            text = f"one {_word(kind)} of {found.amount} parts or more, at most {found.most}: send it in parts"
        self.error = MessageError("too-large", text)


class Unreadable:
    """A message that could not be converted.

    Args:
        error: Why.
    """

    def __init__(self, error: Exception) -> None:
        self.error = error


def _word(kind: type) -> str:
    name = kind.__name__
    return "request" if name.endswith("_Request") else "answer" if name.endswith("_Response") else name


def bounded(
    kind: Any, most_of: Mapping[str, int] = NO_LIMITS, instead: Callable[[Oversized], Any] | None = None
) -> Any:
    """Return a class for rclpy to take messages by, in place of their own; that itself where lengths cannot be read.

    What is taken is of the messages' own class.

    Args:
        kind: Class of the messages.
        most_of: {field: how many elements it may have}; all else is bounded by ``MOST_OBJECTS``.
        instead: Returns what is taken in place of a message that is too large; None: an ``Oversized``.
    """
    layout = _known_layout(kind)
    if layout is None:
        return kind
    meta = type(kind)
    convert = _TO_PY(_pointer(meta._CONVERT_TO_PY))
    limits = tuple(most_of.items())

    def take(address: int) -> Any:
        # Nothing may be raised into C.
        try:
            found = excess(address, layout, MOST_OBJECTS, limits)
            if found is None:
                return convert(address)
            oversized = Oversized(kind, found)
            return oversized if instead is None else instead(oversized)
        except Exception as error:
            return Unreadable(error)

    called = _TO_PY(take)
    capsules = {name: getattr(meta, name) for name in _CAPSULES}
    capsules["_CONVERT_TO_PY"] = _new_capsule(ctypes.cast(called, ctypes.c_void_p), None, None)
    # It has to live for as long as somebody may call it.
    own_meta = type(f"Bounded{meta.__name__}", (type,), {**capsules, "called": called})
    return own_meta(kind.__name__, (), {"__module__": kind.__module__})


def bound_subscription(subscription: Any, tell: Tell) -> Any:
    """Have a subscription drop what is too large before it is converted.

    Args:
        subscription: Not of raw messages.
        tell: Called with why.
    """
    subscription.msg_type = bounded(subscription.msg_type)
    callback = subscription.callback

    def take(msg: Any, *info: Any) -> Any:
        return callback(msg, *info) if _is_message(msg, tell) else None

    async def take_later(msg: Any, *info: Any) -> None:
        if _is_message(msg, tell):
            await callback(msg, *info)

    # rclpy asks the signature whether it takes what is known about a message, too.
    subscription.callback = wraps(callback)(take_later if iscoroutinefunction(callback) else take)
    return subscription


def bound_client(client: Any, tell: Tell) -> Any:
    """Have a client take an answer that is too large as a refusal that says so.

    Args:
        client: Of any service.
        tell: Called with why.
    """
    kind = client.srv_type

    def refusal(found: Oversized) -> Any:
        tell(found.error)
        return refused(kind.Response(), str(found.error), found.error.reason)

    client.srv_type = _service(kind, kind.Request, bounded(kind.Response, instead=refusal))
    return client


def bound_service(service: Any, most_of: Mapping[str, int]) -> Any:
    """Have a service be called with an ``Oversized`` for a request that is too large, see ``refusing``.

    Args:
        service: Of any kind.
        most_of: As for ``bounded``.
    """
    kind = service.srv_type
    service.srv_type = _service(kind, bounded(kind.Request, most_of), kind.Response)
    return service


def refusing(callback: Callable[[Any, Any], Any], tell: Tell) -> Callable[[Any, Any], Any]:
    """Return a service's callback that refuses by name what is too large; the answer says so where it can.

    Args:
        callback: Takes request and response, returns the response or a coroutine of it.
        tell: Called with why.
    """

    def answer(request: Any, response: Any) -> Any:
        if _is_message(request, tell):
            return callback(request, response)
        return refused(response, str(request.error), request.error.reason)

    return answer


def bound_actions(server: Any, tell: Tell) -> Any:
    """Have an action's server reject a goal that is too large.

    Args:
        server: An ``rclpy.action.ActionServer`` that was just made.
        tell: Called with why.
    """
    action, is_welcome = server._action_type, server._goal_callback
    asking = action.Impl.SendGoalService

    def empty(oversized: Oversized) -> Any:
        request = asking.Request()
        request.goal = type("Refused", (action.Goal,), {"oversized": oversized})()
        return request

    def goal_callback(goal: Any) -> Any:
        oversized = getattr(goal, "oversized", None)
        if oversized is None:
            return is_welcome(goal)
        tell(oversized.error)
        return GoalResponse.REJECT

    members = {name: getattr(action.Impl, name) for name in vars(action.Impl) if not name.startswith("__")}
    members["SendGoalService"] = _service(asking, bounded(asking.Request, instead=empty), asking.Response)
    own = {"Impl": type("Impl", (), members), "Goal": action.Goal, "Result": action.Result, "Feedback": action.Feedback}
    server._action_type = type(action.__name__, (), {**own, "__module__": action.__module__})
    server.register_goal_callback(goal_callback)
    return server


def _service(kind: Any, request: Any, response: Any) -> Any:
    return type(kind.__name__, (), {"Request": request, "Response": response, "__module__": kind.__module__})


def _is_message(msg: Any, tell: Tell) -> bool:
    """Return whether a message is one; what is too large is told."""
    if isinstance(msg, Unreadable):
        raise msg.error
    if isinstance(msg, Oversized):
        tell(msg.error)
        return False
    return True


@cache
def _known_layout(kind: Any) -> Layout | None:
    """Return the layout of a message class once it was tried on one; None: messages cannot be looked into."""
    try:
        check_is_valid_msg_type(kind)
        layout = layout_of(kind)
        is_right = _reads_back(kind, layout)
    except (AttributeError, KeyError, ImportError, TypeError) as error:
        why: object = error
    else:
        if is_right:
            return layout
        why = "its lengths read back wrong"
    get_logger("bounded").warning(f"{kind.__name__} is not bounded before it is converted: {why}")
    return None


def _reads_back(kind: Any, layout: Layout) -> bool:
    """Return whether the lengths of a message that was just made are found where they are looked for."""
    meta, msg = type(kind), sample(kind)
    address = _CREATE(_pointer(meta._CREATE_ROS_MESSAGE))()
    try:
        if not _FROM_PY(_pointer(meta._CONVERT_FROM_PY))(msg, address):
            return False
        return list(sizes_in(address, layout)) == list(sizes_of(msg))
    finally:
        _DESTROY(_pointer(meta._DESTROY_ROS_MESSAGE))(address)


def _pointer(capsule: Any) -> Any:
    return _pointer_of(capsule, _name_of(capsule))
