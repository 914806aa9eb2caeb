"""Nothing that is not finite leaves a node: every number of an outgoing message is looked at.

NaN says "not known" in the fields whose message definition says so, and nowhere else. Infinity is never sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.publisher import Publisher

MAY_BE_UNKNOWN: Mapping[str, frozenset[str]] = {
    "LatentState": frozenset({"pose_std"}),
    "LatentForecast": frozenset({"pose_std"}),
    "LatentPrediction": frozenset({"memory_query_ms", "window_age_s"}),
    "VisualHistory": frozenset({"surprise"}),
    "MemoryRecord": frozenset({"surprise"}),
}
"""{message: its fields in which NaN means that a value is not known}."""

# What single precision cannot hold arrives as infinity.
_LARGEST = {"float": float(np.finfo(np.float32).max), "double": float(np.finfo(np.float64).max)}
# Drawings and reports carry no state, and have thousands of points.
_NOT_LOOKED_INTO = ("visualization_msgs", "diagnostic_msgs", "lifecycle_msgs", "rosgraph_msgs", "builtin_interfaces")

_Check = Callable[[Any], bool]
_KNOWN: dict[type, tuple[tuple[str, _Check], ...]] = {}


def non_finite_field(msg: Any) -> str:
    """Returns the name of the first field of a message that holds a number that is not finite; "" where none does."""
    for name, is_good in _checks(type(msg)):
        if not is_good(getattr(msg, name)):
            return name
    return ""


def _checks(kind: type) -> tuple[tuple[str, _Check], ...]:
    """Returns (field, its check) of those fields of a message class that hold numbers."""
    if kind not in _KNOWN:
        _KNOWN[kind] = _new_checks(kind)
    return _KNOWN[kind]


def _new_checks(kind: type) -> tuple[tuple[str, _Check], ...]:
    may_be_nan = MAY_BE_UNKNOWN.get(kind.__name__, frozenset())
    fields: Mapping[str, str] = kind.get_fields_and_field_types()  # type: ignore[attr-defined]
    found = ((name, _check_of(text, name in may_be_nan)) for name, text in fields.items())
    return tuple((name, check) for name, check in found if check is not None)


def _check_of(text: str, may_be_nan: bool) -> _Check | None:
    """Returns the check of a field of a type as ROS names it, None where it holds no numbers."""
    element, is_many = _element(text)
    if element in _LARGEST:
        largest = _LARGEST[element]
        if is_many:
            return lambda values: _all_within(values, largest, may_be_nan)
        return lambda value: abs(value) <= largest or (may_be_nan and math.isnan(value))
    package, slash, name = element.partition("/")
    if not slash or package in _NOT_LOOKED_INTO:
        return None
    kind = getattr(import_module(f"{package}.msg"), name)
    if not _checks(kind):
        return None
    if is_many:
        return lambda msgs: not any(non_finite_field(each) for each in msgs)
    return lambda msg: not non_finite_field(msg)


def _element(text: str) -> tuple[str, bool]:
    """Returns the type of a field's elements, and whether it may have several (``sequence<float>``, ``double[36]``)."""
    if text.startswith("sequence<"):
        return text.removeprefix("sequence<").removesuffix(">").split(",")[0].strip(), True
    element, bracket, _ = text.partition("[")
    return element, bool(bracket)


def _all_within(values: Any, largest: float, may_be_nan: bool) -> bool:
    if len(values) == 0:
        return True
    array = np.asarray(values)
    if array.dtype == np.float32 and not may_be_nan:
        return bool(np.isfinite(array).all())
    is_good_N = np.abs(array) <= largest
    return bool((is_good_N | np.isnan(array) if may_be_nan else is_good_N).all())


if TYPE_CHECKING:
    _Publisher = Publisher[Any]
else:
    # Humble's takes no type.
    _Publisher = Publisher


class FinitePublisher(_Publisher):
    """A publisher that keeps back a message with a number that is not finite, and tells its node."""

    refuse: Callable[[str], None] | None = None

    def publish(self, msg: Any) -> None:
        """Publishes a message, unless it holds a number that is not finite or its node is being shut."""
        field = "" if isinstance(msg, bytes) else non_finite_field(msg)
        if field and self.refuse is not None:
            self.refuse(f"{self.topic_name}: {field}")
            return
        super().publish(msg)
