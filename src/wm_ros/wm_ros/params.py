"""Node parameters declared once, in a dataclass: type, default, range, description.

rclpy silently ignores a misspelt key and refuses ``10`` for a double; here the first is an error that names the key,
and the second is read as 10.0.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
from typing import Any, TypeVar, get_type_hints

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from wm_ros.errors import ParameterError

ParamsT = TypeVar("ParamsT")

_TYPES: dict[Any, Parameter.Type] = {
    bool: Parameter.Type.BOOL,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
    str: Parameter.Type.STRING,
    list[str]: Parameter.Type.STRING_ARRAY,
    list[float]: Parameter.Type.DOUBLE_ARRAY,
    list[int]: Parameter.Type.INTEGER_ARRAY,
}
_ARRAYS_OF = {Parameter.Type.DOUBLE_ARRAY: Parameter.Type.INTEGER_ARRAY, Parameter.Type.DOUBLE: Parameter.Type.INTEGER}
# Characters of a text, values of a list.
_LONGEST = 4096
_FOREIGN = ("use_sim_time", "start_type_description_service", "qos_overrides")


def param(
    default: Any,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    env: str | None = None,
    alias: str | None = None,
    runtime: bool = False,
) -> Any:
    """Returns a dataclass field that declares one parameter.

    Args:
        default: Value when nothing else is given; its type is the parameter's.
        description: Shown by ``ros2 param describe``.
        low: Least value, inclusive.
        high: Greatest value, inclusive.
        choices: The only strings allowed.
        env: Environment variable that replaces the default where it is set and not empty.
        alias: Former name, which is still understood, with a warning.
        runtime: Whether it may be set while the node runs; the node then follows it by ``follow_params``.
    """
    metadata = {
        "description": description, "low": low, "high": high, "choices": choices, "env": env, "alias": alias,
        "runtime": runtime,
    }  # fmt: skip

    def resolve() -> Any:
        text = os.environ.get(env, "") if env else ""
        if text:
            return _from_environment(str(env), text, default)
        return list(default) if isinstance(default, (list, tuple)) else default

    return dataclasses.field(default_factory=resolve, metadata=metadata)


def _from_environment(name: str, text: str, default: Any) -> Any:
    """Returns ``text`` as a value of the type of ``default``."""
    if isinstance(default, bool):
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off"):
            return False
        raise ParameterError(f"environment variable {name}={text!r}: expected true or false")
    try:
        return type(default)(text)
    except ValueError as error:
        raise ParameterError(f"environment variable {name}={text!r}: expected {type(default).__name__}") from error


def environment_overrides(params: type) -> dict[str, Any]:
    """Returns {parameter: value} of every parameter of ``params`` whose environment variable is set.

    Parameter files set every key, so launch files put these after the file for the environment to count.

    Raises:
        ParameterError: A variable does not hold a value of its parameter's type.
    """
    fields = dataclasses.fields(params)
    return {
        field.name: _default_of(field)
        for field in fields
        if field.metadata.get("env") and os.environ.get(field.metadata["env"])
    }


def declare_params(node: Node, params: type[ParamsT]) -> ParamsT:
    """Returns ``params`` filled from the node's parameters, after declaring them all, read-only but for runtime ones.

    Raises:
        ParameterError: A given key is not a parameter, a value has the wrong type or lies out of range, or a parameter
            is given under its former name too; the message names it.
    """
    hints = get_type_hints(params)
    fields = dataclasses.fields(params)  # type: ignore[arg-type]
    for field in fields:
        if field.metadata.get("alias") in node._parameter_overrides:
            _take_former(node, field, _TYPES[hints[field.name]])
    _refuse_unknown(node, [field.name for field in fields])
    values = {field.name: _declare(node, field, _TYPES[hints[field.name]]) for field in fields}
    try:
        return params(**values)
    except ParameterError:
        raise
    except ValueError as error:
        raise ParameterError(f"{node.get_name()}: {error}") from error


def _take_former(node: Node, field: dataclasses.Field[Any], kind: Parameter.Type) -> None:
    """Moves what is given under a parameter's former name to its present one."""
    former = field.metadata["alias"]
    given = node._parameter_overrides.pop(former)
    _read_integers_as_doubles(node, field.name, kind)
    present = node._parameter_overrides.get(field.name)
    # Parameter files set every key: one that holds the default says nothing against what the user wrote elsewhere.
    if present is not None and present.value not in (_default_of(field), given.value):
        raise ParameterError(
            f"{node.get_name()}: '{former}' = {given.value!r} is the former name of '{field.name}', "
            f"which is given too, as {present.value!r}"
        )
    node._parameter_overrides[field.name] = Parameter(field.name, value=given.value)
    node.get_logger().warning(f"parameter '{former}' is now called '{field.name}'; the former name goes with a release")


