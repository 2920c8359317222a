"""Turn samples into a dense constellation, and thin it.

A cell of the spectrogram is a peak when
 1. its log power stands above the mean of its surroundings (WHITENING_*) by at least MIN_LEVEL_DB,
 2. it is the largest whitened cell within ±PEAK_FRAMES × ±PEAK_BINS, and
 3. fewer than `peaks_per_s` peaks within ±0.5 s of it stand higher.
Every rule looks only at a bounded neighbourhood, so a recording moved by k hops has the same peaks k frames later.

Wang, "An Industrial-Strength Audio Search Algorithm", ISMIR 2003 (peaks, constellation);
Ellis, "Robust landmark-based audio fingerprinting", 2009 (density-limited peaks).
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.fft import rfft

from fpserver.config import FingerprintConfig
from fpserver.fingerprint.passes import above_mean, peaks_of, power_of
from fpserver.terms import Constellation, Samples

MIN_HZ, MAX_HZ = 130.0, 3900.0  # what loudspeakers, phones and codecs let through
WHITENING_FRAMES, WHITENING_BINS = 20, 25  # half widths of the surroundings
PEAK_FRAMES, PEAK_BINS = 3, 16  # half widths of the neighbourhood a peak rules
RANGE_DB = 75.0  # below the loudest cell of the surroundings; deeper cells count as so deep
FLOOR_DB = -110.0  # of full scale; quieter cells are silence, whatever stands out there
MIN_LEVEL_DB = 3.0
LEVEL_STEP_DB = 0.25
BLOCK_FRAMES = 512  # 3 MB of float32 at a time: larger blocks are slower, they leave the processor's cache
STRIP_FRAMES = 16  # transformed at a time: 0.2 MB of samples
CONTEXT_FRAMES = 2 * WHITENING_FRAMES + PEAK_FRAMES  # the floor of the cells whose mean a peak needs

Spectrogram = npt.NDArray[np.float32]  # (n_frames, n_bins) of the band, dB
_Columns = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.uint8]]  # frame, bin, level


def frames_per_s(config: FingerprintConfig) -> float:
    """Spectrogram columns per second of sound."""
    return config.rate_hz / config.hop


def band(config: FingerprintConfig) -> tuple[int, int]:
    """First bin of the analysed band, and the bin after its last."""
    per_hz = config.window / config.rate_hz
    return round(MIN_HZ * per_hz), min(round(MAX_HZ * per_hz), config.window // 2)


def constellation_of(samples: Samples, config: FingerprintConfig) -> Constellation:
    """The peaks of a recording, at most about `config.dense_peaks_per_s` in any second.

    Args:
        samples: mono PCM at `config.rate_hz`, (n_samples,).
        config: analysis settings.

    Returns:
        Peaks with their levels in steps of 0.25 dB; no peaks for fewer samples than one window.
    """
    n_frames = max(0, 1 + (len(samples) - config.window) // config.hop)
    parts = list(_peaks_by_block(samples, config)) if n_frames else []
    frame, bin_, level = (
        (np.concatenate(columns) for columns in zip(*parts, strict=True)) if parts else _NO_PEAKS
    )
    found = Constellation(frame=frame, bin=bin_, level=level, n_frames=n_frames)
    return thin(found, config.dense_peaks_per_s, config)


def thin(constellation: Constellation, peaks_per_s: int, config: FingerprintConfig) -> Constellation:
    """The highest peaks: those with fewer than `peaks_per_s` higher ones within ±0.5 s."""
    return some_of(constellation, is_among_highest(constellation, peaks_per_s, config))


def some_of(constellation: Constellation, kept: npt.NDArray[np.bool_]) -> Constellation:
    """The peaks that are kept."""
    return Constellation(
        frame=constellation.frame[kept],
        bin=constellation.bin[kept],
        level=constellation.level[kept],
        n_frames=constellation.n_frames,
    )


def is_among_highest(
    constellation: Constellation, peaks_per_s: int, config: FingerprintConfig
) -> npt.NDArray[np.bool_]:
    """Which peaks have fewer than `peaks_per_s` higher ones within ±0.5 s."""
    return ranks_of(constellation, config) < peaks_per_s


def ranks_of(constellation: Constellation, config: FingerprintConfig) -> npt.NDArray[np.int32]:
    """For each peak, how many within ±0.5 s stand higher; of equal levels the earlier, then the lower, is higher.

    Peaks are in frame order, so a peak's neighbours are its neighbours in the columns: compare at growing
    distance until no pair is close enough.
    """
    half_frames = round(frames_per_s(config) / 2)
    frame, level = constellation.frame, constellation.level
    rank = np.zeros(len(frame), np.int32)
    for distance in range(1, len(frame)):
        near = frame[distance:] - frame[:-distance] <= half_frames
        if not near.any():
            break
        later_higher = level[distance:] > level[:-distance]
        rank[:-distance] += near & later_higher
        rank[distance:] += near & ~later_higher
    return rank


_NO_PEAKS = np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.uint8)


def log_spectrogram(samples: Samples, config: FingerprintConfig) -> Spectrogram:
    """Log power of the band in dB of full scale, Hann window, (n_frames, n_bins).

    The logarithm is taken in 64 bits and rounded: in 32, numpy's last bit depends on the processor.
    """
    frames, (first, last) = _frames(samples, config), band(config)
    decibels = np.empty((len(frames), last - first), np.float32)
    _analyse(frames, config, decibels)
    return decibels


def _frames(samples: Samples, config: FingerprintConfig) -> npt.NDArray[np.float32]:
    """The samples of each frame, (n_frames, window); there must be one."""
    return np.lib.stride_tricks.sliding_window_view(samples, config.window)[:: config.hop]


def _analyse(frames: npt.NDArray[np.float32], config: FingerprintConfig, decibels: Spectrogram) -> None:
    """Log power of frames into `decibels`, a few at a time, which stay in the processor's nearest caches."""
    first, last = band(config)
    window = np.hanning(config.window + 1)[:-1].astype(np.float32)
    scale, least = np.float32((window.sum() / 2) ** 2), np.float32(1e-12)
    windowed, logarithm = (
        np.empty((STRIP_FRAMES, config.window), np.float32),
        np.empty((STRIP_FRAMES, last - first)),
    )
    for start in range(0, len(frames), STRIP_FRAMES):
        strip = decibels[start : start + STRIP_FRAMES]
        np.multiply(frames[start : start + STRIP_FRAMES], window, out=windowed[: len(strip)])
        spectrum = rfft(windowed[: len(strip)], axis=1)
        power_of(spectrum, first, scale, least, strip)
        np.log(strip, dtype=np.float64, out=logarithm[: len(strip)])
        np.multiply(logarithm[: len(strip)], 10 / np.log(10), out=strip, casting="same_kind")


