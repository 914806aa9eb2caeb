"""What ``--help`` says of a node."""

from __future__ import annotations

import dataclasses
import inspect

from wm_ros.params import value_range

_USAGE = "options: -h, --help, and ROS's own: --ros-args -p NAME:=VALUE --params-file FILE -r FROM:=TO -r __ns:=/ROBOT"


def help_text(node: type, params: type) -> str:
    """Returns what a node does, how parameters are given to it, and each of them with default and meaning.

    Args:
        node: Its class, whose docstring says what it does.
        params: Its parameters, as for ``declare_params``.
    """
    about = inspect.cleandoc(node.__doc__ or "").split("\n\nArgs:")[0].replace("``", "")
    lines = [about, "", _USAGE, "", "parameters:"]
    for field in dataclasses.fields(params):
        assert callable(field.default_factory), "parameters are declared by param()"
        notes = [f"default {field.default_factory()!r}", value_range(field)]
        if field.metadata["env"]:
            notes.append(f"environment variable {field.metadata['env']}")
        if field.metadata["runtime"]:
            notes.append("may be set while running")
        lines.append(f"  {field.name} ({'; '.join(filter(None, notes))})\n      {field.metadata['description']}")
    return "\n".join(lines)
