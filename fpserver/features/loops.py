"""Inner loops of the description, compiled: one pass over each frame where numpy takes a dozen over a block.

Sums are made in 64 bits and in order, so the same samples give the same bytes.
"""

import numpy as np
import numpy.typing as npt

from fpserver.compiling import compiled
from fpserver.terms import Samples

Rows = npt.NDArray[np.float32]  # (n_frames, n_columns), row after row
Column = npt.NDArray[np.float32]  # (n_frames,)
Spectrum = npt.NDArray[np.complex64]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

LEAST_POWER = 1e-10  # librosa's amin
LOGS_AT_ONCE = 16  # factors of 1e-10 to 1e18 whose product a double holds


@compiled
def power_of(spectrum: Spectrum, power: Rows) -> None:
    """Squares of the amplitudes, into `power`."""
    n_frames, n_bins = power.shape
    for frame in range(n_frames):
        amplitudes, row = spectrum[frame], power[frame]
        for bin_ in range(n_bins):
            real, imaginary = amplitudes[bin_].real, amplitudes[bin_].imag
            row[bin_] = real * real + imaginary * imaginary


@compiled
def bands_of(power: Rows, first: Indices, begin: Indices, weight: Column, bands: Rows) -> None:
    """Weighted sums of runs of bins (`banks.Bank`), into `bands`."""
    for frame in range(len(power)):
        row = power[frame]
        for band in range(len(first)):
            sum_ = 0.0
            shift = first[band] - begin[band]
            for i in range(begin[band], begin[band + 1]):
                sum_ += np.float64(weight[i]) * np.float64(row[i + shift])
            bands[frame, band] = sum_


@compiled
def shape_of(power: Rows, rolloff: float, shape: Rows) -> None:
    """Centroid, bandwidth and rolloff of the amplitudes, in bins, and flatness of the power, into `shape`.

    Args:
        power: the frames.
        rolloff: share of the amplitude below the rolloff.
        shape: (n_frames, 4); of a frame without power: 0, 0, 0, 1.
    """
    n_frames, n_bins = power.shape
    amplitudes = np.empty(n_bins, np.float32)
    for frame in range(n_frames):
        row = power[frame]
        for bin_ in range(n_bins):
            amplitudes[bin_] = np.sqrt(row[bin_])
        total, first_moment, second_moment = 0.0, 0.0, 0.0
        for bin_ in range(n_bins):
            amplitude = np.float64(amplitudes[bin_])
            total += amplitude
            first_moment += bin_ * amplitude
            second_moment += bin_ * bin_ * amplitude
        centroid = first_moment / total if total > 0 else 0.0
        variance = second_moment / total - centroid * centroid if total > 0 else 0.0
        below, edge = np.float64(amplitudes[0]), 0
        while below < rolloff * total and edge < n_bins - 1:
            edge += 1
            below += np.float64(amplitudes[edge])
        shape[frame, 0], shape[frame, 1] = centroid, np.sqrt(max(variance, 0.0))
        shape[frame, 2], shape[frame, 3] = edge, _flatness(row)


@compiled
def _flatness(row: Column) -> float:
    """Geometric over arithmetic mean."""
    sum_, logs, product = 0.0, 0.0, 1.0
    for bin_ in range(len(row)):
        power = max(np.float64(row[bin_]), LEAST_POWER)
        sum_ += power
        product *= power
        if bin_ % LOGS_AT_ONCE == LOGS_AT_ONCE - 1:
            logs += np.log(product)
            product = 1.0
    logs += np.log(product)
    n_bins = len(row)
    return float(np.exp(logs / n_bins) / (sum_ / n_bins))


@compiled
def extremes_of(power: Rows, first: Indices, stop: Indices, n_kept: Indices, highs: Rows, lows: Rows) -> None:
    """Means of the `n_kept` highest and lowest amplitudes of each band, into `highs` and `lows`.

    Args:
        power: the frames.
        first, stop: bins of each band, the latter behind its last.
        n_kept: how many of each band.
        highs, lows: (n_frames, n_bands).
    """
    most = n_kept.max()
    high, low = np.empty(most, np.float32), np.empty(most, np.float32)
    for frame in range(len(power)):
        row = power[frame]
        for band in range(len(first)):
            n = n_kept[band]
            high[:n], low[:n] = -np.inf, np.inf
            for bin_ in range(first[band], stop[band]):
                value = row[bin_]
                if value > high[n - 1]:
                    at = n - 1
                    while at > 0 and value > high[at - 1]:
                        high[at] = high[at - 1]
                        at -= 1
                    high[at] = value
                if value < low[n - 1]:
                    at = n - 1
                    while at > 0 and value < low[at - 1]:
                        low[at] = low[at - 1]
                        at -= 1
                    low[at] = value
            highest, lowest = 0.0, 0.0
            for i in range(n):
                highest += np.sqrt(np.float64(high[i]))
                lowest += np.sqrt(np.float64(low[i]))
            highs[frame, band], lows[frame, band] = highest / n, lowest / n


@compiled
def sums_of(samples: Samples, hop: int, least: float, sums: Floats) -> None:
    """What happens in each hop, into `sums`, (n_hops, 4).

    Columns: sum, sum of squares, zero crossings (a sample at or above −`least` is not negative), and of them that at
    the hop's first sample.
    """
    was_negative = len(samples) > 0 and samples[0] < -least
    for i in range(len(sums)):
        sum_, squares, crossings, first = 0.0, 0.0, 0, 0
        for at in range(i * hop, min((i + 1) * hop, len(samples))):
            sample = np.float64(samples[at])
            sum_ += sample
            squares += sample * sample
            is_negative = sample < -least
            crossings += is_negative != was_negative
            if at == i * hop:
                first = crossings
            was_negative = is_negative
        sums[i, 0], sums[i, 1], sums[i, 2], sums[i, 3] = sum_, squares, crossings, first


@compiled
def peaks_of(strength: Column, before: int, after: int, delta: float, wait: int) -> Indices:
    """Frames that are no lower than the one before, and `delta` above the mean of those around.

    librosa's `peak_pick` with `pre_max`, `post_max` = 1, `pre_avg` = `before`, `post_avg` = `after` and `wait`.
    """
    found = [0 for _ in range(0)]
    frame = 0
    while frame < len(strength):
        first, stop = max(0, frame - before), min(frame + after, len(strength))
        sum_ = 0.0
        for i in range(first, stop):
            sum_ += strength[i]
        rises = frame == 0 or strength[frame] >= strength[frame - 1]
        if rises and strength[frame] >= sum_ / (stop - first) + delta:
            found.append(frame)
            frame += wait
        frame += 1
    return np.array(found, np.int64)
