"""Turn mel bands into onsets, tempo and a tempogram.

Onset strength: how much the bands rise from a frame to the next, mean over bands, dB (`librosa.onset.onset_strength`).
Onsets: its peaks, when it is scaled to 0..1 (`onset_detect`).
Tempogram: mean autocorrelation of onset strength in windows of 8.9 s, as `librosa.feature.tempogram`, but of what onset
strength is above its mean over the second around, so that noise, which rises all the time, is unlike itself; of windows
within the sound only, and freed of the window's taper. 1 is perfect repetition.
Tempo: the lag at which this and half of twice and a quarter of four times the lag are highest, under the prior of
`librosa.feature.tempo`; placed between frames by its multiples. Beat strength: the height there or at twice the lag.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import scipy.fft

from fpserver.descriptors import tempo_bins_bpm
from fpserver.features import loops
from fpserver.features.banks import FRAMES_PER_S

FRAMES_PER_MIN = 60 * FRAMES_PER_S
DELAY_FRAMES = 3  # by which a centred window of 2048 sees an onset late, and the lag of the difference
BLOCK_FRAMES = 4096

MEAN_BEFORE_FRAMES, MEAN_AFTER_FRAMES, WAIT_FRAMES = 4, 5, 1  # of onset_detect, at this rate and hop
ABOVE_MEAN = 0.07
LEAST_STRENGTH_DB = 1.0  # a sound whose strongest onset is weaker has none

WINDOW_FRAMES = 384
STEP_FRAMES = 4  # between windows; librosa has one at every frame
MAX_TEMPO_BPM = 320.0
USUAL_BPM, SPREAD_OCTAVES = 120.0, 1.0
LEAST_EVIDENCE = 1e-3
TREND_FRAMES = 43  # the second around
N_LAGS = 131  # autocorrelation up to 3 s: 20 BPM
LEAST_BEAT = 0.1  # beat strength of what has a tempo, and …
CHANCE_BEAT = (
    6.0  # … over the square root of the number of frames: 1 in 100 white noises of 1 to 8 s reaches it
)

Column = npt.NDArray[np.float32]  # (n_frames,)
Lags = npt.NDArray[np.float64]  # (N_LAGS,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """How a sound repeats itself in time."""

    tempo_bpm: float  # the likeliest
    strength: float  # 0..1
    tempogram: Column  # at `tempo_bins_bpm`
    is_heard: bool  # whether it beats at all


def onset_strength(mel_db: npt.NDArray[np.float32]) -> Column:
    """Of each frame, dB, from (n_frames, n_mels)."""
    n_frames = len(mel_db)
    strength = np.zeros(n_frames, np.float32)
    for begin in range(0, n_frames - DELAY_FRAMES, BLOCK_FRAMES):
        end = min(begin + BLOCK_FRAMES, n_frames - DELAY_FRAMES)
        rise = np.maximum(np.diff(mel_db[begin : end + 1], axis=0), 0)
        strength[begin + DELAY_FRAMES : end + DELAY_FRAMES] = rise.mean(axis=1)
    return strength


def onsets_of(strength: Column) -> npt.NDArray[np.int64]:
    """Frames in which something begins."""
    lowest, highest = strength.min(), strength.max()
    if highest < LEAST_STRENGTH_DB:
        return np.zeros(0, np.int64)
    scaled = (strength - lowest) / (highest - lowest)
    return loops.peaks_of(scaled, MEAN_BEFORE_FRAMES, MEAN_AFTER_FRAMES, ABOVE_MEAN, WAIT_FRAMES)


def beat_of(strength: Column) -> Beat:
    """Tempo, beat strength and tempogram of onset strengths."""
    likeness = likeness_of(strength)
    lag = _refined(likeness, _likeliest(likeness))
    beats = [round(multiple * lag) for multiple in (1, 2)]
    height = float(np.clip(max(likeness[beat - 1 : beat + 2].max() for beat in beats if beat < N_LAGS), 0, 1))
    bins = np.interp(FRAMES_PER_MIN / np.array(tempo_bins_bpm()), np.arange(N_LAGS), likeness)
    return Beat(
        tempo_bpm=FRAMES_PER_MIN / lag,
        strength=height,
        tempogram=bins.astype(np.float32),
        is_heard=height >= max(LEAST_BEAT, CHANCE_BEAT / np.sqrt(len(strength))),
    )


def likeness_of(strength: Column) -> Lags:
    """How like itself the sound is after each lag, −1..1; 0 where that is not known, or nothing begins."""
    n_window = min(WINDOW_FRAMES, len(strength))
    likeness = np.zeros(N_LAGS)
    if n_window < 2 or strength.max() < LEAST_STRENGTH_DB:
        return likeness
    trend = _windows(np.pad(strength, TREND_FRAMES // 2, mode="edge"), TREND_FRAMES).mean(axis=1)
    correlation = _mean_autocorrelation(_windows(strength - trend, n_window)[::STEP_FRAMES])
    n_known = min(N_LAGS, n_window // 2)
    hann = _hann(n_window).astype(np.float64)
    taper = np.correlate(hann, hann, "full")[n_window - 1 :][:n_known]
    likeness[:n_known] = np.clip(correlation[:n_known] * taper[0] / taper, -1, 1)
    return likeness


def _mean_autocorrelation(windows: npt.NDArray[np.float32]) -> Lags:
    """Each window's is scaled to 1 at lag 0; windows in which nothing begins count as 0."""
    n_frames = windows.shape[1]
    sum_ = np.zeros(N_LAGS)
    for begin in range(0, len(windows), BLOCK_FRAMES):
        block = windows[begin : begin + BLOCK_FRAMES]
        block = block * (block.max(axis=1, keepdims=True) >= LEAST_STRENGTH_DB)
        spectra = scipy.fft.rfft(block * _hann(n_frames), 2 * max(n_frames, N_LAGS), axis=1)
        correlation = scipy.fft.irfft(spectra.real**2 + spectra.imag**2, axis=1)[:, :N_LAGS]
        energy = correlation[:, :1]
        sum_ += np.divide(correlation, energy, where=energy > 0, out=np.zeros_like(correlation)).sum(axis=0)
    return sum_ / len(windows)


