"""Messages that nobody should send: any field of any type may hold any value that its type can."""

from __future__ import annotations

import math
import random
import re
from array import array
from collections.abc import Mapping
from typing import Any

from wm_interfaces.msg import LatentState
from wm_ros import message_class

FLOATS = (math.nan, math.inf, -math.inf, 1e20, -1e20, 3e38, 1e-30, -1.0, 0.0, 1.0, 0.5, 1e7, -9e6)
TEXTS = ("", "map", "odom", "x" * 257, "x" * 100_000, "\n\x1b[2J", "../../etc", "\N{SNOWMAN}")
LENGTHS = (0, 0, 1, 2, 3, 5, 33, 1500)
_SEQUENCE = re.compile(r"^(?:sequence<([^,>]+)(?:, *(\d+))?>|([^\[]+)\[(\d+)\])$")
_INTEGER = re.compile(r"^(u?)int(\d+)$|^octet$|^byte$|^char$")
_CODES = {"float": "f", "double": "d", "float32": "f", "float64": "d", "int8": "b", "uint8": "B", "octet": "B",
          "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q"}  # fmt: skip


def hostile(kind: Any, rng: random.Random, usual: Mapping[str, Any] | None = None, wildness: float = 0.5) -> Any:
    """Return a message of a kind with random fields.

    Args:
        kind: Of message, request or goal.
        rng: Decides.
        usual: Values that a field of a name has where it is not wild, in whatever part of the message.
        wildness: Share of the fields that are anything.
    """
    msg = kind()
    for name, text in kind.get_fields_and_field_types().items():
        if rng.random() < wildness:
            setattr(msg, name, _value(text, rng, usual or {}, wildness))
        elif usual and name in usual:
            setattr(msg, name, usual[name])
        elif "/" in text and not _SEQUENCE.match(text):
            setattr(msg, name, hostile(message_class(_full(text), name), rng, usual, wildness / 2))
    return msg


def _full(text: str) -> str:
    package, name = text.split("/")
    return f"{package}/msg/{name}"


def _value(text: str, rng: random.Random, usual: Mapping[str, Any], wildness: float) -> Any:
    found = _SEQUENCE.match(text)
    if found is not None:
        return _values(found, rng, usual, wildness)
    if text in ("float", "double", "float32", "float64"):
        return rng.choice(FLOATS)
    if text == "boolean":
        return rng.random() < 0.5
    if text.startswith(("string", "wstring")):
        return rng.choice(TEXTS)
    if (number := _INTEGER.match(text)) is not None:
        return _integer(number, rng)
    return hostile(message_class(_full(text), text), rng, usual, wildness)


def _integer(number: re.Match[str], rng: random.Random) -> int:
    bits = int(number[2] or 8)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if number[2] and not number[1] else (0, 2**bits - 1)
    values: list[int] = [low, high, 0, 1, min(7, high), min(4096, high)]
    return rng.choice(values)


def _values(found: re.Match[str], rng: random.Random, usual: Mapping[str, Any], wildness: float) -> Any:
    text = found[1] or found[3]
    count = int(found[4]) if found[4] else min(rng.choice(LENGTHS), int(found[2] or 10**9))
    if text in _CODES:
        values = [_value(text, rng, usual, wildness) for _ in range(count)]
        return values if found[4] else array(_CODES[text], values)
    return [_value(text, rng, usual, wildness) for _ in range(min(count, 40))]


def assault(world: Any, usual: Mapping[str, Any], goals: int, seed: int = 0) -> None:
    """Send a served robot goals and states that nobody should: each goal is answered, none is an unexpected error.

    Args:
        world: A ``ServedRobot``.
        usual: As for ``hostile``.
        goals: How many.
        seed: Decides.

    Raises:
        AssertionError: A goal was not answered, or the node counted an error that it did not expect.
    """
    rng, results = random.Random(seed), []
    kind = world.client._action_type
    for _ in range(goals):
        goal = hostile(kind.Goal, rng, usual, rng.choice([0.1, 0.3, 0.6]))
        handle = world.wait(world.client.send_goal_async(goal))
        if handle.accepted:
            results.append(handle.get_result_async())
        world.states.publish(hostile(LatentState, rng, usual, rng.choice([0.05, 0.3])))
        assert world.node._health.counted("faults") == 0, goal
    if goals:
        last = world.wait(world.client.send_goal_async(kind.Goal(time_limit_s=0.2)))
        results.append(last.get_result_async())
    for result in results:
        assert world.wait(result).result.name
    assert world.node._health.counted("faults") == 0
