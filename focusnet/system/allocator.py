"""Keeping freed memory, because on CPU the kernel's zeroed pages cost as much as the work on them.

Every batch makes temporaries of some 10 MB (waveforms, spectra, activations). glibc gives each of
them back to the kernel when it is freed, and then every page of the next one is a page fault. Kept,
the same memory serves batch after batch: waveforms are gathered and rolled 1.7 times as fast.
"""

import ctypes
from functools import cache

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h
_KEPT = 2**31 - 1  # bytes free at the heap's end; what is beyond goes back (the largest int)
_GROWTH = 64 * 2**20


@cache
def keep_freed_memory() -> bool:
    """Let this process reuse the memory it frees; whether its C library can (glibc).

    Results do not change, and neither does the most memory that is in use at a time.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # no glibc
        return False
    settings = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: _KEPT, _M_TOP_PAD: _GROWTH}
    return all(mallopt(name, value) == 1 for name, value in settings.items())
