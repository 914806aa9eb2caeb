"""The scale of a robot's world, as its profile states it: known from the start of the next run."""

from __future__ import annotations

import math
from typing import Any

from wm_core.memory.keyframes import Spacing
from wm_core.memory.scale import Scale
from world_model.errors import ProfileError
from world_model.runtime.profile import Profile

SCALE = "scale"
"""The part's name."""
_VERSION = 1
_WORTH_TELLING = 0.05


def read_scale(profile: Profile) -> Scale | None:
    """Return the scale that a profile states; None: it states none.

    Raises:
        ProfileError: What it states is damaged, or no scale.
    """
    part = profile.read(SCALE, _VERSION)
    if part is None:
        return None
    try:
        extent_m, speed_mps = (float(part.entries[name]) for name in ("extent_m", "speed_mps"))
        tilts = bool(part.entries["tilts"])
    except (KeyError, TypeError, ValueError) as error:
        raise ProfileError(f"profile part '{SCALE}' in {profile.folder} states no scale: {error}") from error
    if not (0 <= extent_m < math.inf and 0 <= speed_mps < math.inf):
        raise ProfileError(f"profile part '{SCALE}' in {profile.folder}: extent {extent_m} m, speed {speed_mps} m/s")
    return Scale(extent_m, speed_mps, tilts)


def write_scale(profile: Profile, scale: Scale, revisit_radius_m: float, spacing: Spacing) -> None:
    """State a scale, and what follows from it or was set by the user.

    Raises:
        ProfileError: The folder cannot be written.
    """
    entries: dict[str, Any] = {
        "extent_m": scale.extent_m,
        "speed_mps": scale.speed_mps,
        "tilts": scale.tilts,
        "revisit_radius_m": revisit_radius_m,
        "retrieval_radius_m": scale.retrieval_radius_m,
        "store_distance_m": spacing.distance_m,
        "store_angle_rad": spacing.angle_rad,
    }
    profile.write(SCALE, _VERSION, entries)


def is_news(scale: Scale, told: Scale | None) -> bool:
    """Return whether a scale that is known differs from the one that was told by enough to tell it again."""
    if not scale.extent_m:
        return False
    if told is None or scale.tilts != told.tilts:
        return True
    pairs = ((scale.extent_m, told.extent_m), (scale.speed_mps, told.speed_mps))
    return any(abs(now - before) > _WORTH_TELLING * max(now, before) for now, before in pairs)