def _refuse_unknown(node: Node, known: list[str]) -> None:
    for name in node._parameter_overrides:
        if name in known or name.split(".")[0] in _FOREIGN:
            continue
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(sorted(known))}"
        raise ParameterError(f"{node.get_name()}: unknown parameter '{name}'{hint}")


def _declare(node: Node, field: dataclasses.Field[Any], kind: Parameter.Type) -> Any:
    default = _default_of(field)
    _read_integers_as_doubles(node, field.name, kind)
    low, high, choices = (field.metadata[name] for name in ("low", "high", "choices"))
    descriptor = ParameterDescriptor(
        name=field.name,
        type=kind.value,
        description=field.metadata["description"],
        additional_constraints=value_range(field) if choices else "",
        read_only=not field.metadata["runtime"],
    )
    if low is not None or high is not None:
        _set_range(descriptor, kind, low, high)
    try:
        value = node.declare_parameter(field.name, Parameter(field.name, kind, default).value, descriptor).value
    except InvalidParameterTypeException:
        given = node._parameter_overrides[field.name]
        raise ParameterError(
            f"{node.get_name()}: parameter '{field.name}' = {given.value!r} is {given.type_.name.lower()}, "
            f"expected {kind.name.lower()}"
        ) from None
    except InvalidParameterValueException:
        wrong = node._parameter_overrides.get(field.name)
        raise ParameterError(
            f"{node.get_name()}: parameter '{field.name}' = {wrong.value if wrong else default!r} is out of range "
            f"[{'-inf' if low is None else low}, {'inf' if high is None else high}]"
        ) from None
    if why := why_refused(field, value):
        raise ParameterError(f"{node.get_name()}: parameter '{field.name}'{why}")
    return list(value) if kind.name.endswith("ARRAY") else value


def why_refused(field: dataclasses.Field[Any], value: Any) -> str:
    """Returns what is wrong with a value of a parameter beyond its type and range; "" for nothing."""
    choices = field.metadata["choices"]
    if isinstance(value, str):
        if len(value) > _LONGEST:
            return f" has {len(value)} characters, expected at most {_LONGEST}"
        return f" = {value!r}, expected one of {list(choices)}" if choices and value not in choices else ""
    parts = [value] if isinstance(value, bool | int | float) else list(value)
    if len(parts) > _LONGEST:
        return f" has {len(parts)} values, expected at most {_LONGEST}"
    for each in parts:
        if isinstance(each, float) and not math.isfinite(each):
            return f" = {value!r}, expected finite numbers"
        if isinstance(each, str) and len(each) > _LONGEST:
            return f" holds a text of {len(each)} characters, expected at most {_LONGEST}"
    return ""


def value_range(field: dataclasses.Field[Any]) -> str:
    """Returns which values a parameter may have, in words; "" for any of its type."""
    low, high, choices = (field.metadata[name] for name in ("low", "high", "choices"))
    if choices:
        return f"one of {', '.join(choices)}"
    if low is None and high is None:
        return ""
    return f"{'-inf' if low is None else low} to {'inf' if high is None else high}"


def _default_of(field: dataclasses.Field[Any]) -> Any:
    assert callable(field.default_factory), "parameters are declared by param()"
    return field.default_factory()


def _read_integers_as_doubles(node: Node, name: str, kind: Parameter.Type) -> None:
    given = node._parameter_overrides.get(name)
    if given is None or _ARRAYS_OF.get(kind) != given.type_:
        return
    value = [float(each) for each in given.value] if kind == Parameter.Type.DOUBLE_ARRAY else float(given.value)
    node._parameter_overrides[name] = Parameter(name, kind, value)


def _set_range(descriptor: ParameterDescriptor, kind: Parameter.Type, low: float | None, high: float | None) -> None:
    if kind == Parameter.Type.DOUBLE:
        bounds = FloatingPointRange(
            from_value=float("-inf") if low is None else float(low),
            to_value=float("inf") if high is None else float(high),
        )
        descriptor.floating_point_range.append(bounds)
    else:
        limit = 2**62
        bounds = IntegerRange(
            from_value=-limit if low is None else int(low), to_value=limit if high is None else int(high), step=1
        )
        descriptor.integer_range.append(bounds)
