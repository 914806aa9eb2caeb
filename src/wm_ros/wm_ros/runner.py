"""Run a node as a process: one exit code for each way to end."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import sleep

import rclpy
from rclpy.exceptions import NameValidationException
from rclpy.executors import Executor, ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.signals import uninstall_signal_handlers

from wm_core.errors import CoreError
from wm_ros.asked_types import refuse_no_types
from wm_ros.command_line import split_ros_args
from wm_ros.dispatcher import dispatching_executor
from wm_ros.ending import SIGNALS, Ending, ending_in_time
from wm_ros.errors import ConfigurationError
from wm_ros.help_text import help_text
from wm_ros.kept_room import keep_room
from wm_ros.message_support import import_message_support
from wm_ros.programs import in_one_line, is_of_a_name
from wm_ros.security import check_security, is_enforced
from wm_ros.shared_memory import clean_shared_memory

EXIT_OK = 0
EXIT_CONFIGURATION = 2
# Longer than a robot brakes for, shorter than service managers wait.
_REST_S = 8.0
_LOOK_S = 0.01


class _CannotStartError(Exception):
    """A node refused what it was given; once it runs, the same error would be a bug."""


def run_node(
    factory: Callable[[], Node],
    args: Sequence[str] | None = None,
    threads: int = 1,
    *,
    describe: tuple[type, type] | None = None,
) -> int:
    """Makes a node, spins it until SIGINT or SIGTERM, and returns the process's exit code.

    Args:
        factory: Called after ROS is up.
        args: Command line, the process's own by default.
        threads: As for ``run_nodes``.
        describe: The node's class and its parameters, for ``--help``.
    """
    own, _ = split_ros_args(sys.argv[1:] if args is None else args)
    if describe and {"-h", "--help"} & set(own):
        print(help_text(*describe))  # noqa: T201
        return EXIT_OK
    return run_nodes(lambda: [factory()], args, threads)


def run_nodes(factory: Callable[[], Sequence[Node]], args: Sequence[str] | None = None, threads: int = 1) -> int:
    """Makes nodes, spins them on one executor until SIGINT or SIGTERM, and returns the process's exit code.

    Once they are made, no error of a callback ends the process: see ``wm_ros.dispatcher``.

    Args:
        factory: Called after ROS is up.
        args: Command line, the process's own by default.
        threads: 1 for a single thread, which costs least; more for a pool.

    Returns:
        0 after a signal, 2 when parameters, arguments or the artifact cannot work: then one line says why. One that
        does not end after a signal is ended: see ``wm_ros.ending``.
    """
    # rclpy ends the context on a signal, and with it the spinning. KeyboardInterrupt on top of that could strike
    # anywhere, while nodes are being made or destroyed too.
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    with ending_in_time() as ending:
        try:
            check_security(os.environ)
            import_message_support()
            clean_shared_memory()
            keep_room()
            rclpy.init(args=list(args) if args is not None else None)
        except (RuntimeError, ConfigurationError) as error:
            return _refuse(error)
        try:
            _serve(factory, dispatching_executor(threads), ending)
        except _CannotStartError as error:
            return _refuse(error)
        finally:
            rclpy.try_shutdown()
            # Python gives handlers of its own back to the system before it ends; what is ignored stays ignored.
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
    return EXIT_OK


def _serve(factory: Callable[[], Sequence[Node]], executor: Executor, ending: Ending) -> None:
    """Makes the nodes and spins them until the context ends."""
    nodes: Sequence[Node] = []
    ending.begin = partial(_wake_once_ended, executor)
    # What is made now lives as long as the process: it is not looked through for garbage, neither while it is made nor
    # each time that a large message is read.
    gc.disable()
    try:
        nodes = _make(factory)
        for node in nodes:
            refuse_no_types(node)
            executor.add_node(node)
        _rest_before_end(nodes, executor, ending)
        gc.freeze()
        gc.enable()
        executor.spin()
    except ExternalShutdownException:
        pass
    except (RuntimeError, rclpy_implementation.InvalidHandle):
        # A signal while nodes are being made or served takes the context from under them.
        if rclpy.ok():
            raise
    finally:
        gc.enable()
        for node in nodes:
            node.destroy_node()
    _raise_refusal(nodes)


def _wake_once_ended(executor: Executor) -> None:
    """Wakes an executor when a signal has ended the context.

    rclpy wakes it just before: one that looks at the context in between, and has nothing to do, would wait for good.
    """
    while rclpy.ok():
        sleep(_LOOK_S)
    with suppress(RuntimeError, rclpy_implementation.InvalidHandle):  # it is gone
        executor.wake()


def _rest_before_end(nodes: Sequence[Node], executor: Executor, ending: Ending) -> None:
    """Has nodes that command a robot bring it to a stand before a signal ends the context and all that publishes."""
    commanding = [node for node in nodes if getattr(node, "commands_robot", False)]
    if not commanding:
        return

    def rest() -> None:
        for node in commanding:
            node.come_to_rest()  # type: ignore[attr-defined]

    def begin() -> None:
        try:
            _wait_for(executor, rest)
            _wait_for(executor, lambda: None)  # what the first has made ready was served before
        finally:
            rclpy.try_shutdown()

    ending.begin = begin
    # A signal from now on is what ``ending`` hears; rclpy's handlers would end the context at once.
    uninstall_signal_handlers()


def _wait_for(executor: Executor, work: Callable[[], None]) -> None:
    """Has an executor do something, and waits for it from another thread, for ``_REST_S`` at most."""
    done = threading.Event()
    executor.create_task(work).add_done_callback(lambda _: done.set())
    done.wait(_REST_S)


def _raise_refusal(nodes: Sequence[Node]) -> None:
    """Raises what a node that started beside others ended the context with."""
    for node in nodes:
        error = getattr(node, "refusal", None)
        if isinstance(error, (ConfigurationError, CoreError)) or is_of_a_name(error):
            raise _CannotStartError(str(error)) from error
        if error is not None:
            raise error


def _make(factory: Callable[[], Sequence[Node]]) -> Sequence[Node]:
    try:
        return factory()
    except (ConfigurationError, CoreError) as error:
        raise _CannotStartError(str(error)) from error
    except (RuntimeError, NameValidationException) as error:
        if is_of_a_name(error):
            raise _CannotStartError(str(error)) from error
        if rclpy.ok() and is_enforced(os.environ):
            raise _CannotStartError(f"security is to be enforced, and cannot be: {error}") from error
        raise


def _refuse(error: Exception) -> int:
    print(in_one_line(error), file=sys.stderr)  # noqa: T201
    return EXIT_CONFIGURATION
