"""How the C library keeps memory that is free: in one place, so that it is used again, and given back now and then.

By itself glibc gives every thread a store of its own. What one background thread lays down, another one replaces later,
and each store keeps what it once held most: a web process grew by a tenth in half an hour of load. With one store for
all threads 400 copies of 4,000 tracks, one in force after the other, take 2 MB instead of 30.
"""

import ctypes

M_ARENA_MAX = -8  # of glibc's malloc.h


def use_one_arena() -> None:
    """Let all threads that begin from now on share one store, where the C library has several."""
    mallopt = _function("mallopt")
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


def give_back() -> None:
    """Give whole free pages back to the system, where the C library can; some milliseconds, for a thread."""
    trim = _function("malloc_trim")
    if trim is not None:
        trim(0)


def _function(name: str) -> "ctypes._NamedFuncPointer | None":
    """A function of the C library, if it has it: another than glibc has not."""
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):
        return None
