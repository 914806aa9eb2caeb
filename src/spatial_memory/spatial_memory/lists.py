# Faiss describes only part of itself to type checkers.
# mypy: disable-error-code="attr-defined,name-defined"
"""Faiss inverted lists that grow in number as new cells appear.

Shape suffixes: N = vectors, D = latent size, L = lists to search, K = neighbours.
"""

from __future__ import annotations

import bisect
import ctypes

import faiss
import numpy as np

_FIRST_BLOCK = 1024
# The attribute itself goes through Faiss's reference keeping, which costs as much as looking up the cells.
_set_list_count = faiss.SearchParametersIVF.nprobe.fset


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
        self._whole = faiss.SearchParametersIVF()
        self._selected = faiss.SearchParametersIVF()
        self._selector: faiss.IDSelectorBitmap | None = None
        # Where each list's latents begin; Faiss moves them when a list grows, and only then.
        self._address_L = np.zeros(0, np.int64)
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
        self._address_L = np.append(self._address_L, np.zeros(size, np.int64))

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
        self._address_L[list_no] = int(block.get_codes(local))

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

    def copy(self, lists_N: np.ndarray, offsets_N: np.ndarray, out_ND: np.ndarray) -> None:
        """Copy latents out, one by one: for few."""
        size = self._code_size
        target = out_ND.__array_interface__["data"][0]
        for source in (self._address_L[lists_N] + offsets_N * size).tolist():
            ctypes.memmove(target, source, size)
            target += size

    def select_by(self, bitmap: np.ndarray) -> None:
        """Use a bitmap over slots, where it lies, to say which slots count in a filtered search."""
        self._selector = faiss.IDSelectorBitmap(bitmap.nbytes, faiss.swig_ptr(bitmap.view(np.uint8)))
        self._selected.sel = self._selector

    def search(self, latent_D: np.ndarray, k: int, lists_L: np.ndarray, *, filtered: bool) -> np.ndarray:
        """Return the slots of the k nearest in some lists, nearest first; fewer where fewer are.

        Args:
            latent_D: Query, contiguous float32.
            k: How many.
            lists_L: Lists to scan, contiguous int64.
            filtered: Only slots whose bit is set count.
        """
        distance_K = np.empty(k, np.float32)
        slot_K = np.empty(k, np.int64)
        params = self._selected if filtered else self._whole
        _set_list_count(params, len(lists_L))
        coarse_L = np.zeros(len(lists_L), np.float32)
        self._index.search_preassigned_c(
            1, faiss.swig_ptr(latent_D), k, faiss.swig_ptr(lists_L), faiss.swig_ptr(coarse_L),
            faiss.swig_ptr(distance_K), faiss.swig_ptr(slot_K), False, params,
        )  # fmt: skip
        return slot_K if slot_K[-1] >= 0 else slot_K[slot_K >= 0]
