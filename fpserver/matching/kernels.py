"""Inner loops of the evidence, compiled: one pass over the peaks where numpy takes a dozen over short arrays.

Sums are made in the order of the peaks, in 64 bits: the same on every machine.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fpserver.compiling import compiled
from fpserver.terms import Bins, CellLevels, Frames

Cells: TypeAlias = npt.NDArray[np.float32]  # what a clip's cells say, padded, row after row
Kinds: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.int64]
Extent: TypeAlias = tuple[int, int, int, int, int, int]
"""Of a clip's cells: frames, bins, the first bin, frames and bins of padding, cells a row with padding."""

Place: TypeAlias = tuple[float, float, float]
"""Where a clip is laid on a track: alignment, speed, pitch."""


@compiled
def said_by_cells(levels: CellLevels, kinds: Kinds, ratios: Cells, taken_off: float, extent: Extent) -> Cells:
    """What each cell says by its level and kind, less a share of what its whole frame and its whole bin say.

    Beyond its ends the clip begins anew, and beyond the band it is mirrored.

    Args:
        levels, kinds: of the clip's cells, (n_frames, n_bins).
        ratios: what is said, by level and kind.
        taken_off: of what all cells of a frame say more than all cells, and of what those of a bin do.
        extent: of the result.
    """
    n_frames, n_bins, _, pad_frames, pad_bins, stride = extent
    said = np.empty((n_frames, n_bins), np.float32)
    of_frame, of_bin = np.zeros(n_frames), np.zeros(n_bins)
    for row in range(n_frames):
        for column in range(n_bins):
            said[row, column] = ratios[levels[row, column], kinds[row, column]]
            of_frame[row] += said[row, column]
            of_bin[column] += said[row, column]
    of_all = np.sum(of_frame) / (n_frames * n_bins)
    of_frame, of_bin = taken_off * (of_frame / n_bins - of_all), taken_off * (of_bin / n_frames - of_all)
    cells = np.empty((n_frames + 2 * pad_frames, stride), np.float32)
    for padded in range(len(cells)):
        row = (padded - pad_frames) % n_frames
        for column in range(n_bins):
            cells[padded, column + pad_bins] = said[row, column] - of_frame[row] - of_bin[column]
        for beyond in range(pad_bins):
            inside = pad_bins + _mirrored(beyond, n_bins)
            cells[padded, pad_bins - 1 - beyond] = cells[padded, inside]
            cells[padded, pad_bins + n_bins + beyond] = cells[padded, 2 * pad_bins + n_bins - 1 - inside]
    return cells.ravel()


@compiled
def _mirrored(beyond: int, n_bins: int) -> int:
    """The bin that lies in a mirror where one `beyond` the edge would be, told from that edge."""
    beyond %= 2 * n_bins
    return min(beyond, 2 * n_bins - 1 - beyond)


@compiled
def unevenness(levels: CellLevels) -> float:
    """Share of the levels' variance that lies between whole frames, 0..1; 1 where all are the same."""
    n_frames, n_bins = levels.shape
    total, squares, between = 0, 0, 0.0
    for row in range(n_frames):
        of_row = 0
        for column in range(n_bins):
            level = int(levels[row, column])
            of_row += level
            squares += level * level
        total += of_row
        between += of_row * of_row / n_bins
    by_chance = total * total / levels.size
    return (between - by_chance) / (squares - by_chance) if squares > by_chance else 1.0


@compiled
def _cell_under(frame: int, bin_: int, place: Place, extent: Extent) -> tuple[int, int]:
    """Clip frame and cell of a track's peak; −1 for both where it does not lie in the clip."""
    alignment, speed, pitch = place
    n_frames, n_bins, first_bin, pad_frames, pad_bins, stride = extent
    time = (frame - alignment) / speed
    row = int(np.rint(time))
    column = int(np.rint(bin_ * pitch)) - first_bin
    if time >= 0 and row < n_frames and 0 <= column < n_bins:
        return row, (row + pad_frames) * stride + column + pad_bins
    return -1, -1


