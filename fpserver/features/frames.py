"""Turn samples into columns of frames: all that descriptors need of the spectrogram, which is never there as a whole.

One short-time Fourier transform serves every descriptor: Hann windows of 2048 samples, 512 apart, centred, zeros
beyond the ends, as librosa has them. It goes through the sound in blocks that fit a processor's cache, and leaves
behind narrow columns, so an hour costs about 130 MB beside its samples.

Definitions are those of `librosa.feature`: rms, zero_crossing_rate, spectral_centroid, spectral_bandwidth,
spectral_rolloff, spectral_flatness, spectral_contrast, melspectrogram and chroma_stft (before its norm).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import scipy.fft

from fpserver.descriptors import N_CONTRAST_BANDS, N_PITCH_CLASSES, RATE_HZ
from fpserver.features import loops, moments
from fpserver.features.banks import HOP, HZ_PER_BIN, N_BINS, N_FFT, chroma_weights, mel_bank
from fpserver.features.tuning import tuning_of
from fpserver.terms import SEGMENTS, Group, Samples

N_MELS = 128
ROLLOFF = 0.85
CONTRAST_MIN_HZ, CONTRAST_QUANTILE = 200.0, 0.02
MAX_BELOW_LOUDEST_DB = 80.0  # as librosa: what is lower is taken for this
SOUNDING_DB = 60.0  # frames that are so much below the loudest are pauses
LEAST_LEVEL = 1e-5  # amplitude, −100 dB
LEAST_SAMPLE = 1e-10  # librosa's threshold of a zero crossing
BLOCK_FRAMES = 64
N_TUNING_FRAMES = 256
N_SHAPE = 4

MEL_PARTS = frozenset({Group.TEMPORAL, Group.RHYTHM, Group.TIMBRE})
CHROMA_PARTS = frozenset({Group.TONAL, SEGMENTS})

Rows = npt.NDArray[np.float32]  # (n_frames, n_columns)
Column = npt.NDArray[np.float32]  # (n_frames,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """A sound frame by frame; columns that no wanted part needs have no rows.

    Attributes:
        level_db: root mean square.
        variation_db: the same without the mean (a constant is no sound), of samples within the sound.
        crossings: zero-crossing rate.
        shape: centroid, bandwidth and rolloff in Hz, and flatness 0..1.
        contrast_db: of each band, (n_frames, 7).
        mel_db: (n_frames, 128), at most 80 dB below the loudest cell.
        chroma: energy of the pitch classes C to B.
        bands: power of the bands that moments are made of.
    """

    level_db: Column
    variation_db: Column
    crossings: Column
    shape: Rows
    contrast_db: Rows
    mel_db: Rows
    chroma: Rows
    bands: Rows

    @property
    def sounding(self) -> npt.NDArray[np.bool_]:
        """Which frames are not pauses."""
        return np.asarray(self.variation_db >= self.variation_db.max() - SOUNDING_DB)


def frames_of(samples: Samples, parts: Collection[str]) -> Frames:
    """Measure every frame of a sound.

    Args:
        samples: at RATE_HZ, at least one.
        parts: what will be asked of the frames.
    """
    n_frames = 1 + len(samples) // HOP

    def rows(wanted: bool, n_columns: int) -> Rows:
        return np.empty((n_frames if wanted else 0, n_columns), np.float32)

    is_spectral = Group.SPECTRAL in parts
    shape, highs, lows = (rows(is_spectral, n) for n in (N_SHAPE, N_CONTRAST_BANDS, N_CONTRAST_BANDS))
    mel = rows(not MEL_PARTS.isdisjoint(parts), N_MELS)
    chroma = rows(not CHROMA_PARTS.isdisjoint(parts), N_PITCH_CLASSES)
    bands = rows(SEGMENTS in parts, moments.N_BANDS)
    mels = mel_bank(N_MELS, 0.0, RATE_HZ / 2)
    moment_bands = mel_bank(moments.N_BANDS, moments.MIN_HZ, moments.MAX_HZ)
    pitch_classes = chroma_weights(_tuning(samples) if len(chroma) else 0.0).T
    for block, power in _power(samples):
        if len(mel):
            loops.bands_of(power, mels.first, mels.begin, mels.weight, mel[block])
        if len(bands):
            loops.bands_of(power, moment_bands.first, moment_bands.begin, moment_bands.weight, bands[block])
        if len(chroma):
            np.matmul(power, pitch_classes, out=chroma[block])
        if is_spectral:
            loops.shape_of(power, ROLLOFF, shape[block])
            loops.extremes_of(power, *_contrast_bands(), highs[block], lows[block])
    shape[:, : N_SHAPE - 1] *= np.float32(HZ_PER_BIN)
    level_db, variation_db, crossings = _levels(samples)
    return Frames(
        level_db=level_db,
        variation_db=variation_db,
        crossings=crossings,
        shape=shape,
        contrast_db=_in_db(highs) - _in_db(lows),
        mel_db=_in_db(mel),
        chroma=chroma,
        bands=bands,
    )


def _power(samples: Samples) -> Iterator[tuple[slice, Rows]]:
    """Blocks of frames, and their power spectra, which are overwritten by the next block's."""
    n_frames = 1 + len(samples) // HOP
    windowed = np.empty((BLOCK_FRAMES, N_FFT), np.float32)
    power = np.empty((BLOCK_FRAMES, N_BINS), np.float32)
    for first in range(0, n_frames, BLOCK_FRAMES):
        n = min(BLOCK_FRAMES, n_frames - first)
        np.multiply(_windows(samples, first, n), _hann(), out=windowed[:n])
        loops.power_of(scipy.fft.rfft(windowed[:n], axis=1), power[:n])
        yield slice(first, first + n), power[:n]


