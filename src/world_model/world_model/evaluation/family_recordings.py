"""Recordings beside the simulated worlds that a larger model learns from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from world_model.data.bags import BagOptions, read_recording, unusable
from world_model.data.episodes import EpisodeSet, EpisodeWriter
from world_model.data.simulated import ACTION_DIM
from world_model.errors import DataError

_HELD_OUT_SHARE = 0.25


def add_recordings(path: Path, recordings: Sequence[Path], image_size: int) -> None:
    """Add recordings to a set of simulated worlds: three quarters of each to learn from, the last one held out.

    Raises:
        DataError: Nothing usable in one, or other actions than the worlds'.
    """
    writer = EpisodeWriter(path, EpisodeSet(path).manifest)
    for recording in recordings:
        name = f"recording-{recording.name}"
        found = read_recording(recording, BagOptions(image_size=image_size, action_dim=ACTION_DIM), name=name)
        if not found.episodes:
            raise DataError(unusable(found.account))
        writer.note(name, found.account.entries())
        for episode in found.episodes:
            end_s = float(episode.stamp_T[-1] - episode.stamp_T[0]) * 1e-9
            cut_s = (1.0 - _HELD_OUT_SHARE) * end_s
            writer.write(episode.cut(0.0, cut_s, f"{episode.name}-learned"), "train")
            writer.write(episode.cut(cut_s, end_s + 1.0, f"{episode.name}-held"), "valid")
