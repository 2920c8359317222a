"""Lay a track's peaks over a clip, and say how much better they fit here than elsewhere.

Each cell of the clip's spectrogram says by how much a track's peak there speaks for the track: the logarithm of how
often a cell of its kind lies under a peak of the track that is heard, over how often it lies anywhere (RATIOS). Its
kind is its level and whether the clip has a peak there or beside it. The sum over the peaks that the track predicts,
at the candidate's place, is compared with the sums at other shifts, in time and, apart from that, in frequency: two
z-scores, of which the smaller counts, since a steady tone fits at every time and a click at every frequency. Half of
what a whole frame or a whole bin says is taken off for the same reason. Noise may leave only the low or only the high
frequencies of the music to be heard: the sums are also made over the lower and the upper parts of the band alone, and
the stretch that agrees best counts, a part less than the whole. docs/decisions/0013 has the figures.

Ratios of likelihoods as weights: Neyman, Pearson, "On the problem of the most efficient tests of statistical
hypotheses", 1933. docs/decisions/0009 says how the table was made and what it is worth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fpserver.matching import kernels
from fpserver.terms import Candidate, CellLevels, Constellation, Peaks, Warp

Place: TypeAlias = tuple[Warp, float]  # and the alignment

# by level (0..3), then: no peak near, a peak 2 bins away, diagonally beside, one frame away, one bin away, a peak here
RATIOS = np.array(
    [
        [-1.05, -0.8, -1.2, 2.85, -0.75, 3.55],
        [-0.55, -0.3, -0.2, 1.15, 0.05, 2.45],
        [0.15, 0.15, 0.55, 1.65, 0.9, 2.75],
        [0.5, 0.8, 1.15, 2.25, 1.55, 3.4],
    ],
    np.float32,
)
NEAR = (  # later ones rule: shifts (frames, bins) that give a cell its kind
    ((0, -2), (0, 2)),
    ((-1, -1), (-1, 1), (1, -1), (1, 1)),
    ((-1, 0), (1, 0)),
    ((0, -1), (0, 1)),
    ((0, 0),),
)
OWN_SHIFTS = (-1, 0, 1)  # frames; the best of them is the candidate's place
TIME_SHIFTS = np.r_[-30:-3, 4:31]  # frames; nearer ones belong to the candidate itself
BIN_SHIFTS = np.r_[-96:-15:4, 16:97:4]
N_PARTS = 8  # of the band, equally wide
_ENDS = (0, N_PARTS), *((0, i) for i in range(1, N_PARTS)), *((i, N_PARTS) for i in range(1, N_PARTS))
# of the band, all of it first, (n_parts, n_stretches): 1 where the part belongs to the stretch
STRETCHES = np.array([[float(first <= part < end) for first, end in _ENDS] for part in range(N_PARTS)])
PART_COSTS = 1.0  # standard deviations that the z of a part counts less than that of the whole band
TAKEN_OFF = 0.5  # of what all cells of a frame, or of a bin, say
MIN_SPREAD = 1.2  # of the sum, per root of the peaks predicted: as if they were independent
MIN_PREDICTED = 4  # fewer predicted peaks are no evidence

_PAD_FRAMES, _PAD_BINS = 32, 97


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How well a candidate fits."""

    z_time: float
    z_bin: float
    alignment: float
    warp: Warp
    clip_start_frame: int
    clip_end_frame: int

    @property
    def z(self) -> float:
        """The smaller of the two."""
        return min(self.z_time, self.z_bin)


