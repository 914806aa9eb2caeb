"""Faiss inverted lists that grow in number as new cells appear.

Shape suffixes: N = vectors, D = latent size, L = lists to search, K = neighbours.
"""

from __future__ import annotations

import bisect

import faiss
import numpy as np

_FIRST_BLOCK = 1024


class LatentLists:
    """The latents of each cell, one inverted list per cell, searched by Faiss and held nowhere else.

    Faiss fixes the number of lists of an ``ArrayInvertedLists``; here blocks of them are stacked, each as large as all
    before it, so that growing copies nothing.

    Args:
        dim: Latent size D.

    Source: Faiss ``IndexIVFFlat.search_preassigned`` over ``VStackInvertedLists``.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._code_size = dim * 4
        self._blocks: list[faiss.ArrayInvertedLists] = []
        self._bases: list[int] = []
        self._stack: faiss.VStackInvertedLists | None = None
        self.list_count = 0
        self._quantizer = faiss.IndexFlatL2(dim)
        self._index = faiss.IndexIVFFlat(self._quantizer, dim, 1, faiss.METRIC_L2)
        self._index.own_fields = False
        self._index.is_trained = True
        self._params = faiss.SearchParametersIVF()
        self._grow()

    def _grow(self) -> None:
        size = max(_FIRST_BLOCK, self.list_count)
        self._bases.append(self.list_count)
        self._blocks.append(faiss.ArrayInvertedLists(size, self._code_size))
        self.list_count += size
        pointers = faiss.InvertedListsPtrVector()
        for block in self._blocks:
            pointers.push_back(block)
        stack = faiss.VStackInvertedLists(pointers.size(), pointers.data())
        self._index.nlist = self.list_count
        self._index.replace_invlists(stack, False)
        self._stack = stack

    def reserve(self, list_no: int) -> None:
        """Make sure that a list exists."""
        while list_no >= self.list_count:
            self._grow()

    def _locate(self, list_no: int) -> tuple[faiss.ArrayInvertedLists, int]:
        at = bisect.bisect_right(self._bases, list_no) - 1
        return self._blocks[at], list_no - self._bases[at]

    def extend(self, list_no: int, slots_N: np.ndarray, latent_ND: np.ndarray) -> None:
        """Append latents to a list under their slots (int64)."""
        block, local = self._locate(list_no)
        codes = latent_ND.view(np.uint8)
        block.add_entries(local, len(slots_N), faiss.swig_ptr(slots_N), faiss.swig_ptr(codes))

    def pull(self, list_no: int, offset: int, last: int, slot: int) -> None:
        """Remove one latent: the list's last one takes its offset, under the slot of that offset."""
        block, local = self._locate(list_no)
        if offset != last:
            code = self.view(list_no, last + 1)[last].copy().view(np.uint8)
            block.update_entry(local, offset, slot, faiss.swig_ptr(code))
        block.resize(local, last)

    def view(self, list_no: int, size: int) -> np.ndarray:
        """Return a list's latents [size, D] where they lie: read at once, before anything is added."""
        block, local = self._locate(list_no)
        codes = faiss.rev_swig_ptr(block.get_codes(local), size * self._code_size)
        return codes.view(np.float32).reshape(size, self.dim)

    def copy_one(self, list_no: int, offset: int, out_D: np.ndarray) -> None:
        """Copy one latent out."""
        self._index.reconstruct_from_offset(list_no, offset, faiss.swig_ptr(out_D))

    def search(
        self, latent_D: np.ndarray, k: int, lists_L: np.ndarray, selector: faiss.IDSelector | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return squared L2 distances and slots of the k nearest in some lists, nearest first; fewer where fewer are.

        Args:
            latent_D: Query, contiguous float32.
            k: How many.
            lists_L: Lists to scan, contiguous int64.
            selector: Which slots count; None: all.
        """
        distance_K = np.empty(k, np.float32)
        slot_K = np.empty(k, np.int64)
        params = self._params
        params.nprobe = len(lists_L)
        params.sel = selector
        coarse_L = np.zeros(len(lists_L), np.float32)
        self._index.search_preassigned_c(
            1, faiss.swig_ptr(latent_D), k, faiss.swig_ptr(lists_L), faiss.swig_ptr(coarse_L),
            faiss.swig_ptr(distance_K), faiss.swig_ptr(slot_K), False, params,
        )  # fmt: skip
        found = np.count_nonzero(slot_K >= 0)
        return distance_K[:found], slot_K[:found]
