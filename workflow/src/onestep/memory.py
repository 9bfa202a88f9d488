"""The machine's memory: what does not fit is refused before any work, and what has been freed is kept for the next array."""

import ctypes
import os

from onestep.errors import Mistake

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # numbers of mallopt's parameters in glibc


def require(numbers: float, what: str) -> None:
    """Refuses `what` if this many float64 numbers are more than the machine can hold."""
    needed, held = 8 * numbers, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > 0.9 * held:
        raise Mistake(
            f"{what}: about {needed / 1e9:,.0f} GB of memory are needed and this machine has {held / 1e9:,.0f};"
            " ask for a smaller width or dimension, or fewer inputs"
        )


def keep_freed() -> None:
    """Keeps freed memory in the process: else each large array comes from the system anew, zeroed at the price of the work on it."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return  # not glibc
    mallopt(_MMAP_THRESHOLD, 2**30)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
