"""The former names of ``world_model.data.episodes``, for one release."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from world_model.data.episodes import Episode as Drive
from world_model.data.episodes import EpisodeSet, EpisodeWriter

__all__ = ["Drive", "DriveSet", "DriveWriter"]

DriveWriter = EpisodeWriter


class DriveSet(EpisodeSet):
    """An ``EpisodeSet`` that answers to the former names as well."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        named = SimpleNamespace(**vars(self.manifest), drives=self.manifest.episodes)
        self.manifest = named  # type: ignore[assignment]

    def drives(self, split: str | None = None) -> Iterator[Drive]:
        """Yield the episodes of one split."""
        return self.episodes(split)
