"""ROS for programs that end by themselves, beside nodes that run until they are told to end (``runner``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import rclpy
from rclpy.exceptions import NameValidationException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.signals import SignalHandlerOptions

from wm_ros.errors import ConfigurationError
from wm_ros.shared_memory import clean_shared_memory

# What the error says of a name that is too long, of one that was remapped to a topic of another type, and of a topic
# whose name ROS does not know how to complete.
_OF_NAMES = ("invalid node name", "with incompatible type", "failed to resolve name")


def is_of_a_name(error: BaseException | None) -> bool:
    """Return whether ROS takes no node, topic or service of a name: whoever chose it is told, without a traceback."""
    said = str(error) if isinstance(error, rclpy_implementation.RCLError) else ""
    return any(words in said for words in _OF_NAMES) or isinstance(error, NameValidationException)


@contextmanager
def ros_for_a_while(args: Sequence[str]) -> Iterator[None]:
    """Start ROS, leave signals to the program, and end ROS after it.

    Args:
        args: What of a command line is ROS's own, as ``split_ros_args`` returns it.

    Raises:
        ConfigurationError: ROS does not take these arguments, or a name that the program was given.
    """
    try:
        clean_shared_memory()
        try:
            rclpy.init(args=list(args), signal_handler_options=SignalHandlerOptions.NO)
        except RuntimeError as error:
            raise ConfigurationError(in_one_line(error)) from error
        yield
    except (RuntimeError, NameValidationException) as error:
        if not is_of_a_name(error):
            raise
        raise ConfigurationError(in_one_line(error)) from error
    finally:
        rclpy.try_shutdown()


def in_one_line(error: Exception) -> str:
    """Return what an error says, as a program that refuses to start says it."""
    return " ".join(str(error).split())
