"""What a robot has learned about itself, kept in a folder of its own: motion, projection, experts, networks.

A part is one JSON file and, where it has arrays, one ``.npz`` beside it. Both are written beside their place and moved
there, arrays first, so a reader meets the part before or the one after. Several processes may share a folder.

Units and meaning of the entries belong to whoever writes a part; it raises the part's ``version`` when they change.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from world_model.errors import ProfileError

FORMAT = 1
MOTION, PROJECTION, EXPERTS, TRANSITION, SLOW = "motion", "projection", "experts", "transition", "slow_branch"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
# Arrays are replaced while they are read: the description is then read again.
_READS = 5


@dataclass(frozen=True)
class Part:
    """One part of a profile.

    Attributes:
        name: Which.
        version: Of the meaning of its entries.
        revision: Counts the times that it was written, from 1.
        entries: What JSON holds.
        arrays: The rest, by name.
    """

    name: str
    version: int
    revision: int
    entries: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


class Profile:
    """The parts that one robot's folder holds.

    Args:
        folder: Made when the first part is written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()

    def names(self) -> list[str]:
        """Return the names of the parts that were written, sorted."""
        return sorted(path.stem for path in self.folder.glob("*.json") if _NAME.fullmatch(path.stem))

    def signature(self, name: str) -> tuple[int, int] | None:
        """Return what differs whenever a part was written anew, ``None`` without one; costs one ``stat``."""
        try:
            status = self._path(name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_mtime_ns, status.st_ino

    def read(self, name: str, version: int) -> Part | None:
        """Return a part, or ``None`` where it was never written.

        Args:
            name: Which.
            version: What its reader understands.

        Raises:
            ProfileError: It is damaged, or of another version or format.
        """
        for attempt in range(_READS):
            try:
                text = self._path(name).read_text()
            except FileNotFoundError:
                return None
            except (OSError, UnicodeDecodeError) as error:
                raise ProfileError(f"profile part {self._path(name)} cannot be read: {error}") from error
            said = self._checked(name, text, version)
            try:
                arrays = self._arrays(said)
            except FileNotFoundError as error:
                if attempt + 1 == _READS:
                    raise ProfileError(f"profile part {self._path(name)} names arrays that are missing") from error
                continue
            return Part(name, version, said["revision"], said["entries"], arrays)
        return None

    def write(
        self, name: str, version: int, entries: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None
    ) -> int:
        """Replace a part, complete or not at all, and return its revision.

        Args:
            name: Which: lower-case letters, digits and underscores.
            version: Of the meaning of its entries.
            entries: JSON-ready.
            arrays: Whatever is too long for JSON.

        Raises:
            ProfileError: The name, an entry or the folder does not do.
        """
        path = self._path(name)
        try:
            entries_digest = _digest(_canonical(entries))
        except (TypeError, ValueError) as error:
            raise ProfileError(f"profile part '{name}' has an entry that JSON cannot hold: {error}") from error
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                revision = self._revision(path) + 1
                said: dict[str, Any] = {"format": FORMAT, "part": name, "version": version, "revision": revision}
                said |= {"written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "digest": entries_digest}
                if arrays:
                    content = _packed(arrays)
                    said |= {"arrays": f"{name}.{revision}.npz", "arrays_digest": _digest(content)}
                    _replace(self.folder / said["arrays"], content)
                _replace(path, (json.dumps(said | {"entries": dict(entries)}, indent=1) + "\n").encode())
                for former in self.folder.glob(f"{name}.*.npz"):
                    if former.name != said.get("arrays"):
                        former.unlink()
        except OSError as error:
            raise ProfileError(f"profile part {path} cannot be written: {error}") from error
        return revision

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ProfileError(f"'{name}' names no part of a profile, expected lower-case letters, digits, underscores")
        return self.folder / f"{name}.json"

    def _checked(self, name: str, text: str, version: int) -> dict[str, Any]:
        path = self._path(name)
        try:
            said: dict[str, Any] = json.loads(text)
            found = (said["format"], said["part"], said["version"])
            whole = isinstance(said["revision"], int) and said["digest"] == _digest(_canonical(said["entries"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ProfileError(f"profile part {path} is damaged: {error}") from error
        if found != (FORMAT, name, version):
            raise ProfileError(
                f"profile part {path} is format {found[0]}, part '{found[1]}', version {found[2]}; "
                f"expected format {FORMAT}, part '{name}', version {version}"
            )
        if not whole:
            raise ProfileError(f"profile part {path} is damaged: its entries do not match their digest")
        return said

    def _arrays(self, said: Mapping[str, Any]) -> dict[str, np.ndarray]:
        name = said.get("arrays")
        if not name:
            return {}
        path = self.folder / Path(str(name)).name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ProfileError(f"profile arrays {path} cannot be read: {error}") from error
        if _digest(content) != said.get("arrays_digest"):
            raise ProfileError(f"profile arrays {path} are damaged: they do not match their digest")
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except (ValueError, zipfile.BadZipFile) as error:
            raise ProfileError(f"profile arrays {path} are damaged: {error}") from error

    def _revision(self, path: Path) -> int:
        """Return how often a part was written; what is damaged is replaced and counts from the start."""
        try:
            return int(json.loads(path.read_text())["revision"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def profile_folder(name: str, namespace: str = "") -> Path:
    """Return where a robot's profile lies: a folder, or a name in ``~/.ros/world_model/NAMESPACE`` (or ``ROS_HOME``).

    Two robots on a machine have two.
    """
    if "/" in name:
        return Path(name).expanduser()
    home = os.environ.get("ROS_HOME") or str(Path.home() / ".ros")
    return Path(home) / "world_model" / namespace.strip("/") / name


def _canonical(entries: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(entries), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _replace(path: Path, content: bytes) -> None:
    """Write a file beside its place, to the disk, and move it there."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
