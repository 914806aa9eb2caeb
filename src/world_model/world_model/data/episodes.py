"""Converted episodes: a folder of memory-mapped arrays with a manifest, written one by one so that it can resume.

    DATASET/manifest.json           what it is, its episodes and how they are split
    DATASET/episodes/NAME/*.npy     one folder per episode, renamed into place when complete

Shape suffixes: T = frames, S = image side, A = action size, P = proprioception size, 4 = (x, y, z, yaw).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from world_model.data.arrivals import Arrivals
from world_model.errors import DataError
from world_model.runtime.stepping import measured_step_s

FORMAT = "world-model-episodes-1"
_FORMER = "world-model-drives-1"
"""Its folder, and its entry of the manifest, are named ``drives``."""
_ARRAYS = {"image": "image_TSSC", "stamp": "stamp_T", "pose": "pose_T4", "action": "action_TA"}
_OPTIONAL = {
    "depth": "depth_T1SS",
    "proprio": "proprio_TP",
    "reward": "reward_T",
    "goes_on": "goes_on_T",
    "pose_std": "pose_std_T2",
    "views": "views_TVSSC",
    "views_known": "views_known_TV",
}
"""File -> attribute of an episode."""
_ARRIVALS = ("frame_arrival", "pose_event", "action_event")


@dataclass(frozen=True)
class Episode:
    """One run of one robot at one place, frame by frame; poses and actions already belong to the frames' stamps.

    Attributes:
        name: Unique within its set.
        place: Which building or track; splits never divide a place.
        image_TSSC: uint8 [T, S, S, 3].
        stamp_T: int64 nanoseconds, ascending.
        pose_T4: (x, y, z [m], yaw [rad]); NaN where there is no pose.
        action_TA: NaN where there is no action.
        depth_T1SS: float16 metres, or None.
        proprio_TP: float32, or None.
        reward_T: float32, of the action taken at the frame, NaN where not known, or None.
        goes_on_T: float32, 1 where the episode goes on after the frame and 0 where it ends, or None.
        pose_std_T2: Standard errors of the poses, x and y [m] and yaw [rad]; NaN where not told, or None.
        views_TVSSC: What further cameras of the robot showed then, uint8 [T, V, S, S, 3], or None.
        views_known_TV: Whether they showed anything then, bool, or None.
        arrivals: When frames, poses and actions were there, or None where nobody knows.
    """

    name: str
    place: str
    image_TSSC: np.ndarray
    stamp_T: np.ndarray
    pose_T4: np.ndarray
    action_TA: np.ndarray
    depth_T1SS: np.ndarray | None = None
    proprio_TP: np.ndarray | None = None
    reward_T: np.ndarray | None = None
    goes_on_T: np.ndarray | None = None
    pose_std_T2: np.ndarray | None = None
    views_TVSSC: np.ndarray | None = None
    views_known_TV: np.ndarray | None = None
    arrivals: Arrivals | None = None

    def __len__(self) -> int:
        return len(self.stamp_T)

    def __post_init__(self) -> None:
        """Refuse arrays of different lengths and stamps that do not ascend."""
        lengths = {len(self.image_TSSC), len(self.stamp_T), len(self.pose_T4), len(self.action_TA)}
        if len(lengths) != 1:
            raise DataError(f"episode {self.name}: arrays of different lengths {sorted(lengths)}")
        if len(self.stamp_T) > 1 and not np.all(np.diff(self.stamp_T) > 0):
            raise DataError(f"episode {self.name}: stamps do not ascend")

    def pictures(self, rows: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
        """Return all cameras' pictures of some frames, this one's first [T, 1 + V, S, S, 3], and which there are."""
        image_T1SSC = np.asarray(self.image_TSSC[rows])[:, None]
        known_T1 = np.ones((len(image_T1SSC), 1), bool)
        if self.views_TVSSC is None or self.views_known_TV is None:
            return image_T1SSC, known_T1
        others_TV, known_TV = np.asarray(self.views_TVSSC[rows]), np.asarray(self.views_known_TV[rows])
        return np.concatenate([image_T1SSC, others_TV], axis=1), np.concatenate([known_T1, known_TV], axis=1)

    def cut(self, start_s: float, end_s: float, name: str | None = None) -> Episode:
        """Return the part whose stamps lie in [start_s, end_s) after the first frame."""
        second_T = (self.stamp_T - self.stamp_T[0]) * 1e-9
        rows = slice(int(np.searchsorted(second_T, start_s)), int(np.searchsorted(second_T, end_s)))
        arrays = {key: getattr(self, key) for key in (*_ARRAYS.values(), *_OPTIONAL.values())}
        parts: dict[str, Any] = {key: None if array is None else array[rows] for key, array in arrays.items()}
        arrivals = None if self.arrivals is None else self.arrivals.rows(rows)
        return replace(self, name=name or self.name, arrivals=arrivals, **parts)


@dataclass(kw_only=True)
class DatasetManifest:
    """What a converted set is.

    ``episodes``: name -> {place, frames, split, of recordings and random worlds step_s: the time between frames
    [s], and of random worlds world: all that was drawn}; ``accounts``: recording -> what was read, kept and left out
    of it.
    """

    format: str = FORMAT
    image_size: int
    step_s: float
    action_dim: int
    source: dict[str, Any] = field(default_factory=dict)
    episodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)


class EpisodeSet:
    """A converted set on disk, read through memory maps.

    Args:
        path: Folder that ``EpisodeWriter`` filled.

    Raises:
        DataError: No manifest there, or one of another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.manifest = _read_manifest(self.path)

    def names(self, split: str | None = None) -> list[str]:
        """Return the episodes of one split (all without one), sorted."""
        episodes = self.manifest.episodes
        return sorted(name for name, entry in episodes.items() if split is None or entry["split"] == split)

    def episode(self, name: str) -> Episode:
        """Return one episode; its arrays are memory-mapped.

        Raises:
            DataError: No such episode, or a damaged one.
        """
        if name not in self.manifest.episodes:
            raise DataError(f"no episode '{name}' in {self.path}")
        folder = next((f for kind in ("episodes", "drives") if (f := self.path / kind / name).is_dir()), self.path)
        try:
            arrays = {of: np.load(folder / f"{key}.npy", mmap_mode="r") for key, of in _ARRAYS.items()}
            there = {key: of for key, of in _OPTIONAL.items() if (folder / f"{key}.npy").is_file()}
            arrays |= {of: np.load(folder / f"{key}.npy", mmap_mode="r") for key, of in there.items()}
            arrivals = _stored_arrivals(folder)
        except (OSError, ValueError) as error:
            raise DataError(f"episode '{name}' in {self.path} is damaged: {error}") from error
        return Episode(name, self.manifest.episodes[name]["place"], **arrays, arrivals=arrivals)

    def episodes(self, split: str | None = None) -> Iterator[Episode]:
        """Yield the episodes of one split."""
        for name in self.names(split):
            yield self.episode(name)