class ClipMap:
    """What each cell of a clip says, on a padded grid of (frame, bin).

    Beyond its ends the clip begins anew and beyond the band it is mirrored, so that a pattern that is shifted away
    meets as many cells as before.

    Attributes:
        n_frames: of the clip.
        unevenness: how much its frames rise and fall as a whole, 0..1.
    """

    def __init__(self, clip: Constellation, levels: CellLevels, *, first_bin: int) -> None:
        self.n_frames, n_bins = levels.shape
        self.unevenness = _unevenness(levels)
        self._stride = n_bins + 2 * _PAD_BINS
        self._extent = (self.n_frames, n_bins, first_bin, _PAD_FRAMES, _PAD_BINS, self._stride)
        kinds = kinds_of(clip, levels.shape, first_bin=first_bin)
        self._cells = kernels.said_by_cells(levels, kinds, RATIOS, TAKEN_OFF, self._extent)
        elsewhere = TIME_SHIFTS[np.abs((TIME_SHIFTS + 3) % max(self.n_frames, 1)) > 6]
        self._shifts = (
            np.array(OWN_SHIFTS, np.int64) * self._stride,
            elsewhere.astype(np.int64) * self._stride,
            BIN_SHIFTS.astype(np.int64),
        )

    def fits(self, peaks: Peaks, places: Sequence[Place]) -> npt.NDArray[np.float64]:
        """Sum of what the clip's cells say under a track's peaks: quick, and good enough to rank what is alike.

        Args:
            peaks: of the track, n of them.
            places: where the clip is laid, each a warp and an alignment.

        Returns:
            One sum a place, (n_places,).
        """
        at = np.array([(alignment, warp.speed, warp.pitch) for warp, alignment in places])
        return kernels.sums_under(self._cells, self._extent, peaks.frame, peaks.bin, at)

    def climbed(
        self,
        peaks: Peaks,
        start: Place,
        *,
        change: tuple[float, float],
        pivot: float,
        tried: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
        max_steps: int,
    ) -> tuple[Place, float]:
        """The best fit that can be climbed to from a place, and its sum.

        Args:
            peaks: of the track.
            start: where to begin.
            change, pivot, tried, max_steps: as `kernels.climbed` takes them.
        """
        warp, alignment = start
        (alignment, speed, pitch), fit = kernels.climbed(
            self._cells,
            self._extent,
            (peaks.frame, peaks.bin),
            (alignment, warp.speed, warp.pitch),
            change,
            pivot,
            tried,
            max_steps,
        )
        return (Warp(speed=speed, pitch=pitch), alignment), fit

    def evidence(self, candidate: Candidate, peaks: Peaks) -> Evidence | None:
        """Judge one candidate; None where the track predicts too few peaks, or the clip is too short to compare."""
        warp = candidate.warp
        under = kernels.cells_under(
            peaks.frame, peaks.bin, (candidate.alignment, warp.speed, warp.pitch), self._extent
        )
        if len(under[0]) < MIN_PREDICTED or not len(self._shifts[1]):
            return None
        z_time, z_bin, own, start, end = kernels.laid(
            self._cells,
            self._extent,
            under,
            self._shifts,
            STRETCHES,
            (MIN_SPREAD, PART_COSTS, MIN_PREDICTED),
        )
        return Evidence(
            z_time=z_time,
            z_bin=z_bin,
            alignment=candidate.alignment - OWN_SHIFTS[own] * warp.speed,
            warp=warp,
            clip_start_frame=start,
            clip_end_frame=end,
        )


def kinds_of(clip: Constellation, shape: tuple[int, ...], *, first_bin: int) -> npt.NDArray[np.uint8]:
    """For each cell, which column of RATIOS is its own: whether the clip has a peak there, or how near."""
    kinds = np.zeros((shape[0] + 4, shape[1] + 4), np.uint8)
    frame, bin_ = clip.frame + 2, clip.bin - first_bin + 2
    for i, shifts in enumerate(NEAR, 1):
        for frames, bins in shifts:
            kinds[frame + frames, bin_ + bins] = i
    return np.ascontiguousarray(kinds[2:-2, 2:-2])


def _unevenness(levels: CellLevels) -> float:
    """As ClipMap has it. Levels that were made from peaks have no lowest one and do not tell: they are all uneven."""
    return kernels.unevenness(levels) if levels.size and levels.min() == 0 else 1.0
