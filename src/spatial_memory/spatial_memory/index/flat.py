"""The search by Faiss: a flat index over the latents, asked only about what passes every filter.

Faiss compares in single precision, so it is asked for some more than the k nearest, until the last of them lies beyond
the k-th by more than its rounding; those are ranked exactly afterwards. Imported only where the backend is chosen.

Shape suffixes: N = records that pass, K = neighbours, D = latent size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import faiss
import numpy as np

from spatial_memory.index.cell_index import Backend, CellIndex
from spatial_memory.index.portable import PortableSearch
from wm_core.memory.filters import Limits
from wm_core.memory.frames import LevelGrid
from wm_core.memory.query import Query
from wm_core.memory.ranking import Shortlist, off, smallest

_FEWEST_ROWS = 1024
_SPARE = 8
_ROUNDING = 1e-6


class FlatLatents:
    """Latents by slot in a flat Faiss index, by L2, and once somebody asks for it of unit length, by inner product.

    Args:
        dim: Latent size D.
    """

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._l2 = faiss.IndexFlatL2(dim)
        self._unit: faiss.IndexFlatIP | None = None

    def write(self, slots_N: np.ndarray, latent_ND: np.ndarray) -> None:
        """Take latents into their slots."""
        _put(self._l2, slots_N, latent_ND)
        if self._unit is not None:
            _put(self._unit, slots_N, _of_unit_length(latent_ND))

    def move(self, source: int, target: int) -> None:
        """Copy one latent to another slot."""
        self.write(np.array([target]), _rows_of(self._l2)[source : source + 1].copy())

    def grow(self, page_count: int) -> None:
        """Make room when it is needed, not before: Faiss would fill it."""

    def fresh(self) -> FlatLatents:
        """Return another of this kind, empty."""
        return FlatLatents(self._dim)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What compiled code reads: nothing."""
        return {}

    @property
    def nbytes(self) -> int:
        """Bytes of all the room."""
        indexes = 1 if self._unit is None else 2
        return indexes * int(self._l2.ntotal) * self._dim * 4

    def nearest(self, slots_N: np.ndarray, latent_D: np.ndarray, k: int, *, cosine: bool) -> np.ndarray:
        """Return those of some slots that hold the k nearest, and a few more, int64.

        Args:
            slots_N: More than ``k`` slots.
            latent_D: What to compare them with.
            k: How many at least.
            cosine: By angle instead of L2.
        """
        index, wanted_1D = self._asked(latent_D, cosine=cosine)
        params = faiss.SearchParameters(sel=faiss.IDSelectorArray(slots_N))  # type: ignore[call-arg]
        most = k + _SPARE
        while True:
            most = min(most, len(slots_N))
            with _one_thread():
                distance_1K, slot_1K = index.search(wanted_1D, most, params=params)
            distance_K = 1.0 - distance_1K[0] if cosine else distance_1K[0]
            bound = distance_K[k - 1] + self._slack(float(distance_K[k - 1]), cosine=cosine)
            if most == len(slots_N) or distance_K[-1] > bound:
                found_K: np.ndarray = slot_1K[0][distance_K <= bound]
                return found_K
            most *= 2

    def distances(self, slots_N: np.ndarray, latent_D: np.ndarray, *, cosine: bool) -> np.ndarray:
        """Return squared L2 distances of the latents in slots, or cosine distances; single precision [N]."""
        index, wanted_1D = self._asked(latent_D, cosine=cosine)
        distance_N = np.empty(len(slots_N), np.float32)
        pointer = faiss.swig_ptr
        compute = index.compute_distance_subset  # type: ignore[attr-defined]
        compute(1, pointer(wanted_1D), len(slots_N), pointer(distance_N), pointer(slots_N))
        return 1.0 - distance_N if cosine else distance_N

    def _asked(self, latent_D: np.ndarray, *, cosine: bool) -> tuple[faiss.IndexFlat, np.ndarray]:
        """Return the index to ask, and what for."""
        wanted_1D = np.ascontiguousarray(latent_D, np.float32)[None]
        if not cosine:
            return self._l2, wanted_1D
        if self._unit is None:
            self._unit = faiss.IndexFlatIP(self._dim)
            self._unit.add(_of_unit_length(_rows_of(self._l2)))
        return self._unit, _of_unit_length(wanted_1D)

    def _slack(self, distance: float, *, cosine: bool) -> float:
        """Return by how much a distance and one about as large may be off together."""
        return 2.0 * _ROUNDING * (self._dim + 8) * (1.0 if cosine else distance)


