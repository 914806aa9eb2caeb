"""Tensors of the Open Inference Protocol: JSON, and the binary extension that Triton and KServe speak.

A binary body is JSON, as long as ``Inference-Header-Content-Length`` says, followed by the tensors' bytes in their
order, little-endian and row by row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wm_api.errors import ApiError, InvalidError

DTYPES: dict[str, np.dtype[Any]] = {"UINT8": np.dtype("u1"), "FP32": np.dtype("<f4"), "BOOL": np.dtype("?")}
"""Types of the tensors that are taken and given."""
MOST_VALUES = 50_000_000
_MOST_TENSORS = 16
_MOST_RANK = 8


@dataclass(frozen=True)
class Spec:
    """A tensor of a model as its metadata says: -1 is any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False

    def entry(self) -> dict[str, Any]:
        """Return it as metadata says it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


@dataclass(frozen=True)
class Asked:
    """A request to infer.

    Attributes:
        id: Returned as it came.
        inputs: By name.
        outputs: Names wanted, in their order, and whether each is to be binary.
    """

    id: str
    inputs: Mapping[str, np.ndarray]
    outputs: tuple[tuple[str, bool], ...]


def read_request(body: bytes, header_length: int | None, specs: Sequence[Spec], outputs: Sequence[Spec]) -> Asked:
    """Return what a body asks.

    Args:
        body: As sent.
        header_length: Bytes of JSON at its beginning; None: all of it.
        specs: Inputs of the model.
        outputs: Outputs of the model.

    Raises:
        ApiError: It cannot be read, or does not fit the model; the field is named.
    """
    entries = _object(body, header_length)
    binary = body[len(body) if header_length is None else header_length :]
    tensors: dict[str, np.ndarray] = {}
    used = 0
    given = entries.get("inputs")
    if not isinstance(given, list) or not 0 < len(given) <= _MOST_TENSORS:
        raise InvalidError("inputs", f"expected a list of 1 to {_MOST_TENSORS} tensors")
    by_name = {spec.name: spec for spec in specs}
    for at, entry in enumerate(given):
        spec, size = _checked(entry, at, by_name, tensors)
        if size is None:
            tensors[spec.name] = _of_json(entry, spec)
        else:
            tensors[spec.name] = _of_bytes(entry, spec, binary[used : used + size], size)
            used += size
    if used != len(binary):
        raise InvalidError("inputs", f"{len(binary)} bytes of binary data, the tensors take {used}")
    missing = [spec.name for spec in specs if spec.name not in tensors and not spec.optional]
    if missing:
        raise InvalidError(missing[0], "this input is missing")
    identity = entries.get("id", "")
    if not isinstance(identity, str) or len(identity) > 256:
        raise InvalidError("id", "expected a text of at most 256 characters")
    return Asked(identity, tensors, _outputs(entries, outputs))


def write_answer(
    head: Mapping[str, Any], tensors: Mapping[str, np.ndarray], asked: Asked, specs: Sequence[Spec]
) -> tuple[bytes, int | None]:
    """Return the body of an answer, and how much of it is JSON; None: all of it."""
    by_name = {spec.name: spec for spec in specs}
    entries, parts = [], []
    for name, is_binary in asked.outputs:
        array = np.ascontiguousarray(tensors[name], DTYPES[by_name[name].datatype])
        entry: dict[str, Any] = {"name": name, "datatype": by_name[name].datatype, "shape": list(array.shape)}
        if is_binary:
            parts.append(array.tobytes())
            entry["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            entry["data"] = array.ravel().tolist()
        entries.append(entry)
    named = {"id": asked.id} if asked.id else {}
    text = json.dumps({**head, **named, "outputs": entries}, separators=(",", ":"), allow_nan=False).encode()
    return text + b"".join(parts), len(text) if parts else None


def _object(body: bytes, header_length: int | None) -> dict[str, Any]:
    if header_length is not None and not 0 <= header_length <= len(body):
        raise ApiError(
            400, f"{header_length} bytes of JSON in a body of {len(body)}", "inference-header-content-length"
        )
    try:
        entries = json.loads(body[:header_length])
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "the body is not JSON", "body") from error
    if not isinstance(entries, dict):
        raise InvalidError("body", "expected an object")
    unknown = sorted(set(entries) - {"id", "parameters", "inputs", "outputs"})
    if unknown:
        raise InvalidError(_shown(unknown[0]), "unknown field")
    if not isinstance(entries.get("parameters", {}), dict):
        raise InvalidError("parameters", "expected an object")
    return entries


def _checked(entry: Any, at: int, specs: Mapping[str, Spec], seen: Mapping[str, np.ndarray]) -> tuple[Spec, int | None]:
    """Return which input an entry is, and its bytes of binary data; None: its data are JSON."""
    if not isinstance(entry, dict):
        raise InvalidError(f"inputs.{at}", "expected an object")
    unknown = sorted(set(entry) - {"name", "shape", "datatype", "parameters", "data"})
    if unknown:
        raise InvalidError(f"inputs.{at}.{_shown(unknown[0])}", "unknown field")
    name = entry.get("name")
    if not isinstance(name, str) or name not in specs or name in seen:
        raise InvalidError(f"inputs.{at}.name", f"expected each of {', '.join(specs)} once at most")
    spec = specs[name]
    if entry.get("datatype") != spec.datatype:
        raise InvalidError(f"{name}.datatype", f"expected {spec.datatype}")
    _check_shape(entry.get("shape"), spec)
    parameters = entry.get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidError(f"{name}.parameters", "expected an object")
    size = parameters.get("binary_data_size")
    if (size is None) == ("data" not in entry):
        raise InvalidError(f"{name}.data", "expected either data or parameters.binary_data_size")
    if size is not None and (type(size) is not int or size < 0):
        raise InvalidError(f"{name}.parameters.binary_data_size", "expected a number of bytes")
    return spec, size


def _check_shape(shape: Any, spec: Spec) -> None:
    is_list = isinstance(shape, list) and len(shape) <= _MOST_RANK
    if not is_list or not all(type(side) is int and 0 <= side <= MOST_VALUES for side in shape):
        raise InvalidError(f"{spec.name}.shape", "expected a list of sizes")
    fits = len(shape) == len(spec.shape) and all(want in (-1, side) for want, side in zip(spec.shape, shape))
    count = 1
    for side in shape:
        count *= side
    if not fits or not 0 < count <= MOST_VALUES:
        raise InvalidError(f"{spec.name}.shape", f"is {shape}, expected {list(spec.shape)} with values")


def _of_bytes(entry: Mapping[str, Any], spec: Spec, data: bytes, size: int) -> np.ndarray:
    dtype, shape = DTYPES[spec.datatype], entry["shape"]
    expected = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size != expected or len(data) != expected:
        raise InvalidError(
            f"{spec.name}.parameters.binary_data_size", f"{size} bytes, {len(data)} came, expected {expected}"
        )
    return _finite(np.frombuffer(bytearray(data), dtype).reshape(shape), spec)


def _of_json(entry: Mapping[str, Any], spec: Spec) -> np.ndarray:
    dtype, shape = DTYPES[spec.datatype], entry["shape"]
    data = entry["data"]
    if not isinstance(data, list):
        raise InvalidError(f"{spec.name}.data", "expected a list of numbers")
    kinds = {bool} if dtype.kind == "b" else {int, float}
    given = np.array(data, object).ravel()
    # Rows of several lengths stay lists.
    if not kinds.issuperset(map(type, given)):
        expected = " or ".join(sorted(kind.__name__ for kind in kinds))
        raise InvalidError(f"{spec.name}.data", f"expected each to be {expected}, and as many in each row")
    try:
        wide = given.astype(np.float64)
    except OverflowError as error:
        raise InvalidError(f"{spec.name}.data", "a number is too large") from error
    if wide.size != int(np.prod(shape, dtype=np.int64)):
        raise InvalidError(f"{spec.name}.data", f"{wide.size} values, the shape {shape} has another number")
    if dtype.kind == "u" and not ((wide >= 0) & (wide <= 255) & (wide == np.floor(wide))).all():
        raise InvalidError(f"{spec.name}.data", "expected whole numbers of 0 to 255")
    with np.errstate(over="ignore"):
        return _finite(wide.astype(dtype).reshape(shape), spec)


def _finite(array: np.ndarray, spec: Spec) -> np.ndarray:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidError(spec.name, "a value is not finite")
    return array


def _outputs(entries: Mapping[str, Any], specs: Sequence[Spec]) -> tuple[tuple[str, bool], ...]:
    usual = entries.get("parameters", {}).get("binary_data_output") is True
    wanted = entries.get("outputs")
    if wanted is None:
        return tuple((spec.name, usual) for spec in specs)
    known = {spec.name for spec in specs}
    if not isinstance(wanted, list) or not 0 < len(wanted) <= len(known):
        raise InvalidError("outputs", f"expected a list of some of {', '.join(sorted(known))}")
    found: dict[str, bool] = {}
    for at, entry in enumerate(wanted):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name not in known or name in found:
            raise InvalidError(f"outputs.{at}.name", f"expected each of {', '.join(sorted(known))} once at most")
        parameters = entry.get("parameters", {})
        if not isinstance(parameters, dict):
            raise InvalidError(f"outputs.{at}.parameters", "expected an object")
        if "classification" in parameters:
            raise InvalidError(f"outputs.{at}.parameters.classification", "these models classify nothing")
        found[name] = parameters.get("binary_data", usual) is True
    return tuple(found.items())


def _shown(name: str) -> str:
    return name.encode("ascii", "backslashreplace").decode()[:60]
