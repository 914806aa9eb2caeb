"""What a region holds: records side by side, what followed them, and what its file says about them.

Shape suffixes: N = records, S = successors of all records, D = latent size, A = action size, F = feature size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wm_core.memory.errors import EncoderMismatchError
from wm_core.memory.rows import Rows
from wm_core.projection import Projection

_ORIGIN_LENGTH = 16
_ABROAD = re.compile(rf"[0-9a-f]{{{_ORIGIN_LENGTH}}}/.")


@dataclass(frozen=True)
class Manifest:
    """What a region's file says about itself.

    Attributes:
        origin: Which memory it was taken from: the first 16 digits of its id.
        encoder_id: Whose latents.
        dim: D.
        action_dim: A; -1 where no action was ever given.
        frame_id: Frame of the places; empty: not known.
        feature_id: Which network made the features; empty: there are none.
        feature_dim: F; 0: there are none.
        grid: How the memory's map was cut: kind of map, datum and resolution.
        area: Least x, least y, most x, most y [m]; empty: everything.
        sessions: Names, with the memory that each comes from; records carry their place in this list.
        count: N.
        basis: How latents follow from features, as the store keeps it; empty: not known.
    """

    origin: str
    encoder_id: str
    dim: int
    action_dim: int
    frame_id: str
    feature_id: str
    feature_dim: int
    grid: str
    area: tuple[float, ...]
    sessions: tuple[str, ...]
    count: int
    basis: str = ""


@dataclass(frozen=True)
class Followers:
    """What followed records, in the records' order.

    Attributes:
        count_N: Successors of each record.
        horizon_S: What each stands for [s].
        dt_S: Real time differences [s].
        latent_SD: What was seen then; None: it follows from the features.
        feature_SF: int8; means nothing where ``has_feature_S`` is not set; None: none has one.
        has_feature_S: Which have a feature.
    """

    count_N: np.ndarray
    horizon_S: np.ndarray
    dt_S: np.ndarray
    latent_SD: np.ndarray | None = None
    feature_SF: np.ndarray | None = None
    has_feature_S: np.ndarray | None = None

    @property
    def is_featured(self) -> bool:
        """Whether every one has a feature."""
        return not len(self.dt_S) or (self.has_feature_S is not None and bool(self.has_feature_S.all()))

    def take(self, which_N: np.ndarray | slice) -> Followers:
        """Return those of some records, given as a mask, or as a slice without steps, which copies nothing."""
        kept_S: np.ndarray | slice
        if isinstance(which_N, slice):
            ends_N = np.concatenate([[0], np.cumsum(self.count_N, dtype=np.int64)])
            begin, end, _ = which_N.indices(len(self.count_N))
            kept_S = slice(int(ends_N[begin]), int(ends_N[end]))
        else:
            kept_S = np.repeat(which_N, self.count_N)
        columns = [self.horizon_S, self.dt_S, self.latent_SD, self.feature_SF, self.has_feature_S]
        taken: list[Any] = [None if each is None else each[kept_S] for each in columns]
        return Followers(self.count_N[which_N], *taken)


@dataclass(frozen=True)
class Region:
    """Part of a memory.

    Attributes:
        manifest: About all of it.
        rows: Records by session and stamp, under the ids they had; cells are not filled; latents of size 0 where they
            follow from the features.
        followers: What followed them.
    """

    manifest: Manifest
    rows: Rows
    followers: Followers

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def is_featured(self) -> bool:
        """Whether every record, and whatever followed one, has a feature, so that latents can be left out."""
        has_N = self.rows.has_feature_N
        own = not len(self) or (has_N is not None and bool(has_N.all()))
        return own and self.followers.is_featured

    @property
    def has_latents(self) -> bool:
        """Whether it holds latents, not only what they follow from."""
        return bool(self.rows.latent_ND.shape[1]) or not len(self)

    def take(self, which_N: np.ndarray | slice) -> Region:
        """Return the part of some records, given as a mask, or as a slice without steps, which copies nothing."""
        rows, followers = self.rows.take(which_N), self.followers.take(which_N)
        return Region(replace(self.manifest, count=len(rows)), rows, followers)

    def without_latents(self) -> Region:
        """Return the same without what follows from features."""
        rows = replace(self.rows, latent_ND=np.empty((len(self), 0), np.float32))
        return replace(self, rows=rows, followers=replace(self.followers, latent_SD=None))

    def in_basis(self, projection: Projection) -> Region:
        """Return the same with latents of a basis.

        Raises:
            EncoderMismatchError: Something of it has no feature, or one of another network or size.
        """
        space, theirs = projection.space, self.manifest
        if (theirs.feature_id, theirs.feature_dim) != (space.feature_id, space.size) or not self.is_featured:
            raise EncoderMismatchError(
                f"not all records have a feature of {space.size} values of network {space.feature_id}: their latents "
                f"of encoder {theirs.encoder_id} cannot be projected for {projection.encoder_id}"
            )
        nothing = np.empty((0, space.size), np.int8)
        own_NF, later_SF = self.rows.feature_NF, self.followers.feature_SF
        rows = replace(self.rows, latent_ND=projection.project(nothing if own_NF is None else own_NF))
        followers = replace(self.followers, latent_SD=projection.project(nothing if later_SF is None else later_SF))
        return Region(replace(theirs, encoder_id=projection.encoder_id, dim=projection.z_dim), rows, followers)


def origin_of(store_id: str) -> str:
    """Return what the sessions of a memory are known by in other memories."""
    return store_id[:_ORIGIN_LENGTH]


def abroad(session: str, origin: str) -> str:
    """Return a session's name as other memories know it; one that came from elsewhere keeps its own."""
    return session if _ABROAD.match(session) else f"{origin}/{session}"


def at_home(session: str, origin: str) -> str:
    """Return the name in the memory of an origin of what other memories know by another."""
    return session.removeprefix(f"{origin}/")
