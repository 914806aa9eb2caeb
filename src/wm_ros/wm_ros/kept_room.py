"""Room that a process keeps: what a camera's frame takes is not given back to the system before the next frame.

What a change of all memories took is: it comes once in minutes, and a process would look as if it grew.
"""

from __future__ import annotations

import ctypes

# From malloc.h of the GNU C library; others have no mallopt, or another.
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_LARGEST_KEPT_BYTES = 32 * 1024**2
_UNUSED_KEPT_BYTES = 128 * 1024**2


def keep_room() -> bool:
    """Have the allocator keep up to 128 MiB of unused room, blocks of up to 32 MiB among it.

    By itself the allocator maps each block of a frame's size anew and gives it back, so that the kernel zeroes every
    page of it for each copy of each frame. Source: mallopt(3).

    Returns:
        Whether the process's C library takes both; where not, all stays as it is.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES)) and bool(mallopt(_TRIM_THRESHOLD, _UNUSED_KEPT_BYTES))


def give_back_room() -> bool:
    """Give the system back what the allocator holds and nobody uses, in all its arenas.

    Takes milliseconds, during which other threads may wait for memory. Source: malloc_trim(3).

    Returns:
        Whether anything was given back; False also where the process's C library has no such thing.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return malloc_trim is not None and bool(malloc_trim(ctypes.c_size_t(0)))