def _windows(samples: Samples, first: int, n: int) -> Rows:
    """Samples of frames first..first + n − 1, (n, N_FFT), zeros beyond the ends."""
    begin, end = first * HOP - N_FFT // 2, (first + n - 1) * HOP + N_FFT // 2
    inside = samples[max(begin, 0) : min(end, len(samples))]
    if len(inside) < end - begin:
        before = max(-begin, 0)
        inside = np.pad(inside, (before, end - begin - before - len(inside)))
    return np.lib.stride_tricks.sliding_window_view(inside, N_FFT)[::HOP]


@cache
def _hann() -> Column:
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT), np.float32)


def _tuning(samples: Samples) -> float:
    """Of some frames, spread over the sound."""
    n_frames = 1 + len(samples) // HOP
    chosen = np.unique(np.linspace(0, n_frames - 1, min(n_frames, N_TUNING_FRAMES)).astype(int))
    windowed = np.concatenate([_windows(samples, int(frame), 1) for frame in chosen]) * _hann()
    return tuning_of(np.abs(scipy.fft.rfft(windowed, axis=1)))


@cache
def _contrast_bands() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First bin of each band, bin behind its last, and how many of its bins are its highest and lowest.

    As librosa's `spectral_contrast`: octaves from 200 Hz on and what is below; each begins with the last bin of the one
    before, and all but the last band give their own last bin away (after having counted it).
    """
    edges_hz = np.concatenate([[0.0], CONTRAST_MIN_HZ * 2.0 ** np.arange(N_CONTRAST_BANDS)])
    first = np.ceil(edges_hz[:-1] / HZ_PER_BIN).astype(np.int64) - (np.arange(N_CONTRAST_BANDS) > 0)
    stop = np.minimum(np.floor(edges_hz[1:] / HZ_PER_BIN).astype(np.int64) + 1, N_BINS)
    stop[-1] = N_BINS
    n_kept = np.maximum(np.rint(CONTRAST_QUANTILE * (stop - first)), 1).astype(np.int64)
    stop[:-1] -= 1
    return first, stop, n_kept


def _in_db(cells: Rows) -> Rows:
    """In place; at most 80 dB below the highest (librosa's `power_to_db`)."""
    np.maximum(cells, np.float32(loops.LEAST_POWER), out=cells)
    np.log10(cells, out=cells)
    cells *= np.float32(10)
    np.maximum(cells, cells.max(initial=-np.inf) - np.float32(MAX_BELOW_LOUDEST_DB), out=cells)
    return cells


def _levels(samples: Samples) -> tuple[Column, Column, Column]:
    """Level, level without the mean, and zero-crossing rate of each frame, from sums of hops."""
    n_frames, per_frame = 1 + len(samples) // HOP, N_FFT // HOP
    before = per_frame // 2  # hops of the first frame that lie before the sound
    sums = np.zeros((n_frames + per_frame - 1, 5))  # the fifth counts samples
    hops = np.zeros((n_frames, 4))
    loops.sums_of(samples, HOP, LEAST_SAMPLE, hops)
    sums[before : before + n_frames, :4] = hops
    sums[before : before + n_frames, 4] = np.clip(len(samples) - HOP * np.arange(n_frames), 0, HOP)
    sum_, squares, crossings, _, n = (
        np.lib.stride_tricks.sliding_window_view(sums, per_frame, axis=0).sum(axis=2).T
    )
    crossings -= sums[:n_frames, 3]  # a crossing at a frame's first sample is the frame's before
    variance = squares / np.maximum(n, 1) - (sum_ / np.maximum(n, 1)) ** 2
    return _level_db(squares / N_FFT), _level_db(variance), np.asarray(crossings / N_FFT, np.float32)


def _level_db(mean_square: npt.NDArray[np.float64]) -> Column:
    return np.asarray(10 * np.log10(np.maximum(mean_square, LEAST_LEVEL**2)), np.float32)