@compiled
def _sum_under(cells: Cells, extent: Extent, frame: Frames, bin_: Bins, place: Place) -> float:
    """Of what the clip's cells say under a track's peaks."""
    total = 0.0
    for i in range(len(frame)):
        _, cell = _cell_under(frame[i], bin_[i], place, extent)
        if cell >= 0:
            total += cells[cell]
    return total


@compiled
def cells_under(frame: Frames, bin_: Bins, place: Place, extent: Extent) -> tuple[Indices, Indices]:
    """Clip frame and cell of each of a track's peaks that lies in the clip, in the order of the peaks."""
    clip_frame, cells = np.empty(len(frame), np.int64), np.empty(len(frame), np.int64)
    n = 0
    for i in range(len(frame)):
        row, cell = _cell_under(frame[i], bin_[i], place, extent)
        if cell >= 0:
            clip_frame[n], cells[n] = row, cell
            n += 1
    return clip_frame[:n], cells[:n]


@compiled
def sums_under(cells: Cells, extent: Extent, frame: Frames, bin_: Bins, places: Floats) -> Floats:
    """Sum of what the clip's cells say under a track's peaks, one a place."""
    sums = np.empty(len(places))
    for i in range(len(places)):
        place = places[i, 0], places[i, 1], places[i, 2]
        sums[i] = _sum_under(cells, extent, frame, bin_, place)
    return sums


@compiled
def climbed(
    cells: Cells,
    extent: Extent,
    peaks: tuple[Frames, Bins],
    start: Place,
    change: tuple[float, float],
    pivot: float,
    tried: tuple[Floats, Floats],
    max_steps: int,
) -> tuple[Place, float]:
    """The place at the top of the hill of sums on which the start stands, and its sum.

    Args:
        cells, extent: the clip.
        peaks: frame and bin of each of the track's.
        start: where to begin.
        change: whether (1 or 0) the speed, and whether the pitch may change.
        pivot: clip frame at which a change of speed leaves the place as it is.
        tried: steps of the change (ln), each until it no longer helps; shifts (frames) tried with each.
        max_steps: of each size.
    """
    (frame, bin_), (steps, shifts) = peaks, tried
    alignment, speed, pitch = start
    at_pivot, best = alignment + speed * pivot, _sum_under(cells, extent, frame, bin_, start)
    for step in steps:
        for _ in range(max_steps):
            highest, found = -np.inf, (at_pivot, speed, pitch)
            for by in (-step, 0.0, step):
                faster, higher = speed * np.exp(by * change[0]), pitch * np.exp(by * change[1])
                for shift in shifts:
                    if by == 0 and shift == 0:
                        continue
                    place = at_pivot + shift - faster * pivot, faster, higher
                    total = _sum_under(cells, extent, frame, bin_, place)
                    if total > highest:
                        highest, found = total, (at_pivot + shift, faster, higher)
            if highest <= best:
                break
            best, (at_pivot, speed, pitch) = highest, found
    return (at_pivot - speed * pivot, speed, pitch), best


@compiled
def laid(
    cells: Cells,
    extent: Extent,
    under: tuple[Indices, Indices],
    shifts: tuple[Indices, Indices, Indices],
    stretches: Floats,
    limits: tuple[float, float, int],
) -> tuple[float, float, int, int, int]:
    """How much better a track's peaks fit where they are laid than elsewhere, on the best stretch of the band.

    Args:
        cells, extent: the clip.
        under: clip frame and cell of each of the track's peaks there, at least one.
        shifts: of the cells, among which the best is the track's own place; to other times; to other frequencies.
        stretches: (n_parts, n_stretches), 1 where the part of the band belongs to the stretch; the whole band first.
        limits: of the spread, per root of the peaks predicted, at least; what the z of a part counts less than that of
            the whole band; peaks predicted of which a stretch must have as many.

    Returns:
        z among other times, z among other frequencies, which of the own shifts, first and last frame that agree.
    """
    frame, cell = under
    own, times, bins = shifts
    n_predicted = _n_predicted(extent, cell, stretches)
    of_own = _sums(cells, extent, cell, own, stretches)
    best = int(np.argmax(of_own[:, 0]))
    here = of_own[best]
    of_times = _sums(cells, extent, cell, times, stretches)
    of_bins = _sums(cells, extent, cell, bins, stretches)
    z_time, z_bin, agrees = -np.inf, -np.inf, -np.inf
    for k in range(len(here)):
        z = (
            _compared(here[k], of_times[:, k], n_predicted[k], k > 0, limits),
            _compared(here[k], of_bins[:, k], n_predicted[k], k > 0, limits),
        )
        if k == 0 or min(z) > agrees:
            agrees, z_time, z_bin = min(z), z[0], z[1]
    by_chance = max(np.mean(of_times[:, 0]), np.mean(of_bins[:, 0]))
    first, last = _agreeing(cells, cell, own[best], (by_chance + here[0]) / 2 / len(cell))
    return z_time, z_bin, best, int(frame[first]), int(frame[last])


