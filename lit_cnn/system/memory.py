"""Memory: how much is free, how much was used, and what malloc does with what is freed."""

from __future__ import annotations

import ctypes
import sys

import psutil

# Parameters of glibc's mallopt, from its malloc.h.
M_TRIM_THRESHOLD = -1  # bytes that may stay free at the end of the heap
M_MMAP_THRESHOLD = -3  # larger allocations get pages of their own, which go back to the kernel when they are freed
LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tells glibc's malloc to reuse the memory of large tensors.

    Otherwise each tensor above 32 MiB, and at first above 128 KiB, gets new pages from the kernel, which clears each of
    them. LeNet with batches of 256 takes thousands of pages a step, a fifth of its time. Freed memory then stays with the
    process until it ends. Its peak does not change.

    Returns:
        Whether malloc is glibc's and accepted the settings.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS; Windows
        return False
    # Older versions of glibc refuse more than 32 MiB.
    set_mmap = mallopt(M_MMAP_THRESHOLD, LARGEST_INT) or mallopt(M_MMAP_THRESHOLD, 2**25)
    return bool(set_mmap and mallopt(M_TRIM_THRESHOLD, LARGEST_INT))


def free_memory() -> int:
    """Bytes that this machine can give to programs without swapping."""
    return int(psutil.virtual_memory().available)


def peak_memory() -> int:
    """Largest amount of memory that this process has held so far, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    # psutil knows the peak on Windows only, and there the standard library has no resource.
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def format_bytes(num_bytes: float) -> str:
    """A number of bytes for people: ``1.5 GB``, in powers of 1000."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
