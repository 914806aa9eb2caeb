"""The collection that a robot's records lie in: one per encoder, and what all records in it share."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spatial_memory.qdrant.kind import Kind
from spatial_memory.qdrant.server import QdrantServer
from wm_core.memory.query import Query
from wm_core.memory.record import MemoryRecord, Sources, action_size, feature_size


class Collection:
    """Name and kind of the collection in use; what other robots decided before is asked of the server.

    Args:
        server: Where it is.
        prefix: What the names of all collections begin with.

    Attributes:
        kind: What its records share, as far as it is known.
    """

    def __init__(self, server: QdrantServer, prefix: str) -> None:
        self._server, self._prefix = server, prefix
        # Queries learn what insertions on another thread decide.
        self._lock = threading.Lock()
        self.kind = Kind()

    @property
    def name(self) -> str:
        """Its name on the server."""
        return self.name_for(self.kind.encoder_id)

    def name_for(self, encoder_id: str | None) -> str:
        """Return the name of an encoder's collection on the server."""
        return f"{self._prefix}-{encoder_id or 'unnamed'}"

    def adopt_only(self) -> None:
        """Take up the one collection that is there, if it is the only one.

        Raises:
            BackendAwayError: The server does not answer.
        """
        found = self._server.only_collection(f"{self._prefix}-")
        if found is not None:
            suffix = found[0][len(self._prefix) + 1 :]
            self.become(replace(self.kind, encoder_id="" if suffix == "unnamed" else suffix, dim=found[1]))

    def become(self, kind: Kind) -> None:
        """Take up a kind; another encoder's is another collection."""
        with self._lock:
            self.kind = kind

    def learn_sources(self, asked: Sequence[MemoryRecord | Query], encoder_id: str | None) -> Sources:
        """Return frame and network; where they matter and are open, what the records of an encoder's collection say.

        Args:
            asked: What is to be kept or found.
            encoder_id: Whose collection.
        """
        if not self.kind.sources.frame_id and any(each.frame_id for each in asked):
            known, name = self.kind.sources, self.name_for(encoder_id)
            sources = self._server.soon(lambda: Sources(*self._server.sources(name)), known)
            with self._lock:
                if not self.kind.sources.frame_id:
                    self.kind = replace(self.kind, sources=sources)
        return self.kind.sources

    def learn_feature_dim(self, asked: Sequence[MemoryRecord | Query], encoder_id: str | None) -> int:
        """Return the feature size; where it matters and is open, what the records of an encoder's collection say."""
        if not self.kind.feature_dim and any(each.feature_F is not None and each.feature_F.size for each in asked):
            name = self.name_for(encoder_id)
            size = self._server.soon(lambda: self._server.feature_size(name), 0)
            with self._lock:
                if not self.kind.feature_dim:
                    self.kind = replace(self.kind, feature_dim=size)
        return self.kind.feature_dim

    def kind_with(self, records: Sequence[MemoryRecord]) -> Kind:
        """Return what all would share once some records are inserted: what was open is taken from them.

        Args:
            records: At least one.
        """
        encoder_id = records[0].encoder_id if self.kind.encoder_id is None else self.kind.encoder_id
        sources = self.learn_sources(records, encoder_id).adopting(records)
        feature_dim = self.learn_feature_dim(records, encoder_id) or _first_feature_size(records)
        dim = self.kind.dim or self._latent_size(records, encoder_id)
        action_dim = self.kind.action_dim if self.kind.action_dim >= 0 else _first_action_size(records)
        return Kind(encoder_id, dim, action_dim, sources, feature_dim)

    def kind_of(self, records: Sequence[MemoryRecord]) -> Kind:
        """Return what all would share once some records, maybe none, take the place of what this robot holds."""
        encoder_id = records[0].encoder_id if records else None
        sources = self.learn_sources(records, encoder_id).adopting(records)
        dim = self._latent_size(records, encoder_id) if records else 0
        return Kind(encoder_id, dim, _first_action_size(records), sources, _first_feature_size(records))

    def _latent_size(self, records: Sequence[MemoryRecord], encoder_id: str | None) -> int:
        """Return the latent size that the server holds of an encoder, else that of the first record."""
        name = self.name_for(encoder_id)
        return self._server.soon(lambda: self._server.size_of(name), 0) or int(np.size(records[0].latent_D))


def _first_action_size(records: Sequence[MemoryRecord]) -> int:
    return next((size for record in records if (size := action_size(record))), -1)


def _first_feature_size(records: Sequence[MemoryRecord]) -> int:
    return next((size for record in records if (size := feature_size(record))), 0)