def _rows_of(index: faiss.IndexFlat) -> np.ndarray:
    """Return the vectors of an index where they lie, to be changed in place."""
    size = int(index.ntotal) * int(index.d)
    rows_ND: np.ndarray = faiss.rev_swig_ptr(index.get_xb(), size).reshape(-1, int(index.d))
    return rows_ND


def _put(index: faiss.IndexFlat, slots_N: np.ndarray, latent_ND: np.ndarray) -> None:
    """Write vectors to their places; an index that is too small gets half as many again."""
    missing = int(slots_N.max(initial=-1)) + 1 - int(index.ntotal)
    if missing > 0:
        index.add(np.zeros((max(missing, _FEWEST_ROWS, int(index.ntotal) // 2), int(index.d)), np.float32))
    _rows_of(index)[slots_N] = latent_ND


def _of_unit_length(latent_ND: np.ndarray) -> np.ndarray:
    """Return latents of length 1; those of length 0 stay."""
    wide_ND = np.asarray(latent_ND, np.float64)
    length_N1 = np.sqrt(np.einsum("nd,nd->n", wide_ND, wide_ND))[:, None]
    unit_ND: np.ndarray = np.divide(wide_ND, length_N1, out=np.zeros(wide_ND.shape), where=length_N1 > 0)
    return unit_ND.astype(np.float32)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep a single query from waiting for a team of threads; the setting is this thread's own."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


class FaissSearch:
    """Answers by Faiss what is ranked by latent; poses alone are ranked as the portable search does.

    Args:
        index: Its columns' copy is in Faiss.
    """

    def __init__(self, index: CellIndex) -> None:
        self.index = index
        self._portable = PortableSearch(index)

    @property
    def _latents(self) -> FlatLatents:
        copy = self.index.columns.copy
        assert isinstance(copy, FlatLatents)
        return copy

    def shortlists(self, queries: Sequence[Query], limits: Sequence[Limits]) -> list[Shortlist]:
        """Return the shortlist of each query; see ``Search``."""
        poses = [at for at, query in enumerate(queries) if query.rank == "pose"]
        ranked = self._portable.shortlists([queries[at] for at in poses], [limits[at] for at in poses])
        found = dict(zip(poses, ranked))
        return [
            found[at] if at in found else self._shortlist(query, limit)
            for at, (query, limit) in enumerate(zip(queries, limits))
        ]

    def _shortlist(self, query: Query, limits: Limits) -> Shortlist:
        """Return the shortlist of a query that is ranked by latent, or by latent and pose."""
        assert query.latent_D is not None
        slots_N = self.index.passing_slots(query, limits)
        count = len(slots_N)
        if count <= query.k:
            return Shortlist(slots_N, count)
        cosine = query.metric == "cosine"
        if query.rank == "latent":
            return Shortlist(self._latents.nearest(slots_N, query.latent_D, query.k, cosine=cosine), count)
        latent_N = self._latents.distances(slots_N, query.latent_D, cosine=cosine).astype(np.float64)
        pose_N = query.pose_weight * self.index.candidates(query, slots_N).pose_distance2()
        score_N = (latent_N**2 if cosine else latent_N) + pose_N
        rounding = _ROUNDING * (self.index.dim + 8)
        # A cosine distance is up to 2, and off by that of vectors of length 1.
        slack = off(score_N, query.k, rounding) + (10.0 * rounding if cosine else 0.0)
        return Shortlist(slots_N[smallest(score_N, query.k, slack)], count)


def _make(dim: int, action_dim: int, grid: LevelGrid, page_count: int, successor_size: int) -> FaissSearch:
    copy = FlatLatents(dim)
    return FaissSearch(CellIndex(dim, action_dim, grid, page_count, successor_size=successor_size, copy=copy))


FAISS = Backend("faiss", _make)
