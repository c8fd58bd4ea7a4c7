"""Memory that is given back is asked for again at the next step: it need not go to the operating system meanwhile."""

from __future__ import annotations

import ctypes

# glibc's names in malloc.h, and what its documentation calls them.
M_TRIM_THRESHOLD = -1  # bytes that may lie free at the end of the heap
M_MMAP_THRESHOLD = -3  # bytes from which an allocation gets pages of its own, which go back when it is freed
LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tells glibc's malloc to reuse the memory of large tensors; returns whether it is there and listened.

    Otherwise each tensor above 32 MiB, and at first above 128 KiB, gets fresh pages from the kernel, which clears them one
    by one: thousands at each step of LeNet with batches of 256, a fifth of its time. What was freed stays with the process
    until it ends; its peak stays where it was.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS; Windows
        return False
    # Older versions of glibc refuse more than 32 MiB.
    set_mmap = mallopt(M_MMAP_THRESHOLD, LARGEST_INT) or mallopt(M_MMAP_THRESHOLD, 2**25)
    return bool(set_mmap and mallopt(M_TRIM_THRESHOLD, LARGEST_INT))
