"""Which artifact a robot's profile names in the place of the one that it was adapted from, for each branch."""

from __future__ import annotations

from pathlib import Path

from world_model.errors import ProfileError
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.runtime.profile import SLOW, TRANSITION, Profile

VERSION = 1
_SLOW_FILE = "world_action.pt"


def keep_adapted(profile: Profile, place: Path, source: Artifact) -> None:
    """Name an adapted artifact in a profile.

    Args:
        profile: The robot's.
        place: Folder of the adapted artifact.
        source: What it was adapted from; both have one encoder.

    Raises:
        ProfileError: It cannot be written.
    """
    entries = {"artifact": str(place), "encoder_id": source.manifest.encoder_id, "adapted_from": source.manifest.name}
    profile.write(TRANSITION, VERSION, entries)


def adapted_artifact(profile: Profile, source: Artifact) -> Artifact | None:
    """Return the artifact that a profile names for a robot that is given ``source``; ``None`` where it names none.

    One that was adapted from another encoder is not for this robot now: it is left alone.

    Raises:
        ProfileError: The entry is damaged.
        ArtifactError: What it names is missing or damaged.
    """
    named = _named(profile, TRANSITION, "encoder_id", "artifact")
    if named is None:
        return None
    encoder_id, place = named
    if encoder_id != source.manifest.encoder_id:
        return None
    adapted = load_artifact(place, source.device, threads=source.threads)
    if adapted.manifest.encoder_id != encoder_id:
        raise ProfileError(f"{place} has encoder {adapted.manifest.encoder_id}, the profile names it for {encoder_id}")
    return adapted


def keep_slow_branch(profile: Profile, place: Path, source: Artifact) -> None:
    """Name the artifact whose slow branch foresees better for this robot, in embeddings that are the source's.

    Args:
        profile: The robot's.
        place: Folder of the artifact with it.
        source: What it was adapted from.

    Raises:
        ProfileError: It cannot be written.
    """
    profile.write(SLOW, VERSION, {"artifact": str(place), "adapted_from": source.manifest.files[_SLOW_FILE]})


def adapted_slow_branch(profile: Profile, source: Artifact) -> Artifact | None:
    """Return the artifact whose slow branch a profile names for a robot that is given ``source``; ``None`` for none.

    One that was adapted from another slow branch sees other embeddings: it is left alone.

    Raises:
        ProfileError: The entry is damaged.
        ArtifactError: What it names is missing or damaged.
    """
    named = _named(profile, SLOW, "adapted_from", "slow branch")
    if named is None:
        return None
    adapted_from, place = named
    return (
        load_artifact(place, source.device, threads=source.threads)
        if adapted_from == source.manifest.files.get(_SLOW_FILE)
        else None
    )


def _named(profile: Profile, part_name: str, source_key: str, what: str) -> tuple[str, str] | None:
    """Return a part's source and the folder that it names; ``None`` where the profile has no such part.

    Raises:
        ProfileError: The entry is damaged.
    """
    part = profile.read(part_name, VERSION)
    if part is None:
        return None
    source, place = part.entries.get(source_key), part.entries.get("artifact")
    if not isinstance(source, str) or not isinstance(place, str):
        raise ProfileError(f"the profile {profile.folder} names no {what} in {dict(part.entries)}")
    return source, place
