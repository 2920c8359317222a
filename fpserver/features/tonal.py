"""Turn the energy of pitch classes into a chroma that can be transposed, and a key.

Every number is of one pitch class, in blocks of 12 from C to B: turning every block by n is transposing by n semitones.
Each frame's chroma is scaled so that its largest is 1 (`librosa.feature.chroma_stft`).

Key: the major or minor profile that correlates best with the mean chroma (Krumhansl, "Cognitive Foundations of Musical
Pitch", 1990, Krumhansl & Kessler's profiles).
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from fpserver.descriptors import N_PITCH_CLASSES, PITCH_CLASSES
from fpserver.terms import Vector

MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
LEAST_CORRELATION = 0.65  # a single tone has 0.63
LEAST_SPREAD = 0.1  # of the mean chroma, over its mean: noise has less

Chroma = npt.NDArray[np.float32]  # (n_frames, 12)
Floats = npt.NDArray[np.float64]


def scaled(energy: Chroma) -> Chroma:
    """Each frame's chroma with its largest 1; silence stays 0."""
    highest = energy.max(axis=1, keepdims=True)
    rows = np.zeros_like(energy)
    np.divide(energy, highest, where=highest > 0, out=rows)
    return rows


def tonal_of(chroma: Chroma) -> Vector:
    """Means, standard deviations, and covariances with the pitch class 1, 2, … 6 semitones above."""
    mean, covariance = mean_and_covariance(chroma)
    at = np.arange(N_PITCH_CLASSES)
    intervals = [covariance[at, (at + i) % N_PITCH_CLASSES] for i in range(1, N_PITCH_CLASSES // 2 + 1)]
    return np.concatenate([mean, np.sqrt(np.diagonal(covariance)), *intervals]).astype(np.float32)


def key_of(mean_chroma: Vector) -> tuple[str, float] | None:
    """The key, as "A minor", and its correlation; None where none stands out."""
    mean = mean_chroma.astype(np.float64)
    if mean.std() < LEAST_SPREAD * mean.mean() or mean.std() == 0:
        return None
    likeness = _profiles() @ ((mean - mean.mean()) / (mean.std() * N_PITCH_CLASSES))
    best = int(np.argmax(likeness))
    if likeness[best] < LEAST_CORRELATION:
        return None
    mode = "major" if best < N_PITCH_CLASSES else "minor"
    return f"{PITCH_CLASSES[best % N_PITCH_CLASSES]} {mode}", float(likeness[best])


@cache
def _profiles() -> Floats:
    """(24, 12): major keys from C to B, then minor ones; mean 0, standard deviation 1."""
    rows = np.array([np.roll(profile, i) for profile in (MAJOR, MINOR) for i in range(N_PITCH_CLASSES)])
    centred: Floats = rows - rows.mean(axis=1, keepdims=True)
    standard: Floats = centred / centred.std(axis=1, keepdims=True)
    return standard


def mean_and_covariance(rows: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Of the columns, over the rows; sums are made in 64 bits, a block of rows at a time."""
    n_columns = rows.shape[1]
    mean = rows.mean(axis=0, dtype=np.float64)
    products = np.zeros((n_columns, n_columns))
    for begin in range(0, len(rows), 4096):
        centred = rows[begin : begin + 4096] - mean
        products += centred.T @ centred
    return mean, products / len(rows)
