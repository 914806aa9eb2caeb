"""ONNX models whose weights lie in a TorchScript file."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Any

import numpy as np

# Smaller ones stay in the graph, whose notes of them would be as long.
_LEAST_BYTES = 256
_MEMBER = re.compile(r"[^/]+/((?:data|constants)/\d+)")


def places(content: bytes) -> dict[bytes, tuple[str, int]]:
    """Return the arrays of a TorchScript file: their bytes -> name in the archive, and where they begin in the file."""
    found: dict[bytes, tuple[str, int]] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            named = _MEMBER.fullmatch(entry.filename)
            if named is None or entry.compress_type != zipfile.ZIP_STORED:
                continue
            # A local header is followed by a name and a field whose lengths it ends with.
            lengths = content[entry.header_offset + 26 : entry.header_offset + 30]
            begin = entry.header_offset + 30 + int.from_bytes(lengths[:2], "little")
            begin += int.from_bytes(lengths[2:], "little")
            found.setdefault(content[begin : begin + entry.file_size], (named[1], begin))
    return found


def external_weights(model: Any, content: bytes, file: str) -> tuple[bytes, dict[str, str]]:
    """Return a model less the weights that a TorchScript file holds, and where each of those lies in it.

    The model refers to them in ONNX's own way, too, so that any tool reads it beside the file.

    Args:
        model: ONNX model; it is changed.
        content: The TorchScript file.
        file: Its name.
    """
    from onnx import TensorProto, helper, numpy_helper

    lies, graph = places(content), model.graph
    kept, turns, weights = [], [], {}
    for tensor in graph.initializer:
        value = numpy_helper.to_array(tensor)
        is_weight = tensor.data_type == TensorProto.FLOAT and value.nbytes >= _LEAST_BYTES
        turned = np.ascontiguousarray(value.T)
        if is_weight and value.tobytes() in lies:
            name, stored = tensor.name, value
        elif is_weight and value.ndim == 2 and turned.tobytes() in lies:
            # The exporter turned it; the runtime turns it once, when it is opened.
            name, stored = f"{tensor.name}.stored", turned
            turns.append(helper.make_node("Transpose", [name], [tensor.name], perm=[1, 0]))
        else:
            kept.append(tensor)
            continue
        member, begin = lies[stored.tobytes()]
        weights[name] = f"{member}:{'x'.join(map(str, stored.shape))}"
        kept.append(_external(name, stored, file, begin))
    nodes = [*turns, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    _strip(model)
    result: bytes = model.SerializeToString(deterministic=True)
    return result, weights


def _external(name: str, value: np.ndarray, file: str, begin: int) -> Any:
    from onnx import StringStringEntryProto, TensorProto

    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=value.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, said in (("location", file), ("offset", begin), ("length", value.nbytes)):
        tensor.external_data.append(StringStringEntryProto(key=key, value=str(said)))
    return tensor


def _strip(model: Any) -> None:
    """Leave out what only the exporter's authors read, which is longer than the graph."""
    graph = model.graph
    del graph.value_info[:], graph.metadata_props[:], model.metadata_props[:]
    for each in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        each.doc_string = ""
    for each in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        del each.metadata_props[:]
