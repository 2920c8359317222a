"""Weights that turn power spectra into mel bands, pitch classes and cepstra: librosa's, without its imports.

`librosa.filters.mel` (Slaney's scale and norm), `librosa.filters.chroma` (Gaussian bumps around each pitch class,
octaves weighted around C5) and scipy's orthonormal DCT-II. Tests hold them to librosa's.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from fpserver.descriptors import N_PITCH_CLASSES, RATE_HZ

N_FFT = 2048
HOP = 512
FRAMES_PER_S = RATE_HZ / HOP
N_BINS = N_FFT // 2 + 1
HZ_PER_BIN = RATE_HZ / N_FFT
A0_HZ = 27.5
CENTRE_OCTAVE, OCTAVE_WIDTH = 5.0, 2.0  # of the weights of octaves, A0 beginning octave 0
C_ABOVE_A = 3  # semitones

Weights = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """Filters that each weigh a run of bins: filter i bins `first[i]`… by `weight[begin[i]:begin[i + 1]]`."""

    first: npt.NDArray[np.int64]
    begin: npt.NDArray[np.int64]
    weight: Weights


@cache
def mel_bank(n_bands: int, min_hz: float, max_hz: float) -> Bank:
    """Triangles of equal area on the mel scale."""
    weights = mel_weights(n_bands, min_hz, max_hz)
    runs = [np.flatnonzero(row) for row in weights]
    parts = [
        row[run[0] : run[-1] + 1] if len(run) else row[:0] for row, run in zip(weights, runs, strict=True)
    ]
    return Bank(
        first=np.array([run[0] if len(run) else 0 for run in runs], np.int64),
        begin=np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64),
        weight=np.concatenate(parts),
    )


def mel_weights(n_bands: int, min_hz: float, max_hz: float) -> Weights:
    """The same as a matrix, (n_bands, N_BINS)."""
    edges_hz = _mel_to_hz(np.linspace(_hz_to_mel(min_hz), _hz_to_mel(max_hz), n_bands + 2))
    bins_hz = np.arange(N_BINS) * HZ_PER_BIN
    widths_hz = np.diff(edges_hz)[:, np.newaxis]
    above_hz = bins_hz - edges_hz[:, np.newaxis]
    rising, falling = above_hz[:-2] / widths_hz[:-1], -above_hz[2:] / widths_hz[1:]
    areas_hz = (edges_hz[2:] - edges_hz[:-2])[:, np.newaxis] / 2
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) / areas_hz, np.float32)


# Slaney's mel scale: 200/3 Hz each up to 1 kHz, then 27 steps to 6.4 kHz in equal ratios.
_LINEAR_HZ, _KNEE_HZ, _LOG_STEP = 200 / 3, 1000.0, np.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    if hz < _KNEE_HZ:
        return hz / _LINEAR_HZ
    return float(_KNEE_HZ / _LINEAR_HZ + np.log(hz / _KNEE_HZ) / _LOG_STEP)


def _mel_to_hz(mel: Floats) -> Floats:
    knee = _KNEE_HZ / _LINEAR_HZ
    bent: Floats = _KNEE_HZ * np.exp(_LOG_STEP * (np.maximum(mel, knee) - knee))
    return np.where(mel < knee, mel * _LINEAR_HZ, bent)


def chroma_weights(tuning: float) -> Weights:
    """(12, N_BINS), rows C to B.

    Args:
        tuning: by how much A is above 440 Hz, semitones.
    """
    semitones = np.empty(N_FFT)
    frequencies_hz = np.arange(1, N_FFT) * HZ_PER_BIN
    a0_hz = A0_HZ * 2 ** (tuning / N_PITCH_CLASSES)
    semitones[1:] = N_PITCH_CLASSES * np.log2(frequencies_hz / a0_hz)
    semitones[0] = semitones[1] - 1.5 * N_PITCH_CLASSES
    widths = np.append(np.maximum(np.diff(semitones), 1.0), 1.0)
    half = N_PITCH_CLASSES / 2
    distance = semitones - np.arange(N_PITCH_CLASSES)[:, np.newaxis]
    distance = np.remainder(distance + half + 10 * N_PITCH_CLASSES, N_PITCH_CLASSES) - half
    weights = np.exp(-0.5 * (2 * distance / widths) ** 2)
    weights /= np.linalg.norm(weights, axis=0)
    octaves = semitones / N_PITCH_CLASSES
    weights *= np.exp(-0.5 * ((octaves - CENTRE_OCTAVE) / OCTAVE_WIDTH) ** 2)
    return np.asarray(np.roll(weights[:, :N_BINS], -C_ABOVE_A, axis=0), np.float32)


@cache
def cosines(n_coefficients: int, n_bands: int) -> Weights:
    """(n_coefficients, n_bands): the first rows of the orthonormal DCT-II."""
    angles = np.pi * np.arange(n_coefficients)[:, np.newaxis] * (2 * np.arange(n_bands) + 1) / (2 * n_bands)
    rows = np.sqrt(2 / n_bands) * np.cos(angles)
    rows[0] /= np.sqrt(2)
    return np.asarray(rows, np.float32)