class EpisodeWriter:
    """Fills a converted set, one finished episode at a time; what is there already is skipped.

    Args:
        path: Folder, made if missing.
        manifest: What the set is to be; must agree with what is there.

    Raises:
        DataError: The folder holds a set with other settings.
    """

    def __init__(self, path: Path, manifest: DatasetManifest) -> None:
        self.path = Path(path)
        self._manifest = manifest
        if (self.path / "manifest.json").is_file():
            found = _read_manifest(self.path)
            for key in ("image_size", "step_s", "action_dim", "source"):
                if getattr(found, key) != getattr(manifest, key):
                    raise DataError(
                        f"{self.path} holds a set with {key} {getattr(found, key)}, not {getattr(manifest, key)}"
                    )
            self._manifest = found
        (self.path / "episodes").mkdir(parents=True, exist_ok=True)
        self._save()

    def has(self, name: str) -> bool:
        """Return whether this episode is complete."""
        return name in self._manifest.episodes

    def write(self, episode: Episode, split: str) -> None:
        """Store one episode; it counts from the moment the manifest names it."""
        store_episode(self.path, episode)
        self.register(episode.name, episode.place, len(episode), split)
        self._manifest.episodes[episode.name]["step_s"] = round(measured_step_s(episode.stamp_T), 4)
        self._save()

    def register(
        self, name: str, place: str, frames: int, split: str, further: Mapping[str, Any] | None = None
    ) -> None:
        """Name an episode whose arrays ``store_episode`` has written (possibly in another process).

        Args:
            name: Of the episode.
            place: Where it was.
            frames: How many it has.
            split: Which it belongs to.
            further: More to say of it.
        """
        self._manifest.episodes[name] = {"place": place, "frames": frames, "split": split, **(further or {})}
        self._save()

    def note(self, recording: str, account: dict[str, Any]) -> None:
        """Keep the account of a recording with the set."""
        self._manifest.accounts[recording] = account
        self._save()

    def _save(self) -> None:
        partial = self.path / "manifest.json.partial"
        partial.write_text(json.dumps(asdict(self._manifest), indent=1) + "\n")
        partial.replace(self.path / "manifest.json")


def store_episode(path: Path, episode: Episode) -> None:
    """Write one episode's arrays below a set's folder, complete or not at all."""
    partial = path / "episodes" / f".{episode.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    arrays = {key: getattr(episode, of) for key, of in (_ARRAYS | _OPTIONAL).items()}
    if episode.arrivals is not None:
        told = episode.arrivals
        arrays |= dict(zip(_ARRIVALS, (told.frame_T2, told.pose_N, told.action_M)))
    for key, array in arrays.items():
        if array is not None:
            np.save(partial / f"{key}.npy", array)
    final = path / "episodes" / episode.name
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)


def _stored_arrivals(folder: Path) -> Arrivals | None:
    """Return when everything of an episode was there, None for a set that does not know."""
    files = [folder / f"{key}.npy" for key in _ARRIVALS]
    return Arrivals(*(np.load(file, mmap_mode="r") for file in files)) if all(map(Path.is_file, files)) else None


def split_places(places: Sequence[str], valid_share: float, test_share: float) -> dict[str, str]:
    """Return the split of each place: whole places only, the last ones (sorted) for test, those before for validation.

    Raises:
        DataError: Shares that leave nothing for training.
    """
    ordered = sorted(set(places))
    test, valid = round(len(ordered) * test_share), round(len(ordered) * valid_share)
    if len(ordered) - test - valid < 1:
        raise DataError(f"{len(ordered)} places cannot give {test} to test and {valid} to validation")
    splits = ["train"] * (len(ordered) - test - valid) + ["valid"] * valid + ["test"] * test
    return dict(zip(ordered, splits))


def _read_manifest(path: Path) -> DatasetManifest:
    if not (path / "manifest.json").is_file():
        raise DataError(f"{path} is not a converted set: it has no manifest.json; 'wm data' makes one")
    try:
        entries = json.loads((path / "manifest.json").read_text())
        if entries.get("format") == _FORMER:
            entries |= {"format": FORMAT, "episodes": entries.pop("drives")}
        manifest = DatasetManifest(**entries)
    except (OSError, AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is not a converted set: {error}") from error
    if manifest.format != FORMAT:
        raise DataError(f"{path} has format {manifest.format}, this code reads {FORMAT}")
    return manifest