def _windows(column: Column, n_frames: int) -> npt.NDArray[np.float32]:
    return np.lib.stride_tricks.sliding_window_view(column, n_frames)


@cache
def _hann(n_frames: int) -> Column:
    angles = 2 * np.pi * np.arange(n_frames) / n_frames
    return np.asarray(0.5 - 0.5 * np.cos(angles), np.float32)


def _likeliest(likeness: Lags) -> int:
    """The lag of the tempo, frames; that of the usual tempo where nothing repeats itself."""
    lags = np.arange(1, N_LAGS)
    bpm = FRAMES_PER_MIN / lags
    around = np.maximum(likeness, 0)
    around = np.pad(
        np.maximum(around, np.maximum(np.roll(around, 1), np.roll(around, -1)))[:-1], (0, 4 * N_LAGS)
    )
    evidence = np.maximum(likeness[1:], 0) + around[2 * lags] / 2 + around[4 * lags] / 4
    is_peak = np.pad((likeness[1:-1] >= likeness[:-2]) & (likeness[1:-1] >= likeness[2:]), (0, 1))
    prior = -0.5 * (np.log2(bpm / USUAL_BPM) / SPREAD_OCTAVES) ** 2
    weighed = np.log(evidence + LEAST_EVIDENCE) + prior
    return int(np.argmax(np.where(is_peak & (bpm < MAX_TEMPO_BPM), weighed, -np.inf))) + 1


def _refined(likeness: Lags, lag: int) -> float:
    """The lag between the frames: a peak at a multiple of it tells it as many times as exactly."""
    fine, multiple = _peak_near(likeness, float(lag)), 1
    while round(2 * multiple * fine) + 2 < N_LAGS:
        multiple *= 2
        fine = _peak_near(likeness, multiple * fine) / multiple
    return fine


def _peak_near(likeness: Lags, lag: float) -> float:
    """The top of the parabola through the highest of the three lags around; `lag` if none is a peak."""
    middle = min(max(round(lag), 2), N_LAGS - 3)
    top = middle - 1 + int(np.argmax(likeness[middle - 1 : middle + 2]))
    below, here, above = likeness[top - 1 : top + 2]
    bend = 2 * here - below - above
    if here < max(below, above) or bend <= 0:
        return lag
    return float(top + (above - below) / (2 * bend))
