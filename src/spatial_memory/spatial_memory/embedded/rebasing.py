"""Reading all latents of a memory in another basis of their features."""

from __future__ import annotations

from dataclasses import replace

from spatial_memory.embedded.followed import FollowedAnew
from spatial_memory.embedded.reprojection import check_complete
from spatial_memory.embedded.state import MemoryState
from spatial_memory.index.cell_index import CellIndex
from spatial_memory.index.rebasing import project_all, put_in_place
from spatial_memory.store.bases import BASIS, basis_word
from wm_core.projection import Projection


class Rebasing(MemoryState):
    """Changes the basis that latents are in."""

    def reproject(self, projection: Projection) -> int:
        """Read all latents, successors' included, in another basis from now on and return of how many records.

        They follow from the features. Queries go on meanwhile in the basis so far; then all change at once, on disk in
        one transaction and in RAM. A crash leaves the basis before or the one after.

        Raises:
            EncoderMismatchError: It is of another network or other sizes than the features held; then nothing changed.
            RecordError: ``missing-feature``: a record would be lost; then nothing changed.
            StoreError: The disk does not take it; then nothing changed.
        """
        with self._restoring:
            with self._lock:
                index = self._index
                if index is None or not len(index):
                    self._basis = projection
                    return 0
                self._catalogue.check_projection(projection)
                if self._catalogue.encoder_id == projection.encoder_id:
                    self._basis = projection
                    return 0
                self._coming = projection
            try:
                self._switch(index, projection)
            finally:
                with self._lock:
                    self._coming, self._switching = None, {}
                    index.columns.give_up_replacement()
            return len(self)

    def _switch(self, index: CellIndex, projection: Projection) -> None:
        """Project everything again and change the basis: first on disk, then in RAM."""
        self.flush()
        followed = FollowedAnew(self._store, projection)
        replacement = project_all(index.columns, projection, followed, self._lock)
        check_complete(index, self._store, self._catalogue, followed.complete, self._lock)
        words = {"encoder_id": projection.encoder_id, BASIS: basis_word(projection)}
        with self._lock:
            self._switching = words
        self._store.put_meta_now(words)
        with self._lock:
            put_in_place(index.columns, replacement, projection)
            self._catalogue = replace(self._catalogue, encoder_id=projection.encoder_id)
            self._basis = projection
            self._store.read_in(projection)
            self._journal.replaced("reprojected")
