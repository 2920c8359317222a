"""Memory that is free, but not given back: the C library keeps it for later, in pieces, more of them by the hour."""

import ctypes
from collections.abc import Callable


def _trimmer() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library
        return None
    return trim


_TRIM = _trimmer()


def give_back() -> None:
    """Give whole free pages back to the system, where the C library can; some milliseconds, for a thread."""
    if _TRIM is not None:
        _TRIM(0)
