"""By how much a recording's A differs from 440 Hz, in semitones, −0.5..0.5.

Peaks of amplitude spectra between 150 and 4000 Hz, at a tenth of their frame's highest or more, are placed between the
bins by a parabola; the stronger half of them votes for its distance from the nearest semitone. librosa's `piptrack`
and `estimate_tuning`.
"""

import numpy as np
import numpy.typing as npt

from fpserver.features.banks import A0_HZ, HZ_PER_BIN

MIN_HZ, MAX_HZ = 150.0, 4000.0
LEAST_PEAK = 0.1  # of the frame's highest bin
N_STEPS = 100  # of a semitone

Floats = npt.NDArray[np.float64]
Amplitudes = npt.NDArray[np.float32]  # (n_frames, n_bins)


def tuning_of(amplitudes: Amplitudes) -> float:
    """The distance from the semitones that most peaks have; 0 where there are none."""
    frequency_hz, height = _peaks(amplitudes)
    if not len(height):
        return 0.0
    strong_hz = frequency_hz[height >= np.median(height)]
    distance = np.mod(12 * np.log2(strong_hz / A0_HZ), 1.0)
    distance[distance >= 0.5] -= 1.0
    votes, edges = np.histogram(distance, np.linspace(-0.5, 0.5, N_STEPS + 1))
    return float(edges[np.argmax(votes)])


def _peaks(amplitudes: Amplitudes) -> tuple[Floats, Floats]:
    """Frequencies in Hz and heights."""
    first, last = int(np.ceil(MIN_HZ / HZ_PER_BIN)), int(MAX_HZ / HZ_PER_BIN)
    here, below, above = (amplitudes[:, first + i : last + 1 + i].astype(np.float64) for i in (0, -1, 1))
    least = LEAST_PEAK * amplitudes.max(axis=1, keepdims=True)
    frame, bin_ = np.nonzero((here > below) & (here >= above) & (here > least))
    here, below, above = (each[frame, bin_] for each in (here, below, above))
    slope, bend = (above - below) / 2, 2 * here - below - above
    shift = np.where(np.abs(slope) < np.abs(bend), slope / np.where(bend > 0, bend, 1.0), 0.0)
    return HZ_PER_BIN * (bin_ + first + shift).astype(np.float64), here + slope * shift / 2
