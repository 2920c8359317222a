"""Inner loops of the matching, compiled: one pass over the peaks where numpy takes a dozen over short arrays.

Each is plain Python that runs on its own arguments and nothing else, so it can be read, and called, without a compiler
(`.py_func`). Sums are made in the order of the peaks, in 64 bits: the same on every machine. They release the
interpreter's lock while they run.

numba keeps what it compiled beside this file, or in the user's cache where that is not writable.
"""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from fpserver.terms import Bins, Frames

Cells: TypeAlias = npt.NDArray[np.float32]  # what a clip's cells say, padded, row after row
Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.int64]
Extent: TypeAlias = tuple[int, int, int, int, int, int]
"""Of a clip's cells: frames, bins, the first bin, frames and bins of padding, cells a row with padding."""

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile when it is first called; where nothing can be kept on disk, anew in every process."""
    try:
        return cast(Function, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # numba found no folder to write to
        return cast(Function, numba.njit(nogil=True)(function))


@compiled
def cells_under(
    frame: Frames, bin_: Bins, alignment: float, speed: float, pitch: float, extent: Extent
) -> tuple[Indices, Indices]:
    """Clip frame and cell of each of a track's peaks that lies in the clip, in the order of the peaks."""
    n_frames, n_bins, first_bin, pad_frames, pad_bins, stride = extent
    clip_frame = np.empty(len(frame), np.int64)
    cell = np.empty(len(frame), np.int64)
    n = 0
    for i in range(len(frame)):
        time = (frame[i] - alignment) / speed
        row = int(np.rint(time))
        column = int(np.rint(bin_[i] * pitch)) - first_bin
        if time >= 0 and row < n_frames and 0 <= column < n_bins:
            clip_frame[n] = row
            cell[n] = (row + pad_frames) * stride + column + pad_bins
            n += 1
    return clip_frame[:n], cell[:n]


@compiled
def sums_under(cells: Cells, extent: Extent, frame: Frames, bin_: Bins, places: Floats) -> Floats:
    """Sum of what the clip's cells say under a track's peaks, one a place (alignment, speed, pitch)."""
    sums = np.zeros(len(places))
    for i in range(len(places)):
        alignment, speed, pitch = places[i]
        _, under = cells_under(frame, bin_, alignment, speed, pitch, extent)
        for cell in under:
            sums[i] += cells[cell]
    return sums


@compiled
def sums_by_part(
    cells: Cells, extent: Extent, cell: Indices, shifts: Indices, n_parts: int
) -> tuple[Floats, Indices]:
    """What the clip's cells say under some of them, shifted, for each of `n_parts` equal parts of the band.

    Returns:
        ((n_shifts, n_parts) sums, (n_parts,) how many of the cells lie in each part before they are shifted).
    """
    _, n_bins, _, _, pad_bins, stride = extent
    sums = np.zeros((len(shifts), n_parts))
    n_cells = np.zeros(n_parts, np.int64)
    for i in range(len(cell)):
        part = (cell[i] % stride - pad_bins) * n_parts // n_bins
        n_cells[part] += 1
        for k in range(len(shifts)):
            sums[k, part] += cells[cell[i] + shifts[k]]
    return sums, n_cells
