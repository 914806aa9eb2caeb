"""Parts of an artifact as ONNX graphs beside their TorchScript file, one for each method.

A graph holds its nodes and small constants; its weights lie once, in the TorchScript file, which is an archive of plain
arrays. So both say the same by construction, and a graph is opened without torch.

manifest.json   "graphs": {PART: what ``PartGraphs`` names}
PART.METHOD.onnx
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from world_model.errors import ArtifactError
from world_model.runtime.onnx_session import open_session

TORCHSCRIPT, ONNXRUNTIME = "torchscript", "onnxruntime"

_PLACE = re.compile(r"((?:data|constants)/\d{1,9}):(\d{1,12}(?:x\d{1,12}){0,7})")
_MOST_ENTRIES = 100_000


@dataclass(frozen=True, kw_only=True)
class PartGraphs:
    """What a manifest says of one part's graphs.

    Attributes:
        of: SHA-256 (hex) of the TorchScript file that they are of.
        runtime: What runs the part on a processor: whichever was faster where it was exported.
        files: Method -> file; empty where TorchScript runs it.
        weights: Method -> name of a weight -> where it lies in the TorchScript file, ``data/7:96x32``.
        buffers: Name of a statistic of the part -> where it lies.
        difference: Largest difference between both runtimes, latents in their standard deviations.
        ms: Runtime -> median time of one call of each method together, batch 1 [ms].
    """

    of: str
    runtime: str
    files: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    buffers: Mapping[str, str] = field(default_factory=dict)
    difference: float = 0.0
    ms: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no exporter writes."""
        if self.runtime not in (TORCHSCRIPT, ONNXRUNTIME):
            raise ArtifactError(f"manifest: graphs: runtime is {self.runtime!r:.60}")
        tables = [self.files, self.weights, self.buffers, self.ms]
        if not all(isinstance(each, Mapping) for each in tables) or not isinstance(self.of, str):
            raise ArtifactError("manifest: graphs: an entry is of another type")
        places = [self.buffers, *self.weights.values()]
        if not all(isinstance(each, Mapping) for each in places) or sum(map(len, places)) > _MOST_ENTRIES:
            raise ArtifactError("manifest: graphs: weights are no tables, or too many")
        for place in (place for each in places for place in each.values()):
            if not isinstance(place, str) or _PLACE.fullmatch(place) is None:
                raise ArtifactError(f"manifest: graphs: {place!r:.60} is no place in a TorchScript file")
        if not all(isinstance(name, str) for name in self.files.values()) or set(self.files) != set(self.weights):
            raise ArtifactError("manifest: graphs: files and weights are of different methods")

    @classmethod
    def of_manifest(cls, entry: Any) -> PartGraphs:
        """Return an entry of a manifest.

        Raises:
            ArtifactError: It is damaged.
        """
        known = {each.name for each in fields(cls)}
        if not isinstance(entry, dict) or not {"of", "runtime"} <= set(entry) <= known:
            raise ArtifactError(f"manifest: graphs: {entry!r:.60} is none")
        return cls(**entry)


class Arrays:
    """The arrays of a TorchScript file.

    Args:
        content: The file.
        name: What to call it in an error.

    Raises:
        ArtifactError: It is no TorchScript file.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self._name = name
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(content))
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise ArtifactError(f"{name} is not a TorchScript file: {error}") from error
        files = self._archive.namelist()
        self._root = files[0].split("/", 1)[0] if files else ""

    def at(self, place: str) -> np.ndarray:
        """Return a single-precision array that can be written to.

        Args:
            place: As ``PartGraphs`` has it.

        Raises:
            ArtifactError: Nothing lies there, or something of another size.
        """
        found = _PLACE.fullmatch(place)
        assert found is not None
        member, sides = f"{self._root}/{found[1]}", [int(side) for side in found[2].split("x")]
        try:
            entry = self._archive.getinfo(member)
            if entry.file_size != 4 * math.prod(sides) or entry.compress_type != zipfile.ZIP_STORED:
                raise ArtifactError(f"{self._name}: {member} has {entry.file_size} bytes, expected {found[2]} floats")
            values = np.frombuffer(self._archive.read(entry), "<f4")
        except (KeyError, zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError) as error:
            raise ArtifactError(f"{self._name}: {member} cannot be read: {error}") from error
        own: np.ndarray = values.reshape(sides).copy()
        return own


class OnnxPart:
    """One part in onnxruntime.

    Args:
        sessions: Method -> session.
        buffers: Statistics of the part, by name.
    """

    def __init__(self, sessions: Mapping[str, Any], buffers: Mapping[str, np.ndarray]) -> None:
        self._sessions, self.buffers = sessions, buffers
        # A graph leaves out the inputs that it never reads.
        self._reads = {name: [each.name for each in session.get_inputs()] for name, session in sessions.items()}

    @property
    def methods(self) -> frozenset[str]:
        """What can be run."""
        return frozenset(self._sessions)

    def size(self, method: str, name: str) -> int:
        """Return the last side of an input, which is no open one."""
        return int(next(each for each in self._sessions[method].get_inputs() if each.name == name).shape[-1])

    def run(self, method: str, given: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        """Return the outputs of a method.

        Args:
            method: One of ``methods``.
            given: Input -> array, of the type that the graph takes; those it does not read are passed over.
        """
        outputs: Sequence[np.ndarray] = self._sessions[method].run(
            None, {name: given[name] for name in self._reads[method]}
        )
        return outputs


def open_part(
    graphs: PartGraphs, content: bytes, read: Callable[[str], bytes], name: str, threads: int = 1
) -> OnnxPart:
    """Return a part in onnxruntime.

    Args:
        graphs: What the manifest says of it.
        content: Its TorchScript file, with the weights.
        read: Returns a file of the artifact by its name.
        name: What to call the TorchScript file in an error.
        threads: Of each call.

    Raises:
        ArtifactError: A file is damaged, or onnxruntime is not installed.
    """
    arrays, sessions = Arrays(content, name), {}
    for method, file in graphs.files.items():
        weights = {key: arrays.at(place) for key, place in graphs.weights[method].items()}
        sessions[method] = open_session(read(file), file, weights, threads)
    return OnnxPart(sessions, {key: arrays.at(place) for key, place in graphs.buffers.items()})
