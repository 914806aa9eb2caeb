"""Questions and answers: which memories, nearest by what.

Shape suffixes: K = answers, D = latent size, A = action size, F = feature size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from wm_core.memory.errors import PlaceError, QueryError
from wm_core.memory.record import MemoryRecord, Quaternion, check_unit

MAX_K = 4096
MAX_RINGS = 256
RANKS = ("auto", "latent", "pose", "both")
METRICS = ("l2", "cosine")


class Place(NamedTuple):
    """A pose in the map frame: x, y, z [m] and yaw [rad]."""

    x: float
    y: float
    z: float = 0.0
    yaw: float = 0.0


class Box(NamedTuple):
    """Axis-aligned box in the map frame, inclusive [m]."""

    min_x: float
    min_y: float
    min_z: float
    max_x: float
    max_y: float
    max_z: float


@dataclass(frozen=True)
class Query:
    """Which memories, and nearest by what. A field left at its default filters nothing.

    Attributes:
        k: How many.
        place: Where; needed by ``radius_m``, ``ring_count``, the tolerances and ranking by pose.
        latent_D: Like what.
        rank_by: ``auto`` takes what is given: latent, pose, or both.
        metric: Of the latent distance, ``l2`` or ``cosine`` (1 - cos).
        encoder_id: Empty, or must be the memory's.
        feature_F: Like what, to the network of ``feature_id``, int8. It takes the latent's place: "latent distance"
            is the feature's then, in its codes, and only records with a feature are found.
        feature_id: Empty, or must be the memory's.
        frame_id: Frame of ``place`` and ``box``; empty, or must be the memory's.
        radius_m: Within this planar distance of ``place`` [m].
        ring_count: Within this many H3 rings around the cell of ``place``.
        box: Inside this box.
        yaw_tolerance_rad: Yaw within this of the place's [rad].
        orientation: The whole rotation of ``place``; None: its yaw says it all.
        rotation_tolerance_rad: Whole rotation within this of the place's [rad].
        z_tolerance_m: Height within this of the place's [m].
        time_min_ns: Seen at or after [ns].
        time_max_ns: Seen at or before [ns].
        exclude_recent_s: Only memories at least this much older than ``stamp_ns`` [s].
        stamp_ns: What ``exclude_recent_s`` counts back from; None: the newest memory [ns].
        session: Empty: all.
        action_A: Empty or None: any; else the action taken there lies within ``action_distance`` of it (L2).
        action_distance: See ``action_A``.
        yaw_weight_m: Metres that 1 rad of yaw counts in the pose distance.
        pose_weight: ``both`` ranks by latent distance^2 + ``pose_weight`` * pose distance^2.
        successors: Send successors along.
    """

    k: int = 8
    place: Place | None = None
    latent_D: np.ndarray | None = None
    rank_by: str = "auto"
    metric: str = "l2"
    encoder_id: str = ""
    radius_m: float = 0.0
    ring_count: int = 0
    box: Box | None = None
    yaw_tolerance_rad: float = 0.0
    z_tolerance_m: float = 0.0
    time_min_ns: int | None = None
    time_max_ns: int | None = None
    exclude_recent_s: float = 0.0
    stamp_ns: int | None = None
    session: str = ""
    action_A: np.ndarray | None = None
    action_distance: float = 0.0
    yaw_weight_m: float = 1.0
    pose_weight: float = 1.0
    successors: bool = False
    frame_id: str = ""
    feature_F: np.ndarray | None = None
    feature_id: str = ""
    orientation: Quaternion | None = None
    rotation_tolerance_rad: float = 0.0

    @cached_property
    def rank(self) -> str:
        """What is ranked by: ``latent``, ``pose`` or ``both``.

        Raises:
            QueryError: The query does not hold what it wants to be ranked by.
        """
        has_latent = self.latent_D is not None or self.feature_F is not None
        if self.rank_by == "auto":
            if not has_latent and self.place is None:
                raise QueryError("a query needs a pose or a latent")
            return "both" if has_latent and self.place else "latent" if has_latent else "pose"
        if self.rank_by in ("latent", "both") and not has_latent:
            raise QueryError(f"ranking by {self.rank_by} needs a latent")
        if self.rank_by in ("pose", "both") and self.place is None:
            raise QueryError(f"ranking by {self.rank_by} needs a pose")
        return self.rank_by

    def check(
        self, dim: int, action_dim: int, encoder_id: str, frame_id: str = "", feature_id: str = "", feature_dim: int = 0
    ) -> None:
        """Refuse a query that cannot be answered as asked.

        Args:
            dim: The memory's latent size D; 0: not known yet.
            action_dim: The memory's action size A; negative: not known yet.
            encoder_id: The memory's; empty: not known yet.
            frame_id: The memory's; empty: not known yet.
            feature_id: The memory's; empty: it holds no features.
            feature_dim: The memory's feature size F; 0: it holds no features.

        Raises:
            QueryError: Names the field, its value and what was expected.
        """
        if not 1 <= self.k <= MAX_K:
            raise QueryError(f"k is {self.k}, expected 1..{MAX_K}")
        if self.rank_by not in RANKS or self.metric not in METRICS:
            raise QueryError(f"rank_by {self.rank_by!r} or metric {self.metric!r} is none of {RANKS}, {METRICS}")
        if self.encoder_id and encoder_id and self.encoder_id != encoder_id:
            raise QueryError(f"the query is for encoder {self.encoder_id}, the memory holds {encoder_id}")
        if self.frame_id and frame_id and self.frame_id != frame_id:
            raise QueryError(f"the query is in frame {self.frame_id}, the memory's places are in {frame_id}")
        _ = self.rank
        self._check_numbers()
        self._check_needs_place()
        self._check_vectors(dim, action_dim)
        if self.feature_F is not None:
            self._check_feature(self.feature_F, feature_id, feature_dim, is_empty=dim == 0)

    def _check_numbers(self) -> None:
        for name in (
            "radius_m",
            "yaw_tolerance_rad",
            "rotation_tolerance_rad",
            "z_tolerance_m",
            "exclude_recent_s",
            "action_distance",
            "yaw_weight_m",
            "pose_weight",
            "ring_count",
        ):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise QueryError(f"{name} is {value}, expected a finite number >= 0")
        if self.ring_count > MAX_RINGS:
            raise QueryError(f"ring_count is {self.ring_count}, expected at most {MAX_RINGS}")
        if self.place is not None and not all(map(math.isfinite, self.place)):
            raise QueryError(f"pose {tuple(self.place)} is not finite")
        if self.box is not None and any(map(math.isnan, self.box)):
            raise QueryError(f"box {tuple(self.box)} is not a number")

    def _check_needs_place(self) -> None:
        if self.orientation is not None and not check_unit(self.orientation):
            raise QueryError(f"orientation {self.orientation} is no quaternion x, y, z, w of unit length")
        if self.place is None:
            for name in ("radius_m", "ring_count", "yaw_tolerance_rad", "rotation_tolerance_rad", "z_tolerance_m"):
                if getattr(self, name) > 0:
                    raise QueryError(f"{name} needs a pose")

    def _check_vectors(self, dim: int, action_dim: int) -> None:
        if self.latent_D is not None:
            size = np.size(self.latent_D)
            if dim and size != dim:
                raise QueryError(f"latent has {size} values, the memory holds {dim}")
            if not np.isfinite(self.latent_D).all():
                raise QueryError("latent has values that are not finite")
        if self.action_A is not None and np.size(self.action_A):
            if action_dim >= 0 and np.size(self.action_A) != action_dim:
                raise QueryError(f"action has {np.size(self.action_A)} values, the memory holds {action_dim}")
            if not np.isfinite(self.action_A).all():
                raise QueryError("action has values that are not finite")

    def _check_feature(self, feature_F: np.ndarray, feature_id: str, feature_dim: int, *, is_empty: bool) -> None:
        if feature_F.dtype != np.int8 or feature_F.ndim != 1 or not feature_F.size:
            raise QueryError(f"feature is {feature_F.dtype} {feature_F.shape}, expected int8 [F]")
        if is_empty:
            return
        if not feature_dim:
            raise QueryError("the query has a feature, the memory holds none: it was filled by an encoder without")
        if self.feature_id and feature_id and self.feature_id != feature_id:
            raise QueryError(f"the query's feature is of network {self.feature_id}, the memory's are of {feature_id}")
        if feature_F.size != feature_dim:
            raise QueryError(f"feature has {feature_F.size} values, the memory holds {feature_dim}")

    @property
    def look(self) -> np.ndarray | None:
        """What it is to look like: its feature, or else its latent."""
        return self.latent_D if self.feature_F is None else self.feature_F

    def time_bounds(self, newest_ns: int) -> tuple[int | None, int | None]:
        """Return the oldest and newest stamp allowed, both inclusive [ns]; None: any.

        Args:
            newest_ns: Stamp of the newest memory.
        """
        time_max = self.time_max_ns
        if self.exclude_recent_s > 0:
            stamp_ns = newest_ns if self.stamp_ns is None else self.stamp_ns
            recent = stamp_ns - round(self.exclude_recent_s * 1e9)
            time_max = recent if time_max is None else min(time_max, recent)
        return self.time_min_ns, time_max


@dataclass(frozen=True)
class Matches:
    """Answer to one query, nearest first.

    Attributes:
        records: K complete records.
        distances_K: What was ranked by.
        latent_distances_K: Of the features, where the query has one; NaN without either in the query.
        pose_distances_K: Planar distance with the turn weighted in [m]; NaN without a pose in the query.
        candidate_count: Memories that passed every filter.
    """

    records: Sequence[MemoryRecord]
    distances_K: np.ndarray
    latent_distances_K: np.ndarray
    pose_distances_K: np.ndarray
    candidate_count: int


def no_matches() -> Matches:
    """Return the answer of a memory that holds nothing of what was asked for."""
    empty = np.empty(0)
    return Matches((), empty, empty, empty, 0)


def check_queries(
    queries: Sequence[Query],
    dim: int,
    action_dim: int,
    encoder_id: str,
    locate: Callable[[float, float], object],
    frame_id: str = "",
    feature_id: str = "",
    feature_dim: int = 0,
) -> None:
    """Refuse queries that cannot be answered as asked.

    Args:
        queries: As asked.
        dim: The memory's latent size D; 0: not known yet.
        action_dim: The memory's action size A; negative: not known yet.
        encoder_id: The memory's; empty: not known yet.
        locate: Raises ``PlaceError`` for a place that lies nowhere or off the map.
        frame_id: The memory's; empty: not known yet.
        feature_id: The memory's; empty: it holds no features.
        feature_dim: The memory's feature size F; 0: it holds no features.

    Raises:
        QueryError: The first one, by its place in the list where it is one of several.
    """
    for at, query in enumerate(queries):
        try:
            query.check(dim, action_dim, encoder_id, frame_id, feature_id, feature_dim)
            if query.place is not None:
                locate(query.place.x, query.place.y)
        except (QueryError, PlaceError) as error:
            raise QueryError(f"query {at}: {error}" if len(queries) > 1 else str(error)) from error
