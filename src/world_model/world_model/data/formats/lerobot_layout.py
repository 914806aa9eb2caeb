"""Where a LeRobot data set keeps what: layouts v2.0, v2.1 and v3.0, read without its library.

    v2: data/chunk-000/episode_000000.parquet, videos/chunk-000/CAMERA/episode_000000.mp4, meta/episodes.jsonl
    v3: several episodes in data/chunk-000/file-000.parquet and in videos/CAMERA/chunk-000/file-000.mp4;
        meta/episodes/chunk-000/file-000.parquet says which, and where in the video each begins

Both formats tell their paths as patterns in ``meta/info.json``; those above are what their recorders write.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from world_model.errors import DataError

VERSIONS = ("v2.0", "v2.1", "v3.0")
_PER_CHUNK = 1000


@dataclass(frozen=True)
class EpisodeEntry:
    """Where one episode lies.

    Attributes:
        index: Its number in the set.
        data: Parquet file with its rows, perhaps among others'.
        video: File with its pictures, None where they lie in the rows.
        from_s: Time in the video's own clock at which it begins [s].
    """

    index: int
    data: Path
    video: Path | None = None
    from_s: float = 0.0


class LeRobotSet:
    """A data set's description.

    Args:
        folder: That holds ``meta/info.json``.

    Raises:
        DataError: Not such a data set, or of a version that is not read.

    Attributes:
        version: Of its layout.
        fps: Frames per second of every camera.
        features: {name: {dtype, shape, names, ...}}.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        try:
            info = json.loads((self.folder / "meta" / "info.json").read_text())
            self.version, self.fps = str(info["codebase_version"]), float(info["fps"])
            self.features: dict[str, dict[str, Any]] = dict(info["features"])
            self._data_path, self._video_path = str(info["data_path"]), info.get("video_path")
            self._per_chunk = int(info.get("chunks_size") or _PER_CHUNK)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder} is not a LeRobot data set: {type(error).__name__}: {error}") from error
        if self.version not in VERSIONS:
            raise DataError(f"{folder} has layout {self.version}; {', '.join(VERSIONS)} are read")
        if not self.fps > 0:
            raise DataError(f"{folder} says {self.fps} frames per second")

    @property
    def cameras(self) -> list[str]:
        """Names of the features that are pictures, in the set's order; depth is none."""
        return [
            name for name, of in self.features.items() if of.get("dtype") in ("video", "image") and not _is_depth(of)
        ]

    def vectors(self) -> list[str]:
        """Return the names of the features that are numbers."""
        return [name for name, of in self.features.items() if str(of.get("dtype", "")).startswith(("float", "int"))]

    def is_video(self, camera: str) -> bool:
        """Return whether a camera's pictures lie in video files."""
        return bool(self.features[camera]["dtype"] == "video")

    def entries(self, camera: str) -> list[EpisodeEntry]:
        """Return where the episodes lie, with the pictures of one camera.

        Raises:
            DataError: What describes the episodes is missing or damaged; or pyarrow is not installed.
        """
        wants_video = self.is_video(camera)
        rows = self._rows_of_v3(camera) if self.version.startswith("v3") else self._rows_of_v2(camera)
        try:
            return [
                EpisodeEntry(
                    int(row["episode_index"]),
                    self._path(self._data_path, row["data"]),
                    self._path(str(self._video_path), row["video"]) if wants_video else None,
                    float(row["from_s"]),
                )
                for row in sorted(rows, key=lambda row: int(row["episode_index"]))
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{self.folder}: its list of episodes lacks {error}") from error

    def _rows_of_v2(self, camera: str) -> Iterator[dict[str, Any]]:
        path = self.folder / "meta" / "episodes.jsonl"
        try:
            lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: {error}") from error
        for line in lines:
            index = int(line["episode_index"])
            place = {"episode_chunk": index // self._per_chunk, "episode_index": index}
            yield {"episode_index": index, "data": place, "video": {**place, "video_key": camera}, "from_s": 0.0}

    def _rows_of_v3(self, camera: str) -> Iterator[dict[str, Any]]:
        files = sorted((self.folder / "meta" / "episodes").glob("*/*.parquet"))
        if not files:
            raise DataError(f"{self.folder}: no meta/episodes/*/*.parquet")
        names = ["episode_index", "data/chunk_index", "data/file_index"]
        of_video = [f"videos/{camera}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
        wants_video = self.is_video(camera)
        for path in files:
            for row in read_columns(path, names + (of_video if wants_video else [])):
                found = {"episode_index": row[names[0]], "data": _place(row, names[1:]), "video": {}, "from_s": 0.0}
                if wants_video:
                    found |= {"video": {**_place(row, of_video), "video_key": camera}, "from_s": row[of_video[2]]}
                yield found

    def _path(self, pattern: str, place: Mapping[str, Any]) -> Path:
        try:
            relative = os.path.normpath(pattern.format(**place))
        except (AttributeError, IndexError) as error:
            raise ValueError(f"{error} in '{pattern}'") from error
        if os.path.isabs(relative) or relative.startswith(".."):
            raise DataError(f"{self.folder}: '{pattern}' leads out of the data set")
        return self.folder / relative


def _place(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, int]:
    return {"chunk_index": int(row[names[0]]), "file_index": int(row[names[1]])}


def _is_depth(feature: Mapping[str, Any]) -> bool:
    told = {**(feature.get("video_info") or {}), **(feature.get("info") or {})}
    return bool(told.get("is_depth_map") or told.get("video.is_depth_map"))


def read_columns(path: Path, names: Sequence[str], episode: int | None = None) -> list[dict[str, Any]]:
    """Return rows of a Parquet file, of one episode or of all.

    Args:
        path: Of the file.
        names: Columns to read.
        episode: Value of ``episode_index``.

    Raises:
        DataError: No such file, damaged, without such a column; or pyarrow is not installed.
    """
    try:
        pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise DataError(f"LeRobot data sets are read through pyarrow; not installed: {error.name}") from error
    try:
        found = set(parquet.read_schema(path).names)
        missing = [name for name in names if name not in found]
        if missing:
            raise DataError(f"{path} has no column {', '.join(missing)}")
        filters = None if episode is None else [("episode_index", "==", episode)]
        rows: list[dict[str, Any]] = parquet.read_table(path, columns=list(names), filters=filters).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: {error}") from error
    return rows
