"""Lay a track's stored constellation over a clip, and say how much better it fits here than elsewhere.

The clip's dense peaks, each spread over its neighbouring cells, make a map. The track's peaks, moved by the
candidate's alignment, predict where the map should be high. Their sum at the candidate's place is compared with the
sums at other shifts, in time and, apart from that, in frequency: two z-scores, of which the smaller counts, since
a steady tone fits at every time and a click at every frequency. The score adds twice the square root of the votes:
hashes that agree are evidence of another kind.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fpserver.terms import Candidate, Constellation

SPREAD = ((0, 1.0), (-1, 0.8), (1, 0.8)), ((0, 1.0), (-1, 0.7), (1, 0.7))  # (frames, share), (bins, share)
TIME_SHIFTS = np.r_[-60:-7:2, 8:61:2]  # frames; nearer ones belong to the candidate itself
BIN_SHIFTS = np.r_[-24:-3, 4:25]
MIN_SPREAD_OF_SUMS = 0.5  # keeps z finite where few peaks are predicted
MIN_PREDICTED = 4  # fewer predicted peaks are no evidence

_PAD_FRAMES, _PAD_BINS = 61, 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How well a candidate fits."""

    score: float
    z_time: float
    z_bin: float
    n_predicted: int
    clip_start_frame: int
    clip_end_frame: int


class ClipMap:
    """Where a clip has energy: its peaks, spread, on a padded grid of (frame, bin)."""

    def __init__(self, clip: Constellation, *, n_bins: int) -> None:
        self.n_frames = clip.n_frames
        cells = np.zeros((clip.n_frames + 2 * _PAD_FRAMES, n_bins + 2 * _PAD_BINS), np.float32)
        frame, bin_ = clip.frame + _PAD_FRAMES, clip.bin + _PAD_BINS
        for frames, time_share in SPREAD[0]:
            for bins, bin_share in SPREAD[1]:
                place = frame + frames, bin_ + bins
                cells[place] = np.maximum(cells[place], np.float32(time_share * bin_share))
        self._cells = cells.ravel()
        self._stride = cells.shape[1]
        self._shifts = np.r_[0, TIME_SHIFTS * self._stride, BIN_SHIFTS][:, None]

    def holds(self, track: Constellation, alignment: int) -> npt.NDArray[np.bool_]:
        """For each of the track's peaks that falls into the clip, in order: whether the map has energy there."""
        held: npt.NDArray[np.bool_] = self._cells[self._place(track, alignment)[1]] > 0
        return held

    def evidence(self, candidate: Candidate, track: Constellation) -> Evidence | None:
        """Judge one candidate; None where the track predicts too few peaks in the clip."""
        frame, place = self._place(track, candidate.alignment)
        if len(frame) < MIN_PREDICTED:
            return None
        sums = self._cells[place[None, :] + self._shifts].sum(axis=1, dtype=np.float64)
        here = float(sums[0])
        time_mean, time_spread = _mean_and_spread(sums[1 : 1 + len(TIME_SHIFTS)])
        bin_mean, bin_spread = _mean_and_spread(sums[1 + len(TIME_SHIFTS) :])
        z_time, z_bin = (here - time_mean) / time_spread, (here - bin_mean) / bin_spread
        between = (max(time_mean, bin_mean) + here) / 2 / len(frame)
        start, end = _agreeing_part(frame, self._cells[place] - np.float32(between))
        return Evidence(
            score=min(z_time, z_bin) + 2 * candidate.votes**0.5,
            z_time=z_time,
            z_bin=z_bin,
            n_predicted=len(frame),
            clip_start_frame=start,
            clip_end_frame=end,
        )

    def _place(
        self, track: Constellation, alignment: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.intp]]:
        """Clip frames of the track's peaks that fall into the clip, and their cells."""
        first, last = np.searchsorted(track.frame, [alignment, alignment + self.n_frames]).tolist()
        frame = track.frame[first:last] - alignment
        return frame, (frame.astype(np.intp) + _PAD_FRAMES) * self._stride + track.bin[first:last] + _PAD_BINS


def _mean_and_spread(sums: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation; numpy's own take five times as long over a few dozen numbers."""
    mean = float(sums.sum()) / len(sums)
    variance = float(sums @ sums) / len(sums) - mean * mean
    return mean, max(max(variance, 0.0) ** 0.5, MIN_SPREAD_OF_SUMS)


def _agreeing_part(frame: npt.NDArray[np.int32], gain: npt.NDArray[np.float32]) -> tuple[int, int]:
    """First and last clip frame of the stretch of largest gain.

    `gain` is each predicted peak's energy above half way from chance to the mean of all.
    Bentley, "Programming Pearls: Algorithm Design Techniques", CACM 1984.
    """
    total = np.zeros(len(gain) + 1)  # before the first peak, after it, after the second, …
    np.cumsum(gain, out=total[1:])
    end = int(np.argmax(total[1:] - np.minimum.accumulate(total[:-1])))
    start = int(np.argmin(total[: end + 1]))
    return int(frame[start]), int(frame[end])
