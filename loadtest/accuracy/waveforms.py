"""Whether a clip holds what a track holds at some place: the same recording, not just like music.

Music in the same key and tempo, on the same instruments, is alike to the ear and has another waveform. Where two
recordings play the same sample, be it one of the other's or of somebody else, their waveforms go together. Both are
cut into short spectra of which the phase alone is kept, so that loud or steady tones do not drown the rest, and are
correlated at every lag. Knapp, Carter, "The Generalized Correlation Method for Estimation of Time Delay", IEEE
Transactions on Acoustics, Speech, and Signal Processing 24, 1976 (the phase transform).

This knows nothing of peaks, hashes and levels, and sees no recording that is played at another speed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve, istft, stft

from fpserver.terms import Samples
from loadtest.accuracy.answers import Guess
from loadtest.accuracy.cells import Cell
from loadtest.accuracy.clips import Clip, Studio, at_rate, render
from loadtest.corpus import Recording, as_samples, samples_of

RATE_HZ = 11025
WINDOW, HOP = 1024, 256
BAND_HZ = 300.0, 5000.0
QUIET = 1e-3  # of the highest magnitude; what lies below keeps its lesser one
NEAR_S = 0.3  # around the place named
SAME_RECORDING = 10.0  # deviations
N_OTHERS = 20  # tracks that each clip is compared with besides, at all places


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A clip and the place that a guess names, in standard deviations of the correlation over the whole track."""

    clip: Clip
    guess: Guess
    deviations: float  # the highest near that place
    elsewhere: float  # the highest at any place of other tracks

    @property
    def same_recording(self) -> bool:
        """Whether both hold the same recording there."""
        return self.deviations >= SAME_RECORDING


Alike: TypeAlias = Mapping[tuple[str, str], Compared]  # by key of the clip, and track


def compared(
    studio: Studio,
    guesses: Sequence[tuple[Clip, Guess]],
    cells: Mapping[str, Cell],
    recordings: Sequence[Recording],
) -> Alike:
    """What the waveforms say of each guess."""
    of_name = {each.name: each for each in recordings}
    found = {}
    for clip, guess in guesses:
        heard = phase_of(at_rate(render(studio, cells[clip.cell], clip.number)[1], RATE_HZ))
        drawn = np.random.default_rng(clip.number).permutation(len(recordings))[: N_OTHERS + 1]
        others = [each for i in drawn if (each := recordings[i]).name != guess.track][:N_OTHERS]
        found[clip.key, guess.track] = Compared(
            clip=clip,
            guess=guess,
            deviations=likeness(heard, _phase_of_file(of_name[guess.track].path), at_s=guess.offset_s),
            elsewhere=max((likeness(heard, _phase_of_file(each.path)) for each in others), default=0.0),
        )
    return found


@lru_cache(maxsize=64)
def _phase_of_file(path: Path) -> Samples:
    pcm = samples_of(path, RATE_HZ)
    return phase_of(np.zeros(0, np.float32) if pcm is None else as_samples(pcm))


def phase_of(samples: Samples) -> Samples:
    """What remains if every cell of the spectrogram within the band has the same magnitude, at RATE_HZ."""
    hz, _, cells = stft(samples, RATE_HZ, nperseg=WINDOW, noverlap=WINDOW - HOP)
    loud = np.abs(cells)
    cells /= np.maximum(loud, QUIET * loud.max() + 1e-9)
    cells[(hz < BAND_HZ[0]) | (hz > BAND_HZ[1])] = 0
    return np.asarray(istft(cells, RATE_HZ, nperseg=WINDOW, noverlap=WINDOW - HOP)[1], np.float32)


def likeness(clip: Samples, track: Samples, *, at_s: float | None = None) -> float:
    """The highest correlation of two that `phase_of` gave, in standard deviations of that at all lags.

    Args:
        clip: laid at each place of the track, also where it begins before it or ends after it.
        track: what it is laid over.
        at_s: where the clip begins in the track; only lags near it count. None: all count.
    """
    around = np.pad(track, len(clip))
    energy = _sums(around.astype(np.float64) ** 2, len(clip))
    energy = np.maximum(energy, 0.1 * float(np.median(energy)) + 1e-9)
    correlation = np.abs(fftconvolve(around, clip[::-1], "valid") / np.sqrt(energy))
    begins_s = (np.arange(len(correlation)) - len(clip)) / RATE_HZ
    near = correlation[np.abs(begins_s - at_s) <= NEAR_S] if at_s is not None else correlation
    deviation = float(np.sqrt(np.mean(correlation**2)))
    return float(near.max(initial=0.0)) / deviation if deviation else 0.0


def _sums(values: npt.NDArray[np.float64], n: int) -> npt.NDArray[np.float64]:
    """Of each n that follow one another."""
    total: npt.NDArray[np.float64] = np.concatenate([[0.0], np.cumsum(values)])
    return total[n:] - total[: len(total) - n]
