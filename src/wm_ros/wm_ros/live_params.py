"""Parameters that may be set while a node runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from wm_ros.params import why_refused

ParamsT = TypeVar("ParamsT")


def follow_params(node: Node, params: ParamsT, apply: Callable[[ParamsT], None]) -> None:
    """Calls ``apply`` with all parameters whenever some that are ``runtime`` are set, after the checks of the start.

    Type, range and read-only are checked by ROS before; what cannot work is refused with the reason, and nothing
    changes.

    Args:
        node: Whose parameters.
        params: As ``declare_params`` returned them.
        apply: Takes the new ones; called from the executor.
    """
    fields = {field.name: field for field in dataclasses.fields(params)}  # type: ignore[arg-type]
    current = params

    def on_set(changed: Sequence[Parameter[Any]]) -> SetParametersResult:
        nonlocal current
        values = {each.name: each.value for each in changed if each.name in fields}
        for name, value in values.items():
            if why := why_refused(fields[name], value):
                return SetParametersResult(successful=False, reason=f"{name}{why}")
        try:
            new = dataclasses.replace(current, **values)  # type: ignore[type-var]
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        current = new
        if values:
            apply(new)
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(on_set)
