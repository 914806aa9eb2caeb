"""How much work a message is for rclpy, read in the message as C holds it, before Python objects are made of it.

One object takes rclpy some microseconds with the interpreter held, so that 20 000 records in one request silence every
node of the process for 0.7 s; their number stands in the message. Layouts follow ``rosidl_generator_c``: members in
their order with C's own alignment, strings and sequences as data, size and capacity.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

_WORD = ctypes.sizeof(ctypes.c_size_t)
_WORD_CODE = {4: "I", 8: "Q"}[_WORD]
_BASIC: dict[str, type] = {
    "boolean": ctypes.c_bool, "octet": ctypes.c_uint8, "byte": ctypes.c_uint8, "char": ctypes.c_uint8,
    "wchar": ctypes.c_uint16, "float": ctypes.c_float, "double": ctypes.c_double, "long double": ctypes.c_longdouble,
    **{f"{sign}int{bits}": getattr(ctypes, f"c_{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
# Sequences of these become lists, an object for each element; of others arrays, in one go.
_ONE_BY_ONE = ("boolean", "octet", "char", "wchar")
# Bytes copied in about the time that one object takes.
_BYTES_PER_OBJECT = 4096


class _Many(ctypes.Structure):
    """A string or a sequence."""

    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("capacity", ctypes.c_size_t)]


class Part(NamedTuple):
    """A string or sequence within a message.

    Attributes:
        offset: Where in it [bytes].
        name: Of the field, with those of the messages that it lies in.
        element: What it is a sequence of; None: plain values, copied in one go.
        item_bytes: Of such a value [bytes].
    """

    offset: int
    name: str
    element: Layout | None
    item_bytes: int


@dataclass(frozen=True)
class Layout:
    """How C holds a message.

    Attributes:
        size: Of one [bytes].
        objects: That are made of one, whatever it holds.
        parts: What may hold any number.
        reader: Reads data and size of all parts of one.
    """

    size: int
    objects: int
    parts: tuple[Part, ...]
    reader: struct.Struct


class Excess(NamedTuple):
    """What of a message is beyond a limit.

    Attributes:
        name: Of the field; empty: the message as a whole.
        amount: Elements of the field, or objects.
        most: The limit.
    """

    name: str
    amount: int
    most: int


def excess(address: int, layout: Layout, most: int, most_of: Sequence[tuple[str, int]] = ()) -> Excess | None:
    """Return what of a message is beyond its limits, None where nothing is.

    Args:
        address: Of the message.
        layout: Of the message.
        most: Objects that may be made of it, bytes counted as what they take the time of.
        most_of: Fields of the message itself, and how many elements each may have.
    """
    if layout.parts:
        sizes = layout.reader.unpack((ctypes.c_char * layout.size).from_address(address))[1::2]
        by_name = {part.name: size for part, size in zip(layout.parts, sizes)}
        for name, limit in most_of:
            if by_name[name] > limit:
                return Excess(name, by_name[name], limit)
    work = _work(address, 1, layout, most)
    return Excess("", work, most) if work > most else None


def _work(address: int, count: int, layout: Layout, most: int) -> int:
    """Return how many objects would be made of some messages side by side; beyond ``most`` no more is counted."""
    work = count * layout.objects
    if not layout.parts or not count or work > most:
        return work
    block = (ctypes.c_char * (count * layout.size)).from_address(address)
    for found in layout.reader.iter_unpack(block):
        for part, data, size in zip(layout.parts, found[::2], found[1::2]):
            if part.element is None:
                work += size * part.item_bytes // _BYTES_PER_OBJECT
            elif size:
                work += _work(data, size, part.element, most - work)
        if work > most:
            break
    return work


@cache
def layout_of(kind: type) -> Layout:
    """Return the layout of a message class.

    Raises:
        KeyError: It has a field of a type that is not known here.
    """
    structure, objects, parts = _described(kind)
    return _layout(ctypes.sizeof(structure), objects, parts)


def _layout(size: int, objects: int, parts: Sequence[Part]) -> Layout:
    code, at = "=", 0
    for part in parts:
        code += f"{part.offset - at}x{_WORD_CODE}{_WORD_CODE}"
        at = part.offset + 2 * _WORD
    return Layout(size, objects, tuple(parts), struct.Struct(f"{code}{size - at}x"))


@cache
def _described(kind: Any) -> tuple[type[ctypes.Structure], int, tuple[Part, ...]]:
    """Return a message class as C declares it, how many objects one is, and its parts."""
    names = [name.lstrip("_") for name in kind.get_fields_and_field_types()]
    types = list(kind.SLOT_TYPES)
    fields = [(f"field_{name}", _c_type(of)) for name, of in zip(names, types)]
    # C has no structure without members.
    structure = type(kind.__name__, (ctypes.Structure,), {"_fields_": fields or [("none", ctypes.c_uint8)]})
    objects, parts = 1, list[Part]()
    for name, of in zip(names, types):
        more, within = _parts_of(of, name)
        objects += more
        offset = getattr(structure, f"field_{name}").offset
        parts += [part._replace(offset=part.offset + offset) for part in within]
    return structure, objects, tuple(parts)


def _c_type(of: Any) -> Any:
    if _is_sequence(of) or _is_string(of):
        return _Many
    if _is_array(of):
        return _c_type(of.value_type) * of.size
    return _described(_class_of(of))[0] if hasattr(of, "namespaces") else _BASIC[of.typename]


def _parts_of(of: Any, name: str) -> tuple[int, list[Part]]:
    """Return how many objects a field is beside its message, and its parts."""
    if _is_sequence(of):
        return 0, [_sequence_part(of.value_type, name)]
    if _is_string(of):
        return 0, [Part(0, name, None, 1)]
    if _is_array(of):
        objects, parts = _parts_of(of.value_type, name)
        size = ctypes.sizeof(_c_type(of.value_type))
        return objects * of.size, [
            part._replace(offset=part.offset + at * size) for at in range(of.size) for part in parts
        ]
    if not hasattr(of, "namespaces"):
        return 0, []
    _, objects, found = _described(_class_of(of))
    return objects, [part._replace(name=f"{name}.{part.name}") for part in found]


def _sequence_part(of: Any, name: str) -> Part:
    if _is_string(of):
        return Part(0, name, _layout(ctypes.sizeof(_Many), 1, [Part(0, name, None, 1)]), 0)
    if hasattr(of, "namespaces"):
        return Part(0, name, layout_of(_class_of(of)), 0)
    size = ctypes.sizeof(_BASIC[of.typename])
    return Part(0, name, _layout(size, 1, []), 0) if of.typename in _ONE_BY_ONE else Part(0, name, None, size)


def _is_sequence(of: Any) -> bool:
    return type(of).__name__ in ("UnboundedSequence", "BoundedSequence")


def _is_array(of: Any) -> bool:
    return type(of).__name__ == "Array"


def _is_string(of: Any) -> bool:
    return type(of).__name__.endswith("String")


def _class_of(of: Any) -> Any:
    module = import_module(".".join(of.namespaces))
    if hasattr(module, of.name):
        return getattr(module, of.name)
    # Of an action, such as Plan_Goal.
    owner, _, member = of.name.rpartition("_")
    return getattr(getattr(module, owner), member)


def sizes_in(address: int, layout: Layout, count: int = 1) -> Iterator[int]:
    """Yield the sizes of all strings and sequences of messages side by side, in the order of their fields."""
    for at in range(count):
        begin = address + at * layout.size
        found = layout.reader.unpack((ctypes.c_char * layout.size).from_address(begin)) if layout.parts else ()
        for part, data, size in zip(layout.parts, found[::2], found[1::2]):
            yield size
            if part.element is not None:
                yield from sizes_in(data, part.element, size)


def sample(kind: Any, seed: int = 0) -> Any:
    """Return a message of a class whose strings and sequences have lengths that tell them apart."""
    msg = kind()
    for at, (name, of) in enumerate(zip(kind.get_fields_and_field_types(), kind.SLOT_TYPES), start=seed):
        setattr(msg, name, _sample_of(of, at))
    return msg


def _sample_of(of: Any, at: int) -> Any:
    if _is_string(of):
        return "x" * (at % 5 + 1)
    if _is_sequence(of) or _is_array(of):
        count = of.size if _is_array(of) else min(at % 3 + 1, getattr(of, "maximum_size", 3))
        return [_sample_of(of.value_type, at + each) for each in range(count)]
    if hasattr(of, "namespaces"):
        return sample(_class_of(of), at)
    return {"boolean": False, "octet": b"\0", "wchar": "x", "float": 0.0, "double": 0.0}.get(of.typename, 0)


def sizes_of(msg: Any) -> Iterator[int]:
    """Yield the sizes of all strings and sequences of a message, in the order of their fields."""
    for name, of in zip(msg.get_fields_and_field_types(), msg.SLOT_TYPES):
        yield from _sizes_of(getattr(msg, name), of)


def _sizes_of(value: Any, of: Any) -> Iterator[int]:
    if _is_string(of):
        yield len(value)
    elif hasattr(of, "namespaces"):
        yield from sizes_of(value)
    elif _is_sequence(of) or _is_array(of):
        if _is_sequence(of):
            yield len(value)
        if _is_string(of.value_type) or hasattr(of.value_type, "namespaces"):
            for each in value:
                yield from _sizes_of(each, of.value_type)