def whiten(decibels: Spectrogram, out: Spectrogram | None = None) -> Spectrogram:
    """Height of each cell above the mean of its surroundings, dB; into `out`, if there is one.

    Cells deeper than RANGE_DB under the loudest of the surrounding frames count as just so deep: how loud a
    recording is changes nothing, and neither does what an encoder leaves in the gaps.
    """
    loudest = _running_maximum(decibels.max(axis=1), WHITENING_FRAMES)
    floor = np.maximum(loudest - np.float32(RANGE_DB), np.float32(FLOOR_DB))
    whitened = np.empty_like(decibels) if out is None else out
    above_mean(decibels, floor, WHITENING_FRAMES, WHITENING_BINS, whitened)
    return whitened


def _running_maximum(values: npt.NDArray[np.float32], half_width: int) -> npt.NDArray[np.float32]:
    """The largest within ±half_width of each of some values in a row.

    The largest of 2, 4, 8, … at a time, then of two overlapping runs: a fifth of the time of scipy's filter.
    """
    largest, run = np.pad(values, half_width, constant_values=-np.inf), 1
    while run <= half_width:
        largest = np.maximum(largest[:-run], largest[run:])
        run *= 2
    rest = 2 * half_width + 1 - run
    return np.maximum(largest[:-rest], largest[rest:])


def _peaks_by_block(samples: Samples, config: FingerprintConfig) -> Iterator[_Columns]:
    """Peaks of block after block, each whitened with context on both sides; no frame is analysed twice."""
    frames, (first_bin, last_bin) = _frames(samples, config), band(config)
    decibels, whitened = np.empty((2, BLOCK_FRAMES + 2 * CONTEXT_FRAMES, last_bin - first_bin), np.float32)
    known = range(0)  # the frames in `decibels`
    for start in range(0, len(frames), BLOCK_FRAMES):
        stop = min(start + BLOCK_FRAMES, len(frames))
        around = range(max(0, start - CONTEXT_FRAMES), min(len(frames), stop + CONTEXT_FRAMES))
        n_known = known.stop - around.start
        decibels[:n_known] = decibels[len(known) - n_known : len(known)]
        _analyse(frames[known.stop : around.stop], config, decibels[n_known : len(around)])
        known = around
        whiten(decibels[: len(around)], out=whitened[: len(around)])
        yield _peaks_among(whitened[: len(around)], around.start, range(start, stop), config)


def _peaks_among(whitened: Spectrogram, first: int, asked: range, config: FingerprintConfig) -> _Columns:
    """Peaks of the frames that are asked about; `whitened` begins at frame `first`."""
    rows, least = (asked.start - first, asked.stop - first), np.float32(MIN_LEVEL_DB)
    frame, bin_ = peaks_of(whitened, rows, PEAK_FRAMES, PEAK_BINS, least)
    level = whitened[frame, bin_]
    return (
        (frame + first).astype(np.int32),
        (bin_ + band(config)[0]).astype(np.int32),
        np.minimum(np.round(level / LEVEL_STEP_DB), 255).astype(np.uint8),
    )
