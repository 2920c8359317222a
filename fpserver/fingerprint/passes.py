"""Inner loops of the extraction, compiled: one pass over a block of the spectrogram where numpy and scipy take five.

Each does, in the same order, the sums and quotients that scipy's filters do, so the cells are the same to the last bit.
"""

import numpy as np
import numpy.typing as npt

from fpserver.compiling import compiled

Cells = npt.NDArray[np.float32]  # (n_frames, n_bins), row after row
Spectrum = npt.NDArray[np.complex64]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@compiled
def power_of(spectrum: Spectrum, first: int, scale: np.float32, least: np.float32, power: Cells) -> None:
    """Squares of the amplitudes over `scale`, at least `least`, into `power`.

    Args:
        spectrum: all bins of some frames.
        first: bin of the spectrum that is the first of the band.
        scale, least: as said.
        power: of the band, (n_frames, n_bins).
    """
    n_frames, n_bins = power.shape
    for frame in range(n_frames):
        amplitudes, row = spectrum[frame, first : first + n_bins], power[frame]
        for bin_ in range(n_bins):
            real, imaginary = amplitudes[bin_].real, amplitudes[bin_].imag
            row[bin_] = max((real * real + imaginary * imaginary) / scale, least)


@compiled
def above_mean(decibels: Cells, floor: Cells, half_frames: int, half_bins: int, whitened: Cells) -> None:
    """Each cell, not below its frame's floor, less the mean of the cells around; edges go on as they are.

    Means over bins first, rounded to 32 bits, then over frames; the former wait in a ring, which stays in the cache.

    Args:
        decibels: the cells.
        floor: of each frame, (n_frames,).
        half_frames, half_bins: half widths of the surroundings.
        whitened: the result.
    """
    n_frames, n_bins = decibels.shape
    n_kept = 2 * half_frames + 2
    means, row = np.empty((n_kept, n_bins), np.float32), np.empty(n_bins + 2 * half_bins)
    for frame in range(min(half_frames + 1, n_frames)):
        _mean_over_bins(decibels[frame], floor[frame], row, means[frame])
    sums = np.zeros(n_bins)
    for frame in range(-half_frames, half_frames + 1):
        sums += means[min(max(frame, 0), n_frames - 1)]
    for frame in range(n_frames):
        entering = min(frame + half_frames, n_frames - 1)
        if frame > 0 and entering == frame + half_frames:
            _mean_over_bins(decibels[entering], floor[entering], row, means[entering % n_kept])
        leaving = max(frame - half_frames - 1, 0) if frame > 0 else entering
        _less_mean(
            decibels[frame],
            floor[frame],
            sums,
            (means[entering % n_kept], means[leaving % n_kept]),
            2 * half_frames + 1,
            whitened[frame],
        )


@compiled
def _mean_over_bins(decibels: Cells, floor: np.float32, row: Floats, mean: Cells) -> None:
    """Running mean of one frame into `mean`; `row` is room for the frame and its edges."""
    n_bins = len(decibels)
    half = (len(row) - n_bins) // 2
    size = 2 * half + 1
    for bin_ in range(n_bins):
        row[half + bin_] = max(decibels[bin_], floor)
    row[:half], row[half + n_bins :] = row[half], row[half + n_bins - 1]
    sum_ = 0.0
    for bin_ in range(size):
        sum_ += row[bin_]
    for bin_ in range(n_bins - 1):
        leaving, row[bin_] = row[bin_], sum_
        sum_ += row[bin_ + size] - leaving
    row[n_bins - 1] = sum_
    for bin_ in range(n_bins):
        mean[bin_] = row[bin_] / np.float64(size)


@compiled
def _less_mean(
    decibels: Cells, floor: np.float32, sums: Floats, moved: tuple[Cells, Cells], size: int, whitened: Cells
) -> None:
    """One frame less the mean over frames, of which `moved` are those that enter and leave its `sums`."""
    entering, leaving = moved
    for bin_ in range(len(decibels)):
        sum_ = sums[bin_] + (np.float64(entering[bin_]) - np.float64(leaving[bin_]))
        sums[bin_] = sum_
        whitened[bin_] = max(decibels[bin_], floor) - np.float32(sum_ / np.float64(size))


@compiled
def peaks_of(
    whitened: Cells, frames: tuple[int, int], half_frames: int, half_bins: int, least: np.float32
) -> tuple[Indices, Indices]:
    """Frames and bins of the cells that reach `least` and that no cell around exceeds.

    Args:
        whitened: the cells.
        frames: first frame that is asked about, and the frame after the last.
        half_frames, half_bins: half widths of what is around.
        least: no cell below is a peak.
    """
    n_frames, n_bins = whitened.shape
    found_frames, found_bins = [0 for _ in range(0)], [0 for _ in range(0)]
    may_be = np.empty(n_bins, np.bool_)
    inner = may_be[1:-1]
    for frame in range(frames[0], frames[1]):
        row = whitened[frame]
        here, left, right = row[1:-1], row[:-2], row[2:]
        above, below = whitened[max(frame - 1, 0), 1:-1], whitened[min(frame + 1, n_frames - 1), 1:-1]
        for bin_ in range(len(inner)):
            highest = max(left[bin_], right[bin_], above[bin_], below[bin_], least)
            inner[bin_] = here[bin_] >= highest
        may_be[0], may_be[-1] = row[0] >= least, row[-1] >= least
        for bin_ in range(n_bins):
            if may_be[bin_] and _is_highest(whitened, frame, bin_, half_frames, half_bins):
                found_frames.append(frame)
                found_bins.append(bin_)
    return np.array(found_frames, np.int64), np.array(found_bins, np.int64)


@compiled
def _is_highest(whitened: Cells, frame: int, bin_: int, half_frames: int, half_bins: int) -> bool:
    n_frames, n_bins = whitened.shape
    level = whitened[frame, bin_]
    first, last = max(bin_ - half_bins, 0), min(bin_ + half_bins, n_bins - 1)
    for row in range(max(frame - half_frames, 0), min(frame + half_frames, n_frames - 1) + 1):
        higher = 0
        for column in range(first, last + 1):
            higher += whitened[row, column] > level
        if higher:
            return False
    return True
