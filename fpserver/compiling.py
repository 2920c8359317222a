"""Have plain loops compiled, where numpy would take a dozen passes over short arrays.

A compiled function is plain Python that runs on its own arguments and nothing else, so it can be read, and called,
without a compiler (`.py_func`). It releases the interpreter's lock while it runs. numba keeps what it compiled beside
the file, or in the user's cache where that is not writable.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile when it is first called; where nothing can be kept on disk, anew in every process."""
    return _compiled(function)


def compiled_in_any_order(function: Function) -> Function:
    """Compile with sums made in whatever order is fastest: several numbers at a time, so last bits differ."""
    return _compiled(function, fastmath={"reassoc", "contract", "nsz"})


def _compiled(function: Function, **options: Any) -> Function:
    try:
        return cast(Function, numba.njit(cache=True, nogil=True, **options)(function))
    except RuntimeError:  # numba found no folder to write to
        return cast(Function, numba.njit(nogil=True, **options)(function))
