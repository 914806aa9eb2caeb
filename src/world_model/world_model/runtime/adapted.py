"""Which artifact a robot's profile names in the place of the one that it was adapted from."""

from __future__ import annotations

from pathlib import Path

from world_model.errors import ProfileError
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.runtime.profile import TRANSITION, Profile

VERSION = 1


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
    part = profile.read(TRANSITION, VERSION)
    if part is None:
        return None
    encoder_id, place = part.entries.get("encoder_id"), part.entries.get("artifact")
    if not isinstance(encoder_id, str) or not isinstance(place, str):
        raise ProfileError(f"the profile {profile.folder} names no artifact in {dict(part.entries)}")
    if encoder_id != source.manifest.encoder_id:
        return None
    adapted = load_artifact(place, source.device)
    if adapted.manifest.encoder_id != encoder_id:
        raise ProfileError(f"{place} has encoder {adapted.manifest.encoder_id}, the profile names it for {encoder_id}")
    return adapted
