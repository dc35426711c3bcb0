"""Main memory that a training step has freed, kept for the next one.

    keep_freed_memory()

A step of a few hundred time steps frees some megabytes at its end, and needs them again at once. By default, glibc
returns them to the system each time, which has to clear them before it gives them back: up to a tenth of a step.
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # from malloc.h
_KEPT = 256 << 20
_LARGEST = 32 << 20  # glibc takes no more


def keep_freed_memory() -> bool:
    """Have this process keep up to 256 MiB that it has freed; False where the C library is not glibc."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    return set_option is not None and bool(set_option(_MMAP_THRESHOLD, _LARGEST) and set_option(_TRIM_THRESHOLD, _KEPT))
