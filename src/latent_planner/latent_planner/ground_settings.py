"""What counts as known ground, apart from what computes with it: parameters are read without SciPy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class GroundSettings:
    """What counts as known ground, and what leaving it costs.

    Attributes:
        half_width_m: How far beside its own track the ground counts as known [m].
        gap_m: Two memories that follow one another this near are joined by known ground [m].
        unknown_cost: Cost of a metre of ground never seen, in metres of known ground.
        off_track_cost: Cost of driving beside the track, at ``half_width_m`` from it, in metres a metre.
    """

    half_width_m: float = 0.25
    gap_m: float = 1.5
    unknown_cost: float = 10.0
    off_track_cost: float = 0.5