@compiled
def _sums(cells: Cells, extent: Extent, cell: Indices, shifts: Indices, stretches: Floats) -> Floats:
    """What the clip's cells say under some of them, shifted, by shift and stretch."""
    n_parts, n_stretches = stretches.shape
    of_parts = np.zeros((len(shifts), n_parts))
    for i in range(len(cell)):
        part = _part_of(cell[i], extent, n_parts)
        for k in range(len(shifts)):
            of_parts[k, part] += cells[cell[i] + shifts[k]]
    sums = np.zeros((len(shifts), n_stretches))
    for k in range(len(shifts)):
        for part in range(n_parts):
            for stretch in range(n_stretches):
                sums[k, stretch] += of_parts[k, part] * stretches[part, stretch]
    return sums


@compiled
def _n_predicted(extent: Extent, cell: Indices, stretches: Floats) -> Floats:
    """How many of the cells lie in each stretch."""
    n = np.zeros(stretches.shape[1])
    for i in range(len(cell)):
        n += stretches[_part_of(cell[i], extent, len(stretches))]
    return n


@compiled
def _part_of(cell: int, extent: Extent, n_parts: int) -> int:
    _, n_bins, _, _, pad_bins, stride = extent
    return (cell % stride - pad_bins) * n_parts // n_bins


@compiled
def _compared(
    here: float, elsewhere: Floats, n_predicted: float, is_part: bool, limits: tuple[float, float, int]
) -> float:
    """The z-score of a sum among others."""
    min_spread, part_costs, min_predicted = limits
    if n_predicted < min_predicted:
        return -np.inf
    mean, squares = 0.0, 0.0
    for each in elsewhere:
        mean += each / len(elsewhere)
        squares += each * each / len(elsewhere)
    variance = max(squares - mean * mean, min_spread**2 * n_predicted)
    return (here - mean) / float(np.sqrt(variance)) - (part_costs if is_part else 0.0)


@compiled
def _agreeing(cells: Cells, cell: Indices, shift: int, level: float) -> tuple[int, int]:
    """First and last of the peaks whose cells say most above a level, taken together.

    Bentley, "Programming Pearls: Algorithm Design Techniques", CACM 1984.
    """
    first, last, best = 0, 0, -np.inf
    begin, total = 0, 0.0
    for i in range(len(cell)):
        if total < 0:
            begin, total = i, 0.0
        total += cells[cell[i] + shift] - level
        if total > best:
            first, last, best = begin, i, total
    return first, last


def warm_up() -> None:
    """Have all of it compiled, or read from where it was kept, so that no clip waits for it."""
    columns, peaks = np.zeros(1, np.int64), np.zeros(1, np.int32)
    weight, extent = np.ones(1), (1, 1, 0, 0, 0, 1)
    byte = np.zeros((1, 1), np.uint8)
    unevenness(byte)
    cells = said_by_cells(byte, byte, np.zeros((1, 1), np.float32), 0.5, extent)
    under = cells_under(peaks, peaks, (0.0, 1.0, 1.0), extent)
    sums_under(cells, extent, peaks, peaks, np.ones((1, 3)))
    climbed(cells, extent, (peaks, peaks), (0.0, 1.0, 1.0), (1.0, 1.0), 0.0, (weight, weight), 1)
    laid(cells, extent, under, (columns, columns, columns), np.ones((1, 1)), (1.0, 1.0, 1))
