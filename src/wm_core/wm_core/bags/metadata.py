"""Which files make a recording: by its ``metadata.yaml``, or by what lies in its folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from wm_core.bags.errors import BagError, Damage

ENDINGS = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd", ".bag")
"""Of the files that are recordings or parts of one."""
_NAMED = 6
"""So many of the recordings in a folder are named."""


@dataclass(frozen=True)
class Metadata:
    """What ``metadata.yaml`` says of a recording.

    Attributes:
        files: Names of its files.
        counts: {topic: messages}.
        message_count: Messages in all.
        is_packed: Whether each message is compressed by itself.
    """

    files: tuple[str, ...]
    counts: Mapping[str, int]
    message_count: int
    is_packed: bool


def read_metadata(path: Path, damages: list[Damage]) -> Metadata | None:
    """Returns what a recording's metadata says, None where it has none or an unreadable one (named in ``damages``)."""
    file = path / "metadata.yaml"
    if not path.is_dir():
        return None
    repair = f"ros2 bag reindex {path}"
    if not file.is_file():
        damages.append(Damage(f"'{path}' has no metadata.yaml (was the recorder killed?)", repair))
        return None
    try:
        return _parsed(yaml.safe_load(file.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        damages.append(Damage(f"'{file}' cannot be read: {' '.join(str(error).split())}", repair))
        return None


def _parsed(content: Any) -> Metadata:
    told = content["rosbag2_bagfile_information"]
    counts: dict[str, int] = {}
    for entry in told.get("topics_with_message_count") or []:
        name = entry["topic_metadata"]["name"]
        counts[name] = counts.get(name, 0) + int(entry["message_count"])
    # Older versions name the folder, too.
    files = tuple(PurePosixPath(name).name for name in told["relative_file_paths"])
    is_packed = str(told.get("compression_mode") or "").lower() == "message"
    return Metadata(files, counts, int(told.get("message_count") or sum(counts.values())), is_packed)


def find_files(path: Path, metadata: Metadata | None, damages: list[Damage]) -> list[Path]:
    """Returns the files of a recording in their order.

    Raises:
        BagError: There are none.
    """
    if not path.is_dir():
        if not path.is_file() or not path.name.endswith(ENDINGS):
            raise BagError(f"'{path}' is not a readable recording: expected a folder or one of {', '.join(ENDINGS)}")
        return [path]
    there = sorted((file for file in path.iterdir() if file.name.endswith(ENDINGS)), key=_natural)
    if metadata is None:
        if not there and (within := _bags_in(path)):
            names = ", ".join(str(bag.relative_to(path)) for bag in within[:_NAMED])
            more = f" and {len(within) - _NAMED} more" if len(within) > _NAMED else ""
            raise BagError(f"'{path}' is a folder of recordings, not one: it holds {names}{more}; give one of them")
        if not there:
            raise BagError(
                f"'{path}' is not a readable recording: neither metadata.yaml nor {', '.join(ENDINGS)} in it"
            )
        return there
    named, missing = [], []
    for name in metadata.files:
        # A recorder that was killed while it compressed leaves the plain file.
        found = [file for file in there if file.name in (name, name.removesuffix(".zstd"), f"{name}.zstd")]
        named += found[:1]
        missing += [] if found else [name]
    if missing:
        text = f"'{path}': metadata.yaml names {', '.join(missing)}, not there"
        damages.append(Damage(text, f"ros2 bag reindex {path}"))
    if not (named or there):
        raise BagError(f"'{path}' is not a readable recording: {', '.join(missing) or 'its files'} are missing")
    return named or there


def find_bags(paths: Iterable[Path]) -> list[Path]:
    """Returns the recordings that some paths mean: themselves, or those within folders of recordings, in natural order.

    Raises:
        BagError: A path is not there or cannot be looked into, or a folder holds no recording.
    """
    bags: list[Path] = []
    for path in paths:
        try:
            if not path.exists():
                raise BagError(f"no recording at '{path}'")
            found = _bags_in(path)
        except OSError as error:
            raise BagError(f"'{error.filename}' cannot be read: {error.strerror}") from error
        if not found:
            raise BagError(f"'{path}' is not a readable recording, and no folder in it is one")
        bags += found
    return bags


def _bags_in(path: Path) -> list[Path]:
    if not path.is_dir() or (path / "metadata.yaml").is_file():
        return [path]
    parts = [file for file in sorted(path.iterdir(), key=_natural) if file.is_file() and file.name.endswith(ENDINGS)]
    if parts and not _are_apart(parts):
        return [path]
    return [
        *parts,
        *(bag for child in sorted(path.iterdir(), key=_natural) if child.is_dir() for bag in _bags_in(child)),
    ]


def _are_apart(parts: list[Path]) -> bool:
    """Returns whether files in a folder are recordings of their own: rosbag2 numbers the parts of one."""
    stems = {re.sub(r"_\d+$", "", file.name.split(".", 1)[0]) for file in parts}
    return len(parts) > 1 and (len(stems) > 1 or any(file.suffix == ".bag" for file in parts))


def _natural(path: Path) -> list[tuple[int, str]]:
    """Returns a key that sorts part 10 after part 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name) if part]
