"""Stand-ins for ``launch`` and ``launch_ros``, so that launch files are checked where ROS's own are not installed.

They take what the real ones take and refuse other keywords; ``started`` says what a launch file would start.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any


class LaunchContext:
    """Holds launch arguments, as the command line gives them too, and the file that is being executed."""

    def __init__(self) -> None:
        self.launch_configurations: dict[str, str] = {}
        self.argv: list[str] = []
        self.launch_file = ""

    def get_locals_as_dict(self) -> dict[str, str]:
        """Return what ``launch`` says beside the arguments."""
        return {"current_launch_file_path": self.launch_file}


class LaunchDescription:
    """A list of entities."""

    def __init__(self, initial_entities: list[Any] | None = None) -> None:
        self.entities = list(initial_entities or [])


class Action:
    """Base of all stand-ins."""


class DeclareLaunchArgument(Action):
    """An argument with or without a default."""

    def __init__(
        self, name: str, *, default_value: str | None = None, description: str = "", choices: Any = None
    ) -> None:
        assert default_value is None or isinstance(default_value, str), f"{name}: launch takes text"
        self.name, self.default_value = name, default_value


class OpaqueFunction(Action):
    """A function of the context that returns actions."""

    def __init__(self, *, function: Callable[..., list[Action] | None], args: Any = None, kwargs: Any = None) -> None:
        self.function = function


class Shutdown(Action):
    """Ends the launch."""

    def __init__(self, *, reason: str = "reason not given") -> None:
        self.reason = reason


class LogInfo(Action):
    """Says something."""

    def __init__(self, *, msg: str) -> None:
        self.msg = msg


class ExecuteProcess(Action):
    """A process."""

    def __init__(self, *, cmd: list[str], output: str = "log", on_exit: Any = None, **options: Any) -> None:
        assert all(isinstance(word, str) for word in cmd), cmd
        assert not set(options) - {"name", "env", "additional_env", "shell", "respawn"}, options
        self.cmd = cmd


class Node(Action):
    """A node as a process."""

    def __init__(
        self,
        *,
        executable: str,
        package: str | None = None,
        name: str | None = None,
        namespace: str | None = None,
        parameters: list[Any] | None = None,
        remappings: list[tuple[str, str]] | None = None,
        arguments: list[str] | None = None,
        output: str = "log",
        on_exit: Any = None,
        respawn: bool = False,
        respawn_delay: float | None = None,
    ) -> None:
        self.on_exit, self.respawn, self.respawn_delay = on_exit, respawn, respawn_delay
        self.package, self.executable, self.name, self.namespace = package, executable, name, namespace or ""
        self.parameters, self.remappings, self.arguments = parameters or [], remappings or [], arguments or []


_MODULES: dict[str, tuple[type, ...]] = {
    "launch": (LaunchContext, LaunchDescription),
    "launch.action": (Action,),
    "launch.actions": (DeclareLaunchArgument, ExecuteProcess, LogInfo, OpaqueFunction, Shutdown),
    "launch_ros": (),
    "launch_ros.actions": (Node,),
}


@contextmanager
def stand_ins() -> Iterator[None]:
    """Put the stand-ins in the place of ``launch`` and ``launch_ros`` for a while."""
    affected = ("launch", "launch_ros", "wm_bringup.launching")
    before = {name: module for name, module in sys.modules.items() if name.startswith(affected)}
    for name in before:
        del sys.modules[name]
    for name, classes in _MODULES.items():
        module = ModuleType(name)
        vars(module).update({each.__name__: each for each in classes})
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.startswith(affected)]:
            del sys.modules[name]
        sys.modules.update(before)


def started(path: Path, arguments: Mapping[str, str] | None = None, command_line: Sequence[str] = ()) -> list[Action]:
    """Return the actions that a launch file comes to with arguments; call it within ``stand_ins``.

    Args:
        path: The launch file.
        arguments: What it is given.
        command_line: What ``ros2 launch`` was given, also what is meant for another file that includes this one.

    Raises:
        ValueError: An argument is not declared, or one without a default is not given.
    """
    spec = importlib.util.spec_from_file_location(path.name.replace(".", "_"), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entities = module.generate_launch_description().entities
    declared = {each.name: each.default_value for each in entities if isinstance(each, DeclareLaunchArgument)}
    context = LaunchContext()
    context.argv = list(command_line)
    context.launch_file = str(path)
    unknown = set(arguments or {}) - set(declared)
    values = declared | dict(arguments or {})
    missing = [name for name, value in values.items() if value is None]
    if unknown or missing:
        raise ValueError(f"{path.name}: unknown arguments {sorted(unknown)}, missing {missing}")
    context.launch_configurations.update({name: str(value) for name, value in values.items()})
    actions: list[Action] = []
    for entity in entities:
        if isinstance(entity, OpaqueFunction):
            actions += entity.function(context) or []
        elif not isinstance(entity, DeclareLaunchArgument):
            actions.append(entity)
    return actions
